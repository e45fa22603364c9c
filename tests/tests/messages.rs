//! Messages: to one user, to oneself, to many devices, to nobody; order, repetition, blocks of text.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::{SOON, System, before_and_after_restart, eventually},
    people::{delivered, refused, stored},
    wire::{Style, Wire},
};

/// The first example of the description: A on one node writes to B on the other, and B answers.
#[tokio::test]
async fn two_users_on_two_nodes_talk() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "android", 0).await;
        let mut b = system.online(&bob, "ipad", 1).await;

        a.say("a_02", &bob, "hello", 1).await;
        let got = b.expect(&delivered("a_02", "hello", 1, &bob, &alice, "android")).await;
        let ts = got["ts"].as_integer().unwrap();
        let now = system.stores.number("SELECT extract(epoch FROM now())::bigint", &[]).await;
        assert!((now - 60..=now).contains(&ts), "ts is the accept time in Unix seconds: {ts}, now {now}");

        b.say("b_01", &alice, "hello yourself", 2).await;
        a.expect(&delivered("b_01", "hello yourself", 2, &alice, &bob, "ipad")).await;
        // `to` as a table is the same.
        b.send(&format!("[[m]]\nid = \"b_02\"\nc = \"again\"\n[m.to]\nid = {}", alice.id)).await;
        b.expect(&stored("b_02", 3)).await;
        a.expect(&delivered("b_02", "again", 3, &alice, &bob, "ipad")).await;

        let conversation = format!("dm:{}:{}", alice.id, bob.id);
        let rows = system
            .stores
            .rows(
                "SELECT seq, sender, device, id, content, ts FROM messages WHERE conv = $1 ORDER BY seq",
                &[&conversation],
            )
            .await;
        let rows: Vec<(i64, i64, String, String, String)> =
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))).collect();
        let row = |seq, sender: i64, device: &str, id: &str, content: &str| {
            (seq, sender, device.to_owned(), id.to_owned(), content.to_owned())
        };
        assert_eq!(
            rows,
            [
                row(1, alice.id, "android", "a_02", "hello"),
                row(2, bob.id, "ipad", "b_01", "hello yourself"),
                row(3, bob.id, "ipad", "b_02", "again"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn every_device_of_both_sides_gets_every_message() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut phone = system.online(&alice, "phone", 0).await;
        let mut tablet = system.online(&alice, "tablet", 1).await;
        let mut desk = system.online(&bob, "desk", 0).await;
        let mut lap = system.online(&bob, "lap", 1).await;

        phone.say("1", &bob, "to both of you", 1).await;
        for wire in [&mut tablet, &mut desk, &mut lap] {
            wire.expect(&delivered("1", "to both of you", 1, &bob, &alice, "phone")).await;
        }
        lap.say("1", &alice, "from one of us", 2).await;
        for wire in [&mut phone, &mut tablet, &mut desk] {
            wire.expect(&delivered("1", "from one of us", 2, &alice, &bob, "lap")).await;
        }
        // The sender itself got its ack and no copy: the next thing it hears is this one's ack.
        phone.say("2", &bob, "still there?", 3).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_to_oneself_reaches_ones_other_devices() {
    before_and_after_restart(async |system: &System| {
        let alice = system.user("alice").await;
        let mut phone = system.online(&alice, "phone", 0).await;
        phone.say("memo", &alice, "buy milk", 1).await;
        system.cursor_at(&alice, "phone", &alice, 1).await;
        // A device that comes later starts where the furthest one is, so only what follows is new to it.
        let mut tablet = system.online(&alice, "tablet", 1).await;
        phone.say("memo2", &alice, "and bread", 2).await;
        tablet.expect(&delivered("memo2", "and bread", 2, &alice, &alice, "phone")).await;
        tablet.say("memo3", &alice, "done", 3).await;
        phone.expect(&delivered("memo3", "done", 3, &alice, &alice, "tablet")).await;
        let conversation = format!("dm:{0}:{0}", alice.id);
        assert_eq!(
            system.stores.number("SELECT count(*) FROM messages WHERE conv = $1", &[&conversation]).await,
            3
        );
    })
    .await;
}

#[tokio::test]
async fn a_message_to_nobody_is_refused_and_the_next_one_is_not() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        a.send_message("1", 999_999_999, "anyone?").await;
        a.expect(&refused("1", "", "not_found")).await;
        a.send("[[gm]]\nid = \"2\"\nc = \"anyone?\"\ngroup = 999999999").await;
        a.expect(&refused("2", "", "not_found")).await;
        a.say("3", &bob, "you at least", 1).await;
        b.expect(&delivered("3", "you at least", 1, &bob, &alice, "phone")).await;
        assert_eq!(
            system.stores.number("SELECT count(*) FROM messages WHERE id IN ('1', '2')", &[]).await,
            0
        );
    })
    .await;
}

