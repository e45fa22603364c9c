//! Messages' roads as a collector of OpenTelemetry traces gets them.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use shared::{ids::UserId, trace::Key};
use tests::{
    harness::{Options, SOON, System, eventually},
    people::{User, delivered, refused},
    wire::Wire,
};
use tokio::time::timeout;

/// What a message leaves on its way that is written to a session as soon as it is committed.
const STRAIGHT: [&str; 4] = ["accept", "commit", "deliver", "written"];
/// Spans are exported each 100 ms.
const EXPORTED: Duration = Duration::from_secs(3);

/// Spans by name, each with its service.
type Road = HashMap<String, (String, Span)>;

/// A collector that keeps what it is sent: each span with the service and instance that it came from.
#[derive(Default)]
struct Collector {
    spans: Mutex<Vec<(String, Span)>>,
    refuses: AtomicBool,
}

impl Collector {
    /// One that listens; gives back its URL.
    async fn open() -> (Arc<Self>, String) {
        let this = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (this, url)
    }

    /// Spans of a message, once there are these; by name, each with its service.
    async fn road(&self, user: i64, id: &str, names: &[&str]) -> Road {
        let trace = Key::of(UserId(user), id).trace_id();
        eventually(SOON, async || {
            let all = self.spans.lock().unwrap();
            let mine = all.iter().filter(|(_, span)| hex(&span.trace_id) == trace);
            let found: Vec<_> = mine.cloned().collect();
            let mut have: Vec<&str> = found.iter().map(|(_, span)| span.name.as_str()).collect();
            have.sort_unstable();
            if have != names {
                return Err(format!("expected spans {names:?} of {user}/{id}, found {have:?}"));
            }
            Ok(found.into_iter().map(|(service, span)| (span.name.clone(), (service, span))).collect())
        })
        .await
    }
}

/// Says messages, numbered from this, until one has gone straight; gives its number and road.
///
/// A node that a worker first hears of when it delivers already is told to read its backlogs: the first messages may go
/// that way.
async fn straight(
    collector: &Collector,
    (from, a): (&User, &mut Wire),
    (to, b): (&User, &mut Wire),
    first: i64,
) -> (i64, Road) {
    for seq in first..first + 10 {
        let id = format!("m{seq}");
        a.say(&id, to, "hello", seq).await;
        b.expect(&delivered(&id, "hello", seq, to, from, "phone")).await;
        if let Ok(road) = timeout(EXPORTED, collector.road(from.id, &id, &STRAIGHT)).await {
            return (seq, road);
        }
    }
    panic!("no message went straight");
}

async fn take(State(collector): State<Arc<Collector>>, body: Bytes) -> StatusCode {
    if collector.refuses.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for from in request.resource_spans {
        let resource = from.resource.unwrap_or_default();
        let service = text(&resource.attributes, "service.name").unwrap_or_default();
        let all = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
        collector.spans.lock().unwrap().extend(all.map(|span| (service.clone(), span)));
    }
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|one| one.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn number(span: &Span, key: &str) -> i64 {
    match value(&span.attributes, key) {
        Some(Value::IntValue(number)) => number,
        other => panic!("expected a number {key} of {}, found {other:?}", span.name),
    }
}

async fn exporting(url: &str) -> System {
    let settings = || {
        let settings = [("trace.otlp", url), ("trace.sample", "1"), ("trace.export_ms", "100")];
        settings.map(|(key, value)| (key, value.to_owned())).to_vec()
    };
    System::start_with(2, 2, Options { edge: settings(), worker: settings(), ..Options::default() }).await
}

#[tokio::test]
async fn a_message_is_one_trace_over_every_process_that_it_passed() {
    let (collector, url) = Collector::open().await;
    let system = exporting(&url).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let (seq, road) = straight(&collector, (&alice, &mut a), (&bob, &mut b), 1).await;
    let [(edge, accept), (worker, commit), (_, deliver), (far, written)] = STRAIGHT.map(|name| &road[name]);
    assert_eq!([edge, worker, far], ["simple-im-edge", "simple-im-worker", "simple-im-edge"]);
    for (child, parent) in [(commit, accept), (deliver, commit), (written, deliver)] {
        assert_eq!(child.parent_span_id, parent.span_id, "{} is within {}", child.name, parent.name);
    }
    assert!(accept.parent_span_id.is_empty());
    let conv = text(&commit.attributes, "im.conv").unwrap();
    assert_eq!(Some(&conv), text(&written.attributes, "im.conv").as_ref());
    for key in ["im.user", "im.session", "im.lane", "im.stream_seq", "im.frame"] {
        assert_eq!(number(accept, key), number(commit, key), "{key}");
    }
    assert_eq!((number(accept, "im.user"), number(written, "im.user")), (alice.id, bob.id));
    assert_eq!((number(commit, "im.seq"), number(written, "im.seq")), (seq, seq));
    for span in [accept, commit, deliver] {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
    }
    assert!(commit.end_time_unix_nano <= written.start_time_unix_nano, "written before it was committed");
    system.finish().await;
}

#[tokio::test]
async fn a_refused_frame_is_a_trace_that_says_why() {
    let (collector, url) = Collector::open().await;
    let system = exporting(&url).await;
    let [alice] = system.users(["alice"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    a.send("[[m]]\nid = \"lost\"\nc = \"anybody?\"\nto = 999999").await;
    a.expect(&refused("lost", "", "not_found")).await;
    let road = collector.road(alice.id, "lost", &["accept", "work"]).await;
    let (_, work) = &road["work"];
    assert_eq!(work.status.as_ref().unwrap().message, "refused:not_found");
    system.finish().await;
}

#[tokio::test]
async fn a_collector_that_fails_costs_its_spans_and_no_message() {
    let (collector, url) = Collector::open().await;
    let system = exporting(&url).await;
    collector.refuses.store(true, Ordering::Relaxed);
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    a.say("one", &bob, "hello", 1).await;
    b.expect(&delivered("one", "hello", 1, &bob, &alice, "phone")).await;
    eventually(SOON, async || {
        match system.edges[0].metric("im_process_spans_total{result=\"failed\"}").await {
            0.0 => Err("no span is counted as failed".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    collector.refuses.store(false, Ordering::Relaxed);
    straight(&collector, (&alice, &mut a), (&bob, &mut b), 2).await;
    system.finish().await;
}
