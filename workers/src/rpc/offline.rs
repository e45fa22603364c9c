//! `GET /offline` and `DELETE /offline`: a page of what the caller's device is owed, and clearing exactly what was shown.

use shared::{command::Code, ids::Seq, message::write, rpc::HttpCall};

use super::{
    ANSWER_BYTES, Calls, Fault,
    http::{Reply, caller, frames, number},
};
use crate::store::{
    owed::{self, Places},
    pages::{self, Cleared},
};

/// A token that has no device, or one that was forgotten, sees what a new device would.
pub(super) async fn offline(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let limit = number(call, "limit", 1000, 1, 1000)?;
    let mut session = calls.desk.pool.get().await?;
    let device = match &caller.device {
        Some(device) => owed::newest_session(&session, caller.user, device).await?.map(|_| device),
        None => None,
    };
    let start = match device {
        Some(_) => Places::new(),
        None => owed::start(&session, caller.user, caller.digest.as_str()).await?,
    };
    let limit = usize::try_from(limit).unwrap_or(1);
    let (rows, mut more) = owed::owed(&session, caller.user, device, &start, limit).await?;
    let (mut written, mut shown) = (Vec::new(), Places::new());
    for row in &rows {
        if written.len() > ANSWER_BYTES {
            more = true;
            break;
        }
        write::stored(row, &mut written);
        shown.insert(row.conversation, row.seq);
    }
    let page = pages::note(&mut session, &caller.digest, &shown).await?;
    let mut reply = Reply::ok().with("more", i64::from(more));
    if let Some(page) = page {
        reply = reply.with("cursor", page.to_string());
    }
    Ok(reply.beside(frames(&written)?))
}

/// Clears what the last page showed, or, with `upto`, that page and the ones before it.
pub(super) async fn clear(calls: &Calls, call: &HttpCall) -> Result<Reply, Fault> {
    let caller = caller(calls, call).await?;
    let upto = match number(call, "upto", 0, 1, i64::MAX)? {
        0 => None,
        page => Some(page),
    };
    match pages::clear(&calls.desk.pool, caller.user, &caller.digest, upto).await? {
        Cleared::NoSuchPage => Err(Fault::refused(
            Code::NotFound,
            "argument upto: expected the cursor of one of the last 8 pages shown to this token, found another",
        )),
        Cleared::Upto(places) => {
            let places: Vec<(_, Seq)> = places.into_iter().collect();
            if !places.is_empty()
                && let Err(error) = calls.desk.directory.offline_clear(caller.user, &places).await
            {
                tracing::debug!(%error, "cleared bodies stay cached until they expire");
            }
            Ok(Reply::ok())
        }
    }
}
