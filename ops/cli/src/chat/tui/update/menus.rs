//! The menus: what can be done with a conversation, a person, a group, a member.

use shared::{
    ids::{Conversation, GroupId, UserId},
    message::Ask,
};

use super::Turn;
use crate::chat::tui::{
    dialog::{Act, Dialog, Menu, Purpose},
    model::Model,
    view::members,
    wrap::cut,
};

/// Entries of one menu; who has more contacts finds the others by phone.
const MOST: usize = 1_000;

impl Turn<'_> {
    fn menu(&mut self, menu: Menu) {
        self.model.dialog = Some(Dialog::Menu(menu));
    }

    /// What can be done with the open conversation.
    pub fn show_details(&mut self) {
        match self.model.open {
            None => self.model.say("Open a conversation first: Enter."),
            Some(Conversation::Group(group)) => self.show_group(group),
            Some(talk) => self.show_person(talk.peer(self.model.me).unwrap_or(self.model.me)),
        }
    }

    pub fn show_person(&mut self, user: UserId) {
        let model = &*self.model;
        let person = model.people.get(&user).cloned().unwrap_or_default();
        let talk = Conversation::direct(model.me, user);
        let name = model.name(user);
        let (asks, asked) = (asks(model, user), was_asked(model, user));
        let mut menu = Menu::new(name.clone()).line(format!("user {user}, phone {}", person.phone));
        if user == model.me {
            return self.menu(menu.choice("Write", Act::Open(talk)));
        }
        let standing = match (person.contact, asks, asked) {
            (true, ..) => "a contact",
            (false, true, _) => "asks to become a contact",
            (false, false, true) => "was asked to become a contact",
            _ => "no contact",
        };
        let blocked = model.blocked.contains(&user);
        menu = menu.line(if blocked { "blocked" } else { standing });
        if self.model.open != Some(talk) {
            menu = menu.choice("Write", Act::Open(talk));
        }
        menu = refused(self.model, talk, menu);
        let end = Act::Ask(Ask::DeleteContact { to: user });
        let block = Act::Ask(Ask::Block { to: user });
        let menu = menu
            .choice_if(asks && !person.contact, "Accept", Act::Ask(Ask::AcceptContact { to: user }))
            .choice_if(asks && !person.contact, "Decline", Act::Ask(Ask::DeclineContact { to: user }))
            .choice_if(!person.contact && !asks, "Ask to become a contact", Act::Prompt(Purpose::Hello(user)))
            .choice_if(
                person.contact,
                "End the contact",
                Act::Sure(format!("End the contact with {name}, for both?"), Box::new(end)),
            )
            .choice_if(
                !blocked,
                "Block",
                Act::Sure(format!("Refuse everything from {name}?"), Box::new(block)),
            )
            .choice_if(blocked, "Unblock", Act::Ask(Ask::Unblock { to: user }));
        self.menu(menu);
    }

    fn show_group(&mut self, group: GroupId) {
        let model = &*self.model;
        let conversation = Conversation::Group(group);
        let known = model.groups.get(&group);
        let mine = known.is_some_and(|known| known.creator == model.me);
        let count = known.map_or(0, |known| known.count);
        let left = model.talks.get(&conversation).is_some_and(|talk| talk.left);
        let title = model.title(conversation);
        let line = if left {
            "you are no longer in it".to_owned()
        } else {
            format!("group {group}, {}", members(count))
        };
        let leave = Act::Ask(Ask::DeleteGroupMember { group, member: None });
        let menu = refused(model, conversation, Menu::new(title.clone()).line(line))
            .choice_if(!left, "Members", Act::Members(group))
            .choice_if(!left, "Add somebody", Act::Add(group))
            .choice_if(!left && !mine, "Leave", Act::Sure(format!("Leave {title}?"), Box::new(leave)))
            .choice_if(
                !left && mine,
                "Dissolve",
                Act::Sure(
                    format!("Dissolve {title}, for all?"),
                    Box::new(Act::Ask(Ask::DeleteGroup { group })),
                ),
            )
            .choice("Close", Act::Close);
        self.menu(menu);
    }

    pub fn show_members(&mut self, group: GroupId) {
        let model = &*self.model;
        let Some(known) = model.groups.get(&group) else { return };
        let mut menu = Menu::new(model.title(Conversation::Group(group))).line(members(known.count));
        for member in known.members.iter().take(MOST) {
            let made = if *member == known.creator { " (made it)" } else { "" };
            menu = menu.choice(format!("{}{made}", model.name(*member)), Act::Member(group, *member));
        }
        self.menu(menu);
    }

    pub fn show_member(&mut self, group: GroupId, member: UserId) {
        let model = &*self.model;
        let mine = model.groups.get(&group).is_some_and(|known| known.creator == model.me);
        let name = model.name(member);
        let remove = Act::Ask(Ask::DeleteGroupMember { group, member: Some(member) });
        let question = format!("Remove {name} from {}?", model.title(Conversation::Group(group)));
        let menu = Menu::new(name)
            .choice("About", Act::Person(member))
            .choice_if(mine && member != model.me, "Remove", Act::Sure(question, Box::new(remove)))
            .choice("Back", Act::Members(group));
        self.menu(menu);
    }

    pub fn show_contacts_to_add(&mut self, group: GroupId) {
        let model = &*self.model;
        let members = model.groups.get(&group).map(|known| known.members.as_slice()).unwrap_or_default();
        let mut menu = Menu::new(format!("Add to {}", model.title(Conversation::Group(group))));
        for (user, label) in contacts(model) {
            let add = Act::Ask(Ask::CreateGroupMember { group, member: user });
            menu = menu.choice_if(!members.contains(&user), label, add);
        }
        let menu =
            menu.choice("By phone number", Act::Prompt(Purpose::Add(group))).choice("Nobody", Act::Close);
        self.menu(menu);
    }

    /// Requests that wait, and the contacts.
    pub fn show_people(&mut self) {
        let model = &*self.model;
        let mut menu = Menu::new("People");
        for peer in model.waiting.keys().filter(|peer| asks(model, **peer)).take(MOST) {
            let label = format!("? {} asks to become a contact", model.name(*peer));
            menu = menu.choice(label, Act::Person(*peer));
        }
        for (user, label) in contacts(model) {
            menu = menu.choice(label, Act::Person(user));
        }
        for user in model.blocked.iter().take(MOST) {
            menu = menu.choice(format!("x {} is blocked", model.name(*user)), Act::Person(*user));
        }
        let menu = menu.choice("Find somebody by phone number", Act::Prompt(Purpose::Find));
        self.menu(menu);
    }
}

