//! The keyboard. Nothing here needs a mouse, a function key that a remote terminal would eat, or a colour.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Effect, Turn};
use crate::chat::tui::{
    dialog::{Dialog, Purpose},
    input::Input,
};

/// The keys, as the help shows them.
pub const KEYS: &[(&str, &str)] = &[
    ("Enter", "send; in the list: open"),
    ("Alt-Enter, Ctrl-J", "new line"),
    ("Ctrl-N, Ctrl-P", "next, previous conversation"),
    ("Alt-Down, Alt-Up", "the same"),
    ("Ctrl-T", "next unread conversation"),
    ("Esc", "close a dialog; back to the list"),
    ("PageUp, PageDown", "what was said before, after"),
    ("Up, Down", "by one line"),
    ("Ctrl-O", "about this conversation: contact, block, members, leave"),
    ("Ctrl-R", "people: requests that wait, contacts"),
    ("Ctrl-Y", "yourself: name, password, devices"),
    ("Ctrl-F", "find a person by phone number"),
    ("Ctrl-G", "new group"),
    ("Ctrl-A, Ctrl-E", "to the line's begin, end"),
    ("Ctrl-W, Ctrl-U, Ctrl-K", "delete the word, to the begin, to the end"),
    ("Ctrl-L", "draw the screen anew"),
    ("F1; in the list: ?", "these keys"),
    ("Ctrl-X, Ctrl-C", "quit"),
];

