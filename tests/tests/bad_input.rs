//! Bad input: each is answered as the protocol says, and costs nobody else anything.

use tests::{
    harness::{Options, System, before_and_after_restart},
    people::{User, delivered, login_frame, refused, stored},
    wire::{Style, Wire},
};

/// A sender on one node and a bystander on each, who must not notice anything.
struct Scene {
    alice: User,
    bob: User,
    a: Wire,
    b: Wire,
    seq: i64,
}

impl Scene {
    async fn new(system: &System, style: Style) -> Self {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let token = system.token(&alice, "phone").await;
        let a = system.connect_as(&alice, "phone", &token, 0, style).await;
        let b = system.online(&bob, "phone", 1).await;
        Self { alice, bob, a, b, seq: 0 }
    }

    /// The connection is as good as before: a message goes through, as the very next thing.
    async fn still_works(&mut self) {
        self.seq += 1;
        let id = format!("ok{}", self.seq);
        self.a.say(&id, &self.bob, "fine", self.seq).await;
        self.b.expect(&delivered(&id, "fine", self.seq, &self.bob, &self.alice, "phone")).await;
    }

    /// The frame is refused, and the connection goes on.
    async fn refuses(&mut self, frame: &str, id: &str, t: &str, code: &str) {
        self.a.send(frame).await;
        self.a.expect(&refused(id, t, code)).await;
        self.still_works().await;
    }
}

