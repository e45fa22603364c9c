//! The state, drawn.

mod dialog;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub use self::tests::shown;

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};
use shared::ids::Conversation;

use super::{
    model::{Line, Model},
    rows::{Row, places, rows},
    theme::Theme,
    update::asks,
    wrap::{cut, width},
};
use crate::chat::clean;

/// Less than this has no room for anything.
const SMALLEST: (u16, u16) = (20, 6);

/// Draws everything.
pub fn draw(model: &Model, theme: Theme, frame: &mut Frame<'_>) {
    let area = frame.area();
    let mut canvas = Canvas { buffer: frame.buffer_mut(), theme };
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        canvas.line(area, 0, "too small", Style::new());
        return;
    }
    let places = places(model);
    canvas.bar(model, area);
    canvas.list(model, places.list);
    let mut cursor = None;
    match model.open_talk() {
        Some((open, talk)) => {
            canvas.title(model, open, places.title);
            canvas.said(&rows(model, open, talk, usize::from(places.said.width)), talk.scroll, places.said);
            cursor = canvas.input(model, places.input);
        }
        None if model.is_wide() => canvas.hint(places.title),
        None => {}
    }
    canvas.foot(model, area);
    if let Some(dialog) = &model.dialog {
        cursor = canvas.dialog(dialog, area);
    }
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}

/// How many there are, in words.
pub fn members(count: i64) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}

/// Where it is drawn, and how.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    theme: Theme,
}

