//! A new password: what it ends, and that it ends all of that or nothing.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, before_and_after_restart, eventually},
    people::User,
};

/// Who changes the password is the only one who stays: with its token, and the connection made with that.
#[tokio::test]
async fn a_new_password_ends_other_tokens_and_their_connections() {
    before_and_after_restart(async |system: &System| {
        let alice = system.user("alice").await;
        let who = |token: &str| system.call(1, "GET", &format!("/user/id/{}", alice.id)).token(token).send();
        let change = async |token: &str, from: &str, to: &str| {
            let call = system.call(0, "PUT", "/user").token(token);
            call.with("old_password", from).with("password", to).send().await.expect_ok();
        };
        let mut phone = system.online(&alice, "phone", 0).await;
        let mut watch = system.online(&alice, "watch", 1).await;
        let newer = system.token(&alice, "watch").await;
        for token in [&alice.token, &phone.token, &watch.token, &newer] {
            assert_eq!(who(token).await.status, 200);
        }
        change(&phone.token, &alice.password, "second").await;
        watch.expect_closed().await;
        phone.nothing_but_heartbeat().await;
        assert_eq!(who(&phone.token).await.status, 200);
        for token in [&alice.token, &watch.token, &newer] {
            who(token).await.expect_refused(401, "token");
            let mut wire = tests::wire::Wire::connect(system.tcp(0)).await;
            wire.send(&tests::people::login_frame(alice.id, "watch", token)).await;
            wire.expect(&tests::people::refused("login", "login", "token")).await;
        }

        // The caller's own device is connected with an older token: that connection ends as well.
        let alice = User { password: "second".to_owned(), ..alice };
        let newer = system.token(&alice, "phone").await;
        change(&newer, "second", "third").await;
        phone.expect_closed().await;
        who(&phone.token).await.expect_refused(401, "token");
        system.connect(&alice, "phone", &newer, 1).await.nothing_but_heartbeat().await;
    })
    .await;
}

/// A failure in between would leave whoever knew the old password logged in.
#[tokio::test]
async fn a_password_changes_with_all_that_it_ends_or_not_at_all() {
    let mut system = System::start(2, 2).await;
    system.allow("a call failed");
    let alice = system.user("alice").await;
    let other = system.http_login(&alice, None, 1).await.response()["user"]["token"].clone();
    let other = other.as_str().unwrap();
    let login = |password: &str| {
        let call = system.call(0, "POST", "/server/login");
        call.with("phone", &alice.phone).with("password", password).send()
    };
    let change = || {
        let call = system.call(1, "PUT", "/user").token(&alice.token);
        call.with("old_password", &alice.password).with("password", "new").send()
    };
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'nothing is deleted for now'; END $$";
    system.stores.execute(refuse, &[]).await;
    let trigger = "CREATE TRIGGER refuse BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()";
    system.stores.execute(trigger, &[]).await;
    assert_eq!(change().await.status, 503);
    login("new").await.expect_refused(401, "credentials");
    assert_eq!(login(&alice.password).await.status, 200);
    system.stores.execute("DROP TRIGGER refuse ON sessions", &[]).await;
    change().await.expect_ok();
    login(&alice.password).await.expect_refused(401, "credentials");
    let who = system.call(0, "GET", &format!("/user/id/{}", alice.id)).token(other).send().await;
    who.expect_refused(401, "token");
    system.finish().await;
}

/// Whoever knows the old password may be logging in, or changing it, at the very moment at which it is changed.
#[tokio::test]
async fn the_old_password_is_good_for_nothing_once_the_new_one_is() {
    let system = System::start(2, 2).await;
    let alice = system.user("alice").await;
    let stores = &system.stores;
    let login = |edge: usize| {
        let call = system.call(edge, "POST", "/server/login");
        call.with("phone", &alice.phone).with("password", &alice.password).send()
    };
    let tokens = [login(0).await, login(1).await].map(|reply| reply.response()["user"]["token"].clone());
    let change = |edge: usize, to: &str| {
        let call = system.call(edge, "PUT", "/user").token(tokens[edge].as_str().unwrap());
        call.with("old_password", &alice.password).with("password", to).send()
    };
    // All three have found the old password right before the first of them is let through.
    stores.execute("BEGIN", &[]).await;
    stores.rows("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", &[&alice.id]).await;
    let waiting = async |count: i64| {
        let query = "SELECT count(*) FROM pg_locks WHERE locktype = 'tuple' AND relation = 'users'::regclass";
        eventually(SOON, async || match stores.number(query, &[]).await {
            found if found == count => Ok(()),
            found => Err(format!("{found} wait for the user's row, not {count}")),
        })
        .await;
    };
    let let_through = async {
        waiting(3).await;
        stores.execute("COMMIT", &[]).await;
    };
    let (first, second, third, ()) = tokio::join!(
        change(0, "new"),
        async {
            waiting(1).await;
            login(1).await
        },
        async {
            waiting(2).await;
            change(1, "another").await
        },
        let_through
    );
    first.expect_ok();
    second.expect_refused(401, "credentials");
    third.expect_refused(401, "credentials");
    for edge in 0..2 {
        login(edge).await.expect_refused(401, "credentials");
    }
    let left = stores.number("SELECT count(*) FROM sessions WHERE user_id = $1", &[&alice.id]).await;
    assert_eq!(left, 1, "the token of the one who changed it");
    system.finish().await;
}
