//! One recipient's device: what became of a stored message there.

use serde::Serialize;
use shared::{
    ids::{SessionNo, UserId},
    trace::{Answer, Kind, Stop, What, Why},
};

use super::super::{
    facts::{Details, Device, Message},
    gaps,
    say::clock,
};

/// What became of it on one device.
#[derive(Debug, Serialize)]
pub struct DeviceRoad {
    /// Whose.
    pub user: UserId,
    /// Its name; `None`: of a session that has ended, whose device nobody remembers.
    pub device: Option<String>,
    /// How it stands.
    pub state: State,
    /// The session that is there now, and where.
    pub now: Option<On>,
    /// When its node put it before its sessions, by what is remembered.
    pub queued: Option<i64>,
    /// What sessions of it did, in order.
    pub stops: Vec<Halt>,
    /// How far the device has acknowledged the conversation.
    pub cursor: Option<i64>,
    /// What there is to say.
    pub why: Vec<String>,
}

/// A session and its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct On {
    /// The node.
    pub node: String,
    /// The session's number.
    pub session: SessionNo,
}

/// Something that a session did.
#[derive(Debug, Clone, Serialize)]
pub struct Halt {
    /// Where, and which session.
    #[serde(flatten)]
    pub on: On,
    /// What.
    pub what: What,
    /// And why.
    pub why: Why,
    /// When.
    pub at: i64,
}

/// How a message stands on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was sent from there.
    Sender,
    /// Its client has acknowledged it.
    Acknowledged,
    /// Written to its socket, and not acknowledged.
    Written,
    /// Its session is there, and it has not been written.
    Waiting,
    /// Its device is away; it gets it at its next login.
    Owed,
    /// Nobody knows.
    Unknown,
}

/// Every device, and sessions whose device is forgotten.
pub fn all(answers: &[Answer], message: &Message, details: &Details, at: i64) -> Vec<DeviceRoad> {
    let (mut halts, queued) = (halts(answers, message), queued(answers, message));
    let mut devices = Vec::new();
    for device in &details.devices {
        let standing = answers.iter().find_map(|answer| {
            let mut all = answer.session.iter();
            let here = all.find(|one| one.user == device.user && one.device.as_str() == device.name)?;
            Some(On { node: answer.process.name.clone(), session: here.session })
        });
        let mine = |(user, halt): &(UserId, Halt)| {
            let session = halt.on.session;
            *user == device.user
                && (session.0 == device.session || standing.as_ref().is_some_and(|on| on.session == session))
        };
        let (of_it, rest): (Vec<_>, Vec<_>) = halts.into_iter().partition(mine);
        halts = rest;
        let stops: Vec<Halt> = of_it.into_iter().map(|(_, halt)| halt).collect();
        let queued = when_queued(&queued, &stops, standing.as_ref());
        devices.push(judge(answers, message, device, standing, queued, stops, at));
    }
    // The sessions of a device that has logged in again since.
    halts.sort_by_key(|(user, halt)| (*user, halt.on.session, halt.at));
    for (user, halt) in halts {
        match devices.last_mut() {
            Some(last) if last.user == user && last.device.is_none() && last.is_of(halt.on.session) => {
                last.stops.push(halt);
            }
            _ => {
                let queued = when_queued(&queued, std::slice::from_ref(&halt), None);
                let why = vec!["a session that is not its device's newest any more".to_owned()];
                let (state, now, cursor) = (State::Unknown, None, None);
                devices.push(DeviceRoad {
                    user,
                    device: None,
                    state,
                    now,
                    queued,
                    stops: vec![halt],
                    cursor,
                    why,
                });
            }
        }
    }
    for device in devices.iter_mut().filter(|device| device.device.is_none()) {
        let has = |what| device.stops.iter().any(|halt| halt.what == what);
        device.state = match () {
            () if has(What::Answered) => State::Sender,
            () if has(What::Acknowledged) => State::Acknowledged,
            () if has(What::Written) || has(What::FromBacklog) => State::Written,
            () => State::Unknown,
        };
    }
    devices.sort_by_key(|device| device.user);
    devices
}

impl DeviceRoad {
    fn is_of(&self, session: SessionNo) -> bool {
        self.stops.first().is_some_and(|halt| halt.on.session == session)
    }
}

