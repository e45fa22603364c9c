//! What happens to the state: a message in, the state changed, and what is to be done about it out. No I/O.

mod acts;
mod keys;
mod menus;
mod news;
mod own;

pub use self::{acts::UNSENT, keys::KEYS, menus::asks};

use crossterm::event::KeyEvent;
use shared::{
    client::{
        Delivery, Event, SendError, Stored, Success,
        http::{Contacts, Group, OwnDevice, Page, Request, Talk, User},
    },
    config::Secret,
    ids::{Conversation, Device, GroupId, MessageId, Seq, UserId},
    message::{Ask, Target, WantedAck},
};

use super::{
    dialog::Purpose,
    model::{
        Model,
        talk::{self, History},
    },
    rows::{places, rows},
};

/// What happened.
#[derive(Debug)]
pub enum Msg {
    /// A key.
    Key(KeyEvent),
    /// Text from a clipboard, as one.
    Paste(String),
    /// The screen has this many columns and rows now.
    Size(u16, u16),
    /// A second has passed.
    Second,
    /// The server said something.
    Server(Event),
    /// A message has its answer.
    Sent(Conversation, MessageId, Result<Stored, SendError>),
    /// A request has its answer, at this time.
    Done(Ask, Result<Success, SendError>, i64),
    /// The conversations.
    Talks(Result<Vec<Talk>, String>),
    /// The groups.
    Groups(Result<Vec<Group>, String>),
    /// What changed among the contacts.
    Contacts(Result<Contacts, String>),
    /// The requests that wait.
    Requests(Result<Vec<Request>, String>),
    /// Who is blocked.
    Blocked(Result<Vec<User>, String>),
    /// A page of history.
    History(Conversation, Result<Page<Delivery>, String>),
    /// Who has a phone number.
    Found(Purpose, Result<Option<User>, String>),
    /// Somebody by number.
    Person(UserId, Result<Option<User>, String>),
    /// A group with its members.
    Members(GroupId, Result<(Group, Vec<User>), String>),
    /// One's own devices.
    Devices(Result<Vec<OwnDevice>, String>),
    /// One of them has been logged out.
    Ended(Device, Result<(), String>),
    /// One has another name.
    Named(String, Result<(), String>),
    /// One has another password.
    Password(Result<(), String>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a message.
    Send { conversation: Conversation, to: Target, id: MessageId, text: String, ack: WantedAck },
    /// Make a request.
    Ask(Ask),
    /// Say that everything up to here is read.
    Read(Conversation, Seq),
    /// Load the conversations.
    Talks,
    /// Load the groups.
    Groups,
    /// Load what changed among the contacts.
    Contacts(i64),
    /// Load the requests that wait.
    Requests,
    /// Load who is blocked.
    Blocked,
    /// Load history before this.
    History(Conversation, Target, Option<Seq>),
    /// Look a phone number up.
    Find(String, Purpose),
    /// Look a number up.
    Person(UserId),
    /// Load a group's members.
    Members(GroupId),
    /// Load one's own devices.
    Devices,
    /// Log one of them out.
    End(Device),
    /// Take another name.
    Name(String),
    /// Take another password: the one there is, and the new one.
    Password(Secret, Secret),
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
}

/// One step.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut turn = Turn { model, effects: Vec::new() };
    match msg {
        Msg::Key(key) => turn.key(key),
        Msg::Paste(text) => turn.paste(&text),
        Msg::Size(columns, rows) => {
            turn.model.size = (columns, rows);
            turn.fill();
        }
        Msg::Second => turn.second(),
        Msg::Server(event) => turn.event(event),
        Msg::Sent(conversation, id, answer) => turn.sent(conversation, &id, answer),
        Msg::Done(ask, answer, now) => turn.done(ask, answer, now),
        Msg::Talks(answer) => turn.loaded(answer, Turn::talks),
        Msg::Groups(answer) => turn.loaded(answer, Turn::groups),
        Msg::Contacts(answer) => turn.loaded(answer, Turn::contacts),
        Msg::Requests(answer) => turn.loaded(answer, Turn::requests),
        Msg::Blocked(answer) => turn.loaded(answer, Turn::blocked),
        Msg::History(conversation, answer) => turn.history(conversation, answer),
        Msg::Found(purpose, answer) => turn.found(&purpose, answer),
        Msg::Person(user, answer) => turn.person(user, answer),
        Msg::Members(group, answer) => turn.members(group, answer),
        Msg::Devices(answer) => turn.loaded(answer, Turn::devices),
        Msg::Ended(device, answer) => turn.loaded(answer, |turn, ()| turn.ended(&device)),
        Msg::Named(name, answer) => turn.loaded(answer, |turn, ()| turn.named(name)),
        Msg::Password(answer) => turn.loaded(answer, |turn, ()| turn.password_changed()),
    }
    turn.effects
}

