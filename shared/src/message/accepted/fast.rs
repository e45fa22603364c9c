//! Messages in exactly the layout that [`encode`](super::encode) writes, read by hand. `None` for everything else.

use super::super::{
    Accepted, Body, Message, Sender, Target, WantedAck,
    canonical::{Lines, unquoted, whole},
};
use crate::ids::{Device, GroupId, MessageId, NodeId, SessionNo, UserId};

/// Reads one message, its keys in order.
pub(super) fn read(text: &str) -> Option<Accepted> {
    let mut lines = Lines::of(text);
    let group = match lines.peek()? {
        "[[m]]" => false,
        "[[gm]]" => true,
        _ => return None,
    };
    lines.skip();
    let id = MessageId::new(&unquoted(lines.value("id")?)?).ok()?;
    let content = unquoted(lines.value("c")?)?.into_owned();
    let to = if group {
        Target::Group(GroupId(whole(lines.value("group")?)?))
    } else {
        Target::User(UserId(whole(lines.value("to")?)?))
    };
    let ack = match lines.value("ack") {
        None => WantedAck::Stored,
        Some(level) => WantedAck::parse(&unquoted(level)?)?,
    };
    let nonce = match lines.value("nonce") {
        None => None,
        Some(nonce) => Some(whole(nonce)? as u64),
    };
    let ts = whole(lines.value("ts")?)?;
    if lines.peek()? != if group { "[gm.from]" } else { "[m.from]" } {
        return None;
    }
    lines.skip();
    let from = Sender {
        user: UserId(whole(lines.value("id")?)?),
        device: Device::new(&unquoted(lines.value("device")?)?).ok()?,
        session: SessionNo(whole(lines.value("session")?)?),
        node: NodeId::new(&unquoted(lines.value("node")?)?).ok()?,
    };
    let what = Body::Message(Message { id, to, content, ack });
    lines.peek().is_none().then_some(Accepted { from, ts, nonce, what })
}
