//! Tokens to sessions: what a batch of logins changes, one statement a table; and how a session stands to its device.
//!
//! A session's number is drawn before its login, and only grows: the sequence caches nothing, so that of two numbers the
//! one drawn later is the higher one, whichever worker drew it. `devices.session` is the fence: the number of the newest
//! login, or one drawn when that login's token was revoked. A login with a lower one comes too late and changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared::{
    command::Code,
    ids::{Device, SessionNo, TokenDigest, UserId},
    rpc::Connect,
};
use tokio_postgres::Row;

use super::{Pool, Session, StoreError, Tx, again, owed::furthest};

/// Also whether the token's row is to be written: it was not used within the hour, or its device has other tokens from
/// before it. Nearly every login is of a token that is just used again, and a row written costs as much as all the rest.
const TOKENS: &str = "SELECT digest, user_id, device,
    s.used_at < now() - interval '1 hour'
    OR EXISTS (SELECT FROM sessions o WHERE o.user_id = s.user_id AND o.device = s.device
               AND o.digest <> s.digest AND o.created_at <= s.created_at)
FROM sessions s WHERE digest = ANY($1) ORDER BY digest FOR UPDATE OF s";

const DEVICES: &str = "SELECT user_id, device, seen_at < now() - make_interval(days => $2)
FROM devices WHERE user_id = ANY($1)";

/// New devices of one user are made one after the other, so that the limit holds.
const LOCK_USERS: &str = "SELECT id FROM users WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE";

/// A device that is to be forgotten by now counts as new.
const ADMIT: &str = "INSERT INTO devices (user_id, device)
SELECT n.user_id, n.device
FROM (SELECT u.user_id, u.device, row_number() OVER (PARTITION BY u.user_id ORDER BY u.place) AS nth
      FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY u(user_id, device, place)) n
WHERE n.nth + (SELECT count(*) FROM devices d
               WHERE d.user_id = n.user_id AND d.seen_at >= now() - make_interval(days => $4)) <= $3
ON CONFLICT (user_id, device) DO UPDATE SET seen_at = now()
RETURNING user_id, device";

/// Where it starts.
const START_CURSORS: &str = concat!(
    "INSERT INTO cursors (user_id, device, conv, seq)
SELECT n.user_id, n.device, f.conv, f.seq
FROM unnest($1::bigint[], $2::text[]) n(user_id, device) CROSS JOIN LATERAL (",
    furthest!("n.user_id"),
    ") f WHERE f.seq > 0 ORDER BY 1, 2, 3
ON CONFLICT (user_id, device, conv) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq"
);

/// What a token cleared before it had a device goes to the device, if that is at least where the clearing began: what
/// lies between was never shown to it.
const BIND_MARKS: &str = "WITH cleared AS (
    DELETE FROM offline_marks o USING unnest($1::text[], $2::bigint[], $3::text[]) b(digest, user_id, device)
    WHERE o.digest = b.digest RETURNING b.user_id, b.device, o.conv, o.start_seq, o.seq)
INSERT INTO cursors (user_id, device, conv, seq)
SELECT m.user_id, m.device, m.conv, max(m.seq)
FROM cleared m LEFT JOIN cursors c ON c.user_id = m.user_id AND c.device = m.device AND c.conv = m.conv
WHERE coalesce(c.seq, 0) >= m.start_seq GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (user_id, device, conv) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq";

const NUMBERS: &str = "SELECT nextval('session_numbers') FROM generate_series(1, $1::bigint)";

const BIND: &str = "UPDATE sessions s SET device = b.device, used_at = now()
FROM unnest($1::text[], $2::text[]) b(digest, device) WHERE s.digest = b.digest";

/// Decided under the rows' locks, taken in order: a number that is higher than the newest, or the newest itself for the
/// very login that it was carried out for before.
const SEEN: &str = "UPDATE devices d SET seen_at = now(), session = n.session, digest = n.digest
FROM (SELECT l.user_id, l.device, l.session AS newest, l.digest AS newest_by, u.session, u.digest
      FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[]) u(user_id, device, session, digest)
      JOIN devices l ON l.user_id = u.user_id AND l.device = u.device
      ORDER BY 1, 2 FOR UPDATE OF l) n
