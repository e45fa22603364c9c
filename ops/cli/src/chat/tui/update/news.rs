//! What the server says, live and when asked.

use shared::{
    client::{
        Delivery, Event, Receipt, SendError, Stored,
        http::{Contacts, Group, Page, Request, Talk, User},
    },
    command::RequestName,
    ids::{Conversation, GroupId, MessageId, Seq, UserId},
};

use super::{Effect, Turn};
use crate::chat::tui::{
    dialog::{Dialog, Purpose},
    model::{Line, talk::History},
};

/// Conversations whose people are asked for by name at once; others are when they are opened or say something.
const NAMED: usize = 200;

impl Turn<'_> {
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Delivery(delivery) => self.delivery(&delivery),
            Event::Receipt(receipt) => self.receipt(&receipt),
            Event::Connected { server, .. } => {
                self.model.line = Line::Up(server);
                self.refresh();
            }
            Event::Disconnected { reason } => self.model.line = Line::Down { reason, seconds: 0 },
            Event::Refusal(refused) => self.model.complain(refused.reason),
            // The two last events end the client: whoever runs this sees them.
            Event::Moved { .. } | Event::Replaced | Event::LoginRefused(_) | Event::Unknown(_) => {}
        }
    }

    /// Everything that the server tells only when asked.
    fn refresh(&mut self) {
        self.effect(Effect::Groups);
        self.effect(Effect::Contacts(self.model.contacts));
        self.effect(Effect::Requests);
        self.effect(Effect::Blocked);
        self.effect(Effect::Talks);
        // What was asked for in vain while there was no connection.
        let unknown: Vec<UserId> =
            self.model.asked.iter().filter(|user| !self.model.people.contains_key(user)).copied().collect();
        unknown.into_iter().for_each(|user| self.effect(Effect::Person(user)));
    }

    pub fn second(&mut self) {
        if let Line::Down { seconds, .. } = &mut self.model.line {
            *seconds += 1;
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        let (conversation, theirs) = (delivery.conversation, delivery.from != self.model.me);
        let mut new = false;
        self.add(conversation, |talk| new = talk.take(delivery));
        if !new {
            return;
        }
        self.who(delivery.from);
        if let Some((name, _)) = delivery.request() {
            self.step(delivery, name);
        }
        if theirs {
            self.model.talk(conversation).count(delivery.seq);
        }
        if self.model.open == Some(conversation) {
            self.read();
        }
    }

    /// A step with contacts or members, made by somebody else or on another device.
    fn step(&mut self, delivery: &Delivery, name: RequestName) {
        let who = self.model.name(delivery.from);
        match name {
            RequestName::AddContact if delivery.from != self.model.me => {
                self.wait(delivery.conversation, Some(false));
                self.model.say(format!("{who} asks to become a contact: Ctrl-R"));
            }
            RequestName::AddContact => self.wait(delivery.conversation, Some(true)),
            RequestName::AcceptContact | RequestName::DeclineContact | RequestName::DeleteContact => {
                self.wait(delivery.conversation, None);
            }
            RequestName::DeleteGroup => self.model.talk(delivery.conversation).left = true,
            RequestName::DeleteGroupMember => {
                let member = delivery.request().and_then(|(_, table)| table.get("member_id")?.as_integer());
                if member.map_or(delivery.from, UserId) == self.model.me {
                    self.model.talk(delivery.conversation).left = true;
                }
                self.effect(Effect::Groups);
            }
            RequestName::CreateGroup | RequestName::CreateGroupMember => {
                self.model.talk(delivery.conversation).left = false;
                self.effect(Effect::Groups);
            }
            _ => {}
        }
    }

    /// A request now waits between the two of a conversation, whose own it is, or none. Two that cross are none: the
    /// contacts say so.
    pub fn wait(&mut self, conversation: Conversation, own: Option<bool>) {
        let Some(peer) = conversation.peer(self.model.me) else { return };
        match own {
            Some(own) => drop(self.model.waiting.insert(peer, own)),
            None => drop(self.model.waiting.remove(&peer)),
        }
        self.effect(Effect::Contacts(self.model.contacts));
    }

    fn receipt(&mut self, receipt: &Receipt) {
        let me = self.model.me;
        let conversation = match (receipt.group, receipt.by) {
            (Some(group), _) => Conversation::Group(group),
            (None, Some(by)) => Conversation::direct(me, by),
            (None, None) => return,
        };
        if let Some(talk) = self.model.talks.get_mut(&conversation) {
            talk.receipt(receipt, me);
        }
    }

    pub fn sent(&mut self, conversation: Conversation, id: &MessageId, answer: Result<Stored, SendError>) {
        let me = self.model.me;
        self.add(conversation, |talk| match answer {
            Ok(stored) => talk.stored(id, me, stored.seq, stored.ts),
            Err(error) => {
                let reason = match error {
                    SendError::Refused(refused) => refused.reason,
                    other => other.to_string(),
                };
                if let Some(pending) = talk.pending.iter_mut().find(|pending| pending.id == *id) {
                    pending.refused = Some(reason);
                }
            }
        });
    }

    /// Takes what was asked for over HTTP, or says why it did not come.
    pub fn loaded<T>(&mut self, answer: Result<T, String>, take: impl FnOnce(&mut Self, T)) {
        match answer {
            Ok(answer) => take(self, answer),
            Err(reason) => self.model.complain(reason),
        }
    }

    pub fn talks(&mut self, rows: Vec<Talk>) {
        let me = self.model.me;
        for row in rows {
            let open = self.model.open == Some(row.conversation);
            let talk = self.model.talk(row.conversation);
            let last = row.last.as_ref().map_or(0, |last| last.seq.0);
            talk.read = talk.read.max(row.read);
            talk.left = row.left;
            talk.counted = talk.counted.max(last);
            let beyond =
                talk.items.range(Seq(last + 1)..).filter(|(seq, item)| item.from != me && seq.0 > talk.read);
            talk.unread = u64::try_from(row.unread).unwrap_or(0) + beyond.count() as u64;
            if let Some(last) = &row.last {
                talk.take(last);
            }
            if open {
                self.read();
            }
        }
        let order = self.model.order();
        self.model.at = self.model.at.or(order.first().copied());
        order.iter().take(NAMED).filter_map(|name| name.peer(me)).for_each(|peer| self.who(peer));
    }

    pub fn groups(&mut self, groups: Vec<Group>) {
        for group in &groups {
            // A group that nobody has spoken in yet is there all the same.
            self.model.talk(Conversation::Group(group.id));
        }
        self.model.groups = groups.into_iter().map(|group| (group.id, group)).collect();
    }

    pub fn requests(&mut self, requests: Vec<Request>) {
        requests.iter().for_each(|request| self.model.meet(&request.user));
        self.model.waiting = requests.into_iter().map(|request| (request.user.id, request.own)).collect();
    }

    pub fn blocked(&mut self, blocked: Vec<User>) {
        blocked.iter().for_each(|user| self.model.meet(user));
        self.model.blocked = blocked.into_iter().map(|user| user.id).collect();
    }

    pub fn contacts(&mut self, contacts: Contacts) {
        self.model.contacts = contacts.version;
        for user in &contacts.users {
            self.model.meet(user);
            let contact = user.deleted == 0;
            self.model.people.entry(user.id).or_default().contact = contact;
            if contact {
                self.model.waiting.remove(&user.id);
            }
        }
    }

    pub fn history(&mut self, conversation: Conversation, answer: Result<Page<Delivery>, String>) {
        let whole = match answer {
            Ok(page) => {
                let whole = !page.more || page.rows.is_empty();
                let talk = self.model.talk(conversation);
                for delivery in &page.rows {
                    talk.take(delivery);
                }
                page.rows.iter().for_each(|delivery| self.who(delivery.from));
                whole
            }
            Err(reason) => {
                self.model.complain(reason);
                // Asked for again at the next key that wants it.
                self.model.talk(conversation).history = History::More;
                return;
            }
        };
        self.model.talk(conversation).history = if whole { History::Whole } else { History::More };
        if self.model.open == Some(conversation) {
            self.read();
            self.fill();
        }
    }

    pub fn person(&mut self, id: UserId, answer: Result<Option<User>, String>) {
        match answer {
            Ok(Some(user)) => self.model.meet(&user),
            Ok(None) => drop(self.model.people.entry(id).or_default()),
            // Their number has to do until the next connection.
            Err(_) => {}
        }
    }

    pub fn found(&mut self, purpose: &Purpose, answer: Result<Option<User>, String>) {
        let Some(Dialog::Prompt(prompt)) = &mut self.model.dialog else { return };
        if prompt.purpose != *purpose || !prompt.waiting {
            return;
        }
        prompt.waiting = false;
        match answer {
            Err(reason) => prompt.said = reason,
            Ok(None) => prompt.said = "Nobody is registered with this number.".to_owned(),
            Ok(Some(user)) => {
                self.model.meet(&user);
                match purpose {
                    Purpose::Add(group) => self.add_member(*group, user.id),
                    _ => self.show_person(user.id),
                }
            }
        }
    }

    pub fn members(&mut self, group: GroupId, answer: Result<(Group, Vec<User>), String>) {
        match answer {
            Ok((found, users)) => {
                users.iter().for_each(|user| self.model.meet(user));
                self.model.groups.insert(group, found);
                self.show_members(group);
            }
            Err(reason) => self.model.complain(reason),
        }
    }
}
