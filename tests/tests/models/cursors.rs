//! What devices acknowledge, as workers store it: batches that come late, twice, out of order or side by side leave what
//! sets of everything said would hold.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use shared::{
    delivery::ReceiptKey,
    ids::{Conversation, Device, GroupId, Seq, SessionNo, UserId},
    rpc::{Move, Read, Told},
    seeded::{Random, seeds},
};
use workers::store::{
    Pool,
    cursors::{self, Receipt},
};

use crate::database::Database;

/// A stored message: who sent it from which device, and which receipt it wants.
#[derive(Debug, Clone)]
struct Message {
    sender: UserId,
    device: Device,
    want: i16,
}

/// A receipt, with the sender and its device.
type Owed = (UserId, Device, Conversation, i64, UserId, bool);

/// From where to where a user takes part, both included; open without an end.
type Part = (i64, Option<i64>);

#[derive(Debug)]
struct World {
    random: Random,
    users: Vec<UserId>,
    /// The newest session of each device.
    devices: BTreeMap<(UserId, Device), i64>,
    rooms: BTreeMap<Conversation, Vec<Message>>,
    /// The parts of a conversation that a user has.
    parts: BTreeMap<(UserId, Conversation), Vec<Part>>,
    cursors: BTreeMap<(UserId, Device, Conversation), i64>,
    reads: BTreeMap<(UserId, Conversation), i64>,
    receipts: BTreeSet<Owed>,
}

impl World {
    async fn make(database: &Database, mut random: Random) -> Self {
        database.clear().await;
        let users = database.users(5).await;
        let mut world = Self {
            random: random.clone(),
            users: users.clone(),
            devices: BTreeMap::new(),
            rooms: BTreeMap::new(),
            parts: BTreeMap::new(),
            cursors: BTreeMap::new(),
            reads: BTreeMap::new(),
            receipts: BTreeSet::new(),
        };
        // One user has no device at all.
        for user in &users[1..] {
            for name in ["pad", "phone"] {
                world.devices.insert((*user, Device::new(name).unwrap()), 1);
            }
        }
        for (n, one) in users.iter().enumerate() {
            let other = users[(n + 1) % users.len()];
            for user in [*one, other] {
                world.parts.insert((user, Conversation::direct(*one, other)), vec![(1, None)]);
            }
            let group = Conversation::Group(GroupId(one.0));
            for user in &users {
                let left = 2 + random.below(10) as i64;
                let parts = match random.below(4) {
                    0 => continue,
                    1 => vec![(1, Some(left))],
                    2 => vec![(1, Some(left)), (left + 1 + random.below(5) as i64, None)],
                    _ => vec![(1 + random.below(6) as i64, None)],
                };
                world.parts.insert((*user, group), parts);
            }
        }
        for ((user, conversation), parts) in &world.parts {
            let group = if let Conversation::Group(group) = conversation { Some(group.0) } else { None };
            for (from, to) in parts {
                let insert = "INSERT INTO participants VALUES ($1, $2, $3, $4, $5)";
                let conversation = conversation.to_string();
                database.stores.execute(insert, &[&user.0, &conversation, from, to, &group]).await;
            }
        }
        for (user, device) in world.devices.keys() {
            let insert = "INSERT INTO devices (user_id, device, session) VALUES ($1, $2, 1)";
            database.stores.execute(insert, &[&user.0, &device.as_str()]).await;
        }
        world
    }

    /// Conversations grow; one stays empty.
    async fn say(&mut self, database: &Database) {
        let rooms: Vec<Conversation> = self.parts.keys().map(|(_, room)| *room).collect();
        for _ in 0..self.random.below(12) {
            let conversation = *self.random.pick(&rooms[1..]).unwrap();
            let sender = *self.random.pick(&self.users).unwrap();
            let device = Device::new(["pad", "phone"][self.random.below(2)]).unwrap();
            let want = self.random.below(4) as i16;
            let room = self.rooms.entry(conversation).or_default();
            room.push(Message { sender, device: device.clone(), want });
            let (seq, name) = (room.len() as i64, conversation.to_string());
            let digest = seq.to_be_bytes().to_vec();
            let insert =
                "INSERT INTO messages (conv, seq, sender, ts, kind, want, device, id, content, digest)
                VALUES ($1, $2, $3, 0, 0, $4, $5, 'x' || $2::bigint, '', $6)";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
                [&name, &seq, &sender.0, &want, &device.as_str(), &digest];
            database.stores.execute(insert, &values).await;
        }
    }

