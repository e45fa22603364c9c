//! A node without a broker, for tests: workers and stream are fakes in this process, clients are real sockets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use shared::{
    config::Millis,
    contract::Speaks,
    delivery::{
        self, Delivery, Push,
        pages::{How, Pages},
    },
    ids::{Conversation, Device, MessageId, NodeId, Seq, SessionNo, TokenDigest, UserId},
    message::{Accepted, Sender, accepted},
    rpc::{
        self, Backlog, BacklogBatch, Close, ConnectBatch, ConnectReply, ConnectResult, Cursors, Done,
        Numbers, NumbersDrawn,
    },
    subject::Subjects,
    telemetry::Moment,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::{
        Calls,
        ask::{Ask, AskError, Reply},
        backlogs::Backlogs,
        logins::Logins,
        notes::Notes,
    },
    config::{EdgeConfig, Limits},
    context::Context,
    deliver::Deliver,
    drain::{Drain, DrainOutcome, Draining},
    listener,
    metric::Metrics,
    node::{epoch::Epochs, peers::Peer},
    outbox::Outbox,
    publisher::{
        Publisher, Settings,
        sink::{Found, Sink, Way},
    },
    ready::Readiness,
    registry::Registry,
    trace::Trace,
    vital::Vital,
};

/// What the fakes know and have heard. Every change can be awaited.
#[derive(Debug, Default)]
pub struct World {
    /// Owed to every session that asks, until its cursor passes it.
    pub owed: Vec<delivery::Push>,
    /// Accepted frames that the stream took.
    pub accepted: Vec<Accepted>,
    pub cursors: Vec<Cursors>,
    pub closed: Vec<Close>,
    pub reads: Vec<Backlog>,
    /// The stream takes nothing.
    pub stream_full: bool,
    /// Which stream there is.
    pub stream: i128,
    /// Batches that it has taken.
    pub batches: u64,
    /// No worker answers.
    pub workers_away: bool,
    /// Calls made while they were.
    pub unheard: u64,
    pub seen: Vec<rpc::Registration>,
    /// Logins carried out.
    pub logins: usize,
    sessions: i64,
}

/// A node under test.
pub struct Node {
    pub context: Arc<Context>,
    pub deliver: Deliver,
    pub address: SocketAddr,
    pub world: watch::Sender<World>,
    closing: CancellationToken,
    accepting: JoinHandle<JoinSet<()>>,
    notes: JoinHandle<()>,
    notes_end: CancellationToken,
    /// How it drains: without a notice to balancers, and with little grace, unless the test wants another.
    pub plan: crate::config::Drain,
}

impl Node {
    pub async fn start(change: impl FnOnce(&mut Limits)) -> Self {
        let mut config = EdgeConfig::default();
        (config.drain.notice_ms, config.drain.grace_ms) = (Millis(0), Millis(300));
        let (mut limits, metrics) = (config.limits.clone(), Metrics::new());
        change(&mut limits);
        let world = watch::Sender::new(World::default());
        let node = NodeId::new("e1-0").unwrap();
        let (subjects, fake) = (Subjects::new("im"), Arc::new(Fake(world.clone())));
        let second = Duration::from_secs(1);
        let calls = Calls::new(fake.clone(), subjects.clone(), second, second);
        let settings = Settings {
            lanes: 4,
            batch_bytes: 4096,
            queue_frames: 16,
            rest: Duration::from_millis(3),
            timeout: second,
            unpublished: limits.unpublished,
        };
        let (shutdown, closing) = (CancellationToken::new(), CancellationToken::new());
        let (vital, registry) = (Vital::new(shutdown.clone()), Arc::new(Registry::default()));
        let trace = Trace::new(&config.trace);
        let context = Arc::new(Context {
            node: node.clone(),
            parse: limits.frame(),
            limits,
            publisher: Publisher::start(
                fake,
                registry.clone(),
                &subjects,
                &node,
                settings,
                (&metrics, &trace),
                &vital,
            ),
            trace,
            registry,
            backlogs: Backlogs::start(calls.clone(), &metrics, &vital),
            logins: Logins::start(calls.clone(), node.clone(), "127.0.0.1".into(), 1987, &vital),
            calls: calls.clone(),
            notes: Notes::new(metrics.clone()),
            epochs: Epochs::default(),
            metrics,
            drain: Drain::new(shutdown.clone()),
        });
        let (_, arrivals) = listener::doors(&context);
        let notes_end = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = context.notes.clone().run(calls, node, Duration::from_millis(20), notes_end.clone());
        Self {
            deliver: Deliver::new(context.clone()),
            accepting: tokio::spawn(listener::run(
                listener,
                None,
                arrivals,
                context.clone(),
                closing.clone(),
            )),
            notes: tokio::spawn(notes),
            context,
            address,
            world,
            closing,
            notes_end,
            plan: config.drain,
        }
    }

