//! Dialogs: a box in the middle.

use ratatui::{
    layout::{Position, Rect},
    style::Style,
};

use super::Canvas;
use crate::chat::{
    clean,
    tui::{
        dialog::{Dialog, Menu, Prompt},
        update::KEYS,
        wrap::wrap,
    },
};

/// The widest box, columns.
const WIDEST: u16 = 64;

impl Canvas<'_> {
    /// Gives the cursor's place, where something is typed there.
    pub fn dialog(&mut self, dialog: &Dialog, area: Rect) -> Option<Position> {
        match dialog {
            Dialog::Help(scroll) => {
                self.help(*scroll, area);
                None
            }
            Dialog::Menu(menu) => {
                self.menu(menu, area);
                None
            }
            Dialog::Prompt(prompt) => self.prompt(prompt, area),
        }
    }

    /// An empty box for so many rows, and what is inside.
    fn frame(&mut self, title: &str, rows: usize, area: Rect) -> Rect {
        let width = WIDEST.min(area.width);
        let height = u16::try_from(rows + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(2)).max(3);
        let around = Rect {
            x: area.x + (area.width - width) / 2,
            y: area.y + (area.height - height) / 2,
            width,
            height,
        };
        let corners = if self.theme.ascii { ["+", "+", "+", "+"] } else { ["┌", "┐", "└", "┘"] };
        let (side, line) = self.theme.lines();
        let line = line.repeat(usize::from(width - 2));
        for row in 0..height {
            let (left, middle, right) = match row {
                0 => (corners[0], line.as_str(), corners[1]),
                row if row + 1 == height => (corners[2], line.as_str(), corners[3]),
                _ => (side, "", side),
            };
            // Blanks first: what lies below must not show through, nor half of a wide character.
            self.line(around, row, &" ".repeat(usize::from(width)), Style::reset());
            let column = self.at(around, row, 0, left, Style::new());
            self.at(around, row, column, middle, Style::new());
            self.at(around, row, width - 1, right, Style::new());
        }
        self.at(around, 0, 2, &format!(" {} ", clean::line(title)), self.theme.unread());
        Rect { x: around.x + 2, y: around.y + 1, width: width - 4, height: height - 2 }
    }

    fn help(&mut self, scroll: usize, area: Rect) {
        let inner = self.frame("Keys", KEYS.len(), area);
        for (row, (keys, does)) in (0..inner.height).zip(&KEYS[scroll.min(KEYS.len())..]) {
            self.at(inner, row, 0, keys, self.theme.unread());
            self.at(inner, row, 24.min(inner.width / 2), does, Style::new());
        }
    }

    fn menu(&mut self, menu: &Menu, area: Rect) {
        let columns = usize::from(WIDEST.min(area.width)).saturating_sub(4);
        let text: Vec<String> =
            menu.lines.iter().flat_map(|line| wrap(&clean::line(line), columns, columns)).collect();
        let inner = self.frame(&menu.title, text.len() + menu.choices.len(), area);
        let above = u16::try_from(text.len()).unwrap_or(u16::MAX).min(inner.height.saturating_sub(1));
        for (row, line) in (0..above).zip(&text) {
            self.line(inner, row, line, self.theme.quiet());
        }
        let room = usize::from(inner.height - above);
        let from = (menu.at + 1).saturating_sub(room);
        for (row, (at, choice)) in (above..inner.height).zip(menu.choices.iter().enumerate().skip(from)) {
            let style = if at == menu.at { self.theme.chosen() } else { Style::new() };
            self.line(inner, row, &format!(" {} ", clean::line(&choice.label)), style);
        }
    }

    fn prompt(&mut self, prompt: &Prompt, area: Rect) -> Option<Position> {
        let (title, question) = prompt.purpose.words();
        let inner = self.frame(title, 3, area);
        self.line(inner, 0, question, Style::new());
        let room = usize::from(inner.width.saturating_sub(3));
        let (lines, (row, column)) = match prompt.purpose.is_secret() {
            true => prompt.input.masked().lines(room.max(2)),
            false => prompt.input.lines(room.max(2)),
        };
        self.at(inner, 1, 0, "> ", self.theme.quiet());
        self.at(inner, 1, 2, lines.get(row).map_or("", String::as_str), Style::new());
        let said = if prompt.waiting { "asking" } else { &prompt.said };
        self.line(inner, 2, &clean::line(said), self.theme.bad());
        Some(Position::new(inner.x + 2 + u16::try_from(column).ok()?, inner.y + 1))
    }
}
