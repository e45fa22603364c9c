//! What PostgreSQL knows of a message: where it stands, for whom it was, and how far each of their devices is.

use anyhow::{Context, Result};
use serde::Serialize;
use shared::{
    ids::{Conversation, Seq, UserId},
    rpc::Place,
};
use tokio_postgres::Row;
use workers::{
    config::WorkerConfig,
    store::{self, Session},
};

/// Users of a conversation that are looked at; beyond that it is said that there are more.
pub const USERS: usize = 1000;

const AT: &str = "SELECT m.conv, m.seq, m.sender, m.ts, m.kind, m.device, m.id
FROM unnest($1::text[], $2::bigint[]) AS wanted(conv, seq)
JOIN messages m ON m.conv = wanted.conv AND m.seq = wanted.seq";

/// By the sender's conversations: there is no index on ids, which would cost every message.
const FIND: &str = "SELECT DISTINCT m.conv, m.seq, m.sender, m.ts, m.kind, m.device, m.id
FROM participants p JOIN messages m ON m.conv = p.conv AND m.sender = $1 AND m.id = $2
WHERE p.user_id = $1 AND ($3::text IS NULL OR p.conv = $3)
ORDER BY m.ts, m.conv, m.seq LIMIT 100";

const LAST: &str = "SELECT DISTINCT m.conv, m.seq, m.sender, m.ts, m.kind, m.device, m.id
FROM participants p
CROSS JOIN LATERAL (
    SELECT * FROM messages m WHERE m.conv = p.conv AND m.sender = $1 ORDER BY m.seq DESC LIMIT $2) m
WHERE p.user_id = $1 AND ($3::text IS NULL OR p.conv = $3)
ORDER BY m.ts DESC, m.conv, m.seq DESC LIMIT $2";

const USERS_AT: &str = "SELECT DISTINCT user_id FROM participants
WHERE conv = $1 AND from_seq <= $2 AND (to_seq IS NULL OR to_seq >= $2) ORDER BY user_id LIMIT $3";

/// A device's place in what it is owed of this conversation, as its backlog gives it.
const DEVICES: &str =
    "SELECT d.user_id, d.device, d.session, (extract(epoch FROM d.seen_at) * 1000000)::bigint,
       coalesce(c.seq, 0),
       (SELECT count(*) FROM messages m
        WHERE m.conv = $2 AND m.seq > coalesce(c.seq, 0) AND m.seq <= $3
          AND NOT (m.sender = d.user_id AND m.device = d.device)
          AND EXISTS (SELECT 1 FROM participants p WHERE p.user_id = d.user_id AND p.conv = $2
                      AND m.seq >= p.from_seq AND (p.to_seq IS NULL OR m.seq <= p.to_seq)))
FROM devices d
LEFT JOIN cursors c ON c.user_id = d.user_id AND c.device = d.device AND c.conv = $2
WHERE d.user_id = ANY($1) ORDER BY d.user_id, d.device";

const LANES: &str = "SELECT lane, committed FROM lanes ORDER BY lane";

/// A connection to PostgreSQL.
pub struct Facts(Session);

/// A row of `messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Its conversation.
    pub conv: Conversation,
    /// Its place there.
    pub seq: Seq,
    /// The sender.
    pub user: UserId,
    /// The sender's device.
    pub device: String,
    /// The sender's own id.
    pub id: String,
    /// When an edge accepted it, Unix seconds.
    pub ts: i64,
    /// A forwarded request, and no text.
    pub is_request: bool,
}

/// For whom it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Everybody in the conversation at its place, the sender too; the first [`USERS`].
    pub members: Vec<UserId>,
    /// There are more.
    pub more: bool,
    /// Their devices.
    pub devices: Vec<Device>,
}

/// A device of somebody it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Its name.
    pub name: String,
    /// Its newest session.
    pub session: i64,
    /// When it was last seen, microseconds since 1970.
    pub seen: i64,
    /// How far it has acknowledged this conversation.
    pub cursor: i64,
    /// Its owed messages of this conversation up to this one.
    pub owed: i64,
}

