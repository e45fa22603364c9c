//! How things look: with colour, without, and where the terminal has ASCII alone. What a colour says is also said by a word or a
//! sign, so that nothing depends on it.

use std::env;

use ratatui::style::{Color, Modifier, Style};

use super::rows::Class;

/// The look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours.
    pub colour: bool,
    /// Whether there is ASCII alone.
    pub ascii: bool,
}

impl Theme {
    /// As flags and environment want it: NO_COLOR and a terminal of one colour say no to colours, a locale that is not UTF-8
    /// to everything but ASCII.
    pub fn of(no_color: bool, ascii: bool) -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let plain = set("TERM")
            .is_some_and(|term| term.ends_with("-m") || term.ends_with("-mono") || term == "vt100");
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_else(|| "UTF-8".into());
        let utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
        Self { colour: !no_color && set("NO_COLOR").is_none() && !plain, ascii: ascii || !utf8 }
    }

    /// Of a piece of a conversation.
    pub fn class(self, class: Class) -> Style {
        match class {
            Class::Text => Style::new(),
            Class::Time | Class::Day | Class::Step => self.quiet(),
            Class::Mine => self.coloured(Color::Cyan).add_modifier(Modifier::BOLD),
            Class::Theirs => self.coloured(Color::Green).add_modifier(Modifier::BOLD),
            Class::Mark => self.coloured(Color::Cyan),
            Class::Bad => self.bad(),
        }
    }

    /// What is there to be passed over.
    pub fn quiet(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    /// What went wrong.
    pub fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What has the keyboard.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The bar at the top.
    pub fn bar(self, well: bool) -> Style {
        match (self.colour, well) {
            (true, true) => Style::new().fg(Color::White).bg(Color::Blue),
            (true, false) => Style::new().fg(Color::White).bg(Color::Red),
            (false, _) => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// What waits to be read.
    pub fn unread(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line between two sides, and one between rows.
    pub fn lines(self) -> (&'static str, &'static str) {
        if self.ascii { ("|", "-") } else { ("│", "─") }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}
