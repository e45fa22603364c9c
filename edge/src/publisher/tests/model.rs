//! Random histories of a publisher before a broker that fails in every way, against what may be in its stream.
//!
//! Devices send numbered frames over sessions, log in again when a session is ended, and then send everything again that
//! was not committed, as the protocol asks of them. The broker takes, refuses, takes and says that it did not, loses the
//! connection, comes back with its stream or with another one; a worker commits what is in the stream, in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared::seeded::{Random, seeds};

use super::*;

const DEVICES: usize = 4;
/// Whom they write to: conversations in several lanes.
const PEERS: i64 = 3;
const LANES: u16 = 3;

/// A frame as its device knows it: which device, to whom, and the how-manieth of that conversation.
type Name = (usize, i64, usize);

/// What the broker has, and what has become of it.
struct World {
    random: Random,
    /// The stream there is: `None` while nobody has made it again.
    stream: Option<Kept>,
    streams: u64,
    /// Frames committed, each once, in their order.
    committed: Vec<Name>,
    known: HashSet<Name>,
    connection: CancellationToken,
    /// Which stream each session began with, as far as the broker can know: the one there was at its first frame.
    first: HashMap<SessionNo, u64>,
    publishes: usize,
    wiped: usize,
}

#[derive(Default)]
struct Kept {
    number: u64,
    last: u64,
    /// Not yet committed.
    frames: Vec<(Name, SessionNo)>,
    ids: HashMap<String, u64>,
}

/// Shared by the fake, its connections and the test.
#[derive(Clone)]
struct Shared(Arc<Mutex<World>>);

struct Line {
    shared: Shared,
    lost: CancellationToken,
}

impl Sink for Shared {
    fn find(&self, _: Duration) -> BoxFuture<'_, Result<Found, String>> {
        async move {
            tokio::task::yield_now().await;
            let mut world = self.0.lock().unwrap();
            if world.random.one_in(4) {
                return Err("nobody answers".to_owned());
            }
            let stream = world.stream.as_ref().ok_or("no such stream")?;
            let (created, last_sequence) = (stream.number.into(), stream.last);
            let way = Arc::new(Line { shared: self.clone(), lost: world.connection.clone() });
            Ok(Found { created, last_sequence, way })
        }
        .boxed()
    }
}

impl Way for Line {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        (id, _): (&'a str, Moment),
        batch: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>> {
        async move {
            tokio::task::yield_now().await;
            let (taken, told, wait) = {
                let mut world = self.shared.0.lock().unwrap();
                world.publishes += 1;
                // What goes over a connection that is lost reaches nobody.
                if self.lost.is_cancelled() {
                    (None, false, false)
                } else {
                    let (refused, told, wait) =
                        (world.random.one_in(8), !world.random.one_in(8), world.random.one_in(3));
                    let taken = if refused { None } else { world.take(id, &batch) };
                    (taken, told, wait)
                }
            };
            if wait {
                // The confirmation comes later, or is lost with the connection.
                tokio::select! {
                    biased;
                    () = self.lost.cancelled() => return Err("lost".to_owned()),
                    () = tokio::time::sleep(Duration::from_millis(30)) => {}
                }
            }
            taken.filter(|_| told).ok_or_else(|| "not confirmed".to_owned())
        }
        .boxed()
    }

    fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        self.lost.cancelled().boxed()
    }
}

impl World {
    /// Puts a batch into the stream, once; its place there.
    fn take(&mut self, id: &str, batch: &Bytes) -> Option<u64> {
        let stream = self.stream.as_mut()?;
        if let Some(place) = stream.ids.get(id) {
            return Some(*place);
        }
        stream.last += 1;
        stream.ids.insert(id.to_owned(), stream.last);
        for frame in split_counted(batch).unwrap() {
            let frame = accepted::decode(&frame).unwrap();
            let Body::Message(message) = &frame.what else { unreachable!("only messages are sent") };
            let Target::User(to) = message.to else { unreachable!("only to users") };
            let number = message.id.as_str()[1..].parse().unwrap();
            let session = frame.from.session;
            let first = *self.first.entry(session).or_insert(stream.number);
            assert_eq!(first, stream.number, "session {session} has begun with stream {first}");
            let device = usize::try_from(frame.from.user.0 - 1).unwrap();
            stream.frames.push(((device, to.0, number), session));
        }
        Some(stream.last)
    }