WHERE d.user_id = n.user_id AND d.device = n.device
  AND (n.newest < n.session OR (n.newest = n.session AND n.newest_by = n.digest))
RETURNING d.session, n.newest = n.session";

/// One look into the index a row, where the planner, blind to the arrays' length, would read the whole table.
const STANDINGS: &str = "SELECT r.place, d.session, d.digest IS NULL
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY r(user_id, device, place)
CROSS JOIN LATERAL (
    SELECT d.session, d.digest FROM devices d WHERE d.user_id = r.user_id AND d.device = r.device LIMIT 1) d";

/// A newer token that has not connected yet stays.
const OLDER_TOKENS: &str = "DELETE FROM sessions o
USING unnest($1::text[]) n(digest) JOIN sessions t ON t.digest = n.digest
WHERE o.user_id = t.user_id AND o.device = t.device AND o.digest <> t.digest AND o.created_at <= t.created_at
RETURNING o.digest";

const FORGET: &str = "WITH gone AS (
    DELETE FROM devices WHERE user_id = ANY($1) AND seen_at < now() - make_interval(days => $2)
    RETURNING user_id, device),
  cursors_gone AS (DELETE FROM cursors c USING gone g WHERE c.user_id = g.user_id AND c.device = g.device),
  receipts_gone AS (DELETE FROM receipts r USING gone g WHERE r.user_id = g.user_id AND r.device = g.device)
SELECT count(*) FROM gone";

/// Limits on a user's devices.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLimits {
    /// How many.
    pub devices: i64,
    /// Unseen for this many days, one is forgotten.
    pub days: i32,
}

/// What became of one login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoggedIn {
    /// It has this number.
    Yes {
        /// Its number.
        session: SessionNo,
        /// It had been carried out before, by whoever did not answer for it.
        again: bool,
    },
    /// It was refused.
    No(Code, String),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Logins {
    /// One a login, in order.
    pub results: Vec<LoggedIn>,
    /// Older tokens of these devices; they are gone.
    pub revoked: Vec<TokenDigest>,
}

