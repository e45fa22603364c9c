//! Oneself: name, password, devices.

use shared::{client::http::OwnDevice, config::Secret, ids::Device};

use super::{Effect, Turn};
use crate::chat::tui::{
    dialog::{Act, Dialog, Menu, Purpose},
    model::Person,
};

impl Turn<'_> {
    /// What can be done about oneself.
    pub fn show_self(&mut self) {
        let Person { name, phone, .. } = self.me();
        let menu = Menu::new("Yourself")
            .line(format!("{name}, user {}, phone {phone}", self.model.me))
            .choice("Devices", Act::Devices)
            .choice("Change the name", Act::Prompt(Purpose::Name))
            .choice("Change the password", Act::Prompt(Purpose::OldPassword))
            .choice("Close", Act::Close);
        self.model.dialog = Some(Dialog::Menu(menu));
    }

    fn me(&self) -> Person {
        self.model.people.get(&self.model.me).cloned().unwrap_or_default()
    }

    /// Asks for a line of text.
    pub fn ask(&mut self, purpose: Purpose) {
        let text = if purpose == Purpose::Name { self.me().name } else { String::new() };
        self.model.dialog = Some(Dialog::asking(purpose, &text, ""));
    }

    /// A line of text about oneself. An empty one is none: the question stays.
    pub fn answer_of_self(&mut self, purpose: Purpose, text: String) {
        if text.is_empty() {
            return;
        }
        let text = Secret::new(text);
        let next = match purpose {
            Purpose::Name => {
                self.model.dialog = None;
                return self.effect(Effect::Name(text.expose().to_owned()));
            }
            Purpose::OldPassword => Dialog::prompt(Purpose::NewPassword(text)),
            Purpose::NewPassword(old) => Dialog::prompt(Purpose::SamePassword(old, text)),
            Purpose::SamePassword(old, new) if new == text => {
                self.model.dialog = None;
                return self.effect(Effect::Password(old, new));
            }
            Purpose::SamePassword(old, _) => {
                Dialog::asking(Purpose::NewPassword(old), "", "These were two. From the beginning:")
            }
            Purpose::Find | Purpose::Group | Purpose::Add(_) | Purpose::Hello(_) => return,
        };
        self.model.dialog = Some(next);
    }

    /// One has another name.
    pub fn named(&mut self, name: String) {
        self.model.say(format!("Others see you as {name} now."));
        self.model.people.entry(self.model.me).or_default().name = name;
    }

    /// One has another password.
    pub fn password_changed(&mut self) {
        self.model.say("Your password is another one now; all your other devices are logged out.");
    }

    /// One's own devices: each can be logged out, this one too.
    pub fn devices(&mut self, devices: Vec<OwnDevice>) {
        let mut menu = Menu::new("Your devices").line("Enter logs one out.");
        for OwnDevice { device, seen, own, online, ended } in devices {
            let state = match (own, ended, online) {
                (true, ..) => "this one".to_owned(),
                (_, true, _) => "logged out".to_owned(),
                (.., true) => "connected".to_owned(),
                _ => format!("seen {}", self.model.clock.full(seen)),
            };
            let question = match own {
                true => format!("Log out {device}, this one? The program ends."),
                false => format!("Log out {device}, wherever it is?"),
            };
            let end = Act::Sure(question, Box::new(Act::End(device.clone())));
            menu = menu.choice(format!("{device}: {state}"), if ended { Act::Devices } else { end });
        }
        self.model.dialog = Some(Dialog::Menu(menu.choice("Close", Act::Close)));
    }

    /// A device has been logged out; the list as it is now.
    pub fn ended(&mut self, device: &Device) {
        self.model.say(format!("{device} is logged out."));
        self.effect(Effect::Devices);
    }
}