    async fn log_in(&mut self, database: &Database) {
        let devices: Vec<_> = self.devices.keys().cloned().collect();
        let (user, device) = self.random.pick(&devices).unwrap();
        *self.devices.get_mut(&(*user, device.clone())).unwrap() += 1;
        let raise = "UPDATE devices SET session = session + 1 WHERE user_id = $1 AND device = $2";
        database.stores.execute(raise, &[&user.0, &device.as_str()]).await;
    }

    /// Anything that an edge might say, and some things that none should.
    fn place(&mut self) -> (UserId, Conversation, Seq) {
        let rooms: Vec<Conversation> = self.parts.keys().map(|(_, room)| *room).collect();
        let user = *self.random.pick(&self.users).unwrap();
        let seq = Seq(1 + self.random.below(40) as i64);
        (user, *self.random.pick(&rooms).unwrap(), seq)
    }

    fn a_move(&mut self) -> Move {
        let (user, conv, seq) = self.place();
        let device = Device::new(["pad", "phone", "none"][self.random.below(3)]).unwrap();
        // What holds for the newest session alone, said by that one or by the one before it.
        let newest = self.devices.get(&(user, device.clone())).copied().unwrap_or(1);
        let session = SessionNo(newest - self.random.below(2) as i64);
        let newest = self.random.one_in(3).then_some(session);
        Move { user, device, conv, seq, newest }
    }

    fn newest(&self, conversation: Conversation) -> i64 {
        self.rooms.get(&conversation).map_or(0, |room| room.len() as i64)
    }

    fn took_part(&self, user: UserId, conversation: Conversation, seq: i64) -> bool {
        let parts = self.parts.get(&(user, conversation));
        parts.into_iter().flatten().any(|(from, to)| *from <= seq && to.is_none_or(|to| to >= seq))
    }

    fn moved(&mut self, one: &Move) {
        let device = self.devices.get(&(one.user, one.device.clone()));
        let counts = device.is_some_and(|newest| one.newest.is_none_or(|session| *newest <= session.0));
        let seq = one.seq.0.min(self.newest(one.conv));
        if counts && seq > 0 && self.parts.contains_key(&(one.user, one.conv)) {
            let cursor = self.cursors.entry((one.user, one.device.clone(), one.conv)).or_insert(0);
            *cursor = seq.max(*cursor);
        }
    }

    fn owed(&self, conversation: Conversation, seq: i64, by: UserId, want: i16) -> Option<Owed> {
        let message = self.rooms.get(&conversation)?.get(usize::try_from(seq).ok()? - 1)?;
        let known = self.devices.contains_key(&(message.sender, message.device.clone()));
        let fits =
            known && message.want == want && message.sender != by && self.took_part(by, conversation, seq);
        fits.then(|| (message.sender, message.device.clone(), conversation, seq, by, want == 3))
    }

    /// What a batch of receipts, readings and receipts told comes to: which receipts are new.
    fn settled(&mut self, delivered: &[ReceiptKey], reads: &[Read], told: &[Told]) -> BTreeSet<Owed> {
        let delivered = delivered.iter().filter_map(|key| self.owed(key.conversation, key.seq.0, key.by, 2));
        let mut new: BTreeSet<Owed> = delivered.collect();
        for read in reads {
            let seq = read.seq.0.min(self.newest(read.conv));
            let old = self.reads.get(&(read.user, read.conv)).copied().unwrap_or(0);
            if seq > old && self.parts.contains_key(&(read.user, read.conv)) {
                new.extend((old + 1..=seq).filter_map(|seq| self.owed(read.conv, seq, read.user, 3)));
                self.reads.insert((read.user, read.conv), seq);
            }
        }
        new.retain(|owed| !self.receipts.contains(owed));
        self.receipts.extend(new.iter().cloned());
        for told in told {
            let key = &told.receipt;
            let device = told.device.clone();
            self.receipts.remove(&(told.user, device, key.conversation, key.seq.0, key.by, key.read));
        }
        new
    }

