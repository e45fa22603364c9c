//! `DELETE /offline`: what was shown is cleared, for whom it was shown, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    away::{ids, numbered, offline, send_numbered},
    harness::{SOON, System, before_and_after_restart, eventually},
};

#[tokio::test]
async fn clearing_offline_messages_clears_exactly_what_was_read() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let of_bob = system.online(&bob, "phone", 1).await.token;
        let mut a = system.online(&alice, "phone", 0).await;
        send_numbered(&mut a, &bob, 1..=3).await;

        let page = offline(system, &of_bob, "", 1).await;
        assert_eq!(ids(&page), ["m1", "m2", "m3"], "{}", page.text);
        let first =
            toml::Table::from_iter([("m".to_owned(), toml::Value::Table(page.entries("m").remove(0)))]);
        tests::wire::must_be(&numbered(1, &bob, &alice), &first);
        assert_eq!(ids(&offline(system, &of_bob, "", 0).await), ["m1", "m2", "m3"], "reading clears nothing");

        // Something arrives between the read and the clearing.
        send_numbered(&mut a, &bob, 4..=5).await;
        system.call(0, "DELETE", "/offline").token(&of_bob).send().await.expect_ok();
        assert_eq!(ids(&offline(system, &of_bob, "", 1).await), ["m4", "m5"]);
        // What was cleared is not pushed at login; what was not is.
        let mut b = system.connect(&bob, "phone", &of_bob, 0).await;
        for n in 4..=5 {
            b.expect(&numbered(n, &bob, &alice)).await;
        }
        b.nothing_but_heartbeat().await;
        system.call(1, "GET", "/offline").send().await.expect_refused(401, "token");
        system.call(1, "DELETE", "/offline").token("wrong").send().await.expect_refused(401, "token");
    })
    .await;
}

#[tokio::test]
async fn a_clearing_without_a_read_clears_nothing_and_upto_names_a_place() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let of_bob = system.online(&bob, "phone", 0).await.token;
        let mut a = system.online(&alice, "phone", 1).await;
        send_numbered(&mut a, &bob, 1..=6).await;
        system.call(0, "DELETE", "/offline").token(&of_bob).send().await.expect_ok();

        // Nothing was cleared. Two pages; the cursor of the first clears the first alone.
        let first = offline(system, &of_bob, "?limit=2", 1).await;
        assert_eq!(ids(&first), ["m1", "m2"]);
        let upto = first.response().get("cursor").cloned().expect("a page names its cursor");
        let upto = upto.as_str().expect("as a text").to_owned();
        assert_eq!(ids(&offline(system, &of_bob, "", 0).await).len(), 6, "a larger page after it");
        let path = format!("/offline?upto={upto}");
        system.call(1, "DELETE", &path).token(&of_bob).send().await.expect_ok();
        assert_eq!(ids(&offline(system, &of_bob, "", 0).await), ["m3", "m4", "m5", "m6"]);
        let clear =
            |upto: &str| system.call(1, "DELETE", &format!("/offline?upto={upto}")).token(&of_bob).send();
        clear("nonsense").await.expect_refused(400, "invalid");
        // A page that was never shown, to nobody or not to this token, and one that is cleared already.
        clear("999999999").await.expect_refused(404, "not_found");
        let of_alice = offline(system, &alice.token, "", 0).await.response();
        assert!(of_alice.get("cursor").is_none(), "a page without entries has none: {of_alice}");
        let other = system.token(&bob, "phone").await;
        let shown = offline(system, &other, "", 0).await.response()["cursor"].clone();
        clear(shown.as_str().unwrap()).await.expect_refused(404, "not_found");
        clear(&upto).await.expect_refused(404, "not_found");
        assert_eq!(ids(&offline(system, &of_bob, "", 0).await).len(), 4, "nothing of it cleared anything");
        // To look is not to read.
        let head = system.call(0, "HEAD", "/offline").token(&of_bob).send().await;
        assert_eq!(head.status, 405, "{head:?}");
    })
    .await;
}

/// A token that has no device yet sees what a new device would; what it cleared goes with it when it binds.
#[tokio::test]
async fn a_token_without_a_device_reads_and_clears_too() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        send_numbered(&mut a, &bob, 1..=3).await;
        assert_eq!(ids(&offline(system, &bob.token, "", 1).await), ["m1", "m2", "m3"]);
        system.call(0, "DELETE", "/offline").token(&bob.token).send().await.expect_ok();
        assert!(ids(&offline(system, &bob.token, "", 0).await).is_empty());
        send_numbered(&mut a, &bob, 4..=4).await;
        let mut b = system.connect(&bob, "ipad", &bob.token, 1).await;
        b.expect(&numbered(4, &bob, &alice)).await;
        b.nothing_but_heartbeat().await;
    })
    .await;
}