impl Turn<'_> {
    pub fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl && matches!(key.code, KeyCode::Char('x' | 'c')) {
            return self.leave();
        }
        self.model.leaving = false;
        if ctrl && key.code == KeyCode::Char('l') {
            return self.effect(Effect::Redraw);
        }
        match self.model.dialog.take() {
            Some(dialog) => self.dialog_key(dialog, key),
            None => {
                self.model.notice = None;
                if !self.global(key) {
                    if self.model.open.is_some() {
                        self.talk_key(key);
                    } else {
                        self.list_key(key.code);
                    }
                }
            }
        }
    }

    pub fn paste(&mut self, text: &str) {
        match &mut self.model.dialog {
            Some(Dialog::Prompt(prompt)) => prompt.input.insert(&text.replace(['\r', '\n'], " ")),
            Some(_) => {}
            None => {
                if let Some(draft) = self.draft() {
                    draft.insert(text);
                }
            }
        }
    }

    fn leave(&mut self) {
        let unsent = self.model.unsent();
        if unsent == 0 || self.model.leaving {
            return self.effect(Effect::Quit);
        }
        self.model.leaving = true;
        let s = if unsent == 1 { "" } else { "s" };
        self.model.complain(format!("{unsent} message{s} not stored yet. Once more: quit without them."));
    }

    /// Keys that do the same everywhere; false: not one of them.
    fn global(&mut self, key: KeyEvent) -> bool {
        let (ctrl, alt) =
            (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
        match key.code {
            KeyCode::F(1) => self.model.dialog = Some(Dialog::Help(0)),
            KeyCode::Char('f') if ctrl => self.model.dialog = Some(Dialog::prompt(Purpose::Find)),
            KeyCode::Char('g') if ctrl => self.model.dialog = Some(Dialog::prompt(Purpose::Group)),
            KeyCode::Char('r') if ctrl => self.show_people(),
            KeyCode::Char('o') if ctrl => self.show_details(),
            KeyCode::Char('y') if ctrl => self.show_self(),
            KeyCode::Char('t') if ctrl => self.next_unread(),
            KeyCode::Char('n') if ctrl => self.neighbour(1),
            KeyCode::Char('p') if ctrl => self.neighbour(-1),
            KeyCode::Down if alt => self.neighbour(1),
            KeyCode::Up if alt => self.neighbour(-1),
            _ => return false,
        }
        true
    }

    fn talk_key(&mut self, key: KeyEvent) {
        let page = self.extent().0.saturating_sub(1).max(1);
        match key.code {
            KeyCode::Enter if !key.modifiers.contains(KeyModifiers::ALT) => self.send(),
            KeyCode::Esc => {
                if let Some(talk) = self.model.open.take().and_then(|open| self.model.talks.get_mut(&open)) {
                    talk.forget();
                }
            }
            KeyCode::PageUp => self.up(page),
            KeyCode::PageDown => self.down(page),
            KeyCode::Up => self.up(1),
            KeyCode::Down => self.down(1),
            _ => {
                if let Some(draft) = self.draft() {
                    edit(draft, key, true);
                }
            }
        }
    }

    fn up(&mut self, lines: usize) {
        let (height, all) = self.extent();
        let Some(talk) = self.model.open.and_then(|open| self.model.talks.get_mut(&open)) else { return };
        let most = all.saturating_sub(height);
        talk.scroll = (talk.scroll + lines).min(most);
        if talk.scroll == most {
            self.load();
        }
    }

    fn down(&mut self, lines: usize) {
        if let Some(talk) = self.model.open.and_then(|open| self.model.talks.get_mut(&open)) {
            talk.scroll = talk.scroll.saturating_sub(lines);
        }
        self.read();
    }

    fn list_key(&mut self, code: KeyCode) {
        let order = self.model.order();
        let at = order.iter().position(|name| Some(*name) == self.model.at).unwrap_or(0);
        let to = match code {
            KeyCode::Down => at + 1,
            KeyCode::Up => at.saturating_sub(1),
            KeyCode::PageDown => at + 10,
            KeyCode::PageUp => at.saturating_sub(10),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            KeyCode::Char('?') => return self.model.dialog = Some(Dialog::Help(0)),
            KeyCode::Enter | KeyCode::Right => {
                if let Some(name) = order.get(at) {
                    self.open(*name);
                }
                return;
            }
            _ => return,
        };
        self.model.at = order.get(to.min(order.len().saturating_sub(1))).copied();
    }

    fn neighbour(&mut self, by: isize) {
        let order = self.model.order();
        let next = match order.iter().position(|name| Some(*name) == self.model.open) {
            Some(at) => at.checked_add_signed(by),
            None => Some(0),
        };
        if let Some(name) = next.and_then(|at| order.get(at)) {
            self.open(*name);
        }
    }

    fn next_unread(&mut self) {
        let unread = |name: &_| self.model.talks.get(name).is_some_and(|talk| talk.unread > 0);
        match self.model.order().into_iter().find(|name| Some(*name) != self.model.open && unread(name)) {
            Some(name) => self.open(name),
            None => self.model.say("Everything is read."),
        }
    }

    fn draft(&mut self) -> Option<&mut Input> {
        let open = self.model.open?;
        Some(&mut self.model.talks.get_mut(&open)?.draft)
    }

    /// A key while a dialog is open; the dialog goes back unless the key ends it.
    fn dialog_key(&mut self, dialog: Dialog, key: KeyEvent) {
        if key.code == KeyCode::Esc {
            return;
        }
        match dialog {
            Dialog::Help(scroll) => match key.code {
                KeyCode::Down | KeyCode::PageDown => {
                    let most = KEYS.len().saturating_sub(1);
                    self.model.dialog = Some(Dialog::Help((scroll + 1).min(most)));
                }
                KeyCode::Up | KeyCode::PageUp => {
                    self.model.dialog = Some(Dialog::Help(scroll.saturating_sub(1)));
                }
                _ => {}
            },
            Dialog::Menu(mut menu) => {
                match key.code {
                    KeyCode::Down | KeyCode::Tab => menu.step(1),
                    KeyCode::Up | KeyCode::BackTab => menu.step(-1),
                    KeyCode::Home => menu.at = 0,
                    KeyCode::End => menu.at = menu.choices.len().saturating_sub(1),
                    KeyCode::PageDown => menu.at = (menu.at + 10).min(menu.choices.len().saturating_sub(1)),
                    KeyCode::PageUp => menu.at = menu.at.saturating_sub(10),
                    KeyCode::Enter => {
                        if let Some(choice) = menu.choices.into_iter().nth(menu.at) {
                            self.act(choice.act);
                        }
                        return;
                    }
                    _ => {}
                }
                self.model.dialog = Some(Dialog::Menu(menu));
            }
            Dialog::Prompt(mut prompt) => {
                if key.code == KeyCode::Enter {
                    let (purpose, text) = (prompt.purpose.clone(), prompt.input.text().to_owned());
                    let waiting = prompt.waiting;
                    self.model.dialog = Some(Dialog::Prompt(prompt));
                    if !waiting {
                        self.answer(purpose, text);
                    }
                } else {
                    edit(&mut prompt.input, key, false);
                    self.model.dialog = Some(Dialog::Prompt(prompt));
                }
            }
        }
    }
}

/// The editing keys.
fn edit(input: &mut Input, key: KeyEvent, lines: bool) {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter if lines => input.insert("\n"),
        KeyCode::Char('j') if ctrl && lines => input.insert("\n"),
        KeyCode::Char('a') if ctrl => input.home(),
        KeyCode::Char('e') if ctrl => input.end(),
        KeyCode::Char('w') if ctrl => input.delete_word(),
        KeyCode::Char('u') if ctrl => input.delete_to_start(),
        KeyCode::Char('k') if ctrl => input.delete_to_end(),
        KeyCode::Char('h') if ctrl => input.backspace(),
        KeyCode::Char('d') if ctrl => input.delete(),
        KeyCode::Char('b') if ctrl => input.left(),
        KeyCode::Char(c) if !ctrl && !key.modifiers.contains(KeyModifiers::ALT) => {
            input.insert(c.encode_utf8(&mut [0; 4]));
        }
        KeyCode::Tab if lines => input.insert("    "),
        KeyCode::Left => input.left(),
        KeyCode::Right => input.right(),
        KeyCode::Home => input.home(),
        KeyCode::End => input.end(),
        KeyCode::Backspace => input.backspace(),
        KeyCode::Delete => input.delete(),
        _ => {}
    }
}