    /// The tables say what the sets say.
    async fn check(&self, database: &Database) {
        let rows = database.stores.rows("SELECT user_id, device, conv, seq FROM cursors", &[]).await;
        let stored = rows.iter().map(|row| {
            let device = Device::new(row.get(1)).unwrap();
            ((UserId(row.get(0)), device, row.get::<_, &str>(2).parse().unwrap()), row.get(3))
        });
        assert_eq!(stored.collect::<BTreeMap<_, _>>(), self.cursors);
        let rows = database.stores.rows("SELECT user_id, conv, seq FROM reads", &[]).await;
        let stored =
            rows.iter().map(|row| ((UserId(row.get(0)), row.get::<_, &str>(1).parse().unwrap()), row.get(2)));
        assert_eq!(stored.collect::<BTreeMap<_, _>>(), self.reads);
    }

    /// What a device is told at its login.
    async fn check_pending(&self, database: &Database, pool: &Pool) {
        let session = pool.get().await.unwrap();
        let mut pending = BTreeSet::new();
        for user in &self.users {
            for device in ["pad", "phone"] {
                let device = Device::new(device).unwrap();
                let receipts = cursors::pending(&session, &[(*user, &device, 10_000)]).await.unwrap();
                pending.extend(receipts.into_iter().flatten().map(owed));
            }
        }
        assert_eq!(pending, self.receipts);
        self.check(database).await;
    }
}

fn owed(receipt: Receipt) -> Owed {
    let key = receipt.key;
    assert_eq!(receipt.id.as_str(), format!("x{}", key.seq));
    (receipt.user, receipt.device, key.conversation, key.seq.0, key.by, key.read)
}

#[tokio::test]
async fn cursors_only_move_up_however_their_moves_come() {
    let database = Database::open().await;
    let pool = database.pool();
    let mut batches = 0;
    for seed in seeds(0..6) {
        let mut world = World::make(&database, seed.random()).await;
        let mut said: Vec<Vec<Move>> = Vec::new();
        for _ in 0..40 {
            if world.random.one_in(3) {
                world.say(&database).await;
            }
            if world.random.one_in(4) {
                world.log_in(&database).await;
            }
            // Some are new, some come again, some for the first time long after they were said. All at once.
            let mut now: Vec<Vec<Move>> = Vec::new();
            for _ in 0..1 + world.random.below(4) {
                let size = 1 + world.random.below(20);
                said.push((0..size).map(|_| world.a_move()).collect());
                let mut batch = world.random.pick(&said).unwrap().clone();
                world.random.shuffle(&mut batch);
                now.push(batch);
            }
            for one in now.iter().flatten() {
                world.moved(one);
            }
            for done in join_all(now.iter().map(|batch| cursors::advance(&pool, batch))).await {
                done.unwrap();
            }
            batches += now.len();
            world.check(&database).await;
        }
    }
    eprintln!("{batches} batches");
    database.close().await;
}

#[tokio::test]
async fn receipts_are_told_once_however_often_a_batch_comes() {
    let database = Database::open().await;
    let pool = database.pool();
    for seed in seeds(0..5) {
        let mut world = World::make(&database, seed.random()).await;
        let mut said: Vec<(Vec<ReceiptKey>, Vec<Read>)> = Vec::new();
        for step in 0..60 {
            if world.random.one_in(2) {
                world.say(&database).await;
            }
            let (size, reads) = (world.random.below(15), world.random.below(4));
            let delivered = (0..size).map(|_| world.place());
            let delivered =
                delivered.map(|(by, conversation, seq)| ReceiptKey { conversation, seq, by, read: false });
            let delivered = delivered.collect();
            let reads =
                (0..reads).map(|_| world.place()).map(|(user, conv, seq)| Read { user, conv, seq }).collect();
            said.push((delivered, reads));
            let (delivered, reads) = world.random.pick(&said).unwrap().clone();
            let pending: Vec<Owed> = world.receipts.iter().cloned().collect();
            let mut told = Vec::new();
            for _ in 0..world.random.below(6) {
                let Some((user, device, conversation, seq, by, read)) = world.random.pick(&pending).cloned()
                else {
                    break;
                };
                let receipt = ReceiptKey { conversation, seq: Seq(seq), by, read };
                told.push(Told { user, device, receipt });
            }
            let expected = world.settled(&delivered, &reads, &told);
            let new = cursors::settle(&pool, &delivered, &reads, &told).await.unwrap();
            let count = new.len();
            let new: BTreeSet<Owed> = new.into_iter().map(owed).collect();
            assert_eq!((new.len(), &new), (count, &expected));
            if step % 20 == 19 {
                world.check_pending(&database, &pool).await;
            }
        }
    }
    database.close().await;
}
