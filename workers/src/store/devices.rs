//! A user's devices, as it sees them.

use shared::ids::{Device, UserId};
use tokio_postgres::Row;

use super::{Pool, StoreError, rows};

/// One that is to be forgotten by now is none any more.
const LIST: &str = "SELECT d.device, extract(epoch FROM d.seen_at)::bigint,
       NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = d.user_id AND s.device = d.device)
FROM devices d WHERE d.user_id = $1 AND d.seen_at >= now() - make_interval(days => $2) ORDER BY d.device";

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub device: Device,
    /// When it was last seen, to the hour while it is connected; Unix seconds.
    pub seen: i64,
    /// It is logged out: no token is bound to it.
    pub ended: bool,
}

/// A user's devices by name: at most so many as the limit on devices allows, and those unseen for `days` no more.
///
/// # Errors
/// [`StoreError`].
pub async fn list(pool: &Pool, user: UserId, days: i32) -> Result<Vec<Known>, StoreError> {
    let rows = pool.get().await?.query(LIST, &[&user.0, &days]).await?;
    let known =
        |row: &Row| Ok(Known { device: rows::device(row.get(0))?, seen: row.get(1), ended: row.get(2) });
    rows.iter().map(known).collect()
}