/// What a token without a device has cleared was beyond the furthest device: a device that is behind that gets it all.
#[tokio::test]
async fn what_a_token_cleared_takes_nothing_from_a_device_that_is_behind() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let (mut phone, mut ipad) =
            (system.online(&bob, "phone", 0).await, system.online(&bob, "ipad", 1).await);
        send_numbered(&mut a, &bob, 1..=10).await;
        for (wire, upto) in [(&mut phone, 10), (&mut ipad, 5)] {
            for n in 1..=10 {
                wire.expect(&numbered(n, &bob, &alice)).await;
            }
            for n in 1..=upto {
                wire.acknowledge(&format!("m{n}"), n, &alice).await;
            }
        }
        system.cursor_at(&bob, "phone", &alice, 10).await;
        system.cursor_at(&bob, "ipad", &alice, 5).await;
        drop((phone, ipad));
        send_numbered(&mut a, &bob, 11..=11).await;

        let of_phone = system.http_login(&bob, None, 0).await.response()["user"]["token"].clone();
        let of_phone = of_phone.as_str().unwrap();
        for token in [of_phone, &bob.token] {
            assert_eq!(ids(&offline(system, token, "", 1).await), ["m11"]);
            system.call(0, "DELETE", "/offline").token(token).send().await.expect_ok();
            assert!(ids(&offline(system, token, "", 0).await).is_empty());
        }
        let mut ipad = system.connect(&bob, "ipad", &bob.token, 1).await;
        for n in 6..=11 {
            ipad.expect(&numbered(n, &bob, &alice)).await;
        }
        // The furthest device has all that came before: for it what was cleared is cleared.
        let mut phone = system.connect(&bob, "phone", of_phone, 0).await;
        send_numbered(&mut a, &bob, 12..=12).await;
        phone.expect(&numbered(12, &bob, &alice)).await;
    })
    .await;
}

/// A device that was not seen for a month is forgotten, but its token is not: it is as one that has no device yet.
#[tokio::test]
async fn a_forgotten_devices_token_is_owed_what_a_new_device_is() {
    before_and_after_restart(async |system: &System| {
        // Before anybody is there: a node that registers its sessions later may name one that has gone.
        system.directory_stands().await;
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let of_ipad = system.online(&bob, "ipad", 1).await.token;
        let mut phone = system.online(&bob, "phone", 0).await;
        send_numbered(&mut a, &bob, 1..=3).await;
        for n in 1..=3 {
            phone.expect(&numbered(n, &bob, &alice)).await;
            phone.acknowledge(&format!("m{n}"), n, &alice).await;
        }
        system.cursor_at(&bob, "phone", &alice, 3).await;
        drop(phone);
        let aged =
            "UPDATE devices SET seen_at = now() - interval '31 days' WHERE user_id = $1 AND device = 'ipad'";
        // Its connection's end is noted as the moment it was seen last.
        system.away(&bob).await;
        let forgotten = "SELECT count(*) FROM devices WHERE user_id = $1 AND device = 'ipad'";
        eventually(SOON, async || {
            system.stores.execute(aged, &[&bob.id]).await;
            system.token(&bob, "watch").await;
            system
                .stores
                .execute("DELETE FROM devices WHERE user_id = $1 AND device = 'watch'", &[&bob.id])
                .await;
            match system.stores.number(forgotten, &[&bob.id]).await {
                0 => Ok(()),
                _ => Err("the ipad is not forgotten".to_owned()),
            }
        })
        .await;
        send_numbered(&mut a, &bob, 4..=4).await;
        assert_eq!(ids(&offline(system, &of_ipad, "", 1).await), ["m4"]);
        system.call(0, "DELETE", "/offline").token(&of_ipad).send().await.expect_ok();
        assert!(ids(&offline(system, &of_ipad, "", 0).await).is_empty());
        let mut ipad = system.connect(&bob, "ipad", &of_ipad, 1).await;
        send_numbered(&mut a, &bob, 5..=5).await;
        ipad.expect(&numbered(5, &bob, &alice)).await;
        // Nobody else's place has moved.
        let mut phone = system.online(&bob, "phone", 0).await;
        for n in 4..=5 {
            phone.expect(&numbered(n, &bob, &alice)).await;
        }
    })
    .await;
}