impl Canvas<'_> {
    /// Text in a row of an area, cut to it.
    fn line(&mut self, area: Rect, row: u16, text: &str, style: Style) {
        self.at(area, row, 0, text, style);
    }

    /// The same from a column on; gives the column behind it.
    fn at(&mut self, area: Rect, row: u16, column: u16, text: &str, style: Style) -> u16 {
        if row >= area.height || column >= area.width {
            return column;
        }
        let (x, y) = (area.x + column, area.y + row);
        let (end, _) = self.buffer.set_stringn(x, y, text, usize::from(area.width - column), style);
        end - area.x
    }

    fn fill(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area, style);
    }

    fn bar(&mut self, model: &Model, area: Rect) {
        let bar = Rect { height: 1, ..area };
        let well = !matches!(model.line, Line::Down { .. });
        self.fill(bar, self.theme.bar(well));
        let dots = if self.theme.ascii { "..." } else { "…" };
        let line = match &model.line {
            Line::Connecting => format!("connecting{dots}"),
            Line::Up(server) => format!("online at {server}"),
            Line::Down { reason, seconds } => {
                format!("no connection for {seconds} s, trying again ({})", clean::line(reason))
            }
        };
        let unsent = match model.unsent() {
            0 => String::new(),
            count => format!(", {count} not stored yet"),
        };
        let me =
            model.people.get(&model.me).map_or(String::new(), |me| format!(" {}:", clean::line(&me.name)));
        let text = format!(" simple-im{me} {line}{unsent}");
        self.line(bar, 0, &text, self.theme.bar(well));
    }

    fn list(&mut self, model: &Model, area: Rect) {
        if area.width == 0 {
            return;
        }
        let beside = area.width < model.size.0;
        let inner = Rect { width: area.width - u16::from(beside), ..area };
        if beside {
            for row in 0..area.height {
                self.at(area, row, inner.width, self.theme.lines().0, self.theme.quiet());
            }
        }
        let order = model.order();
        if order.is_empty() {
            self.line(inner, 0, " Nobody yet. Ctrl-F finds", self.theme.quiet());
            self.line(inner, 1, " people by phone number.", self.theme.quiet());
            return;
        }
        let chosen = model.open.or(model.at);
        let at = order.iter().position(|name| Some(*name) == chosen).unwrap_or(0);
        let from = at.saturating_sub(usize::from(area.height.saturating_sub(1)));
        for (row, name) in (0..area.height).zip(&order[from..]) {
            self.entry(model, *name, Some(*name) == chosen, Rect { y: inner.y + row, height: 1, ..inner });
        }
    }

    fn entry(&mut self, model: &Model, name: Conversation, chosen: bool, area: Rect) {
        let talk = model.talks.get(&name);
        let unread = talk.map_or(0, |talk| talk.unread);
        let count = match unread {
            0 => String::new(),
            1000.. => " 999+ ".to_owned(),
            unread => format!(" {unread} "),
        };
        let sign = match name.peer(model.me) {
            Some(peer) if asks(model, peer) => "?",
            _ if talk.is_some_and(|talk| talk.left) => "-",
            _ if talk.is_some_and(|talk| talk.pending.iter().any(|pending| pending.refused.is_some())) => "!",
            _ => " ",
        };
        let style = match (chosen, unread) {
            (true, _) => self.theme.chosen(),
            (false, 0) => Style::new(),
            _ => self.theme.unread(),
        };
        self.fill(area, style);
        let room = usize::from(area.width).saturating_sub(width(&count) + 1);
        let title = cut(&clean::line(&model.title(name)), room);
        self.line(area, 0, &format!("{sign}{title}"), style);
        let column = area.width.saturating_sub(u16::try_from(width(&count)).unwrap_or(0));
        self.at(area, 0, column, &count, style);
    }

    fn title(&mut self, model: &Model, open: Conversation, area: Rect) {
        let standing = match open.peer(model.me) {
            Some(peer) if peer != model.me => {
                if asks(model, peer) {
                    "asks to become a contact: Ctrl-O".to_owned()
                } else if model.people.get(&peer).is_some_and(|person| person.contact) {
                    "contact".to_owned()
                } else {
                    String::new()
                }
            }
            Some(_) => String::new(),
            None if model.talks.get(&open).is_some_and(|talk| talk.left) => {
                "you are no longer in it".to_owned()
            }
            None => match open {
                Conversation::Group(group) => {
                    model.groups.get(&group).map_or(String::new(), |group| members(group.count))
                }
                Conversation::Direct(..) => String::new(),
            },
        };
        let end = self.at(area, 0, 0, &clean::line(&model.title(open)), self.theme.unread());
        self.at(area, 0, end + 2, &standing, self.theme.quiet());
    }

    fn said(&mut self, all: &[Row], scroll: usize, area: Rect) {
        let height = usize::from(area.height);
        let end = all.len() - scroll.min(all.len().saturating_sub(height));
        let begin = end.saturating_sub(height);
        for (at, Row(pieces)) in (0..area.height).zip(&all[begin..end]) {
            let mut column = 0;
            for (class, text) in pieces {
                column = self.at(area, at, column, text, self.theme.class(*class));
            }
        }
        if end < all.len() {
            let more = format!(" {} more below ", all.len() - end);
            let column = area.width.saturating_sub(u16::try_from(more.len()).unwrap_or(0));
            self.at(area, area.height.saturating_sub(1), column, &more, self.theme.chosen());
        }
    }

    /// The line between, and what is being written; gives the cursor's place.
    fn input(&mut self, model: &Model, area: Rect) -> Option<Position> {
        let (_, talk) = model.open_talk()?;
        let above = Rect { y: area.y.saturating_sub(1), height: 1, ..area };
        self.line(above, 0, &self.theme.lines().1.repeat(usize::from(area.width)), self.theme.quiet());
        let (lines, (row, column)) = talk.draft.lines(usize::from(area.width.saturating_sub(2)));
        // A long text shows the rows around the cursor.
        let from = (row + 1).saturating_sub(usize::from(area.height));
        for (at, line) in (0..area.height).zip(&lines[from..]) {
            self.at(area, at, 0, if at == 0 && from == 0 { "> " } else { "  " }, self.theme.quiet());
            self.at(area, at, 2, line, Style::new());
        }
        let (row, column) = (u16::try_from(row - from).ok()?, u16::try_from(column).ok()?);
        Some(Position::new(area.x + 2 + column, area.y + row))
    }

    fn hint(&mut self, area: Rect) {
        self.line(area, 0, " Enter opens a conversation.", self.theme.quiet());
    }

    /// News, or the most needed keys.
    fn foot(&mut self, model: &Model, area: Rect) {
        let foot = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        match &model.notice {
            Some(notice) => {
                let style = if notice.bad { self.theme.bad() } else { self.theme.unread() };
                self.line(foot, 0, &format!(" {}", clean::line(&notice.text)), style);
            }
            None => {
                let keys = " F1 keys  ^F find  ^G group  ^R people  ^O about  ^N/^P next  ^T unread  ^X quit";
                self.line(foot, 0, keys, self.theme.quiet());
            }
        }
    }
}
