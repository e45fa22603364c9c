//! `session.backlog`: what devices have not been sent, a page a device at a time, many devices in one call and three
//! statements. A session's own frames are not among it.

use shared::{
    command::Code,
    delivery::{
        Delivery, Push,
        pages::{How, Pages},
    },
    ids::UserId,
    message::{Stored, StoredBody, write},
    rpc::{BACKLOG_READS, Backlog, BacklogBatch},
};

use super::{ANSWER_BYTES, Calls, Fault, cursor};
use crate::store::{
    Session, StoreError,
    cursors::{self, Receipt},
    logins::{self, Standing},
    owed::{self, Found, Places},
};

/// The most deliveries in a page, whatever was asked for.
const PAGE: usize = 1000;
/// The most deliveries of one call: where many ask, each gets its part.
const ROWS: usize = 2048;

/// One that is to be read.
struct Reader<'a> {
    call: &'a Backlog,
    limit: usize,
    found: Found,
    receipts: Vec<Receipt>,
}

pub(super) async fn backlog(calls: &Calls, batch: BacklogBatch) -> Result<Vec<u8>, Fault> {
    let count = batch.reads.len();
    if count > BACKLOG_READS {
        let reason = format!("expected at most {BACKLOG_READS} reads, found {count}");
        return Err(Fault::refused(Code::Invalid, reason));
    }
    let session = calls.desk.pool.get().await?;
    // Here also ends what was to be told to the node, that it is replaced or revoked, and was passed over: whatever is
    // passed over is made good by reading the backlog.
    let asked: Vec<_> = batch.reads.iter().map(|read| (read.user, &read.device, read.session)).collect();
    let standings = logins::standings(&session, &asked).await?;
    let newest = batch.reads.iter().zip(&standings).filter(|(_, standing)| **standing == Standing::Newest);
    let mut readers = read(&session, newest.map(|(call, _)| call)).await?.into_iter();

    let mut pages = Pages::default();
    for standing in standings {
        let how = match standing {
            Standing::Replaced => How::Replaced,
            Standing::Revoked => How::Revoked,
            Standing::Newest => match readers.next() {
                Some(reader) if pages.size() < ANSWER_BYTES => page(&reader, &mut pages),
                _ => How::Unread,
            },
        };
        pages.end(how);
    }
    Ok(pages.into_payload())
}

/// Reads for all of them: what they are owed, then the receipts of those that are owed nothing beyond it.
async fn read<'a>(
    session: &Session,
    calls: impl Iterator<Item = &'a Backlog>,
) -> Result<Vec<Reader<'a>>, StoreError> {
    let calls: Vec<&Backlog> = calls.collect();
    let most = (ROWS / calls.len().max(1)).clamp(1, PAGE);
    let limit = |call: &Backlog| usize::try_from(call.limit).unwrap_or(PAGE).clamp(1, most);
    let after: Vec<Places> =
        calls.iter().map(|call| call.after.iter().map(|place| (place.conv, place.seq)).collect()).collect();
    let reads: Vec<owed::Read<'_>> = calls
        .iter()
        .zip(&after)
        .map(|(call, after)| owed::Read {
            user: call.user,
            device: Some(&call.device),
            after,
            limit: limit(call),
        })
        .collect();
    if reads.is_empty() {
        return Ok(Vec::new());
    }
    let found = owed::owed_all(session, &reads).await?;
    let reader = |(call, found)| Reader { call, limit: limit(call), found, receipts: Vec::new() };
    let mut readers: Vec<Reader<'_>> = calls.into_iter().zip(found).map(reader).collect();
    let done: Vec<&mut Reader<'_>> = readers.iter_mut().filter(|reader| !reader.found.more()).collect();
    let asked: Vec<_> = done
        .iter()
        .map(|reader| {
            (reader.call.user, &reader.call.device, i64::try_from(reader.room() + 1).unwrap_or(i64::MAX))
        })
        .collect();
    let receipts = if asked.is_empty() { Vec::new() } else { cursors::pending(session, &asked).await? };
    for (reader, receipts) in done.into_iter().zip(receipts) {
        reader.receipts = receipts;
    }
    Ok(readers)
}

impl Reader<'_> {
    /// For receipts.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.found.len())
    }
}

/// Writes one page, as far as the answer has room.
fn page(reader: &Reader<'_>, pages: &mut Pages) -> How {
    let user = reader.call.user;
    let rows = match reader.found.stored(user) {
        Ok(rows) => rows,
        Err(error) => {
            // Only its own session waits for whoever mends the row.
            tracing::error!(%error, user.id = user.0, "a backlog cannot be read");
            return How::Unread;
        }
    };
    for row in &rows {
        if pages.size() >= ANSWER_BYTES {
            return How::More;
        }
        pages.put(&push(user, row));
    }
    let room = reader.room();
    for receipt in reader.receipts.iter().take(room) {
        pages.put(&cursor::delivery(receipt));
    }
    if reader.found.more() || reader.receipts.len() > room { How::More } else { How::Done }
}

fn push(user: UserId, row: &Stored) -> Delivery {
    let mut body = Vec::new();
    write::stored(row, &mut body);
    let wanted = matches!(row.what, StoredBody::Text { ack, .. } if ack.wants_delivered());
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