fn judge(
    answers: &[Answer],
    message: &Message,
    device: &Device,
    now: Option<On>,
    queued: Option<i64>,
    stops: Vec<Halt>,
    at: i64,
) -> DeviceRoad {
    let has = |what| stops.iter().any(|halt| halt.what == what);
    let written = has(What::Written) || has(What::FromBacklog);
    let sent_it = device.user == message.user && device.name == message.device;
    let acknowledged = device.cursor >= message.seq.0 || has(What::Acknowledged);
    let state = match (&now, written) {
        _ if sent_it => State::Sender,
        _ if acknowledged => State::Acknowledged,
        (_, true) => State::Written,
        (Some(_), _) => State::Waiting,
        (None, _) => State::Owed,
    };
    let mut why = Vec::new();
    let behind = || format!("its cursor is at {}", device.cursor);
    match state {
        State::Sender if !has(What::Answered) => why.push("it was sent from here".to_owned()),
        State::Sender | State::Unknown => {}
        State::Acknowledged if device.cursor < message.seq.0 => {
            why.push(format!(
                "acknowledged to its edge; {}, which follows within [node] cursor_ms",
                behind()
            ));
        }
        State::Acknowledged => {}
        State::Written => {
            why.push(format!("written, and not acknowledged by its client: {}", behind()));
            if now.is_none() {
                why.push("it has no session now: its next login brings it again".to_owned());
            }
        }
        State::Waiting => why.extend(waiting(&stops, &behind())),
        State::Owed => why.push(format!(
            "away since {} or later: owed, number {} of what it is owed of this conversation; {}",
            clock(device.seen),
            device.owed,
            behind()
        )),
    }
    if stops.is_empty() && state != State::Owed {
        let reasons = gaps::why(answers, Kind::Edge, "stop", Some(at));
        why.extend(reasons.into_iter().map(|reason| format!("nothing remembered of its session: {reason}")));
    }
    let cursor = Some(device.cursor);
    DeviceRoad {
        user: device.user,
        device: Some(device.name.clone()),
        state,
        now,
        queued,
        stops,
        cursor,
        why,
    }
}

/// Why a session that is there has not written it.
fn waiting(stops: &[Halt], behind: &str) -> Vec<String> {
    let last = stops.iter().rfind(|halt| matches!(halt.what, What::Noted | What::Dropped));
    let reason = match last.map(|halt| (halt.what, halt.why)) {
        Some((What::Dropped, _)) => {
            "its outbox was full ([limits] outbox): its session reads it from its backlog".to_owned()
        }
        Some((_, Why::Unacked)) => format!(
            "its session waits until its client acknowledges earlier deliveries ([limits] unacked); {behind}"
        ),
        Some((_, why)) => {
            format!("its session was in backlog mode ({}): it comes with the backlog; {behind}", why.as_str())
        }
        None => format!(
            "its session is there and has not written it: it waits in its outbox or backlog; {behind}"
        ),
    };
    vec![reason]
}

/// What sessions did with the message, with whose they are.
fn halts(answers: &[Answer], message: &Message) -> Vec<(UserId, Halt)> {
    let mut all: Vec<(UserId, Halt)> = Vec::new();
    for answer in answers {
        let about = |stop: &&Stop| {
            stop.conv == message.conv
                && match stop.what {
                    What::Acknowledged => stop.seq >= message.seq,
                    _ => stop.seq == message.seq,
                }
        };
        for stop in answer.stop.iter().filter(about) {
            let on = On { node: answer.process.name.clone(), session: stop.session };
            let known = |(_, halt): &(UserId, Halt)| halt.on == on && halt.what == What::Acknowledged;
            // The first that covers it; a later one covers what is later.
            if stop.what == What::Acknowledged && all.iter().any(known) {
                continue;
            }
            all.push((stop.user, Halt { on, what: stop.what, why: stop.why, at: stop.at }));
        }
    }
    // A session that moves its cursor over a place may never have been given it: its own messages.
    let named: Vec<SessionNo> = all
        .iter()
        .filter(|(_, halt)| halt.what != What::Acknowledged)
        .map(|(_, halt)| halt.on.session)
        .collect();
    all.retain(|(_, halt)| named.contains(&halt.on.session));
    all
}

/// Where and when nodes put it before their sessions.
fn queued(answers: &[Answer], message: &Message) -> Vec<(String, i64)> {
    let here = |answer: &Answer| {
        let name = answer.process.name.clone();
        let about = answer.queued.iter().filter(|one| one.conv == message.conv && one.seq == message.seq);
        about.map(move |one| (name.clone(), one.at)).collect::<Vec<_>>()
    };
    answers.iter().flat_map(here).collect()
}

/// The last time before a session did something with it; of one that did nothing the first.
fn when_queued(queued: &[(String, i64)], stops: &[Halt], now: Option<&On>) -> Option<i64> {
    let first = stops.iter().find(|halt| !matches!(halt.what, What::Answered | What::FromBacklog));
    match (first, now) {
        (Some(first), _) => queued
            .iter()
            .filter(|(node, at)| *node == first.on.node && *at <= first.at)
            .map(|(_, at)| *at)
            .max(),
        (None, Some(on)) if stops.is_empty() => {
            queued.iter().find(|(node, _)| *node == on.node).map(|(_, at)| *at)
        }
        _ => None,
    }
}
