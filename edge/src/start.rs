//! Putting a node together: listeners, the broker, the tasks, and their ordered end.

use std::{io, net::SocketAddr, sync::Arc};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::select,
};
use shared::{
    ids::{InvalidId, NodeId},
    nats::Door,
    rpc,
    subject::Subjects,
    telemetry,
    tls::TlsError,
    trace::{self, export},
};
use socket2::SockRef;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Broker,
    compat,
    config::EdgeConfig,
    context::{Context, Ways},
    control::Controls,
    deliver::Deliver,
    drain::{Drain, DrainOutcome, Draining},
    http::{HttpState, describe, limits::Limits as HttpLimits, origin::Origins, page, peer::Proxies},
    listener::{self, Way},
    metric,
    node::{self, Pulse, epoch::Epochs, peers, seen},
    publisher::sink::Stream,
    ready::Readiness,
    tls::Tls,
    trace::Spans,
    vital::Vital,
    websocket::{self, WebSockets},
};

/// The node's listeners, bound.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub tcp: TcpListener,
    /// For the HTTP API.
    pub http: TcpListener,
    /// For simple_im's original clients, where they are served.
    pub compat: Option<TcpListener>,
    /// For their HTTP calls.
    pub compat_http: Option<TcpListener>,
    /// For /metrics, /livez and /readyz.
    pub metrics: TcpListener,
}

/// A node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("{key} = {address:?}: {source}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The node's name is no part of a node id.
    #[error("edge.name: {0}")]
    Name(#[from] InvalidId),
    /// The broker's settings are of no use.
    #[error("[nats] {0}")]
    Broker(#[from] async_nats::ConnectError),
    /// The node's own subject cannot be subscribed to.
    #[error("the node's subject: {0}")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The certificate cannot be used.
    #[error("[tls] {0}")]
    Tls(#[from] TlsError),
    /// The file that tells where it listens cannot be written.
    #[error(transparent)]
    ReadyFile(io::Error),
}

/// Connections that may wait to be accepted; the kernel's own limit (`net.core.somaxconn`) may be lower. Who comes when so
/// many wait tries again by itself, a second later: after the end of another node thousands come at once.
const WAITING: i32 = 4096;

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub async fn bind(config: &EdgeConfig) -> Result<Self, StartError> {
        let bind = async |key: &'static str, address: &str| {
            let listener = TcpListener::bind(address).await.and_then(|listener| {
                // Called again it only changes how many may wait.
                SockRef::from(&listener).listen(WAITING)?;
                Ok(listener)
            });
            listener.map_err(|source| StartError::Bind { key, address: address.to_owned(), source })
        };
        let bind_if = async |key: &'static str, address: &str| match address {
            "" => Ok(None),
            address => bind(key, address).await.map(Some),
        };
        Ok(Self {
            tcp: bind("edge.listen", &config.edge.listen).await?,
            http: bind("edge.http", &config.edge.http).await?,
            compat: bind_if("edge.compat_listen", &config.edge.compat_listen).await?,
            compat_http: bind_if("edge.compat_http", &config.edge.compat_http).await?,
            metrics: bind("edge.metrics", &config.edge.metrics).await?,
        })
    }
}

/// A node that runs.
#[derive(Debug)]
pub struct Running {
    /// This start of it.
    pub node: NodeId,
    /// Where clients connect.
    pub tcp: SocketAddr,
    /// Where its HTTP API is.
    pub http: SocketAddr,
    /// Where simple_im's original clients connect, if they are served.
    pub compat: Option<SocketAddr>,
    /// Where its figures are.
    pub metrics: SocketAddr,
    /// Whether it can serve.
    pub ready: Readiness,
    /// How it is asked to end.
    pub drain: Drain,
    tls: Option<Arc<Tls>>,
    vital: Vital,
    join: JoinHandle<DrainOutcome>,
}

impl Running {
    /// Until a task without which it cannot serve has ended before its shutdown; which. Whoever runs it is to end it.
    pub async fn ended_unasked(&self) -> &'static str {
        self.vital.ended().await
    }

    /// Reads the certificate again, if there is one; whether there is.
    pub fn reload(&self) -> bool {
        self.tls.as_ref().inspect(|tls| tls.reload_now()).is_some()
    }

    /// Until it has drained and ended, and what missed its deadline.
    pub async fn join(self) -> DrainOutcome {
        self.join
            .await
            .unwrap_or_else(|error| DrainOutcome { stragglers: vec![format!("the drain itself: {error}")] })
    }
}