#[tokio::test]
async fn five_hundred_messages_down_one_connection_arrive_in_order() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let mut bytes = Vec::new();
        for n in 1..=500 {
            bytes.extend(a.framed(&format!("[[m]]\nid = \"m{n}\"\nc = \"number {n}\"\nto = {}", bob.id)));
        }
        a.send_raw(&bytes).await;
        for n in 1..=500 {
            b.expect(&delivered(&format!("m{n}"), &format!("number {n}"), n, &bob, &alice, "phone")).await;
        }
        for n in 1..=500 {
            a.expect(&stored(&format!("m{n}"), n)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn entries_of_one_frame_are_handled_in_order() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let frame: String = (1..=20)
            .map(|n| format!("[[m]]\nid = \"m{n}\"\nc = \"number {n}\"\nto = {}\n", bob.id))
            .collect();
        a.send(&frame).await;
        for n in 1..=20 {
            b.expect(&delivered(&format!("m{n}"), &format!("number {n}"), n, &bob, &alice, "phone")).await;
            a.expect(&stored(&format!("m{n}"), n)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_message_three_times_is_one_message() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let token = a.token.clone();
        a.say("once", &bob, "only once", 1).await;
        b.expect(&delivered("once", "only once", 1, &bob, &alice, "phone")).await;
        // A retry gets the first one's ack, and the recipient's node knows that its device has had it.
        a.say("once", &bob, "only once", 1).await;
        // By the other node, too.
        drop(a);
        let mut a = system.connect(&alice, "phone", &token, 1).await;
        a.say("once", &bob, "only once", 1).await;
        // Other content, another device, another target: another message.
        a.say("once", &bob, "only twice", 2).await;
        system.cursor_at(&alice, "phone", &bob, 2).await;
        let mut tablet = system.online(&alice, "tablet", 0).await;
        tablet.say("once", &bob, "only once", 3).await;

        let mut seqs = Vec::new();
        while seqs.last() != Some(&3) {
            let entry = b.next().await;
            let message = &entry["m"];
            let seq = message["seq"].as_integer().unwrap();
            let text = if seq == 2 { "only twice" } else { "only once" };
            assert_eq!(
                (message["id"].as_str(), message["c"].as_str()),
                (Some("once"), Some(text)),
                "{entry}"
            );
            seqs.push(seq);
        }
        assert_eq!(seqs, [2, 3], "what Bob has had is not shown to him again");
        let conversation = format!("dm:{}:{}", alice.id, bob.id);
        assert_eq!(
            system.stores.number("SELECT count(*) FROM messages WHERE conv = $1", &[&conversation]).await,
            3
        );
        let duplicates = system.stores.number("SELECT sum(duplicate)::bigint FROM lanes", &[]).await;
        assert!(duplicates >= 2, "both repetitions are counted as duplicates: {duplicates}");
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_on_an_earlier_connection_is_not_shown_again_by_a_retry() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let token = b.token.clone();
        a.say("once", &bob, "only once", 1).await;
        b.expect(&delivered("once", "only once", 1, &bob, &alice, "phone")).await;
        b.send(&format!("[[a]]\nid = \"once\"\nseq = 1\n[a.from]\nid = {}", alice.id)).await;
        system.cursor_at(&bob, "phone", &alice, 1).await;
        drop(b);
        let mut b = system.connect(&bob, "phone", &token, 0).await;
        b.nothing_but_heartbeat().await;
        a.say("once", &bob, "only once", 1).await;
        a.say("next", &bob, "something new", 2).await;
        b.expect(&delivered("next", "something new", 2, &bob, &alice, "phone")).await;
    })
    .await;
}

/// Everything that TOML has to escape, what has no escape, and as much of it as a message may hold.
#[tokio::test]
async fn any_text_arrives_as_it_was_written() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        let texts = [
            r#"an escaped \" quote, a \\ backslash, a \t tab, a \n newline, a \r return"#.to_owned(),
            "\\u0001 \\u001f \\u007f \\b \\f".to_owned(),
            "大傻 🦀 \\u00e9 \\U0001F600 e\u{301}".to_owned(),
            "[[m]] id = 'x' # no comment".to_owned(),
            "#12\\n[[m]]".to_owned(),
            String::new(),
            "x".repeat(32 * 1024),
            "é".repeat(16 * 1024),
        ];
        for (n, text) in (1..).zip(&texts) {
            let id = format!("t{n}");
            a.say(&id, &bob, text, n).await;
            // The expectation is parsed by another parser than the system's.
            b.expect(&delivered(&id, text, n, &bob, &alice, "phone")).await;
        }
        // Multi-line and literal strings are standard TOML as well.
        let n = texts.len() as i64 + 1;
        a.send(&format!("[[m]]\nid = 'raw'\nto = {}\nc = \"\"\"two\nlines\"\"\"", bob.id)).await;
        a.expect(&stored("raw", n)).await;
        b.expect(&delivered("raw", "two\\nlines", n, &bob, &alice, "phone")).await;
    })
    .await;
}