/// Whether this person's request waits for an answer.
pub fn asks(model: &Model, user: UserId) -> bool {
    model.waiting.get(&user) == Some(&false)
}

fn was_asked(model: &Model, user: UserId) -> bool {
    model.waiting.get(&user) == Some(&true)
}

fn contacts(model: &Model) -> Vec<(UserId, String)> {
    let contacts = model.people.iter().filter(|(_, person)| person.contact);
    let mut contacts: Vec<_> =
        contacts.map(|(user, person)| (*user, format!("{} ({})", model.name(*user), person.phone))).collect();
    contacts.sort_by(|one, other| one.1.cmp(&other.1));
    contacts.truncate(MOST);
    contacts
}

/// What can be done with the first message that was refused.
fn refused(model: &Model, conversation: Conversation, menu: Menu) -> Menu {
    let pending = model.talks.get(&conversation).map(|talk| talk.pending.as_slice()).unwrap_or_default();
    let Some(pending) = pending.iter().find(|pending| pending.refused.is_some()) else { return menu };
    let text = cut(&pending.text.replace('\n', " "), 20);
    menu.choice(format!("Send again: {text}"), Act::Again(conversation, pending.id.clone()))
        .choice(format!("Delete: {text}"), Act::Drop(conversation, pending.id.clone()))
}
