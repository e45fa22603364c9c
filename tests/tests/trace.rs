//! `simple-im trace`: one message's road by its sender's own id, and what it says of what is missing.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::process::{Output, Stdio};

use serde_json::Value;
use tests::{
    harness::{
        Options, SOON, System,
        checks::at_rest,
        eventually,
        servers::{binary, shared},
    },
    people::{delivered, delivered_group, refused},
};
use tokio::process::Command;

/// Runs it on this system's stores.
async fn trace(system: &System, arguments: &[&str]) -> Output {
    let servers = shared().await.unwrap();
    let name = &system.stores.name;
    let mut command = Command::new(binary("simple-im").unwrap());
    command
        .arg("trace")
        .args(arguments)
        .env("IM_NATS__URL", system.broker.as_ref().map_or(servers.nats, |broker| broker.url()))
        .env("IM_NATS__PREFIX", name)
        .env("IM_NATS__LANES", system.stores.lanes.to_string())
        .env("IM_POSTGRES__URL", &servers.postgres)
        .env("IM_POSTGRES__SCHEMA", name)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    tokio::time::timeout(SOON * 2, command.output()).await.expect("it returns").expect("it starts")
}

/// The one message that it tells of.
async fn road(system: &System, what: &str) -> Value {
    let mut all = roads(system, &[what]).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

async fn roads(system: &System, arguments: &[&str]) -> Vec<Value> {
    let processes = system.edges.len() + system.workers.len();
    let count = processes.to_string();
    let usual = ["--json", "--wait", "10000", "--processes", &count];
    let output = trace(system, &[&usual, arguments].concat()).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["process"].as_array().unwrap().len(), processes, "every process answers: {said}");
    report["message"].as_array().unwrap().clone()
}

/// The part of a road that is about this device.
fn device<'r>(road: &'r Value, user: i64, name: &str) -> &'r Value {
    let mut all = road["device"].as_array().unwrap().iter();
    let found = all.find(|one| one["user"] == user && one["device"] == name);
    found.unwrap_or_else(|| panic!("no device {name} of {user}: {road:#}"))
}

fn state(road: &Value, user: i64, name: &str) -> String {
    device(road, user, name)["state"].as_str().unwrap().to_owned()
}

/// What its sessions did there.
fn stops(device: &Value) -> Vec<&str> {
    device["stops"].as_array().unwrap().iter().map(|stop| stop["what"].as_str().unwrap()).collect()
}

