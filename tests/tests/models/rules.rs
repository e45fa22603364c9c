//! The rules of messages, contacts and groups as sets, one frame at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::{
    command::Code,
    ids::{Conversation, Device, GroupId, UserId},
    message::{Accepted, Ask, Body, Target},
};
use workers::pipeline::effect::Outcome;

/// The most members of a group: small, so that it is met.
pub const MEMBERS: usize = 6;

/// What a frame must come to.
#[derive(Debug)]
pub struct Expected {
    pub outcome: Outcome,
    pub place: Option<(Conversation, i64)>,
    pub shown: BTreeSet<UserId>,
}

#[derive(Debug)]
struct Row {
    sender: UserId,
    device: Device,
    id: String,
    shown: BTreeSet<UserId>,
}

#[derive(Debug)]
struct Group {
    creator: UserId,
    dissolved: bool,
}

/// From where to where a user takes part, both included; open without an end.
type Part = (i64, Option<i64>);

#[derive(Debug, Default)]
pub struct Model {
    users: BTreeSet<UserId>,
    /// (who, whom)
    blocks: BTreeSet<(UserId, UserId)>,
    /// (from, to)
    asked: BTreeSet<(UserId, UserId)>,
    contacts: BTreeSet<(UserId, UserId)>,
    groups: BTreeMap<GroupId, Group>,
    rooms: BTreeMap<Conversation, Vec<Row>>,
    parts: BTreeMap<(UserId, Conversation), Vec<Part>>,
    /// What was stored, and where; a block is nowhere.
    done: HashMap<String, Option<(Conversation, i64)>>,
}

/// What makes a retry recognisable.
fn key(frame: &Accepted) -> String {
    format!("{} {} {:?}", frame.from.user, frame.from.device, frame.what)
}

fn refused(outcome: Outcome) -> Expected {
    Expected { outcome, place: None, shown: BTreeSet::new() }
}

type Verdict = Result<BTreeSet<UserId>, Code>;

impl Model {
    pub fn new(users: &[UserId]) -> Self {
        Self { users: users.iter().copied().collect(), ..Self::default() }
    }

    pub fn groups(&self) -> Vec<GroupId> {
        self.groups.keys().copied().collect()
    }

    pub fn creator(&self, group: GroupId) -> Option<UserId> {
        self.groups.get(&group).map(|group| group.creator)
    }

    pub fn conversations(&self) -> Vec<Conversation> {
        self.rooms.keys().copied().collect()
    }

    /// `made`: the group that the system says a new `create_group` made.
    pub fn apply(&mut self, frame: &Accepted, made: Option<GroupId>) -> Expected {
        if let Some(before) = self.done_before(frame) {
            return before;
        }
        let (verdict, conversation) = match &frame.what {
            Body::Message(message) => {
                let conversation = message.to.conversation(frame.from.user);
                (self.text(frame.from.user, message.to), Some(conversation))
            }
            Body::Request(request) => self.request(frame.from.user, &request.what, made),
        };
        let shown = match verdict {
            Err(code) => {
                return refused(Outcome::Refused(code));
            }
            Ok(shown) => shown,
        };
        let place = conversation.map(|conversation| self.append(frame, conversation, shown.clone()));
        self.done.insert(key(frame), place);
        Expected { outcome: Outcome::Stored, place, shown }
    }

