//! `simple-im admin users`, `sessions`, `nodes`, `audit`: what they change, what connected clients see of it, what is
//! refused, and that the audit has all of it and no secret.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    admin::Ran,
    harness::{Options, SOON, Store, System, Way, eventually},
    people::{User, delivered, login_frame, refused},
    wire::Wire,
};

fn id(user: &User) -> String {
    user.id.to_string()
}

async fn login(system: &System, user: &User, password: &str) -> tests::web::Reply {
    let call = system.call(1, "POST", "/server/login");
    call.with("phone", &user.phone).with("password", password).send().await
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_keeps_its_messages() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    system.directory_stands().await;
    let mut pad = system.online(&alice, "pad", 0).await;
    let mut phone = system.online(&alice, "phone", 1).await;
    let mut b = system.online(&bob, "phone", 1).await;
    // Verified and cached.
    let who = |token: &str| system.call(0, "GET", &format!("/user/id/{}", bob.id)).token(token).send();
    assert_eq!(who(&pad.token).await.status, 200);

    let said = system.admin(&["users", "disable", &id(&alice), "--as", "carol"]).await.done();
    assert!(said.contains("2 connections closed on 2 nodes"), "{said}");
    pad.expect_closed().await;
    phone.expect_closed().await;
    who(&pad.token).await.expect_refused(401, "token");
    login(&system, &alice, &alice.password).await.expect_refused(403, "forbidden");
    // Only who knows the password learns that the account is disabled.
    login(&system, &alice, "guessed").await.expect_refused(401, "credentials");
    let mut wire = Wire::connect(system.tcp(0)).await;
    wire.send(&login_frame(alice.id, "pad", &pad.token)).await;
    wire.expect(&refused("login", "login", "token")).await;
    // What is sent to it is stored.
    b.say("1", &alice, "are you there?", 1).await;

    // Twice does no harm, and other accounts go on.
    system.admin(&["users", "disable", &format!("phone:{}", alice.phone)]).await.done();
    b.nothing_but_heartbeat().await;
    let object = |ran: String| serde_json::from_str::<serde_json::Value>(&ran).unwrap();
    let listed = object(system.admin(&["users", "list", "--json"]).await.done());
    let row = listed["rows"].as_array().unwrap().iter().find(|row| row["id"] == alice.id).unwrap();
    assert_eq!((&listed["ok"], &row["state"], &row["tokens"]), (&true.into(), &"disabled".into(), &0.into()));
    let failed = system.admin(&["--json", "users", "show", "999"]).await;
    let said = object(failed.out.clone());
    assert_eq!(
        (&said["ok"], &said["command"], &said["on"]),
        (&false.into(), &"users show".into(), &"999".into())
    );
    assert!(
        failed.failed().contains("there is no user") && said["audit"].as_i64() > listed["audit"].as_i64()
    );
    let listed = system.admin(&["users", "list"]).await.done();
    let line = |name: &str| listed.lines().find(|line| line.ends_with(name)).unwrap().to_owned();
    assert!(line("alice").contains("disabled") && line("bob").contains("enabled"), "{listed}");

    let said = system.admin(&["users", "enable", &id(&alice)]).await.done();
    assert!(said.contains("was disabled"), "{said}");
    let mut pad = system.online(&alice, "pad", 0).await;
    pad.expect(&delivered("1", "are you there?", 1, &alice, &bob, "phone")).await;
    let row =
        "SELECT os_user || ' ' || coalesce(said, '-') FROM audit WHERE action = 'users disable' ORDER BY id";
    let who: Vec<String> = system.stores.rows(row, &[]).await.iter().map(|row| row.get(0)).collect();
    assert!(who[0].ends_with(" carol") && who[1].ends_with(" -"), "{who:?}");
    system.finish().await;
}

/// A login that has found the password right is let through only after the account was disabled.
#[tokio::test]
async fn a_login_under_way_does_not_outlive_the_account() {
    let system = System::start(2, 1).await;
    let alice = system.user("alice").await;
    let stores = &system.stores;
    stores.execute("BEGIN", &[]).await;
    stores.execute("UPDATE users SET disabled_at = now() WHERE id = $1", &[&alice.id]).await;
    let let_through = async {
        let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
                     AND pid IN (SELECT pid FROM pg_locks WHERE relation = 'users'::regclass)";
        eventually(SOON, async || match stores.number(query, &[]).await {
            0 => Err("nobody waits for the user's row".to_owned()),
            _ => Ok(()),
        })
        .await;
        stores.execute("COMMIT", &[]).await;
    };
    let (reply, ()) = tokio::join!(login(&system, &alice, &alice.password), let_through);
    reply.expect_refused(403, "forbidden");
    system.finish().await;
}

