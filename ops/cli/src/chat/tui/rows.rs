//! A conversation as the rows of a screen, and where on the screen they stand. Asked by the view, and by what scrolls.

use ratatui::layout::Rect;
use shared::{
    command::RequestName,
    ids::{Conversation, UserId},
};

use super::{
    model::{
        Model,
        talk::{History, Item, Pending, Talk, What},
    },
    wrap::{cut, width, wrap},
};
use crate::chat::clean;

/// What a piece of a row is, which says how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Day,
    Time,
    Mine,
    Theirs,
    Text,
    Step,
    Mark,
    Bad,
}

/// One row, in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row(pub Vec<(Class, String)>);

/// Where things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// The conversations; empty where they do not fit beside one.
    pub list: Rect,
    /// The open conversation's name.
    pub title: Rect,
    /// What was said there.
    pub said: Rect,
    /// What is being written.
    pub input: Rect,
}

/// The most rows of what is being written.
const INPUT: usize = 5;

/// Where everything is on this screen.
pub fn places(model: &Model) -> Places {
    let (columns, rows) = model.size;
    let body = Rect::new(0, 1, columns, rows.saturating_sub(2));
    let open = model.open_talk();
    let list = match (model.is_wide(), open.is_some()) {
        (true, _) => (columns / 3).clamp(20, 34),
        (false, true) => 0,
        (false, false) => columns,
    };
    let talk = Rect { x: body.x + list, width: body.width - list, ..body };
    let draft = open.map_or(1, |(_, talk_open)| {
        talk_open.draft.lines(usize::from(talk.width.saturating_sub(2))).0.len().clamp(1, INPUT)
    });
    // One for the line between, one for the name.
    let draft = u16::try_from(draft).unwrap_or(1).min(body.height.saturating_sub(2));
    let said = body.height.saturating_sub(draft + 2);
    Places {
        list: Rect { width: list, ..body },
        title: Rect { height: 1.min(body.height), ..talk },
        said: Rect { y: talk.y + 1, height: said, ..talk },
        input: Rect { y: talk.y + 2 + said, height: draft, ..talk },
    }
}

/// Everything of a conversation, oldest first, in rows of so many columns.
pub fn rows(model: &Model, conversation: Conversation, talk: &Talk, columns: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let note = match talk.history {
        History::Whole => None,
        History::Loading => Some("loading…"),
        History::Unknown | History::More => Some("PageUp: more"),
    };
    rows.extend(note.map(|note| Row(vec![(Class::Day, note.to_owned())])));
    let mut day = String::new();
    for item in talk.items.values() {
        let this = model.clock.day(item.ts);
        if this != day {
            let line = if model.ascii { "--" } else { "──" };
            rows.push(Row(vec![(Class::Day, format!("{line} {this} {line}"))]));
            day = this;
        }
        one(model, conversation, item, columns, &mut rows);
    }
    for pending in &talk.pending {
        on_its_way(model, pending, columns, &mut rows);
    }
    rows
}

/// The indent below a time of day.
const INDENT: usize = 6;

fn one(model: &Model, conversation: Conversation, item: &Item, columns: usize, rows: &mut Vec<Row>) {
    let time = (Class::Time, format!("{} ", model.clock.time(item.ts)));
    let mine = item.from == model.me;
    match &item.what {
        What::Text(text) => {
            let mark = if mine { mark(model, conversation, item) } else { String::new() };
            let who = (if mine { Class::Mine } else { Class::Theirs }, name(model, item.from));
            paragraph(vec![time, who], &clean::text(text), Class::Text, &mark, columns, rows);
        }
        What::Step { name, text, about } => {
            let words = step(model, item.from, *name, text, about);
            paragraph(vec![time], &clean::line(&words), Class::Step, "", columns, rows);
        }
    }
}

fn on_its_way(model: &Model, pending: &Pending, columns: usize, rows: &mut Vec<Row>) {
    let time = (Class::Time, "      ".to_owned());
    let up = matches!(model.line, super::model::Line::Up(_));
    let mark = match (&pending.refused, up, model.ascii) {
        (Some(_), ..) => "!",
        (None, true, false) => "→",
        (None, true, true) => ">",
        (None, false, false) => "…",
        (None, false, true) => "..",
    };
    let text = clean::text(&pending.text);
    paragraph(vec![time, (Class::Mine, name(model, model.me))], &text, Class::Text, mark, columns, rows);
    if let Some(reason) = &pending.refused {
        let text = format!("not sent: {}", clean::line(reason));
        paragraph(vec![(Class::Time, "      ".to_owned())], &text, Class::Bad, "", columns, rows);
    }
}

fn name(model: &Model, user: UserId) -> String {
    format!("{}: ", cut(&clean::line(&model.name(user)), 24))
}

/// How far an own message got.
fn mark(model: &Model, conversation: Conversation, item: &Item) -> String {
    let (one, two) = if model.ascii { ("+", "++") } else { ("✓", "✓✓") };
    let group = matches!(conversation, Conversation::Group(_));
    match (item.read.len(), item.delivered.len()) {
        (0, 0) => one.to_owned(),
        (0, have) if group => format!("{two} {have}"),
        (0, _) => two.to_owned(),
        (have, _) if group => format!("{two} read {have}"),
        _ => format!("{two} read"),
    }
}

/// What somebody did, in words.
fn step(model: &Model, from: UserId, name: RequestName, text: &str, about: &[UserId]) -> String {
    let who = model.name(from);
    let whom = || about.iter().take(10).map(|user| model.name(*user)).collect::<Vec<_>>().join(", ");
    let with = if text.is_empty() { String::new() } else { format!(": {text}") };
    match name {
        RequestName::AddContact => format!("* {who} asked to be a contact{with}"),
        RequestName::AcceptContact => format!("* {who} accepted: contacts now"),
        RequestName::DeclineContact => format!("* {who} declined"),
        RequestName::DeleteContact => format!("* {who} ended the contact"),
        RequestName::CreateGroup => format!("* {who} made the group{with}"),
        RequestName::CreateGroupMember => format!("* {who} added {}", whom()),
        RequestName::DeleteGroupMember if about.is_empty() || about == [from] => format!("* {who} left"),
        RequestName::DeleteGroupMember => format!("* {who} removed {}", whom()),
        RequestName::DeleteGroup => format!("* {who} dissolved the group"),
        other => format!("* {who}: {}", other.as_str()),
    }
}

/// Text behind its head, its further rows indented, its mark at its end.
fn paragraph(
    head: Vec<(Class, String)>,
    text: &str,
    class: Class,
    mark: &str,
    columns: usize,
    rows: &mut Vec<Row>,
) {
    let taken: usize = head.iter().map(|(_, piece)| width(piece)).sum();
    let most = columns.saturating_sub(INDENT).max(8);
    let lines = wrap(text, columns.saturating_sub(taken).max(8), most);
    let last = lines.len() - 1;
    let begun = rows.len();
    for (at, line) in lines.into_iter().enumerate() {
        let used = width(&line) + if at == 0 { taken } else { INDENT };
        let mut row = if at == 0 { head.clone() } else { vec![(Class::Text, " ".repeat(INDENT))] };
        row.push((class, line));
        rows.push(Row(row));
        if at == last && !mark.is_empty() {
            let mark = (if mark == "!" { Class::Bad } else { Class::Mark }, format!(" {mark}"));
            if used + width(&mark.1) <= columns {
                rows[begun + at].0.push(mark);
            } else {
                let indent = columns.saturating_sub(width(&mark.1));
                rows.push(Row(vec![(Class::Text, " ".repeat(indent)), mark]));
            }
        }
    }
}