/// Numbers never given before, each higher than the one before it.
///
/// # Errors
/// [`StoreError`].
pub async fn draw(pool: &Pool, count: u32) -> Result<Vec<SessionNo>, StoreError> {
    let rows = pool.get().await?.query(NUMBERS, &[&i64::from(count)]).await?;
    let mut numbers: Vec<SessionNo> = rows.iter().map(|row| SessionNo(row.get(0))).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Logs a batch in, each login with its number, drawn since it was asked for. Of two on the same device the one with the
/// higher number is logged in. May be carried out again, or late: see the fence above.
///
/// # Errors
/// [`StoreError`]; then none is logged in.
pub async fn connect(
    pool: &Pool,
    logins: &[Connect],
    numbers: &[SessionNo],
    limits: DeviceLimits,
) -> Result<Logins, StoreError> {
    again!({
        let mut lease = pool.get().await?;
        let tx = lease.begin().await?;
        let logins = connect_in(&tx, logins, numbers, limits).await?;
        tx.commit().await?;
        Ok(logins)
    })
}

async fn connect_in(
    tx: &Tx<'_>,
    logins: &[Connect],
    numbers: &[SessionNo],
    limits: DeviceLimits,
) -> Result<Logins, StoreError> {
    let Verified { mut refused, changing } = verify(tx, logins).await?;
    let passed = |refused: &[Option<_>]| -> Vec<usize> {
        (0..logins.len()).filter(|at| refused[*at].is_none()).collect()
    };
    let stale = admit(tx, logins, &passed(&refused), limits, &mut refused).await?;
    let taken = take_numbers(tx, logins, numbers, &passed(&refused)).await?;
    for at in passed(&refused).into_iter().filter(|at| !taken.contains_key(&numbers[*at])) {
        refused[at] = Some(overtaken());
    }
    let passed = passed(&refused);
    let digests: Vec<&str> = passed.iter().map(|at| logins[*at].token.as_str()).collect();
    let users: Vec<i64> = passed.iter().map(|at| logins[*at].user.0).collect();
    let devices: Vec<&str> = passed.iter().map(|at| logins[*at].device.as_str()).collect();
    let mut revoked = Vec::new();
    if !passed.is_empty() {
        tx.execute(BIND_MARKS, &[&digests, &users, &devices]).await?;
    }
    let changing: Vec<&Connect> = passed
        .iter()
        .map(|at| &logins[*at])
        .filter(|login| changing.contains(login.token.as_str()))
        .collect();
    if !changing.is_empty() {
        let digests: Vec<&str> = changing.iter().map(|login| login.token.as_str()).collect();
        let devices: Vec<&str> = changing.iter().map(|login| login.device.as_str()).collect();
        tx.execute(BIND, &[&digests, &devices]).await?;
        let rows = tx.query(OLDER_TOKENS, &[&digests]).await?;
        revoked.extend(rows.iter().filter_map(|row| TokenDigest::try_from(row.get::<_, String>(0)).ok()));
    }
    if stale {
        tx.query(FORGET, &[&users, &limits.days]).await?;
    }
    let result = |(why, session): (Option<(Code, String)>, &SessionNo)| match why {
        Some((code, reason)) => LoggedIn::No(code, reason),
        None => LoggedIn::Yes { session: *session, again: taken.get(session).is_some_and(|again| *again) },
    };
    Ok(Logins { results: refused.into_iter().zip(numbers).map(result).collect(), revoked })
}

/// The numbers that are now their device's newest, each with whether it had been before.
async fn take_numbers(
    tx: &Tx<'_>,
    logins: &[Connect],
    numbers: &[SessionNo],
    passed: &[usize],
) -> Result<HashMap<SessionNo, bool>, StoreError> {
    let mut newest: BTreeMap<(i64, &str), (i64, &str)> = BTreeMap::new();
    for at in passed {
        let login = &logins[*at];
        let asked = (numbers[*at].0, login.token.as_str());
        let one = newest.entry((login.user.0, login.device.as_str())).or_insert(asked);
        *one = (*one).max(asked);
    }
    if newest.is_empty() {
        return Ok(HashMap::new());
    }
    let (of, on): (Vec<i64>, Vec<&str>) = newest.keys().copied().unzip();
    let (sessions, by): (Vec<i64>, Vec<&str>) = newest.into_values().unzip();
    let rows = tx.query(SEEN, &[&of, &on, &sessions, &by]).await?;
    Ok(rows.iter().map(|row| (SessionNo(row.get(0)), row.get(1))).collect())
}

/// Whoever still waits for it may try again, with a new number: it is then the newest.
fn overtaken() -> (Code, String) {
    let reason =
        "expected the newest login of this device, found that a newer one has overtaken it; try again";
    (Code::Unavailable, reason.to_owned())
}

/// How a session stands to its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the device's newest.
    Newest,
    /// The device has a newer one, or was forgotten.
    Replaced,
    /// Its token was revoked.
    Revoked,
}

/// How sessions stand to their devices, one answer each, in order.
///
/// # Errors
/// [`StoreError`].
pub async fn standings(
    session: &Session,
    asked: &[(UserId, &Device, SessionNo)],
) -> Result<Vec<Standing>, StoreError> {
    let users: Vec<i64> = asked.iter().map(|(user, ..)| user.0).collect();
    let devices: Vec<&str> = asked.iter().map(|(_, device, _)| device.as_str()).collect();
    let mut standings = vec![Standing::Replaced; asked.len()];
    for row in session.query(STANDINGS, &[&users, &devices]).await? {
        let nth = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let (Some(standing), Some((.., number))) = (standings.get_mut(nth), asked.get(nth)) else { continue };
        *standing = match (SessionNo(row.get(1)), row.get::<_, bool>(2)) {
            (newest, _) if newest <= *number => Standing::Newest,
            (_, true) => Standing::Revoked,
            (_, false) => Standing::Replaced,
        };
    }
    Ok(standings)
}

/// What the tokens of a batch say.
struct Verified {
    /// Of each login, why it is refused.
    refused: Vec<Option<(Code, String)>>,
    /// Tokens that have no device yet, were not used for long, or end others.
    changing: HashSet<String>,
}