#[tokio::test]
async fn an_account_is_made_and_gets_another_password() {
    let system = System::start(2, 2).await;
    let phone = system.new_phone();
    let said = system.admin_with(&["users", "create", &phone, "Änne"], "first secret\n").await.done();
    let made: i64 = said.split_whitespace().nth(1).unwrap().parse().unwrap();
    let anne = User {
        id: made,
        name: "Änne".to_owned(),
        phone: phone.clone(),
        password: "first secret".to_owned(),
        token: String::new(),
    };
    let mut wire = system.online(&anne, "phone", 0).await;

    system.admin_with(&["users", "reset-password", &id(&anne)], "second secret\n").await.done();
    wire.expect_closed().await;
    login(&system, &anne, "first secret").await.expect_refused(401, "credentials");
    assert_eq!(login(&system, &anne, "second secret").await.status, 200);

    let taken = system.admin_with(&["users", "create", &phone, "Other"], "x\n").await.failed();
    assert!(taken.contains("a phone that is free"), "{taken}");
    let refused = |ran: Ran, expected: &str| {
        let said = ran.failed();
        assert!(said.contains(expected), "{expected}: {said}");
    };
    refused(system.admin_with(&["users", "create", "12a", "Other"], "x\n").await, "3 to 32 of 0-9");
    let other = system.new_phone();
    refused(system.admin_with(&["users", "create", &other, "Other"], "\n").await, "an empty line");
    refused(system.admin_with(&["users", "create", &other, "Other"], &"x".repeat(200)).await, "200 bytes");
    refused(system.admin(&["users", "disable", "999999"]).await, "there is no user");
    refused(system.admin(&["users", "disable", "nobody"]).await, "a user's id");
    let failed = "SELECT count(*) FROM audit WHERE result LIKE 'failed: %'";
    assert_eq!(system.stores.number(failed, &[]).await, 6, "what is refused is on record too");
    let all = "SELECT string_agg(concat_ws(' ', action, target, result), ' ') FROM audit";
    let all: String = system.stores.rows(all, &[]).await[0].get(0);
    assert!(!all.contains("secret") && !all.contains("xxx"), "a password stands in the audit: {all}");
    assert!(system.admin(&["audit", "--limit", "3"]).await.done().contains("users disable"));
    system.finish().await;
}

#[tokio::test]
async fn sessions_are_listed_revoked_and_kicked() {
    let system = System::start(2, 2).await;
    let alice = system.user("alice").await;
    system.directory_stands().await;
    let mut pad = system.online(&alice, "pad", 0).await;
    let mut phone = system.online(&alice, "phone", 1).await;
    let listed = async || system.admin(&["sessions", "list", &id(&alice)]).await.done();
    let line = |listed: &str, device: &str| {
        listed.lines().find(|line| line.starts_with(device)).unwrap_or_default().to_owned()
    };
    let first = listed().await;
    for (device, edge) in [("pad", "e1-"), ("phone", "e2-")] {
        let line = line(&first, device);
        assert!(line.contains("online") && line.contains(edge), "{first}");
    }
    assert!(first.contains("(no device)"), "{first}");

    // Kicked: the connection is closed, the token is as good as before.
    let said = system.admin(&["sessions", "kick", &id(&alice), "--device", "pad"]).await.done();
    assert!(said.contains("1 connections closed on 2 nodes"), "{said}");
    pad.expect_closed().await;
    phone.nothing_but_heartbeat().await;
    let token = pad.token.clone();
    let mut pad = system.connect(&alice, "pad", &token, 1).await;

    // Revoked by one device.
    let said = system.admin(&["sessions", "revoke", &id(&alice), "--device", "phone"]).await.done();
    assert!(said.contains("1 tokens ended"), "{said}");
    phone.expect_closed().await;
    let who = |token: &str| system.call(0, "GET", &format!("/user/id/{}", alice.id)).token(token).send();
    who(&phone.token).await.expect_refused(401, "token");
    assert_eq!(who(&pad.token).await.status, 200);
    pad.nothing_but_heartbeat().await;
    let second = listed().await;
    assert!(line(&second, "phone").contains("none"), "{second}");

    // By one token, as the list names it.
    let name = line(&second, "pad").split_whitespace().last().unwrap().to_owned();
    system.admin(&["sessions", "revoke", &id(&alice), "--token", &name]).await.done();
    pad.expect_closed().await;
    who(&pad.token).await.expect_refused(401, "token");
    assert_eq!(who(&alice.token).await.status, 200, "the token without a device is another one");
    let none = system.admin(&["sessions", "revoke", &id(&alice), "--token", &name]).await.failed();
    assert!(none.contains("found none or several"), "{none}");
    assert!(
        system
            .admin(&["sessions", "revoke", &id(&alice), "--token", "a"])
            .await
            .failed()
            .contains("4 digits")
    );
    let both = ["sessions", "revoke", &id(&alice), "--token", "abcd", "--device", "pad"];
    assert!(!system.admin(&both).await.ok);

    // All that is left.
    system.admin(&["sessions", "revoke", &id(&alice)]).await.done();
    who(&alice.token).await.expect_refused(401, "token");
    let (action, target, result) = system.last_audited().await;
    assert_eq!((&action[..], &target[..]), ("sessions revoke", &format!("user {}", alice.id)[..]));
    assert!(result.starts_with("ok: 1 tokens ended"), "{result}");
    system.finish().await;
}