#[tokio::test]
async fn frames_that_are_not_frames() {
    before_and_after_restart(async |system: &System| {
        for style in [Style::Counted, Style::Text] {
            let mut scene = Scene::new(system, style).await;
            scene.refuses("this is not TOML", "", "", "malformed").await;
            scene.refuses("[[m]]\nid = \"1\"\nc = \"unclosed\nto = 1", "1", "", "malformed").await;
            scene.refuses("a = 1", "", "", "malformed").await;
            scene.refuses("[m]\nid = \"1\"\nc = \"a table, no array\"\nto = 1", "", "", "malformed").await;
            scene.refuses("[[zz]]\nid = \"1\"", "", "", "unknown").await;
            scene.refuses("[[rr]]\nid = \"1\"", "", "", "unknown").await;
            scene.refuses("[[r]]\nid = \"1\"\nt = \"fly\"", "1", "", "unknown").await;
            scene.refuses("[[r]]\nid = \"1\"", "1", "", "invalid").await;
            let two_kinds =
                format!("[[m]]\nid = \"1\"\nc = \"x\"\nto = {0}\n[[a]]\nid = \"2\"", scene.bob.id);
            scene.refuses(&two_kinds, "", "", "malformed").await;
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_are_missing_mistyped_or_absurd() {
    before_and_after_restart(async |system: &System| {
        let mut scene = Scene::new(system, Style::Counted).await;
        let bob = scene.bob.id;
        for (frame, id) in [
            ("[[m]]\nc = \"no id\"\nto = 1".to_owned(), ""),
            ("[[m]]\nid = \"1\"\nto = 1".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"no target\"".to_owned(), "1"),
            (format!("[[m]]\nid = 1\nc = \"a number for an id\"\nto = {bob}"), ""),
            (format!("[[m]]\nid = \"\"\nc = \"an empty id\"\nto = {bob}"), ""),
            (format!("[[m]]\nid = \"{}\"\nc = \"a long id\"\nto = {bob}", "x".repeat(129)), ""),
            (format!("[[m]]\nid = \"1\"\nc = 5\nto = {bob}"), "1"),
            (format!("[[m]]\nid = \"1\"\nc = [\"x\"]\nto = {bob}"), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = \"bob\"".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = 0".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = -1".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = -9223372036854775808".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = 1.5".to_owned(), "1"),
            ("[[m]]\nid = \"1\"\nc = \"x\"\nto = { name = \"bob\" }".to_owned(), "1"),
            (format!("[[m]]\nid = \"1\"\nc = \"nul \\u0000\"\nto = {bob}"), "1"),
            ("[[gm]]\nid = \"1\"\nc = \"x\"".to_owned(), "1"),
            ("[[gm]]\nid = \"1\"\nc = \"x\"\ngroup = -3".to_owned(), "1"),
            ("[[a]]\nid = 7".to_owned(), ""),
            ("[[a]]\nlvl = \"read\"".to_owned(), ""),
            ("[[a]]\nseq = -1\n[a.from]\nid = 1".to_owned(), ""),
        ] {
            scene.refuses(&frame, id, "", "invalid").await;
        }
        for (keys, t) in [
            ("message = \"hi\"", "add_contact"),
            ("to = -5\nmessage = \"hi\"", "add_contact"),
            ("to = \"bob\"\nmessage = \"hi\"", "add_contact"),
            ("", "accept_contact"),
            ("name = 5\nmembers = []", "create_group"),
            ("name = \"x\"\nmembers = 5", "create_group"),
            ("name = \"x\"\nmembers = [\"bob\"]", "create_group"),
            ("name = \"x\"\nmembers = [-1]", "create_group"),
            ("group_id = 0\nmember_id = 1", "create_group_member"),
            ("group_id = 1", "create_group_member"),
            ("", "delete_group"),
        ] {
            scene.refuses(&format!("[[r]]\nid = \"1\"\nt = \"{t}\"\n{keys}"), "1", t, "invalid").await;
        }
        // An absurd number that no integer holds is none.
        scene.refuses("[[m]]\nid = \"1\"\nc = \"x\"\nto = 9223372036854775808", "1", "", "invalid").await;
        // The largest there is names nobody.
        scene.refuses("[[m]]\nid = \"1\"\nc = \"x\"\nto = 9223372036854775807", "1", "", "not_found").await;
        // An acknowledgement of what was never delivered is nothing.
        scene.a.send("[[a]]\nid = \"never\"").await;
        scene.a.send(&format!("[[a]]\nseq = 999\n[a.from]\nid = {bob}")).await;
        scene.still_works().await;
    })
    .await;
}

#[tokio::test]
async fn texts_and_frames_over_their_limits() {
    before_and_after_restart(async |system: &System| {
        let mut scene = Scene::new(system, Style::Counted).await;
        let bob = scene.bob.id;
        let message =
            |bytes: usize| format!("[[m]]\nid = \"long\"\nc = \"{}\"\nto = {bob}", "x".repeat(bytes));
        scene.refuses(&message(32 * 1024 + 1), "long", "", "too_long").await;
        let many: String = (0..300).map(|n| format!("[[a]]\nid = \"{n}\"\n")).collect();
        scene.refuses(&many, "", "", "too_long").await;

        // Over the frame's limit nothing can be framed any more: an answer, then the end.
        scene.a.send_raw(format!("#{}\n", 64 * 1024 + 1).as_bytes()).await;
        scene.a.expect(&refused("", "", "too_long")).await;
        scene.a.expect_closed().await;

        let mut text = Scene::new(system, Style::Text).await;
        let endless = format!("[[m]]\nid = \"1\"\nc = \"{}", "x".repeat(70 * 1024));
        text.a.try_send_raw(endless.as_bytes()).await;
        text.a.expect(&refused("", "", "too_long")).await;
        text.a.expect_closed().await;
        // The bystanders have noticed nothing.
        scene.b.nothing_but_heartbeat().await;
        text.b.nothing_but_heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn counts_that_are_not_numbers() {
    before_and_after_restart(async |system: &System| {
        for count in
            ["#abc\n", "#-5\n", "#+5\n", "# 5\n", "#5x\n", "#99999999999999999999999\n", "#\n", "#1.5\n"]
        {
            let mut scene = Scene::new(system, Style::Counted).await;
            scene.a.send_raw(count.as_bytes()).await;
            scene.a.expect(&refused("", "", "malformed")).await;
            scene.a.expect_closed().await;
            scene.b.nothing_but_heartbeat().await;
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_utf8() {
    before_and_after_restart(async |system: &System| {
        let mut scene = Scene::new(system, Style::Counted).await;
        let frame = b"[[m]]\nid = \"1\"\nc = \"\xff\xfe\"\nto = 1\n";
        scene.a.send_raw(&[format!("#{}\n", frame.len()).as_bytes(), frame].concat()).await;
        scene.a.expect(&refused("", "", "malformed")).await;
        scene.still_works().await;
        let cut = b"[[m]]\nid = \"1\"\nc = \"\xe5\xa4\"\nto = 1\n";
        scene.a.send_raw(&[format!("#{}\n", cut.len()).as_bytes(), cut].concat()).await;
        scene.a.expect(&refused("", "", "malformed")).await;
        scene.still_works().await;

        let mut text = Scene::new(system, Style::Text).await;
        text.a.send_raw(b"[[m]]\nid = \"1\"\nc = \"\xff\xfe\"\nto = 1\n\n").await;
        text.a.expect(&refused("", "", "malformed")).await;
        text.still_works().await;
    })
    .await;
}

/// A frame cut in any place, and continued later, is the frame.
#[tokio::test]
async fn frames_cut_anywhere() {
    let system = System::start(2, 2).await;
    for style in [Style::Counted, Style::Text] {
        let mut scene = Scene::new(&system, style).await;
        let (alice, bob) = (scene.alice.clone(), scene.bob.clone());
        let message = |n: usize| format!("[[m]]\nid = \"c{n}\"\nc = \"大 cut \\\" here\"\nto = {}", bob.id);
        let length = scene.a.framed(&message(10)).len();
        for cut in 1..length {
            scene.seq += 1;
            let (id, bytes) = (format!("c{}", cut + 9), scene.a.framed(&message(cut + 9)));
            scene.a.send_raw(&bytes[..cut]).await;
            // The answer to another connection's heartbeat is a later moment: the two parts are two segments.
            scene.b.nothing_but_heartbeat().await;
            scene.a.send_raw(&bytes[cut..]).await;
            scene.a.expect(&stored(&id, scene.seq)).await;
            scene.b.expect(&delivered(&id, "大 cut \\\" here", scene.seq, &bob, &alice, "phone")).await;
        }
        // A connection that ends in the middle of a frame has sent nothing.
        let bytes = scene.a.framed(&message(9999));
        scene.a.send_raw(&bytes[..bytes.len() - 3]).await;
        scene.a.end().await;
        while scene.a.got().await != tests::wire::Got::Closed {}
        scene.b.nothing_but_heartbeat().await;
    }
    assert_eq!(system.stores.number("SELECT count(*) FROM messages WHERE id = 'c9999'", &[]).await, 0);
    system.finish().await;
}

#[tokio::test]
async fn a_frame_before_login_and_a_second_login() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        for frame in [
            format!("[[m]]\nid = \"1\"\nc = \"hello\"\nto = {}", bob.id),
            "[[gm]]\nid = \"1\"\nc = \"hello\"\ngroup = 1".to_owned(),
            format!("[[r]]\nid = \"1\"\nt = \"add_contact\"\nmessage = \"\"\nto = {}", bob.id),
            "[[a]]\nid = \"1\"".to_owned(),
        ] {
            let mut wire = Wire::connect(system.tcp(0)).await;
            wire.send(&frame).await;
            wire.expect(&refused("1", "…", "not_logged_in")).await;
        }
        assert_eq!(
            system.stores.number("SELECT count(*) FROM messages WHERE sender = $1", &[&alice.id]).await,
            0
        );

        let mut scene = Scene::new(system, Style::Counted).await;
        let again = login_frame(scene.alice.id, "phone", &scene.a.token);
        scene.refuses(&again, "login", "login", "already_logged_in").await;
        let other = login_frame(bob.id, "phone", &bob.token);
        scene.refuses(&other, "login", "login", "already_logged_in").await;
        // Who says in the frame to be someone else is not believed.
        scene.seq += 1;
        let claim = format!(
            "[[m]]\nid = \"claim\"\nc = \"I am bob\"\nto = {}\n[m.from]\nid = {}\ndevice = \"x\"",
            scene.bob.id, bob.id
        );
        scene.a.send(&claim).await;
        scene.a.expect(&stored("claim", scene.seq)).await;
        scene.b.expect(&delivered("claim", "I am bob", scene.seq, &scene.bob, &scene.alice, "phone")).await;
    })
    .await;
}

#[tokio::test]
async fn a_login_that_is_not_one() {
    let options = Options { edge: vec![("limits.login_seconds", "60".into())], ..Options::default() };
    let system = System::start_with(2, 2, options).await;
    let alice = system.user("alice").await;
    let good = login_frame(alice.id, "phone", &alice.token);
    for (from, to) in [
        ("device = \"phone\"", ""),
        ("device = \"phone\"", "device = 7"),
        ("device = \"phone\"", "device = \"\""),
        ("device = \"phone\"", "device = \"a\\nb\""),
        ("[r.user]", "[r.person]"),
        (&format!("id = {}", alice.id), "id = \"me\""),
        (&format!("id = {}", alice.id), "id = -1"),
        ("token = ", "tokem = "),
    ] {
        let mut wire = Wire::connect(system.tcp(1)).await;
        wire.send(&good.replacen(from, to, 1)).await;
        wire.expect(&refused("login", "login", "invalid")).await;
    }
    let mut wire = Wire::connect(system.tcp(1)).await;
    wire.send(&good).await;
    wire.expect("[[rr]]\nid = \"login\"\nt = \"login\"\ns = 0").await;
    system.finish().await;
}
