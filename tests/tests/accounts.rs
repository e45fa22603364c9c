//! Accounts over HTTP: registering, finding, changing, logging in and out, and their limits.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use shared::ids::TokenDigest;
use tests::{
    harness::{Options, SOON, System, before_and_after_restart, eventually},
    people::User,
};

fn found(user: &User) -> String {
    format!(
        "[[response]]\nstatus = 0\n[[user]]\nid = {}\nname = \"{}\"\nphone = \"{}\"\navatar = \"\"",
        user.id, user.name, user.phone
    )
}

#[tokio::test]
async fn a_user_is_registered_and_found_by_phone_and_by_id() {
    before_and_after_restart(async |system: &System| {
        let [dasha, bob] = system.users(["大傻", "bob"]).await;
        for edge in 0..2 {
            let by_phone = format!("/user/phone/{}", dasha.phone);
            system.call(edge, "GET", &by_phone).token(&bob.token).send().await.expect(200, &found(&dasha));
            let by_id = format!("/user/id/{}", dasha.id);
            system.call(edge, "GET", &by_id).token(&bob.token).send().await.expect(200, &found(&dasha));
            let json = system.call(edge, "GET", &by_id).token(&bob.token).json().send().await;
            assert!(json.content_type.starts_with("application/json"), "{}", json.content_type);
            json.expect(200, &found(&dasha));
            system
                .call(edge, "GET", "/user/phone/1")
                .token(&bob.token)
                .send()
                .await
                .expect_refused(404, "not_found");
            system
                .call(edge, "GET", "/user/id/99999")
                .token(&bob.token)
                .send()
                .await
                .expect_refused(404, "not_found");
            for odd in ["0", "-1", "x", "9223372036854775808"] {
                let path = format!("/user/id/{odd}");
                system.call(edge, "GET", &path).token(&bob.token).send().await.expect_refused(400, "invalid");
            }
            system.call(edge, "GET", &by_id).send().await.expect_refused(401, "token");
            system.call(edge, "GET", &by_id).token("nonsense").send().await.expect_refused(401, "token");
        }
        // What is kept: a digest of the password, never the password.
        let rows =
            system.stores.rows("SELECT name, password FROM users WHERE phone = $1", &[&dasha.phone]).await;
        let (name, password): (String, String) = (rows[0].get(0), rows[0].get(1));
        assert_eq!(name, "大傻");
        assert!(password.starts_with("$argon2id$"), "{password}");
        assert!(!password.contains(&dasha.password));
    })
    .await;
}

#[tokio::test]
async fn a_registration_that_is_not_right_is_refused() {
    before_and_after_restart(async |system: &System| {
        let bob = system.user("bob").await;
        let phone = system.new_phone();
        let register = |phone: &str, name: &str, password: &str| {
            system
                .call(1, "POST", "/user")
                .with("phone", phone)
                .with("name", name)
                .with("password", password)
                .send()
        };
        register(&bob.phone, "someone else", "888888").await.expect_refused(409, "taken");
        register("", "x", "888888").await.expect_refused(400, "invalid");
        register("not a phone", "x", "888888").await.expect_refused(400, "invalid");
        register(&phone, "", "888888").await.expect_refused(400, "invalid");
        register(&phone, "x", "").await.expect_refused(400, "invalid");
        let call = || system.call(0, "POST", "/user");
        call().with("phone", &phone).with("name", "x").send().await.expect_refused(400, "invalid");
        call().with("name", "x").with("password", "888888").send().await.expect_refused(400, "invalid");
        call().send().await.expect_refused(400, "invalid");
        call().raw("phone=1%zz".to_owned()).send().await.expect_refused(400, "malformed");
        call().raw(format!("phone={}", "1".repeat(100_000))).send().await.expect_refused(413, "too_long");
        let count = system.stores.number("SELECT count(*) FROM users WHERE name <> 'bob'", &[]).await;
        assert_eq!(count, 0, "none of them left a row");
        register(&phone, "x", "888888").await.expect_ok();
        system.stores.execute("DELETE FROM users WHERE phone = $1", &[&phone]).await;
    })
    .await;
}

/// Two of the same phone at the same moment, on two nodes: one wins.
#[tokio::test]
async fn two_registrations_that_race_make_one_user() {
    let system = System::start(2, 2).await;
    let phone = system.new_phone();
    let register = |edge: usize| {
        let call = system.call(edge, "POST", "/user");
        call.with("phone", &phone).with("name", "racer").with("password", "888888").send()
    };
    for _ in 0..5 {
        let (one, other) = tokio::join!(register(0), register(1));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{}\n{}", one.text, other.text);
        system.stores.execute("DELETE FROM users WHERE phone = $1", &[&phone]).await;
    }
    system.finish().await;
}

