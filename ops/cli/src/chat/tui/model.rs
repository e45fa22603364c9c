//! Everything the screen shows, and nothing else: no I/O, no clock.

pub mod talk;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use shared::{
    client::http::{Group, User},
    ids::{Conversation, GroupId, MessageId, UserId},
    message::Target,
};

use self::talk::Talk;
use super::dialog::Dialog;
use crate::chat::clock::Clock;

/// Conversations kept, the longest silent ones go first.
const TALKS: usize = 5_000;

/// The state.
#[derive(Debug)]
pub struct Model {
    /// Who this is.
    pub me: UserId,
    /// Whether there is a connection.
    pub line: Line,
    /// Everybody who is known by name.
    pub people: HashMap<UserId, Person>,
    /// Asked for, or known.
    pub asked: HashSet<UserId>,
    /// Up to which version the contacts are known.
    pub contacts: i64,
    /// Whose contact request waits, and whether it is this user's own.
    pub waiting: BTreeMap<UserId, bool>,
    /// Who is blocked.
    pub blocked: BTreeSet<UserId>,
    /// The groups this user is in.
    pub groups: HashMap<GroupId, Group>,
    /// The conversations.
    pub talks: BTreeMap<Conversation, Talk>,
    /// The one on the screen.
    pub open: Option<Conversation>,
    /// The one that Enter would open, while none is.
    pub at: Option<Conversation>,
    /// What lies over the rest.
    pub dialog: Option<Dialog>,
    /// One line of news.
    pub notice: Option<Notice>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// Whether the next Ctrl-X is for good.
    pub leaving: bool,
    /// In which time zone times are told.
    pub clock: Clock,
    /// Whether marks and frames are made of ASCII alone.
    pub ascii: bool,
    ids: Ids,
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The first one is being made.
    Connecting,
    /// To this node.
    Up(String),
    /// Lost.
    Down {
        /// Why, for people.
        reason: String,
        /// For how long.
        seconds: u64,
    },
}

/// Somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Their own name.
    pub name: String,
    /// Their phone.
    pub phone: String,
    /// Whether they and this user are contacts.
    pub contact: bool,
}

/// One line of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it says.
    pub text: String,
    /// Whether something went wrong.
    pub bad: bool,
}

#[derive(Debug)]
struct Ids {
    start: String,
    next: u64,
}

impl Model {
    /// Nothing yet. `ids` is what no other run of this device has begun its ids with.
    pub fn new(me: UserId, ids: String, size: (u16, u16), clock: Clock) -> Self {
        Self {
            me,
            line: Line::Connecting,
            people: HashMap::new(),
            asked: HashSet::from([me]),
            contacts: 0,
            waiting: BTreeMap::new(),
            blocked: BTreeSet::new(),
            groups: HashMap::new(),
            talks: BTreeMap::new(),
            open: None,
            at: None,
            dialog: None,
            notice: None,
            size,
            leaving: false,
            clock,
            ascii: false,
            ids: Ids { start: ids, next: 0 },
        }
    }

    /// An id for the next message.
    pub fn next_id(&mut self) -> Option<MessageId> {
        self.ids.next += 1;
        MessageId::new(&format!("{}-{}", self.ids.start, self.ids.next)).ok()
    }

    /// The conversation, made where there is none yet.
    pub fn talk(&mut self, conversation: Conversation) -> &mut Talk {
        if self.talks.len() >= TALKS && !self.talks.contains_key(&conversation) {
            let silent =
                self.talks.iter().filter(|(name, talk)| Some(**name) != self.open && talk.pending.is_empty());
            if let Some(name) = silent.min_by_key(|(_, talk)| talk.last_ts).map(|(name, _)| *name) {
                self.talks.remove(&name);
            }
        }
        self.talks.entry(conversation).or_default()
    }

    /// The one on the screen.
    pub fn open_talk(&self) -> Option<(Conversation, &Talk)> {
        let open = self.open?;
        Some((open, self.talks.get(&open)?))
    }

    /// Conversations as the list shows them: those with the newest first.
    pub fn order(&self) -> Vec<Conversation> {
        let mut order: Vec<_> = self.talks.iter().map(|(name, talk)| (talk.last_ts, *name)).collect();
        order.sort_by(|one, other| other.cmp(one));
        order.into_iter().map(|(_, name)| name).collect()
    }

    /// What a person is called.
    pub fn name(&self, user: UserId) -> String {
        match self.people.get(&user) {
            _ if user == self.me => "me".to_owned(),
            Some(person) if !person.name.is_empty() => person.name.clone(),
            _ => format!("user {user}"),
        }
    }

    /// What a conversation is called.
    pub fn title(&self, conversation: Conversation) -> String {
        match conversation {
            Conversation::Group(group) => match self.groups.get(&group) {
                Some(group) if !group.name.is_empty() => format!("# {}", group.name),
                _ => format!("# group {group}"),
            },
            talk => match talk.peer(self.me) {
                Some(peer) if peer != self.me => self.name(peer),
                _ => "notes to myself".to_owned(),
            },
        }
    }

    /// Remembers somebody.
    pub fn meet(&mut self, user: &User) {
        self.asked.insert(user.id);
        let person = self.people.entry(user.id).or_default();
        person.name.clone_from(&user.name);
        person.phone.clone_from(&user.phone);
    }

    /// Messages that are not stored yet.
    pub fn unsent(&self) -> usize {
        self.talks.values().flat_map(|talk| &talk.pending).filter(|pending| pending.refused.is_none()).count()
    }

    /// Whom a message there goes to.
    pub fn target(&self, conversation: Conversation) -> Target {
        match conversation {
            Conversation::Group(group) => Target::Group(group),
            talk => Target::User(talk.peer(self.me).unwrap_or(self.me)),
        }
    }

    /// Whether both sides fit beside each other.
    pub fn is_wide(&self) -> bool {
        self.size.0 >= 60
    }

    /// Says something in the line for news.
    pub fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: false });
    }

    /// Says that something went wrong.
    pub fn complain(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice { text: text.into(), bad: true });
    }
}