    /// The frame was in a chunk that is committed: nothing is decided anew. Why it was refused may be said differently.
    pub fn again(&self, frame: &Accepted, outcome: Outcome) -> Expected {
        self.done_before(frame).unwrap_or_else(|| {
            assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}: it was refused: {frame:?}");
            refused(outcome)
        })
    }

    fn done_before(&self, frame: &Accepted) -> Option<Expected> {
        let place = self.done.get(&key(frame)).copied()?;
        let shown = place.map(|place| self.shown_again(frame, place)).unwrap_or_default();
        Some(Expected { outcome: Outcome::Duplicate, place, shown })
    }

    fn text(&self, sender: UserId, to: Target) -> Verdict {
        match to {
            Target::User(user) if !self.users.contains(&user) => Err(Code::NotFound),
            Target::User(user) if self.blocks.contains(&(user, sender)) => Err(Code::Blocked),
            Target::User(user) => Ok(BTreeSet::from([sender, user])),
            Target::Group(group) => self.member_of(sender, group),
        }
    }

    /// The members, if the sender is one.
    fn member_of(&self, sender: UserId, group: GroupId) -> Verdict {
        let members = self.members(group);
        match self.groups.get(&group) {
            None => Err(Code::NotFound),
            Some(group) if group.dissolved || !members.contains(&sender) => Err(Code::NotMember),
            Some(_) => Ok(members),
        }
    }

    fn members(&self, group: GroupId) -> BTreeSet<UserId> {
        let open = |user: &UserId| {
            let parts = self.parts.get(&(*user, Conversation::Group(group)));
            parts.is_some_and(|parts| parts.iter().any(|(_, to)| to.is_none()))
        };
        self.users.iter().copied().filter(open).collect()
    }

    /// Decides and does; where it is to be told, if anywhere.
    fn request(&mut self, me: UserId, what: &Ask, made: Option<GroupId>) -> (Verdict, Option<Conversation>) {
        match *what {
            Ask::CreateGroup { ref members, .. } => {
                let verdict = self.create(me, members, made);
                (verdict, made.map(Conversation::Group))
            }
            Ask::CreateGroupMember { group, member } => {
                let conversation = Conversation::Group(group);
                let verdict = self.add(me, group, member);
                if verdict.is_ok() {
                    self.join(member, conversation, self.next(conversation));
                }
                (verdict, Some(conversation))
            }
            Ask::DeleteGroupMember { group, member } => {
                let (conversation, member) = (Conversation::Group(group), member.unwrap_or(me));
                let verdict = self.remove(me, group, member);
                if verdict.is_ok() {
                    self.leave(member, conversation);
                }
                (verdict, Some(conversation))
            }
            Ask::DeleteGroup { group } => {
                let conversation = Conversation::Group(group);
                let verdict = self.member_of(me, group);
                let verdict = if verdict.is_ok() && self.creator(group) != Some(me) {
                    Err(Code::Forbidden)
                } else {
                    verdict
                };
                if let (Ok(members), Some(group)) = (&verdict, self.groups.get_mut(&group)) {
                    group.dissolved = true;
                    members.iter().for_each(|member| self.leave(*member, conversation));
                }
                (verdict, Some(conversation))
            }
            Ask::AddContact { to, .. }
            | Ask::AcceptContact { to }
            | Ask::DeclineContact { to }
            | Ask::DeleteContact { to }
            | Ask::Block { to }
            | Ask::Unblock { to } => {
                let quiet = matches!(what, Ask::Block { .. } | Ask::Unblock { .. });
                let verdict = self.contact(me, to, what);
                (verdict, (!quiet).then(|| Conversation::direct(me, to)))
            }
        }
    }

    fn create(&mut self, me: UserId, members: &[UserId], made: Option<GroupId>) -> Verdict {
        let everyone: BTreeSet<UserId> = members.iter().copied().chain([me]).collect();
        if everyone.len() > MEMBERS {
            return Err(Code::Limit);
        }
        self.nobody_objects(me, &everyone)?;
        let group = made.expect("the system says which group it has made");
        let known = self.groups.insert(group, Group { creator: me, dissolved: false });
        assert!(known.is_none(), "{group} is new");
        everyone.iter().for_each(|member| self.join(*member, Conversation::Group(group), 1));
        Ok(everyone)
    }

    fn add(&self, me: UserId, group: GroupId, member: UserId) -> Verdict {
        let mut members = self.member_of(me, group)?;
        let size = members.len();
        if !members.insert(member) {
            return Err(Code::Exists);
        }
        self.nobody_objects(me, &BTreeSet::from([member]))?;
        if self.creator(group) != Some(me) && !self.contacts.contains(&(me, member)) {
            return Err(Code::Forbidden);
        }
        if size >= MEMBERS { Err(Code::Limit) } else { Ok(members) }
    }

    fn remove(&self, me: UserId, group: GroupId, member: UserId) -> Verdict {
        let members = self.member_of(me, group)?;
        let creator = self.creator(group);
        if creator == Some(member) || (member != me && creator != Some(me)) {
            return Err(Code::Forbidden);
        }
        if members.contains(&member) { Ok(members) } else { Err(Code::NotFound) }
    }

    fn nobody_objects(&self, me: UserId, named: &BTreeSet<UserId>) -> Result<(), Code> {
        if !named.is_subset(&self.users) {
            return Err(Code::NotFound);
        }
        let blocks = named.iter().any(|user| self.blocks.contains(&(*user, me)));
        if blocks { Err(Code::Blocked) } else { Ok(()) }
    }

    fn contact(&mut self, me: UserId, to: UserId, what: &Ask) -> Verdict {
        if me == to {
            return Err(Code::Invalid);
        }
        if !self.users.contains(&to) {
            return Err(Code::NotFound);
        }
        let (they_block, they_asked) = (self.blocks.contains(&(to, me)), self.asked.contains(&(to, me)));
        match what {
            Ask::AddContact { .. } if they_block => return Err(Code::Blocked),
            Ask::AddContact { .. } if self.contacts.contains(&(me, to)) => return Err(Code::Exists),
            Ask::AddContact { .. } if self.asked.contains(&(me, to)) => return Err(Code::Waiting),
            Ask::AddContact { .. } if !they_asked => drop(self.asked.insert((me, to))),
            Ask::AcceptContact { .. } | Ask::DeclineContact { .. } if !they_asked => {
                return Err(Code::NoRequest);
            }
            Ask::AcceptContact { .. } if they_block => return Err(Code::Blocked),
            Ask::AddContact { .. } | Ask::AcceptContact { .. } => {
                self.contacts.extend([(me, to), (to, me)]);
                self.asked.retain(|pair| *pair != (me, to) && *pair != (to, me));
            }
            Ask::DeclineContact { .. } => self.asked.retain(|pair| *pair != (me, to) && *pair != (to, me)),
            Ask::DeleteContact { .. } => {
                if !self.contacts.remove(&(me, to)) {
                    return Err(Code::NotFound);
                }
                self.contacts.remove(&(to, me));
            }
            Ask::Block { .. } => {
                self.blocks.insert((me, to));
                self.asked.remove(&(to, me));
                return Ok(BTreeSet::new());
            }
            _ => {
                self.blocks.remove(&(me, to));
                return Ok(BTreeSet::new());
            }
        }
        Ok(BTreeSet::from([me, to]))
    }

    /// Who is shown something that was stored before: a text whoever is in the conversation and was then, a request everyone
    /// who was.
    fn shown_again(&self, frame: &Accepted, (conversation, seq): (Conversation, i64)) -> BTreeSet<UserId> {
        match (conversation, &frame.what) {
            (Conversation::Direct(low, high), _) => BTreeSet::from([low, high]),
            (Conversation::Group(group), Body::Message(_)) => {
                let since = |user: &UserId| {
                    self.parts[&(*user, conversation)].iter().any(|(from, to)| to.is_none() && *from <= seq)
                };
                self.members(group).into_iter().filter(since).collect()
            }
            (Conversation::Group(_), Body::Request(_)) => {
                self.users.iter().copied().filter(|user| self.sees(*user, conversation, seq)).collect()
            }
        }
    }

    fn append(
        &mut self,
        frame: &Accepted,
        conversation: Conversation,
        shown: BTreeSet<UserId>,
    ) -> (Conversation, i64) {
        let seq = self.next(conversation);
        if let (1, Conversation::Direct(low, high)) = (seq, conversation) {
            BTreeSet::from([low, high]).into_iter().for_each(|user| self.join(user, conversation, 1));
        }
        let (sender, device) = (frame.from.user, frame.from.device.clone());
        let row = Row { sender, device, id: frame.id().to_string(), shown };
        self.rooms.entry(conversation).or_default().push(row);
        (conversation, seq)
    }

    fn next(&self, conversation: Conversation) -> i64 {
        self.rooms.get(&conversation).map_or(1, |rows| rows.len() as i64 + 1)
    }

    fn join(&mut self, user: UserId, conversation: Conversation, seq: i64) {
        self.parts.entry((user, conversation)).or_default().push((seq, None));
    }

    /// With the notice that comes next.
    fn leave(&mut self, user: UserId, conversation: Conversation) {
        let last = self.next(conversation);
        for (_, to) in self.parts.get_mut(&(user, conversation)).into_iter().flatten() {
            *to = to.or(Some(last));
        }
    }

    fn sees(&self, user: UserId, conversation: Conversation, seq: i64) -> bool {
        let parts = self.parts.get(&(user, conversation)).into_iter().flatten();
        parts.into_iter().any(|(from, to)| *from <= seq && to.is_none_or(|to| seq <= to))
    }

    /// Whoever was shown a row live is who sees it ever after.
    pub fn check(&self) {
        for (conversation, rows) in &self.rooms {
            for (seq, row) in (1..).zip(rows) {
                let see = self.users.iter().copied().filter(|user| self.sees(*user, *conversation, seq));
                assert_eq!(row.shown, see.collect(), "{conversation} {seq}");
            }
        }
    }

    pub fn seen(&self, user: UserId, conversation: Conversation) -> Vec<i64> {
        (1..self.next(conversation)).filter(|seq| self.sees(user, conversation, *seq)).collect()
    }

    /// Without any acknowledgement: all that the user sees, and that device has not sent, by the conversations' names.
    pub fn owed(&self, user: UserId, device: Option<&Device>) -> Vec<(Conversation, i64, String)> {
        let mut rooms = self.conversations();
        rooms.sort_by_key(Conversation::to_string);
        let mut owed = Vec::new();
        for room in rooms {
            for seq in self.seen(user, room) {
                let row = &self.rooms[&room][seq as usize - 1];
                if row.sender != user || device != Some(&row.device) {
                    owed.push((room, seq, row.id.clone()));
                }
            }
        }
        owed
    }

    /// Each conversation's newest message, others' messages in its last part, and whether that is open.
    pub fn listed(&self, user: UserId) -> Vec<(Conversation, i64, i64, bool)> {
        let mut rooms = self.conversations();
        rooms.sort_by_key(Conversation::to_string);
        let listed = rooms.into_iter().filter_map(|room| {
            let (from, to) = *self.parts.get(&(user, room))?.last()?;
            let seen = self.seen(user, room);
            let unread = seen
                .iter()
                .filter(|seq| **seq >= from && self.rooms[&room][**seq as usize - 1].sender != user)
                .count();
            Some((room, *seen.last()?, unread as i64, to.is_none()))
        });
        listed.collect()
    }
}