#[tokio::test]
async fn a_login_over_http_gives_a_node_and_a_token() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let addresses = [system.tcp(0), system.tcp(1)];
        let is_a_node = |reply: &tests::web::Reply| {
            let given = reply.response();
            let address =
                format!("{}:{}", given["server"].as_str().unwrap(), given["port"].as_str().unwrap());
            assert!(addresses.contains(&address.as_str()), "{address} is none of {addresses:?}");
        };
        let reply = system.http_login(&alice, None, 1).await;
        is_a_node(&reply);
        let token = reply.response()["user"]["token"].as_str().unwrap().to_owned();
        assert_eq!(token.len(), 32, "24 bytes in base64: {token}");
        assert_eq!(reply.response()["user"]["id"].as_integer(), Some(alice.id));
        let digest = TokenDigest::of(&token);
        let rows = system
            .stores
            .rows("SELECT user_id, device FROM sessions WHERE digest = $1", &[&digest.as_str()])
            .await;
        assert_eq!((rows[0].get::<_, i64>(0), rows[0].get::<_, Option<String>>(1)), (alice.id, None));

        let login = |phone: &str, password: &str, edge: usize| {
            system.call(edge, "POST", "/server/login").with("phone", phone).with("password", password).send()
        };
        for edge in 0..2 {
            login(&alice.phone, "wrong", edge).await.expect_refused(401, "credentials");
            login(&alice.phone, "", edge).await.expect_refused(401, "credentials");
            login(&alice.phone, &bob.password, edge).await.expect_refused(401, "credentials");
            login("19999999999", &alice.password, edge).await.expect_refused(401, "credentials");

            let reconnect = system.call(edge, "POST", "/server/reconnect").with("id", &alice.id.to_string());
            let reply = reconnect.clone().token(&token).send().await;
            is_a_node(&reply.expect(200, "[[response]]\nstatus = 0\nserver = \"…\"\nport = \"…\""));
            reconnect.clone().send().await.expect_refused(401, "token");
            reconnect.clone().token("wrong").send().await.expect_refused(401, "token");
            reconnect.token(&bob.token).send().await.expect_refused(401, "token");
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_changes_name_picture_and_password() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let update = |edge: usize| system.call(edge, "PUT", "/user").token(&alice.token);
        update(0).with("name", "alice the first").with("avatar", "http://a/b.png").send().await.expect_ok();
        system.call(1, "GET", &format!("/user/id/{}", alice.id)).token(&bob.token).send().await.expect(
            200,
            &format!(
                "[[response]]\nstatus = 0\n[[user]]\nid = {}\nname = \"alice the first\"\nphone = \"{}\"\n\
                 avatar = \"http://a/b.png\"",
                alice.id, alice.phone
            ),
        );
        update(1)
            .with("password", "new")
            .with("old_password", "wrong")
            .send()
            .await
            .expect_refused(401, "credentials");
        update(1)
            .with("password", "a new secret")
            .with("old_password", &alice.password)
            .send()
            .await
            .expect_ok();
        let login = |password: &str| {
            let call = system.call(0, "POST", "/server/login");
            call.with("phone", &alice.phone).with("password", password).send()
        };
        login(&alice.password).await.expect_refused(401, "credentials");
        assert_eq!(login("a new secret").await.status, 200);
        system.call(0, "PUT", "/user").with("name", "nobody").send().await.expect_refused(401, "token");
    })
    .await;
}

/// A token that was never used on the wire takes nothing with it.
#[tokio::test]
async fn a_logout_closes_no_connection_of_another_token() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut b = system.online(&bob, "phone", 0).await;
        let mut a = system.online(&alice, "phone", 1).await;
        let newer = system.token(&alice, "phone").await;
        system.call(0, "POST", "/server/logout").token(&newer).send().await.expect_ok();
        let route = system.stores.key(&format!("route_{}", alice.id));
        eventually(SOON, async || {
            let devices: Vec<String> = system.stores.redis("HKEYS", &[&route]).await;
            if devices == ["phone"] { Ok(()) } else { Err(format!("its routes are {devices:?}")) }
        })
        .await;
        b.say("1", &alice, "still there?", 1).await;
        a.expect(&tests::people::delivered("1", "still there?", 1, &alice, &bob, "phone")).await;
        a.nothing_but_heartbeat().await;
        let who = system.call(0, "GET", &format!("/user/id/{}", bob.id)).token(&a.token).send().await;
        assert_eq!(who.status, 200, "{}", who.text);
    })
    .await;
}

