//! A connection before its login: it can log in and nothing else. No I/O.

use std::sync::Arc;

use shared::{
    command::{Code, RequestName},
    ids::{MessageId, SessionNo},
    message::{Entry, Login, Refusal, Sender, write},
};

use super::{Output, live::Live};

/// Knows nobody yet, and so has no way to publish.
#[derive(Debug, Default)]
pub struct Waiting;

impl Waiting {
    /// Takes one entry. A login is handed out to be checked; anything else is refused and the connection stays.
    pub fn entry(&self, entry: Entry, out: &mut Output) -> Option<Login> {
        let (id, name): (Option<MessageId>, Option<RequestName>) = match entry {
            Entry::Login(login) => return Some(login),
            Entry::Request(request) => (Some(request.id), Some(request.what.name())),
            Entry::Message(message) => (Some(message.id), None),
            Entry::Ack(ack) => (ack.id, None),
        };
        let reason = "expected login or reconnect first on this connection, found something else";
        out.refuse(&Refusal { code: Code::NotLoggedIn, reason: reason.into(), id, t: name });
        None
    }

    /// The workers turned the login down, or could not answer. The client may try again until its deadline.
    pub fn refused(&self, login: &Login, code: Code, reason: &str, out: &mut Output) {
        out.refuse(&Refusal::new(code, reason).for_id(&login.id).for_request(login.name));
    }

    /// The workers gave the login a session number.
    pub fn welcome(self, login: &Login, who: Arc<Sender>, unacked: usize, out: &mut Output) -> Live {
        debug_assert!(who.session >= SessionNo(1), "session numbers start at 1");
        out.write(|frame| write::success(&login.id, login.name, &write::Success::default(), frame));
        Live::new(who, unacked)
    }
}