    /// A worker commits the oldest so many.
    fn commit(&mut self, most: usize) {
        let Some(stream) = &mut self.stream else { return };
        let count = most.min(stream.frames.len());
        for (name, _) in stream.frames.drain(..count) {
            // Seen before: a duplicate is answered and not stored.
            if self.known.insert(name) {
                self.committed.push(name);
            }
        }
    }

    fn has(&self, name: Name) -> bool {
        let kept = self.stream.as_ref().is_some_and(|stream| stream.frames.iter().any(|(it, _)| *it == name));
        kept || self.known.contains(&name)
    }

    /// The broker is away for a moment.
    fn disconnect(&mut self) {
        std::mem::take(&mut self.connection).cancel();
    }

    /// What was not committed is gone, and everybody knows: the process went with it, or the next publish fails.
    fn wipe(&mut self) {
        self.stream = None;
        self.wiped += 1;
    }

    fn make_stream(&mut self) {
        if self.stream.is_none() {
            self.streams += 1;
            self.stream = Some(Kept { number: self.streams, ..Kept::default() });
        }
    }
}

/// A client that follows the protocol.
struct Client {
    device: usize,
    session: Arc<Outbox>,
    entry: Option<crate::registry::Entry>,
    /// Everything it has sent or is to send that was not committed when it last looked, in order.
    open: Vec<Name>,
    /// How many of them were sent over this session.
    sent: usize,
    /// The next number to each of its peers.
    next: BTreeMap<i64, usize>,
    /// How often the stream had been wiped when the session began.
    wiped: usize,
}

struct Run {
    shared: Shared,
    publisher: Publisher,
    registry: Arc<Registry>,
    clients: Vec<Client>,
    sessions: i64,
    ended: usize,
}

impl Run {
    fn start(random: Random) -> Self {
        let world = World {
            random,
            stream: None,
            streams: 0,
            committed: Vec::new(),
            known: HashSet::new(),
            connection: CancellationToken::new(),
            first: HashMap::new(),
            publishes: 0,
            wiped: 0,
        };
        let shared = Shared(Arc::new(Mutex::new(world)));
        shared.0.lock().unwrap().make_stream();
        let settings = Settings { lanes: LANES, batch_bytes: 512, queue_frames: 6, ..settings() };
        let registry = Arc::default();
        let (publisher, _) = start_on(Arc::new(shared.clone()), &registry, settings);
        let mut run = Self { shared, publisher, registry, clients: Vec::new(), sessions: 0, ended: 0 };
        for device in 0..DEVICES {
            let (session, entry) = run.login(device);
            run.clients.push(Client {
                device,
                session,
                entry: Some(entry),
                open: Vec::new(),
                sent: 0,
                next: BTreeMap::new(),
                wiped: 0,
            });
        }
        run
    }

    fn login(&mut self, device: usize) -> (Arc<Outbox>, crate::registry::Entry) {
        self.sessions += 1;
        let session = crate::testing::session(device as i64 + 1, "pad", self.sessions);
        (session.clone(), self.registry.add(session))
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.shared.0.lock().unwrap()
    }

    fn random(&self, bound: usize) -> usize {
        self.world().random.below(bound)
    }

    /// The client at work: what was committed is answered; ended, it logs in again and begins from the front.
    fn client(&mut self, at: usize, writes: bool) {
        let ended = self.clients[at].session.take().close.is_some();
        // It may still have something in its hands when it is told.
        let last_words = ended && self.random(2) == 0;
        if last_words {
            self.send(at);
        }
        if ended {
            self.ended += 1;
            self.reconnect(at);
        }
        if writes {
            let to = 10 + self.random(PEERS as usize) as i64;
            let client = &mut self.clients[at];
            let number = client.next.entry(to).or_insert(0);
            client.open.push((client.device, to, *number));
            *number += 1;
        }
        self.send(at);
    }