/// Each token must exist, be the user's, and not be another device's.
async fn verify(tx: &Tx<'_>, logins: &[Connect]) -> Result<Verified, StoreError> {
    let digests: Vec<&str> = logins.iter().map(|login| login.token.as_str()).collect();
    let rows = tx.query(TOKENS, &[&digests]).await?;
    let mut known: HashMap<&str, (UserId, Option<String>)> =
        rows.iter().map(|row| (row.get(0), (UserId(row.get(1)), row.get(2)))).collect();
    // What is not known of a token without a device is null.
    let changes =
        |row: &&Row| row.get::<_, Option<&str>>(2).is_none() || row.get::<_, Option<bool>>(3) != Some(false);
    let changing = rows.iter().filter(changes).map(|row| row.get(0)).collect();
    let check = |login: &Connect| match known.get_mut(login.token.as_str()) {
        Some((user, device)) if *user == login.user => match device {
            Some(device) if device != login.device.as_str() => {
                Some((Code::Token, "token error: it belongs to another device".to_owned()))
            }
            Some(_) => None,
            // Two logins in one batch must not bind one token to two devices.
            None => {
                *device = Some(login.device.as_str().to_owned());
                None
            }
        },
        _ => Some((Code::Token, "token error: not a token of this user".to_owned())),
    };
    Ok(Verified { refused: logins.iter().map(check).collect(), changing })
}

/// Makes the devices that are new, within the limit. Whether some of these users' devices are to be forgotten.
async fn admit(
    tx: &Tx<'_>,
    logins: &[Connect],
    passed: &[usize],
    limits: DeviceLimits,
    refused: &mut [Option<(Code, String)>],
) -> Result<bool, StoreError> {
    let pair = |at: usize| (logins[at].user.0, logins[at].device.as_str());
    let pairs: Vec<(i64, &str)> = passed.iter().map(|at| pair(*at)).collect();
    let (over, stale) = make_devices(tx, &pairs, limits).await?;
    for at in passed {
        if over.contains(&pair(*at)) {
            refused[*at] = Some(too_many(limits));
        }
    }
    Ok(stale)
}

/// Makes a device if it is new, for a login over HTTP.
///
/// # Errors
/// [`StoreError`]; the inner error is a refusal.
pub(super) async fn make_device(
    tx: &Tx<'_>,
    user: UserId,
    device: &Device,
    limits: DeviceLimits,
) -> Result<Result<(), (Code, String)>, StoreError> {
    let (over, stale) = make_devices(tx, &[(user.0, device.as_str())], limits).await?;
    if !over.is_empty() {
        return Ok(Err(too_many(limits)));
    }
    if stale {
        tx.query(FORGET, &[&[user.0].as_slice(), &limits.days]).await?;
    }
    Ok(Ok(()))
}

fn too_many(limits: DeviceLimits) -> (Code, String) {
    (Code::Limit, format!("expected at most {} devices a user, found another one", limits.devices))
}

/// Those of the pairs that are over the limit, and whether some of these users' devices are to be forgotten.
async fn make_devices<'a>(
    tx: &Tx<'_>,
    pairs: &[(i64, &'a str)],
    limits: DeviceLimits,
) -> Result<(HashSet<(i64, &'a str)>, bool), StoreError> {
    let users: Vec<i64> = pairs.iter().map(|(user, _)| *user).collect();
    let rows = tx.query(DEVICES, &[&users, &limits.days]).await?;
    let fresh: HashSet<(i64, &str)> =
        rows.iter().filter(|row| !row.get::<_, bool>(2)).map(|row| (row.get(0), row.get(1))).collect();
    let stale = fresh.len() < rows.len();
    let mut over: HashSet<(i64, &str)> = pairs.iter().copied().filter(|pair| !fresh.contains(pair)).collect();
    if over.is_empty() {
        return Ok((over, stale));
    }
    let (of, on): (Vec<i64>, Vec<&str>) = over.iter().copied().unzip();
    tx.query(LOCK_USERS, &[&of]).await?;
    let rows = tx.query(ADMIT, &[&of, &on, &limits.devices, &limits.days]).await?;
    let admitted: Vec<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    over.retain(|pair| !admitted.contains(pair));
    let (of, on): (Vec<i64>, Vec<&str>) = admitted.into_iter().unzip();
    tx.execute(START_CURSORS, &[&of, &on]).await?;
    Ok((over, stale))
}