/// Redis away: tokens end all the same, and it is said that HTTP calls may not know it yet.
#[tokio::test]
async fn without_redis_a_revoked_session_still_ends() {
    let system = System::start_with(2, 1, Options { cuttable: true, ..Options::default() }).await;
    let alice = system.user("alice").await;
    let mut pad = system.online(&alice, "pad", 1).await;
    system.way(Store::Redis, Way::Broken);
    let said = system.admin(&["users", "disable", &id(&alice)]).await.done();
    assert!(said.contains("Redis was not there"), "{said}");
    pad.expect_closed().await;
    login(&system, &alice, &alice.password).await.expect_refused(403, "forbidden");
    system.way(Store::Redis, Way::Open);
    system.directory_stands().await;
    system.finish().await;
}

#[tokio::test]
async fn nodes_are_listed_and_drained() {
    let mut system = System::start(2, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    system.directory_stands().await;
    let mut a = system.online(&alice, "phone", 0).await;
    let mut b = system.online(&bob, "phone", 1).await;
    let listed = system.admin(&["nodes", "list"]).await.done();
    for edge in 0..2 {
        let line = listed.lines().find(|line| line.contains(system.tcp(edge))).unwrap_or_default().to_owned();
        assert!(line.contains("open") && line.contains(env!("CARGO_PKG_VERSION")), "{listed}");
    }
    let said = system.admin(&["nodes", "drain", "e9"]).await.failed();
    assert!(said.contains("expected one of the nodes that live"), "{said}");

    // Its client is told where to go, and the process ends as after SIGTERM.
    let accepted = system.edges[0].metric("im_edge_frames_accepted_total").await;
    let said = system.admin(&["nodes", "drain", "e1"]).await.done();
    assert!(said.contains("is gone") && said.contains("1 sessions"), "{said}");
    let moved = a.next().await;
    assert_eq!(tests::wire::body(&moved)["t"].as_str(), Some("move"), "{moved}");
    system.edges[0].ends().await;
    assert_eq!(accepted, 0.0, "nothing was sent by it, so that the account needs nothing from it");
    b.nothing_but_heartbeat().await;

    let said = system.admin(&["nodes", "drain", "e2"]).await.failed();
    assert!(said.contains("the only node"), "{said}");
    b.nothing_but_heartbeat().await;
    system.start_edge(0).await;
    system.finish().await;
}

/// A command whose line cannot be written does nothing.
#[tokio::test]
async fn what_cannot_be_audited_is_not_done() {
    let system = System::start(1, 1).await;
    let alice = system.user("alice").await;
    system.stores.execute("ALTER TABLE audit RENAME TO lost", &[]).await;
    assert!(system.admin(&["users", "disable", &id(&alice)]).await.failed().contains("the audit"));
    assert_eq!(login_status(&system, &alice).await, 200);
    system.stores.execute("ALTER TABLE lost RENAME TO audit", &[]).await;
    // Nor is anything on a schema of another version.
    system.stores.execute("DELETE FROM schema_migrations WHERE version >= 6", &[]).await;
    assert!(system.admin(&["users", "disable", &id(&alice)]).await.failed().contains("simple-im migrate"));
    assert_eq!(login_status(&system, &alice).await, 200);
    system.finish().await;
}

async fn login_status(system: &System, user: &User) -> u16 {
    let call = system.call(0, "POST", "/server/login");
    call.with("phone", &user.phone).with("password", &user.password).send().await.status
}