impl Message {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { conv: self.conv, seq: self.seq }
    }
}

impl Details {
    /// Everybody it was for.
    pub fn users(&self) -> Vec<UserId> {
        self.members.clone()
    }
}

impl Facts {
    /// Connects.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn open(config: &WorkerConfig) -> Result<Self> {
        let settings = [
            ("application_name", "simple-im-trace".to_owned()),
            ("default_transaction_read_only", "on".to_owned()),
        ];
        let (client, _driven) =
            store::connect_with(&config.postgres, &settings).await.context("connecting to PostgreSQL")?;
        Ok(Self(Session::new(client)))
    }

    /// Messages at these places.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn at(&self, places: &[Place]) -> Result<Vec<Message>> {
        let convs: Vec<String> = places.iter().map(|place| place.conv.to_string()).collect();
        let seqs: Vec<i64> = places.iter().map(|place| place.seq.0).collect();
        let mut found = messages(&self.0.query(AT, &[&convs, &seqs]).await?)?;
        found.sort_by_key(|message| (message.ts, message.conv, message.seq));
        found.dedup();
        Ok(found)
    }

    /// Messages that this user has sent under this id.
    ///
    /// # Errors
    /// PostgreSQL's, also when it takes too long.
    pub async fn find(&self, user: UserId, id: &str, conv: Option<Conversation>) -> Result<Vec<Message>> {
        let conv = conv.map(|conv| conv.to_string());
        messages(&self.0.query(FIND, &[&user.0, &id, &conv]).await?)
    }

    /// The newest messages of a user, the oldest of them first.
    ///
    /// # Errors
    /// PostgreSQL's, also when it takes too long.
    pub async fn last_of(&self, user: UserId, last: u32, conv: Option<Conversation>) -> Result<Vec<Message>> {
        let conv = conv.map(|conv| conv.to_string());
        let mut found = messages(&self.0.query(LAST, &[&user.0, &i64::from(last), &conv]).await?)?;
        found.reverse();
        Ok(found)
    }

    /// For whom it was.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn details(&self, message: &Message) -> Result<Details> {
        let (conv, most) = (message.conv.to_string(), i64::try_from(USERS + 1).unwrap_or(i64::MAX));
        let rows = self.0.query(USERS_AT, &[&conv, &message.seq.0, &most]).await?;
        let mut members: Vec<UserId> = rows.iter().map(|row| UserId(row.get(0))).collect();
        let more = members.len() > USERS;
        members.truncate(USERS);
        let users: Vec<i64> = members.iter().map(|user| user.0).collect();
        let rows = self.0.query(DEVICES, &[&users, &conv, &message.seq.0]).await?;
        let devices = rows.iter().map(|row| Device {
            user: UserId(row.get(0)),
            name: row.get(1),
            session: row.get(2),
            seen: row.get(3),
            cursor: row.get(4),
            owed: row.get(5),
        });
        Ok(Details { members, more, devices: devices.collect() })
    }

    /// How far each lane has committed, by its number.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub async fn lanes(&self) -> Result<Vec<(u16, u64)>> {
        let rows = self.0.query(LANES, &[]).await?;
        let lane = |row: &Row| {
            let (lane, committed): (i32, i64) = (row.get(0), row.get(1));
            Some((u16::try_from(lane).ok()?, u64::try_from(committed).ok()?))
        };
        Ok(rows.iter().filter_map(lane).collect())
    }
}

fn messages(rows: &[Row]) -> Result<Vec<Message>> {
    let message = |row: &Row| {
        let conv: &str = row.get(0);
        Ok(Message {
            conv: conv.parse()?,
            seq: Seq(row.get(1)),
            user: UserId(row.get(2)),
            ts: row.get(3),
            is_request: row.get::<_, i16>(4) != 0,
            device: row.get(5),
            id: row.get(6),
        })
    };
    rows.iter().map(message).collect()
}
