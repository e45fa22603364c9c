//! `session.backlog`: what a device has not been sent, a page at a time. A session's own frames are not among it.

use shared::{
    command::Code,
    delivery::{self, Delivery, Push},
    ids::UserId,
    message::{Stored, StoredBody, WantedAck, write},
    rpc::Backlog,
};

use super::{ANSWER_BYTES, Answer, Calls, Fault, cursor};
use crate::store::{
    cursors,
    logins::{self, Standing},
    owed,
};

/// The most deliveries in a page, whatever was asked for.
const PAGE: u32 = 1000;

pub(super) async fn backlog(calls: &Calls, call: Backlog) -> Result<Answer, Fault> {
    let session = calls.desk.pool.get().await?;
    // Here also ends what was to be told to the node, that it is replaced or revoked, and was passed over: whatever is
    // passed over is made good by reading the backlog.
    match logins::standing(&session, call.user, &call.device, call.session).await? {
        Standing::Newest => {}
        Standing::Replaced => return Err(Fault::refused(Code::Token, "the device has a newer session")),
        Standing::Revoked => {
            return Err(Fault::refused(Code::NotLoggedIn, "the session's token was revoked"));
        }
    }
    let limit = usize::try_from(call.limit.clamp(1, PAGE)).unwrap_or(1);
    let after = call.after.iter().map(|place| (place.conv, place.seq)).collect();
    let (rows, mut more) = owed::owed(&session, call.user, Some(&call.device), &after, limit).await?;
    let mut payload = Vec::new();
    let mut written = 0;
    for row in &rows {
        if payload.len() >= ANSWER_BYTES {
            break;
        }
        delivery::encode(&push(call.user, row), &mut payload);
        written += 1;
    }
    more |= written < rows.len();
    if !more {
        let room = limit - written + 1;
        let receipts =
            cursors::pending(&session, call.user, &call.device, i64::try_from(room).unwrap_or(i64::MAX))
                .await?;
        more = receipts.len() == room;
        for receipt in receipts.iter().take(room - 1) {
            delivery::encode(&cursor::delivery(receipt), &mut payload);
        }
    }
    Ok(Answer { payload, more })
}

fn push(user: UserId, row: &Stored) -> Delivery {
    let mut body = Vec::new();
    write::stored(row, &mut body);
    let wanted = matches!(row.what, StoredBody::Text { ack: WantedAck::Delivered, .. });
    Delivery::Push(Push {
        to: vec![user],
        conversation: row.conversation,
        seq: row.seq,
        from: row.sender,
        id: row.id.clone(),
        skip: None,
        receipt: wanted && row.sender != user,
        again: false,
        body: body.into(),
    })
}