/// A person with `nc` and a program understand each other, and each is answered in its own form.
#[tokio::test]
async fn the_three_forms_of_a_frame_meet() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob] = system.users(["alice", "bob"]).await;
        let (for_a, for_b) = (system.token(&alice, "nc").await, system.token(&bob, "program").await);
        let mut b = system.connect_as(&bob, "program", &for_b, 1, Style::Counted).await;

        // The one-line form, the description's own.
        let mut a = Wire::connect_as(system.tcp(0), Style::Text).await;
        let line = format!(
            "[[r]] id = \"l1\" t = \"login\" [r.user] id = {} device = \"nc\" token = \"{for_a}\"\n",
            alice.id
        );
        a.send_raw(line.as_bytes()).await;
        a.expect("[[rr]]\nid = \"l1\"\nt = \"login\"\ns = 0").await;
        a.send_raw(format!("[[m]] id = \"a_02\" c = \"one line\" to = {}\n", bob.id).as_bytes()).await;
        a.expect(&stored("a_02", 1)).await;
        b.expect(&delivered("a_02", "one line", 1, &bob, &alice, "nc")).await;

        // The text form on the same connection, as it stands in the description.
        a.send_raw(format!("[[m]]\nid=\"a_03\"\nc=\"lines\"\nto={}\n\n", bob.id).as_bytes()).await;
        a.expect(&stored("a_03", 2)).await;
        b.expect(&delivered("a_03", "lines", 2, &bob, &alice, "nc")).await;
        a.send_raw(format!("[[m]]\r\nid=\"a_04\"\r\nc=\"telnet\"\r\nto={}\r\n\r\n", bob.id).as_bytes()).await;
        a.expect(&stored("a_04", 3)).await;
        b.expect(&delivered("a_04", "telnet", 3, &bob, &alice, "nc")).await;

        b.say("p1", &alice, "#5\\nhello", 4).await;
        a.expect(&delivered("p1", "#5\\nhello", 4, &alice, &bob, "program")).await;

        // Heartbeats are answered in kind.
        a.nothing_but_heartbeat().await;
        b.nothing_but_heartbeat().await;
    })
    .await;
}

#[tokio::test]
async fn history_and_conversations_show_what_was_said() {
    before_and_after_restart(async |system: &System| {
        let [alice, bob, carol] = system.users(["alice", "bob", "carol"]).await;
        let mut a = system.online(&alice, "phone", 0).await;
        let mut b = system.online(&bob, "phone", 1).await;
        for n in 1..=5 {
            let (id, text) = (format!("m{n}"), format!("number {n}"));
            a.say(&id, &bob, &text, n).await;
            b.expect(&delivered(&id, &text, n, &bob, &alice, "phone")).await;
        }
        a.say("c1", &carol, "hi carol", 1).await;

        let seqs = |reply: &tests::web::Reply| -> Vec<i64> {
            reply.entries("m").iter().map(|m| m["seq"].as_integer().unwrap()).collect()
        };
        let path = |query: &str| format!("/history?with={}{query}", alice.id);
        let all = system.call(1, "GET", &path("")).token(&bob.token).send().await;
        assert_eq!(all.status, 200, "{}", all.text);
        let mut found = seqs(&all);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4, 5], "{}", all.text);
        let page = system.call(0, "GET", &path("&before=4&limit=2")).token(&bob.token).send().await;
        let mut found = seqs(&page);
        found.sort_unstable();
        assert_eq!(found, [2, 3], "{}", page.text);
        tests::wire::must_be(
            &delivered("m3", "number 3", 3, &bob, &alice, "phone"),
            &toml::Table::from_iter([(
                "m".to_owned(),
                toml::Value::Table(
                    page.entries("m").into_iter().find(|m| m["seq"].as_integer() == Some(3)).unwrap(),
                ),
            )]),
        );
        // Another's conversation cannot be asked for: `with` is always seen from the asker's side.
        let others = system.call(0, "GET", &path("")).token(&carol.token).send().await;
        assert_eq!(seqs(&others), [1], "carol sees what she shares with alice, {}", others.text);

        let unread = async |token: &str| -> Vec<(i64, i64)> {
            let reply = system.call(1, "GET", "/conversation").token(token).send().await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            let mut all: Vec<(i64, i64)> = reply
                .entries("conversation")
                .iter()
                .map(|c| (c["user"].as_integer().unwrap(), c["unread"].as_integer().unwrap()))
                .collect();
            all.sort_unstable();
            all
        };
        assert_eq!(unread(&bob.token).await, [(alice.id, 5)]);
        b.send(&format!("[[a]]\nlvl = \"read\"\nseq = 3\n[a.from]\nid = {}", alice.id)).await;
        eventually(SOON, || async {
            let found = unread(&bob.token).await;
            if found == [(alice.id, 2)] { Ok(()) } else { Err(format!("unread are {found:?}")) }
        })
        .await;
    })
    .await;
}