#[tokio::test]
async fn a_logout_revokes_its_token_everywhere() {
    before_and_after_restart(async |system: &System| {
        let alice = system.user("alice").await;
        let mut wire = system.online(&alice, "phone", 1).await;
        let token = wire.token.clone();
        let who = |token: &str| system.call(1, "GET", &format!("/user/id/{}", alice.id)).token(token).send();
        assert_eq!(who(&token).await.status, 200);
        system.call(0, "POST", "/server/logout").token(&token).send().await.expect_ok();
        who(&token).await.expect_refused(401, "token");
        system.call(0, "POST", "/server/logout").token(&token).send().await.expect_refused(401, "token");
        // The connection that had logged in with it does not outlive it.
        while wire.got().await != tests::wire::Got::Closed {}
        let mut again = tests::wire::Wire::connect(system.tcp(0)).await;
        again.send(&tests::people::login_frame(alice.id, "phone", &token)).await;
        again.expect(&tests::people::refused("login", "login", "token")).await;
        // Another token of the same user does.
        assert_eq!(who(&alice.token).await.status, 200);
        let digest = TokenDigest::of(&token);
        let kept = system
            .stores
            .number("SELECT count(*) FROM sessions WHERE digest = $1", &[&digest.as_str()])
            .await;
        assert_eq!(kept, 0);
    })
    .await;
}

/// simple_im's tokens lived in Redis alone: when it was emptied nobody could log in until someone repaired it.
#[tokio::test]
async fn tokens_survive_a_wipe_of_redis() {
    let system = System::start(2, 2).await;
    let alice = system.user("alice").await;
    let token = system.online(&alice, "phone", 0).await.token;
    system.stores.wipe_redis().await;
    for edge in 0..2 {
        let reply =
            system.call(edge, "GET", &format!("/user/id/{}", alice.id)).token(&alice.token).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let mut wire = system.connect(&alice, "phone", &token, edge).await;
        wire.nothing_but_heartbeat().await;
    }
    system.finish().await;
}

#[tokio::test]
async fn logins_that_fail_too_often_are_limited_a_phone_and_an_address() {
    let options = Options {
        worker: vec![("account.login_failures", "5".into()), ("account.login_window_seconds", "60".into())],
        ..Options::default()
    };
    let system = System::start_with(2, 2, options).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let login = |user: &User, password: &str, edge: usize| {
        let call = system.call(edge, "POST", "/server/login");
        call.with("phone", &user.phone).with("password", password).send()
    };
    // Successes do not count.
    for edge in [0, 1, 0, 1, 0, 1, 0, 1] {
        assert_eq!(login(&alice, &alice.password, edge).await.status, 200);
    }
    for edge in [0, 1, 0, 1, 0] {
        login(&alice, "wrong", edge).await.expect_refused(401, "credentials");
    }
    for edge in 0..2 {
        // Not even with the right password, and not from this address for another phone.
        for user in [&alice, &bob] {
            let reply = login(user, &user.password, edge).await.expect_refused(429, "rate_limited");
            assert!(
                reply.retry_after.is_some_and(|s| (1..=60).contains(&s)),
                "Retry-After is {:?}",
                reply.retry_after
            );
        }
    }
    // And the window passes, here at once.
    for key in system.stores.keys("limit_*").await {
        let _set: i64 = system.stores.redis("EXPIRE", &[&key, "1"]).await;
    }
    eventually(SOON, || async {
        let reply = login(&alice, &alice.password, 1).await;
        if reply.status == 200 { Ok(()) } else { Err(reply.text) }
    })
    .await;
    system.finish().await;
}

#[tokio::test]
async fn looking_users_up_by_phone_is_limited_a_user() {
    let options = Options { worker: vec![("account.phone_lookups", "5".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let path = format!("/user/phone/{}", bob.phone);
    for edge in [0, 1, 0, 1, 0] {
        assert_eq!(system.call(edge, "GET", &path).token(&alice.token).send().await.status, 200);
    }
    for edge in 0..2 {
        let reply = system.call(edge, "GET", &path).token(&alice.token).send().await;
        assert!(reply.expect_refused(429, "rate_limited").retry_after.is_some());
    }
    assert_eq!(
        system.call(0, "GET", &path).token(&bob.token).send().await.status,
        200,
        "another user is not"
    );
    system.finish().await;
}

#[tokio::test]
async fn what_is_not_in_the_table_is_refused() {
    let system = System::start(2, 2).await;
    let alice = system.user("alice").await;
    system.call(0, "GET", "/nothing/here").token(&alice.token).send().await.expect_refused(404, "unknown");
    system.call(0, "PATCH", "/user").token(&alice.token).send().await.expect_refused(405, "unknown");
    let odd = system.call(0, "GET", "/offline?colour=red").token(&alice.token).send().await;
    odd.expect_refused(400, "invalid");
    for edge in 0..2 {
        assert_eq!(system.call(edge, "GET", "/livez").send().await.status, 200);
        assert_eq!(system.call(edge, "GET", "/readyz").send().await.status, 200);
    }
    system.finish().await;
}
