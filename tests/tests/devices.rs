//! What a user sees of itself from anywhere: its devices, the requests that wait, whom it blocks; and logging a device out.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{Options, SOON, Store, System, Way, before_and_after_restart, eventually},
    people::{User, login_frame, refused},
    web::Reply,
    wire::Wire,
};
use toml::Table;

/// `GET /device`, without the times.
async fn devices(system: &System, token: &str, edge: usize) -> Vec<String> {
    let reply = system.call(edge, "GET", "/device").token(token).send().await;
    assert_eq!(reply.status, 200);
    let shown = |device: &Table| {
        assert!(device["seen"].as_integer().unwrap() > 1_700_000_000, "{device}");
        let marks = ["own", "online", "ended"].into_iter().filter(|mark| device.contains_key(*mark));
        [device["device"].as_str().unwrap()].into_iter().chain(marks).collect::<Vec<_>>().join(" ")
    };
    reply.entries("device").iter().map(shown).collect()
}

async fn devices_are(system: &System, token: &str, expected: &[&str]) {
    eventually(SOON, async || {
        let found = devices(system, token, 1).await;
        if found == expected { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}")) }
    })
    .await;
}

async fn end(system: &System, token: &str, device: &str) -> Reply {
    system.call(0, "DELETE", "/device").token(token).with("device", device).send().await
}

async fn refused_login(system: &System, user: &User, device: &str, token: &str) {
    let mut wire = Wire::connect(system.tcp(0)).await;
    wire.send(&login_frame(user.id, device, token)).await;
    wire.expect(&refused("login", "login", "token")).await;
}

#[tokio::test]
async fn a_device_is_logged_out_from_another_and_nobody_else_is() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut phone = system.online(&alice, "phone", 0).await;
        let mut watch = system.online(&alice, "watch", 1).await;
        let mut of_bob = system.online(&bob, "watch", 1).await;
        // Not connected with yet, and bound to the device all the same.
        let newer = system.token(&alice, "watch").await;
        devices_are(system, &phone.token, &["phone own online", "watch online"]).await;
        end(system, &phone.token, "watch").await.expect_ok();
        watch.expect_closed().await;
        phone.nothing_but_heartbeat().await;
        of_bob.nothing_but_heartbeat().await;
        for token in [&watch.token, &newer] {
            refused_login(system, &alice, "watch", token).await;
            let call = system.call(1, "GET", "/device").token(token);
            call.send().await.expect_refused(401, "token");
        }
        devices_are(system, &phone.token, &["phone own online", "watch ended"]).await;
        // Again, which changes nothing; and it may come back with the password, to where it was.
        end(system, &phone.token, "watch").await.expect_ok();
        let mut watch = system.online(&alice, "watch", 1).await;
        devices_are(system, &phone.token, &["phone own online", "watch online"]).await;
        watch.nothing_but_heartbeat().await;
        // Itself.
        end(system, &phone.token, "phone").await.expect_ok();
        phone.expect_closed().await;
        let call = system.call(1, "GET", "/device").token(&phone.token);
        call.send().await.expect_refused(401, "token");
        devices_are(system, &watch.token, &["phone ended", "watch own online"]).await;
    })
    .await;
}

#[tokio::test]
async fn only_ones_own_devices_are_seen_and_ended() {
    let system = System::start(2, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "tablet", 0).await;
    for name in ["phone", "no such thing"] {
        end(&system, &b.token, name).await.expect_refused(404, "not_found");
    }
    for name in ["", "a\nb", &"x".repeat(65)] {
        end(&system, &b.token, name).await.expect_refused(400, "invalid");
    }
    system.call(0, "DELETE", "/device").token(&b.token).send().await.expect_refused(400, "invalid");
    system.call(0, "GET", "/device").send().await.expect_refused(401, "token");
    devices_are(&system, &b.token, &["tablet own online"]).await;
    a.nothing_but_heartbeat().await;
    b.nothing_but_heartbeat().await;
    // A token without a device sees the devices, and is none of them.
    let reply = system.http_login(&bob, None, 1).await.response();
    devices_are(&system, reply["user"]["token"].as_str().unwrap(), &["tablet online"]).await;
    // One that is to be forgotten is not shown.
    let old = "UPDATE devices SET seen_at = now() - interval '31 days' WHERE user_id = $1";
    system.stores.execute(old, &[&alice.id]).await;
    devices_are(&system, &a.token, &[]).await;
    system.finish().await;
}

