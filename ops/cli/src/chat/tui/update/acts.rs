//! What a person wants done: messages, requests, choices in menus.

use shared::{
    client::{SendError, Success, http::Group},
    ids::{Conversation, GroupId, MessageId, UserId},
    message::{Ask, WantedAck},
};

use super::{Effect, Turn};
use crate::chat::tui::{
    dialog::{Act, Dialog, Menu, Purpose},
    model::talk::{Item, Pending, What},
};

/// Messages without an answer; a client that is away for long is not to gather more than it can send.
pub const UNSENT: usize = 200;
/// Members of a group up to which each is asked whether they have a message.
const RECEIPTS: i64 = 30;

impl Turn<'_> {
    /// Sends what has been written.
    pub fn send(&mut self) {
        let Some(open) = self.model.open else { return };
        let (left, full) = (self.model.talk(open).left, self.model.unsent() >= UNSENT);
        let talk = self.model.talk(open);
        if talk.draft.text().trim().is_empty() {
            return;
        }
        if left {
            self.model.complain("You are no longer a member here.");
        } else if full {
            self.model.complain(format!("{UNSENT} messages wait to be stored: wait for them first."));
        } else {
            let text = talk.draft.take();
            talk.scroll = 0;
            self.send_text(open, text.trim_end().to_owned());
            self.read();
        }
    }

    fn send_text(&mut self, conversation: Conversation, text: String) {
        let Some(id) = self.model.next_id() else { return };
        let to = self.model.target(conversation);
        let ack = match conversation {
            Conversation::Group(group) => {
                let few = self.model.groups.get(&group).is_some_and(|group| group.count <= RECEIPTS);
                if few { WantedAck::Receipts } else { WantedAck::Stored }
            }
            Conversation::Direct(low, high) if low == high => WantedAck::Stored,
            Conversation::Direct(..) => WantedAck::Receipts,
        };
        let pending = Pending { id: id.clone(), text: text.clone(), refused: None };
        self.model.talk(conversation).pending.push(pending);
        self.effect(Effect::Send { conversation, to, id, text, ack });
    }

    /// Does what a choice says.
    pub fn act(&mut self, act: Act) {
        self.model.dialog = None;
        match act {
            Act::Close => {}
            Act::Open(conversation) => self.open(conversation),
            Act::Ask(ask) => self.effect(Effect::Ask(ask)),
            Act::Prompt(purpose) => self.ask(purpose),
            Act::Person(user) => self.show_person(user),
            Act::Members(group) => self.effect(Effect::Members(group)),
            Act::Member(group, user) => self.show_member(group, user),
            Act::Add(group) => self.show_contacts_to_add(group),
            Act::Devices => self.effect(Effect::Devices),
            Act::End(device) => self.effect(Effect::End(device)),
            Act::Again(conversation, id) => {
                if let Some(pending) = self.forget(conversation, &id) {
                    self.send_text(conversation, pending.text);
                }
            }
            Act::Drop(conversation, id) => drop(self.forget(conversation, &id)),
            Act::Sure(question, act) => {
                let menu = Menu::new("Sure?").line(question).choice("No", Act::Close).choice("Yes", *act);
                self.model.dialog = Some(Dialog::Menu(menu));
            }
        }
    }

    fn forget(&mut self, conversation: Conversation, id: &MessageId) -> Option<Pending> {
        let talk = self.model.talk(conversation);
        let at = talk.pending.iter().position(|pending| pending.id == *id && pending.refused.is_some())?;
        Some(talk.pending.remove(at))
    }

    /// A line of text was given to a question.
    pub fn answer(&mut self, purpose: Purpose, text: String) {
        // Blanks may be part of a password.
        let text = if purpose.is_secret() { text } else { text.trim().to_owned() };
        match purpose {
            Purpose::Name | Purpose::OldPassword | Purpose::NewPassword(_) | Purpose::SamePassword(..) => {
                self.answer_of_self(purpose, text);
            }
            Purpose::Find | Purpose::Add(_) if text.is_empty() => {}
            Purpose::Find | Purpose::Add(_) => {
                if let Some(Dialog::Prompt(prompt)) = &mut self.model.dialog {
                    prompt.waiting = true;
                    prompt.said.clear();
                }
                self.effect(Effect::Find(text, purpose));
            }
            Purpose::Group if text.is_empty() => {}
            Purpose::Group => self.act(Act::Ask(Ask::CreateGroup { name: text, members: Vec::new() })),
            Purpose::Hello(to) => self.act(Act::Ask(Ask::AddContact { to, message: text })),
        }
    }

    pub fn add_member(&mut self, group: GroupId, member: UserId) {
        self.act(Act::Ask(Ask::CreateGroupMember { group, member }));
    }

    /// A request has its answer.
    pub fn done(&mut self, ask: Ask, answer: Result<Success, SendError>, now: i64) {
        let success = match answer {
            Ok(success) => success,
            Err(SendError::Refused(refused)) => return self.model.complain(refused.reason),
            Err(error) => return self.model.complain(error.to_string()),
        };
        let me = self.model.me;
        let conversation = match success.group_id {
            Some(group) => Some(Conversation::Group(group)),
            None => ask.conversation(me),
        };
        // The step's own place: the one who made it is not sent it.
        if let (Some(conversation), Some(seq)) = (conversation, success.seq) {
            let (text, about) = match &ask {
                Ask::AddContact { message, .. } => (message.clone(), Vec::new()),
                Ask::CreateGroup { name, members } => (name.clone(), members.clone()),
                Ask::CreateGroupMember { member, .. } => (String::new(), vec![*member]),
                Ask::DeleteGroupMember { member, .. } => (String::new(), member.iter().copied().collect()),
                _ => (String::new(), Vec::new()),
            };
            let item = Item::new(me, now, What::Step { name: ask.name(), text, about });
            self.add(conversation, |talk| {
                talk.put(seq, item);
            });
        }
        match ask {
            Ask::AddContact { to, .. } => {
                let name = self.model.name(to);
                self.model.say(match success.contact_version {
                    Some(_) => format!("{name} is a contact now."),
                    None => format!("{name} has been asked."),
                });
                let own = success.contact_version.is_none().then_some(true);
                self.wait(Conversation::direct(me, to), own);
            }
            Ask::AcceptContact { to } | Ask::DeclineContact { to } | Ask::DeleteContact { to } => {
                self.wait(Conversation::direct(me, to), None);
            }
            Ask::Block { to } => {
                self.model.blocked.insert(to);
                let name = self.model.name(to);
                self.model.say(format!("{name} is blocked: nothing of theirs reaches you."));
            }
            Ask::Unblock { to } => {
                self.model.blocked.remove(&to);
                let name = self.model.name(to);
                self.model.say(format!("{name} is no longer blocked."));
            }
            Ask::CreateGroup { name, .. } => {
                self.effect(Effect::Groups);
                if let Some(group) = success.group_id {
                    let made = Group { id: group, name, creator: me, count: 1, members: vec![me] };
                    self.model.groups.insert(group, made);
                    self.open(Conversation::Group(group));
                    self.show_contacts_to_add(group);
                }
            }
            Ask::CreateGroupMember { group, member } => {
                let (name, group) = (self.model.name(member), self.model.title(Conversation::Group(group)));
                self.model.say(format!("{name} is in {group} now."));
                self.effect(Effect::Groups);
            }
            Ask::DeleteGroupMember { group, member } => {
                if member.is_none_or(|member| member == me) {
                    self.model.talk(Conversation::Group(group)).left = true;
                }
                self.effect(Effect::Groups);
            }
            Ask::DeleteGroup { group } => {
                self.model.talk(Conversation::Group(group)).left = true;
                self.effect(Effect::Groups);
            }
        }
    }
}