/// Starts a node on the addresses of its configuration; it drains and ends after `shutdown`, or after [`Drain::begin`].
///
/// # Errors
/// [`StartError`]: nothing runs then.
pub async fn start(config: EdgeConfig, shutdown: CancellationToken) -> Result<Running, StartError> {
    let listeners = Listeners::bind(&config).await?;
    start_on(config, listeners, shutdown).await
}

/// Starts a node on these listeners.
///
/// # Errors
/// [`StartError`]: nothing runs then.
pub async fn start_on(
    config: EdgeConfig,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<Running, StartError> {
    metric::limits(&config, http_limits(&config).connections);
    let tls = Tls::new(&config.tls)?;
    let node = node::identity(&config.edge.name)?;
    let addresses = Addresses::of(&listeners)?;
    let (server, port) = advertised(&config.edge.advertise, addresses.tcp);
    let theirs = addresses.compat.map(|listen| {
        let (server, port) = advertised(&config.edge.compat_advertise, listen);
        rpc::Address { server, port }
    });
    let broker = Broker::connect(Door::new(&config.nats.way)?, node.as_str()).await?;
    let subjects = Subjects::new(&config.nats.prefix);
    // Subscribed before anyone hears of this node.
    let own = broker.client().subscribe(subjects.node(&node)).await?;
    let subscription = match broker.is_open() {
        true => select(own, broker.client().subscribe(subjects.node_before(&node)).await?).boxed(),
        false => own.boxed(),
    };
    let trace_subjects = subjects.clone();
    let vital = Vital::new(shutdown.clone());
    let ways: Ways =
        (Arc::new(Stream::new(broker.clone(), subjects.stream())), Arc::new(broker.client().clone()));
    let context = Arc::new(Context::new(&config, ways, &subjects, &node, (&server, port), &vital));
    let told = (&context.registry, &context.drain);
    let controls = Controls::open(broker.client(), &subjects, &node, told).await?;
    let ready = Readiness::default();

    let (rest, notes_end) = (CancellationToken::new(), CancellationToken::new());
    let (farewell, closing) = (CancellationToken::new(), CancellationToken::new());
    let notes = context.notes.clone().run(
        context.calls.clone(),
        node.clone(),
        config.node.cursor_ms.get(),
        notes_end.clone(),
    );
    let (peer_subjects, heartbeat) = (subjects.clone(), config.node.heartbeat_ms.get());
    let pulse = Pulse {
        context: context.clone(),
        subjects,
        server,
        port,
        compat: theirs,
        ready: ready.clone(),
        before: broker.is_open(),
        link: broker.link(),
        started: trace::seconds(),
    };
    let drain = context.drain.clone();
    let (asked, heard, own, away) = (drain.clone(), drain.heard(), node.clone(), rest.clone());
    let http = HttpState::new(context.clone(), http_limits(&config), ready.clone())
        .behind(Proxies::parse(&config.edge.trusted_proxies).unwrap_or_default())
        .over(tls.clone())
        .with_origins(Origins::parse(&config.edge.origins).unwrap_or_default().over(tls.is_some()));
    let (old_http, old_state, old_end) = (listeners.compat_http, http.for_originals(), closing.clone());
    let old_calls = async move {
        match old_http {
            Some(listener) => crate::http::serve(listener, old_state, old_end).await,
            None => old_end.cancelled().await,
        }
    };
    let (door, arrivals) = listener::doors(&context);
    let (old, old_door, greeting) =
        (listeners.compat, door.of(Way::Compat), config.edge.compat_greeting.clone());
    let (old_context, old_closing) = (context.clone(), closing.clone());
    let originals = async move {
        match old {
            Some(listener) => compat::run(listener, old_door, greeting, old_context, old_closing).await,
            None => old_closing.cancelled().await,
        }
    };
    let sockets = WebSockets {
        context: context.clone(),
        door: door.of(Way::WebSocket),
        origins: http.origins.clone(),
        proxies: http.proxies.clone(),
        shutdown: closing.clone(),
    };
    let http = http
        .with_routes(websocket::routes(sockets))
        .with_routes(page::routes())
        .with_routes(describe::routes());
    let deliver = Deliver::new(context.clone()).run(subscription, broker.clone(), rest.clone());
    let figures = telemetry::serve(listeners.metrics, ready.process(), rest.clone());
    let figures = async move {
        if let Err(error) = figures.await {
            tracing::error!(%error, "the metrics listener has ended");
        }
    };
    let pulse = pulse.run(config.node.heartbeat_ms.get(), config.node.lease_ms.get(), farewell.clone());
    let accept = listener::run(listeners.tcp, tls.clone(), arrivals, context.clone(), closing.clone());
    let traced = context.clone();
    let trace = trace::answer(
        broker.client().clone(),
        trace_subjects,
        async move |question| traced.trace.answer(&question, &traced).await,
        farewell.clone(),
    );
    let spans = Spans::new(context.trace.clone(), node.to_string());
    let export = export::run(config.trace.clone(), ("edge", node.to_string()), spans, farewell.clone());
    let (fresh, until) = (tls.clone(), rest.clone());
    let fresh = async move {
        match fresh {
            Some(tls) => tls.keep_fresh(until).await,
            None => until.cancelled().await,
        }
    };
    let tasks: [(_, BoxFuture<'static, ()>); _] = [
        ("heartbeat", pulse.boxed()),
        ("deliveries", deliver.boxed()),
        ("registration", Epochs::run(context.clone(), rest.clone()).boxed()),
        ("control", controls.run(rest.clone()).boxed()),
        ("seen", seen::run(context.clone(), rest.clone()).boxed()),
        ("http", crate::http::serve(listeners.http, http, closing.clone()).boxed()),
        ("originals", originals.boxed()),
        ("original calls", old_calls.boxed()),
        ("figures", figures.boxed()),
        ("trace", trace.boxed()),
        ("spans", export.boxed()),
        ("certificate", fresh.boxed()),
    ];
    let watched = |(name, work)| (name, tokio::spawn(vital.clone().task(name, work)));
    let tasks = tasks.map(watched).into();
    let notes = tokio::spawn(vital.clone().task("notes", notes));
    let accepting = tokio::spawn(vital.clone().task("listener", accept));
    let listening = [("tcp", addresses.tcp), ("http", addresses.http), ("metrics", addresses.metrics)];
    let theirs = [("compat", addresses.compat), ("compat_http", addresses.compat_http)];
    let theirs = theirs.into_iter().filter_map(|(name, address)| Some((name, address?)));
    let listening = listening.into_iter().chain(theirs);
    let written: Vec<_> = listening.map(|(name, address)| (name, address.to_string())).collect();
    let written: Vec<_> = written.iter().map(|(name, address)| (*name, address.as_str())).collect();
    telemetry::write_ready_file(&config.edge.ready_file, &written).map_err(StartError::ReadyFile)?;
    tracing::info!(%node, tcp = %addresses.tcp, http = %addresses.http, metrics = %addresses.metrics, "listening");

    let (says, plan) = (ready.clone(), config.drain.clone());
    let join = tokio::spawn(async move {
        asked.begun().await;
        let client = broker.client().clone();
        tokio::spawn(peers::watch(client, peer_subjects, own, heartbeat, heard, away));
        let draining = Draining {
            context,
            ready: says,
            plan,
            accepting,
            closing,
            notes,
            notes_end,
            farewell,
            rest,
            tasks,
        };
        let outcome = draining.run().await;
        // What is still in the client's own queue: confirmations of the last deliveries.
        broker.client().flush().await.ok();
        outcome
    });
    Ok(Running {
        node: node.clone(),
        tcp: addresses.tcp,
        http: addresses.http,
        compat: addresses.compat,
        metrics: addresses.metrics,
        ready,
        drain,
        tls,
        vital,
        join,
    })
}

fn http_limits(config: &EdgeConfig) -> HttpLimits {
    HttpLimits { body_bytes: config.limits.http_body_bytes, ..HttpLimits::default() }
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    tcp: SocketAddr,
    http: SocketAddr,
    compat: Option<SocketAddr>,
    compat_http: Option<SocketAddr>,
    metrics: SocketAddr,
}

impl Addresses {
    fn of(listeners: &Listeners) -> Result<Self, StartError> {
        let address = |key: &'static str, listener: &TcpListener| {
            let told = listener.local_addr();
            told.map_err(|source| StartError::Bind { key, address: "(bound already)".to_owned(), source })
        };
        let address_if = |key, listener: &Option<TcpListener>| {
            listener.as_ref().map(|listener| address(key, listener)).transpose()
        };
        Ok(Self {
            tcp: address("edge.listen", &listeners.tcp)?,
            http: address("edge.http", &listeners.http)?,
            compat: address_if("edge.compat_listen", &listeners.compat)?,
            compat_http: address_if("edge.compat_http", &listeners.compat_http)?,
            metrics: address("edge.metrics", &listeners.metrics)?,
        })
    }
}

/// What a login is told: the configured address, or the one listened on.
fn advertised(advertise: &str, listen: SocketAddr) -> (String, u16) {
    let configured = advertise.rsplit_once(':').and_then(|(server, port)| Some((server, port.parse().ok()?)));
    configured
        .map_or_else(|| (listen.ip().to_string(), listen.port()), |(server, port)| (server.to_owned(), port))
}