    /// What a worker would send to this node.
    pub fn send(&self, deliveries: &[Delivery]) {
        let mut batch = Vec::new();
        deliveries.iter().for_each(|one| delivery::encode(one, &mut batch));
        self.deliver.batch(&Bytes::from(batch), None);
    }

    /// Lets the sessions of crowds have their turns.
    pub fn wake_crowds(&self) -> tokio::task::JoinHandle<()> {
        let crowds = self.deliver.crowds().clone();
        tokio::spawn(async move { crowds.run().await })
    }

    /// Until the world is so.
    pub async fn until(&self, so: impl FnMut(&World) -> bool) {
        let mut world = self.world.subscribe();
        let waiting = world.wait_for(so);
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("in time").expect("still there");
    }

    /// Ends the node; its sessions can go to `peers`.
    pub async fn drain(self, peers: Vec<Peer>) -> DrainOutcome {
        let Self { context, plan, accepting, closing, notes, notes_end, .. } = self;
        context.drain.begin("a test");
        context.drain.heard().send_replace(Some(peers));
        let (farewell, rest) = (CancellationToken::new(), CancellationToken::new());
        let (ready, tasks) = (Readiness::default(), Vec::new());
        Draining { context, ready, plan, accepting, closing, notes, notes_end, farewell, rest, tasks }
            .run()
            .await
    }
}

/// Workers and stream.
struct Fake(watch::Sender<World>);

impl Ask for Fake {
    fn ask(&self, subject: String, request: Bytes, _: Duration) -> BoxFuture<'_, Result<Reply, AskError>> {
        let mut reply = Err(AskError::NobodyThere);
        let subjects = Subjects::new("im");
        let call = subjects.rpc_call(&subject).or_else(|| subjects.at_call(&subject)).unwrap();
        self.0.send_modify(|world| {
            if world.workers_away {
                world.unheard += 1;
            } else {
                reply = Ok(world.answer(call, &request));
            }
        });
        async move { reply }.boxed()
    }
}

impl World {
    fn answer(&mut self, call: &str, request: &[u8]) -> Reply {
        let payload = match call {
            "session.numbers" => rpc::to_vec(&self.draw(&rpc::from_slice(request).unwrap())),
            "session.connect" => rpc::to_vec(&self.connect(&rpc::from_slice(request).unwrap())),
            "session.backlog" => self.backlogs(rpc::from_slice(request).unwrap()),
            "session.cursor" => {
                self.cursors.push(rpc::from_slice(request).unwrap());
                rpc::to_vec(&Done {})
            }
            "session.seen" => {
                self.seen.extend(rpc::from_slice::<rpc::Seen>(request).unwrap().sessions);
                rpc::to_vec(&Done {})
            }
            "session.close" => {
                self.closed.push(rpc::from_slice(request).unwrap());
                rpc::to_vec(&Done {})
            }
            other => panic!("no such call: {other}"),
        };
        Reply { payload: payload.into(), ..Reply::default() }
    }

    fn draw(&mut self, asked: &Numbers) -> NumbersDrawn {
        let first = self.sessions + 1;
        self.sessions += i64::from(asked.count);
        NumbersDrawn { numbers: (first..=self.sessions).map(SessionNo).collect(), worker: "w1-1".to_owned() }
    }

    fn connect(&mut self, batch: &ConnectBatch) -> ConnectReply {
        let one = |(login, number): (&rpc::Connect, &SessionNo)| {
            let (code, reason) = (Some("token".to_owned()), Some("token error".to_owned()));
            match login.token == TokenDigest::of("good") {
                true => ConnectResult { session: Some(*number), epoch: None, code: None, reason: None },
                false => ConnectResult { session: None, epoch: None, code, reason },
            }
        };
        assert_eq!(batch.logins.len(), batch.numbers.len());
        self.logins += batch.logins.len();
        ConnectReply {
            speaks: Speaks::this(),
            results: batch.logins.iter().zip(&batch.numbers).map(one).collect(),
        }
    }