    /// Logs in again; what its old session has sent may still be in a queue.
    fn reconnect(&mut self, at: usize) {
        self.clients[at].entry = None;
        let (session, entry) = self.login(self.clients[at].device);
        let client = &mut self.clients[at];
        let world = self.shared.0.lock().unwrap();
        client.open.retain(|name| !world.known.contains(name));
        (client.session, client.entry) = (session, Some(entry));
        (client.sent, client.wiped) = (0, world.wiped);
    }

    /// As much as the lanes have room for.
    fn send(&mut self, at: usize) {
        let client = &mut self.clients[at];
        while let Some((_, to, number)) = client.open.get(client.sent) {
            let stamped = frame(&client.session, *number, Target::User(UserId(*to)), WantedAck::Stored);
            if !self.publisher.take(&stamped, &client.session) {
                break;
            }
            client.sent += 1;
        }
    }

    /// A client that has had no answer for long sends everything again over the session that it has.
    fn impatient(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let world = self.shared.0.lock().unwrap();
        client.open.retain(|name| !world.known.contains(name));
        client.sent = 0;
        drop(world);
        self.send(at);
    }

    async fn settle(&self, turns: usize) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// What the publisher has confirmed for sessions that stand is in the stream, or was committed.
    fn confirmed_is_there(&self) {
        let world = self.world();
        for client in &self.clients {
            let stands = client.wiped == world.wiped && client.session.take().close.is_none();
            if stands && client.session.unpublished() == 0 {
                for name in &client.open[..client.sent] {
                    assert!(world.has(*name), "{name:?} was confirmed and is nowhere");
                }
            }
        }
    }

    /// Each device's frames to each peer were committed in the order in which they were sent, none left out.
    fn in_order(&self) {
        let world = self.world();
        let mut next: HashMap<(usize, i64), usize> = HashMap::new();
        for (device, to, number) in &world.committed {
            let expected = next.entry((*device, *to)).or_insert(0);
            assert_eq!(number, expected, "of device {device} to {to}");
            *expected += 1;
        }
    }
}

async fn history(random: Random, steps: usize) -> (usize, usize, usize) {
    let mut run = Run::start(random);
    for _ in 0..steps {
        let at = run.random(DEVICES);
        match run.random(24) {
            0 => run.world().disconnect(),
            1 => {
                let mut world = run.world();
                world.wipe();
                world.disconnect();
            }
            // Deleted on a connection that stands: for a while there is none, and what is published fails.
            2 => {
                run.world().wipe();
                run.client(at, true);
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
            3..6 => run.world().make_stream(),
            6 => run.impatient(at),
            7..10 => {
                let most = run.random(10);
                run.world().commit(most);
            }
            10 => run.reconnect(at),
            11 => {
                let pause = run.random(1500) as u64;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            _ => run.client(at, true),
        }
        let turns = run.random(6);
        run.settle(turns).await;
        run.confirmed_is_there();
        run.in_order();
    }
    // In peace everything arrives.
    for _ in 0..400 {
        run.world().make_stream();
        for at in 0..DEVICES {
            run.client(at, false);
            if run.clients[at].sent == run.clients[at].open.len() {
                run.impatient(at);
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        run.world().commit(usize::MAX);
        if run.clients.iter().all(|client| client.open.is_empty()) {
            break;
        }
    }
    run.in_order();
    let sent: usize = run.clients.iter().flat_map(|client| client.next.values()).sum();
    let world = run.world();
    assert_eq!(world.committed.len(), sent, "all that was ever sent is committed");
    (world.publishes, world.wiped, run.ended)
}

#[test]
fn random_histories_keep_every_order_and_lose_nothing_for_good() {
    let (mut publishes, mut wiped, mut ended, mut runs) = (0, 0, 0, 0);
    for seed in seeds(0..250) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (these, wipes, ends) = runtime.block_on(history(seed.random(), 200));
        (publishes, wiped, ended, runs) = (publishes + these, wiped + wipes, ended + ends, runs + 1);
    }
    assert!(runs == 1 || (publishes > 10_000 && wiped > 1000 && ended > 1000), "{publishes} {wiped} {ended}");
}