fn texts(value: &Value) -> String {
    value.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Waits until every session has read its backlog.
async fn everybody_is_live(system: &System) {
    for edge in &system.edges {
        eventually(SOON, async || match edge.metric("im_edge_backlog_sessions").await {
            0.0 => Ok(()),
            behind => Err(format!("{behind} sessions read their backlogs")),
        })
        .await;
    }
}

#[tokio::test]
async fn a_message_is_followed_to_every_device() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    system.directory_stands().await;
    drop(system.online(&bob, "away", 0).await);
    system.away(&bob).await;
    let mut b0 = system.online(&bob, "pad", 0).await;
    let mut b1 = system.online(&bob, "phone", 1).await;
    let mut a = system.online(&alice, "phone", 0).await;
    everybody_is_live(&system).await;

    a.say("one", &bob, "hello", 1).await;
    let frame = delivered("one", "hello", 1, &bob, &alice, "phone");
    b0.expect(&frame).await;
    b1.expect(&frame).await;
    b0.acknowledge("one", 1, &alice).await;
    system.cursor_at(&bob, "pad", &alice, 1).await;
    // And acknowledged to the broker, which is the last step of its road.
    at_rest(&system).await;

    let what = format!("{}/one", alice.id);
    let road = road(&system, &what).await;
    assert_eq!((&road["stored"]["seq"], &road["stored"]["device"]), (&1.into(), &"phone".into()), "{road:#}");
    let sending = &road["sending"][0];
    let (accepted, worked) = (&sending["accepted"], &sending["worked"]);
    assert!(accepted["node"].as_str().unwrap().starts_with("e1-"), "{road:#}");
    assert_eq!(worked["outcome"], "stored");
    assert_eq!(texts(&sending["missing"]), "");
    for key in ["lane", "stream_seq", "session", "frame"] {
        assert_eq!(accepted[key], worked[key], "{key}: {road:#}");
    }
    // One after the other, by one machine's clock.
    let steps = &worked["steps"];
    let times = [
        &accepted["opened"],
        &accepted["at"],
        &steps["committed"],
        &steps["routed"],
        &steps["sent"],
        &steps["confirmed"],
        &steps["acknowledged"],
    ];
    let times: Vec<i64> = times.iter().map(|time| time.as_i64().unwrap()).collect();
    assert!(times[0] > 0 && times[2..].is_sorted() && times[0] <= times[1], "{times:?}: {road:#}");

    let (pad, phone) = (device(&road, bob.id, "pad"), device(&road, bob.id, "phone"));
    assert_eq!(
        (&pad["state"], stops(pad)),
        (&"acknowledged".into(), vec!["written", "acknowledged"]),
        "{road:#}"
    );
    assert_eq!((&phone["state"], stops(phone)), (&"written".into(), vec!["written"]), "{road:#}");
    assert!(pad["now"]["node"].as_str().unwrap().starts_with("e1-"), "{road:#}");
    assert!(phone["now"]["node"].as_str().unwrap().starts_with("e2-"), "{road:#}");
    assert!(pad["queued"].as_i64().unwrap() <= pad["stops"][0]["at"].as_i64().unwrap(), "{road:#}");
    assert_eq!(state(&road, bob.id, "away"), "owed");
    assert!(texts(&device(&road, bob.id, "away")["why"]).contains("number 1"), "{road:#}");
    let own = device(&road, alice.id, "phone");
    assert_eq!((&own["state"], stops(own)[0]), (&"sender".into(), "answered"), "{road:#}");

    // For people, the same.
    let output = trace(&system, &["--wait", "10000", "--processes", "4", &what]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for line in ["stored, dm:", "accepted", "committed", "device pad: acknowledged", "device away: owed"] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    system.finish().await;
}

#[tokio::test]
async fn refusals_duplicates_and_groups_are_told() {
    let system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let mut c = system.online(&carol, "phone", 0).await;

    b.request("block", "block", &format!("to = {}", carol.id)).await;
    b.next().await;
    c.send_message("no", bob.id, "hello?").await;
    c.expect(&refused("no", "", "blocked")).await;
    let no = road(&system, &format!("{}/no", carol.id)).await;
    assert!(no["stored"].is_null() && no["id"] == "no", "{no:#}");
    assert_eq!(no["sending"][0]["worked"]["outcome"], "refused:blocked", "{no:#}");

    a.say("twice", &bob, "hello", 1).await;
    a.say("twice", &bob, "hello", 1).await;
    b.expect(&delivered("twice", "hello", 1, &bob, &alice, "phone")).await;
    let twice = road(&system, &format!("{}/twice", alice.id)).await;
    let outcomes: Vec<&str> = twice["sending"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sending| sending["worked"]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["stored", "duplicate"], "{twice:#}");

    let keys = format!("name = \"trio\"\nmembers = [{}, {}]", bob.id, carol.id);
    let made = a.done("make", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await;
    let group = made["group_id"].as_integer().unwrap();
    b.next().await;
    c.next().await;
    a.say_group("all", group, "hello all", 2).await;
    for wire in [&mut b, &mut c] {
        wire.expect(&delivered_group("all", "hello all", 2, group, &alice, "phone")).await;
    }
    let all = road(&system, &format!("{}/all", alice.id)).await;
    assert_eq!(all["stored"]["conv"], format!("g:{group}"), "{all:#}");
    for user in [&bob, &carol] {
        assert_eq!(state(&all, user.id, "phone"), "written", "{all:#}");
    }

    // The newest, of everybody and of one; and what nobody has heard of.
    let last = roads(&system, &["--last", "3"]).await;
    let ids: Vec<&str> = last.iter().filter_map(|road| road["id"].as_str()).collect();
    assert!(ids.contains(&"all") && last.len() <= 3, "{last:#?}");
    let (user, conv) = (alice.id.to_string(), format!("g:{group}"));
    let own = roads(&system, &[&user, "--last", "2", "--conv", &conv]).await;
    let ids: Vec<&str> = own.iter().map(|road| road["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["make", "all"], "{own:#?}");
    let nothing = trace(&system, &[&format!("{}/never", alice.id)]).await;
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stdout).contains("nothing is known of it"));
    system.finish().await;
}

#[tokio::test]
async fn what_is_overwritten_or_was_another_process_s_is_said_and_the_facts_stay() {
    let keep = vec![("trace.keep", "4".to_owned())];
    let options = Options { edge: keep.clone(), worker: keep, ..Options::default() };
    let mut system = System::start_with(1, 1, options).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 0).await;
    a.say("first", &bob, "hello", 1).await;
    b.expect(&delivered("first", "hello", 1, &bob, &alice, "phone")).await;
    b.acknowledge("first", 1, &alice).await;
    system.cursor_at(&bob, "phone", &alice, 1).await;
    // Times of stored messages are whole seconds: what is to be later is sent until it is.
    let mut seq = 1;
    let what = format!("{}/first", alice.id);
    let road = eventually(SOON, async || {
        for _ in 0..5 {
            seq += 1;
            a.say(&format!("n{seq}"), &bob, "more", seq).await;
            b.next().await;
        }
        let road = road(&system, &what).await;
        match texts(&road["sending"][0]["missing"]).matches("has overwritten it").count() {
            2 => Ok(road),
            _ => Err(format!("{road:#}")),
        }
    })
    .await;
    assert!(road["sending"][0]["accepted"].is_null() && road["sending"][0]["worked"].is_null(), "{road:#}");
    assert_eq!((&road["stored"]["seq"], state(&road, bob.id, "phone")), (&1.into(), "acknowledged".into()));

    drop((a, b));
    system.restart_all().await;
    let road = self::road(&system, &what).await;
    let missing = texts(&road["sending"][0]["missing"]);
    assert!(missing.contains("edge e1-") && missing.contains("worker w1 began at"), "{missing}");
    assert_eq!((&road["stored"]["seq"], state(&road, bob.id, "phone")), (&1.into(), "acknowledged".into()));
    system.finish().await;
}

#[tokio::test]
async fn a_trace_that_is_off_says_so() {
    let off = vec![("trace.keep", "0".to_owned())];
    let system =
        System::start_with(1, 1, Options { edge: off.clone(), worker: off, ..Options::default() }).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    a.say("one", &bob, "hello", 1).await;
    let road = road(&system, &format!("{}/one", alice.id)).await;
    let missing = texts(&road["sending"][0]["missing"]);
    assert_eq!(missing.matches("keeps no trace ([trace] keep = 0)").count(), 2, "{missing}");
    assert_eq!(road["stored"]["seq"], 1);
    system.finish().await;
}