    fn backlogs(&mut self, batch: BacklogBatch) -> Vec<u8> {
        let mut pages = Pages::default();
        batch.reads.into_iter().for_each(|read| self.backlog(read, &mut pages));
        pages.into_payload()
    }

    fn backlog(&mut self, read: Backlog, pages: &mut Pages) {
        let after = |push: &delivery::Push| {
            read.after.iter().find(|place| place.conv == push.conversation).map(|place| place.seq)
        };
        let owed = self.owed.iter().filter(|push| after(push).is_none_or(|after| push.seq > after));
        let owed: Vec<_> = owed.collect();
        let page = owed.len().min(read.limit as usize);
        owed[..page].iter().for_each(|push| pages.put(&Delivery::Push((*push).clone())));
        pages.end(if page < owed.len() { How::More } else { How::Done });
        self.reads.push(read);
    }
}

impl Sink for Fake {
    fn find(&self, _: Duration) -> BoxFuture<'_, Result<Found, String>> {
        let (created, last_sequence) = {
            let world = self.0.borrow();
            (world.stream, world.batches)
        };
        async move { Ok(Found { created, last_sequence, way: Arc::new(Fake(self.0.clone())) }) }.boxed()
    }
}

impl Way for Fake {
    fn publish<'a>(
        &'a self,
        _: &'a str,
        _: (&'a str, Moment),
        batch: Bytes,
    ) -> BoxFuture<'a, Result<u64, String>> {
        let mut result = Err("full".to_owned());
        self.0.send_modify(|world| {
            if !world.stream_full {
                let frames = shared::frame::split_counted(&batch).unwrap();
                world.accepted.extend(frames.iter().map(|frame| accepted::decode(frame).unwrap()));
                world.batches += 1;
                result = Ok(world.batches);
            }
        });
        async move { result }.boxed()
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

/// A client that speaks text.
pub struct Client {
    pub socket: TcpStream,
    read: Mutex<Vec<u8>>,
}

impl Client {
    pub async fn connect(node: &Node) -> Self {
        Self::at(node.address).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.unwrap(), read: Mutex::default() }
    }

    pub async fn logged_in(node: &Node, user: i64, device: &str) -> Self {
        let mut client = Self::connect(node).await;
        client.write(&login(user, device, "good")).await;
        let answer = client.frame().await.unwrap();
        assert!(answer.contains("s = 0"), "{answer}");
        client
    }

    pub async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next frame without its blank line; `None` at the end.
    pub async fn frame(&mut self) -> Option<String> {
        let reading = async {
            loop {
                {
                    let mut read = self.read.lock().unwrap();
                    if let Some(end) = read.windows(2).position(|two| two == b"\n\n") {
                        let frame = read.drain(..end + 2).collect::<Vec<_>>();
                        return Some(String::from_utf8(frame).unwrap().trim_end().to_owned());
                    }
                }
                let mut buffer = vec![0; 65536];
                let count = self.socket.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    return None;
                }
                self.read.lock().unwrap().extend(&buffer[..count]);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reading).await.expect("a frame in time")
    }
}

/// What waits for this session, which is of no connection.
pub fn session(user: i64, device: &str, number: i64) -> Arc<Outbox> {
    Arc::new(Outbox::new(Arc::new(Sender {
        user: UserId(user),
        device: Device::new(device).unwrap(),
        session: SessionNo(number),
        node: NodeId::new("e1-0").unwrap(),
    })))
}

/// A message of a direct conversation on its way.
pub fn push(to: i64, from: i64, seq: i64) -> Push {
    Push {
        to: vec![UserId(to)],
        conversation: Conversation::direct(UserId(to), UserId(from)),
        seq: Seq(seq),
        from: UserId(from),
        id: MessageId::new(&format!("p{seq}")).unwrap(),
        skip: None,
        receipt: false,
        again: false,
        body: Bytes::from(format!("[[m]]\nid = \"p{seq}\"\nseq = {seq}\n")),
    }
}

pub fn login(user: i64, device: &str, token: &str) -> String {
    format!(
        "[[r]]\nid = \"a_01\"\nt = \"login\"\n[r.user]\nid = {user}\ndevice = \"{device}\"\ntoken = \"{token}\"\n\n"
    )
}