struct Turn<'a> {
    model: &'a mut Model,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Puts a conversation on the screen.
    fn open(&mut self, conversation: Conversation) {
        if let Some(before) = self.model.open.filter(|before| *before != conversation)
            && let Some(talk) = self.model.talks.get_mut(&before)
        {
            talk.forget();
        }
        self.model.talk(conversation);
        self.model.open = Some(conversation);
        self.model.at = Some(conversation);
        self.model.notice = None;
        if let Conversation::Direct(low, high) = conversation {
            self.who(low);
            self.who(high);
        }
        self.read();
        self.fill();
    }

    /// Asks for somebody's name, once.
    fn who(&mut self, user: UserId) {
        if self.model.asked.insert(user) {
            self.effect(Effect::Person(user));
        }
    }

    /// What is on the screen's end has been read.
    fn read(&mut self) {
        let (me, Some(open)) = (self.model.me, self.model.open) else { return };
        if let Some(talk) = self.model.talks.get_mut(&open)
            && talk.scroll == 0
            && let Some(seq) = talk.read_all(me)
        {
            self.effect(Effect::Read(open, seq));
        }
    }

    /// Loads history where the screen has room for it.
    fn fill(&mut self) {
        let (height, lines) = self.extent();
        if lines.saturating_sub(1) < height {
            self.load();
        } else if let Some(Some(talk)) = self.model.open.map(|open| self.model.talks.get_mut(&open)) {
            talk.scroll = talk.scroll.min(lines - height);
        }
    }

    /// Loads what came before the first entry.
    fn load(&mut self) {
        let Some(open) = self.model.open else { return };
        self.load_of(open);
    }

    fn load_of(&mut self, conversation: Conversation) {
        let to = self.model.target(conversation);
        let Some(talk) = self.model.talks.get_mut(&conversation) else { return };
        let before = match talk.history {
            // The newest page joins what came live, wherever that began.
            History::Unknown => None,
            History::More => talk.items.keys().next().copied(),
            History::Loading | History::Whole => return,
        };
        talk.history = History::Loading;
        self.effect(Effect::History(conversation, to, before));
    }

    /// Rows for what was said, and how many it has.
    fn extent(&self) -> (usize, usize) {
        let Some((open, talk)) = self.model.open_talk() else { return (0, usize::MAX / 2) };
        let said = places(self.model).said;
        (usize::from(said.height), rows(self.model, open, talk, usize::from(said.width)).len())
    }

    /// Adds to the end of a conversation; who has scrolled up goes on seeing what was there.
    fn add(&mut self, conversation: Conversation, add: impl FnOnce(&mut talk::Talk)) {
        let scrolled = self.model.open == Some(conversation)
            && self.model.talks.get(&conversation).is_some_and(|talk| talk.scroll > 0);
        let before = if scrolled { self.extent().1 } else { 0 };
        add(self.model.talk(conversation));
        if scrolled {
            let after = self.extent().1;
            self.model.talk(conversation).scroll += after.saturating_sub(before);
        }
    }
}

#[cfg(test)]
mod tests;