/// Who is online is known from Redis; who is logged in is not.
#[tokio::test]
async fn without_redis_devices_are_seen_and_ended_all_the_same() {
    let system = System::start_with(2, 1, Options { cuttable: true, ..Options::default() }).await;
    let alice = system.user("alice").await;
    let phone = system.online(&alice, "phone", 0).await;
    let mut watch = system.online(&alice, "watch", 1).await;
    system.way(Store::Redis, Way::Broken);
    devices_are(&system, &phone.token, &["phone own", "watch"]).await;
    end(&system, &phone.token, "watch").await.expect_ok();
    watch.expect_closed().await;
    devices_are(&system, &phone.token, &["phone own", "watch ended"]).await;
    system.way(Store::Redis, Way::Open);
    system.directory_stands().await;
    system.finish().await;
}

/// Ids of a list's rows, one's own requests negative, page after page.
async fn listed(system: &System, path: &str, list: &str, token: &str) -> Vec<i64> {
    let mut ids: Vec<i64> = Vec::new();
    loop {
        let mut call = system.call(1, "GET", path).token(token);
        if let Some(last) = ids.last() {
            call = call.with("after", &last.abs().to_string());
        }
        let reply = call.send().await;
        assert_eq!(reply.status, 200);
        let own = |row: &Table| if row.contains_key("own") { -1 } else { 1 };
        ids.extend(reply.entries(list).iter().map(|row| own(row) * row["id"].as_integer().unwrap()));
        if reply.response()["more"].as_integer() == Some(0) {
            return ids;
        }
    }
}

#[tokio::test]
async fn requests_that_wait_and_who_is_blocked_are_known_everywhere() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 0).await;
        let mut c = system.online(&carol, "phone", 1).await;
        let waiting = async |token: &str| listed(system, "/contact/request", "request", token).await;
        let blocked = async |token: &str| listed(system, "/contact/blocked", "user", token).await;
        let to = |user: &User| format!("to = {}", user.id);
        a.done("1", "add_contact", &format!("{}\nmessage = \"hi \\\"Bob\\\"\"", to(&bob)), "seq = 1").await;
        c.done("1", "add_contact", &to(&bob), "seq = 1").await;
        assert_eq!(waiting(&b.token).await, [alice.id, carol.id]);
        assert_eq!(waiting(&a.token).await, [-bob.id]);
        let reply = system.call(0, "GET", "/contact/request").token(&b.token).send().await;
        let rows = reply.entries("request");
        let said = |at: usize, key: &str| rows[at][key].as_str().unwrap().to_owned();
        assert_eq!([said(0, "name"), said(0, "message")], ["alice", "hi \"Bob\""]);
        assert_eq!([said(1, "phone"), said(1, "message")], [carol.phone.as_str(), ""]);
        assert!(rows[0]["ts"].as_integer().unwrap() > 1_700_000_000);
        let call = system.call(0, "GET", "/contact/request").token(&b.token);
        call.with("after", "-3").send().await.expect_refused(400, "invalid");

        b.request("2", "accept_contact", &to(&alice)).await;
        b.request("3", "block", &to(&carol)).await;
        eventually(SOON, async || {
            let found = (waiting(&b.token).await, blocked(&b.token).await);
            if found == (vec![], vec![carol.id]) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
        assert!(waiting(&a.token).await.is_empty());
        // Whom one blocks is nobody else's business, not even the blocked one's.
        assert_eq!((blocked(&a.token).await, blocked(&c.token).await), (vec![], vec![]));
        b.request("4", "unblock", &to(&carol)).await;
        eventually(SOON, async || match blocked(&b.token).await {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        })
        .await;
    })
    .await;
}

/// More than one answer takes.
#[tokio::test]
async fn long_lists_come_in_pages() {
    let system = System::start(2, 1).await;
    let alice = system.user("alice").await;
    let token = alice.token.clone();
    let many = "INSERT INTO users (phone, name, password)
                SELECT '9' || n, 'user ' || n, '' FROM generate_series(1, 5000) n";
    system.stores.execute(many, &[]).await;
    for fill in [
        "INSERT INTO blocks SELECT $1, id FROM users WHERE name LIKE 'user %'",
        "INSERT INTO contact_requests (to_id, from_id)
         SELECT CASE id % 2 WHEN 0 THEN $1 ELSE id END, CASE id % 2 WHEN 0 THEN id ELSE $1 END
         FROM users WHERE name LIKE 'user %'",
    ] {
        system.stores.execute(fill, &[&alice.id]).await;
    }
    for (path, list) in [("/contact/request", "request"), ("/contact/blocked", "user")] {
        let found = listed(&system, path, list, &token).await;
        assert_eq!(found.len(), 5000, "{path}");
        assert!(found.is_sorted_by(|one, next| one.abs() < next.abs()), "{path}");
    }
    system.finish().await;
}
