//! `simple-im chat` on a real pseudo-terminal: people on two edges, who see each other's messages and marks, while screens
//! change their size and edges die; and the terminal is as it was when they have left.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tests::{
    harness::{SOON, System, eventually},
    people::stored,
    shell::Shell,
    terminal::{Terminal, key::*},
};

const SIZE: (u16, u16) = (20, 80);

fn count(screen: &str, text: &str) -> usize {
    screen.matches(text).count()
}

#[tokio::test]
async fn two_people_talk_and_see_how_far_it_got() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = Terminal::chat(&system, &alice, 0, SIZE, &[]).await;
    let mut b = Terminal::chat(&system, &bob, 1, SIZE, &[]).await;
    a.finds(&bob).await;
    a.says("hello, Bob").await;
    // Bob's terminal has it, and then he reads it.
    a.shows("me: hello, Bob ✓✓").await;
    b.shows("alice").await;
    b.until("one unread", |screen| {
        screen.lines().any(|line| line.starts_with(" alice") && line.contains(" 1 "))
    })
    .await;
    b.types(CTRL_N).await;
    b.shows("alice: hello, Bob").await;
    a.shows("me: hello, Bob ✓✓ read").await;
    b.says("你好，艾丽斯 😀").await;
    a.shows("bob: 你好，艾丽斯 😀").await;
    b.shows("✓✓ read").await;
    // Two lines are one message.
    b.types(&format!("first{CTRL_J}second")).await;
    b.types(ENTER).await;
    a.until("both lines", |screen| screen.contains("bob: first") && screen.contains("      second")).await;

    // Requests.
    a.chooses(CTRL_O, "Ask to become a contact").await;
    a.shows("A word with it").await;
    a.says("it's me").await;
    b.shows("alice asked to be a contact: it's me").await;
    b.chooses(CTRL_R, "? alice").await;
    b.chooses("", "Accept").await;
    a.shows("bob accepted: contacts now").await;
    a.until("a contact in the title", |screen| screen.contains("bob  contact")).await;

    // Smaller, without the list; and back.
    a.resize(10, 40);
    a.until("one side", |screen| screen.contains("contacts now") && !screen.contains("│")).await;
    a.closes("contacts now").await;
    a.until("the list", |screen| screen.contains("bob")).await;
    a.resize(30, 100);
    a.types(ENTER).await;
    a.until("both sides", |screen| screen.contains("│") && screen.contains("hello, Bob ✓✓ read")).await;
    a.types(F1).await;
    a.shows("draw the screen anew").await;
    a.closes("draw the screen anew").await;

    // Blocked, and told so.
    b.chooses(CTRL_O, "Block").await;
    b.chooses("", "Yes").await;
    b.shows("is blocked").await;
    a.says("still there?").await;
    a.shows("not sent:").await;
    a.shows("me: still there? !").await;
    b.chooses(CTRL_O, "Unblock").await;
    b.shows("no longer blocked").await;
    a.chooses(CTRL_O, "Send again").await;
    b.shows("alice: still there?").await;
    // Before that she is asked whether she means to leave.
    a.shows("me: still there? ✓").await;
    a.leaves().await;
    b.leaves().await;
    system.finish().await;
}

#[tokio::test]
async fn it_loses_its_edge_and_goes_on_with_nothing_doubled() {
    let mut system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = Terminal::chat(&system, &alice, 0, SIZE, &[]).await;
    let mut wire = system.online(&bob, "phone", 1).await;
    a.finds(&bob).await;
    a.says("before").await;
    a.shows("me: before ✓").await;
    wire.next().await;
    // Wherever it is.
    let screen = a.shows("online at").await;
    let at = (0..2).find(|edge| screen.contains(system.tcp(*edge))).unwrap();
    let token = wire.token.clone();
    drop(wire);
    system.kill_edge(at).await;
    let other = 1 - at;
    let mut wire = system.connect(&bob, "phone", &token, other).await;
    wire.send(&format!("[[m]]\nid = \"away\"\nc = \"while you were away\"\nto = {}", alice.id)).await;
    a.types("and after").await;
    a.types(ENTER).await;
    a.shows(&format!("online at {}", system.tcp(other))).await;
    a.until("what was sent without a connection is stored", |screen| screen.contains("me: and after ✓"))
        .await;
    let screen = a.shows("bob: while you were away").await;
    for text in ["me: before", "bob: while you were away", "me: and after"] {
        assert_eq!(count(&screen, text), 1, "{text} in\n{screen}");
    }
    // At Bob's, too.
    eventually(SOON, async || {
        let rows = "SELECT count(*)::bigint FROM messages WHERE content = 'and after'";
        match system.stores.rows(rows, &[]).await[0].get::<_, i64>(0) {
            1 => Ok(()),
            count => Err(format!("stored {count} times")),
        }
    })
    .await;
    a.leaves().await;
    drop(wire);
    system.finish().await;
}

#[tokio::test]
async fn groups_from_begin_to_end() {
    let system = System::start(2, 2).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut a = Terminal::chat(&system, &alice, 0, SIZE, &[]).await;
    let mut b = Terminal::chat(&system, &bob, 1, SIZE, &[]).await;
    a.types(CTRL_G).await;
    a.shows("Its name").await;
    a.says("friends").await;
    a.chooses("", "By phone number").await;
    a.shows("Whole phone number").await;
    a.says(&bob.phone).await;
    a.shows("me added bob").await;
    b.shows("# friends").await;
    b.types(CTRL_N).await;
    b.shows("2 members").await;
    b.says("hello, all").await;
    a.shows("bob: hello, all").await;
    b.shows("hello, all ✓✓ read 1").await;
    a.chooses(CTRL_O, "Members").await;
    a.shows("me (made it)").await;
    a.closes("me (made it)").await;
    b.chooses(CTRL_O, "Leave").await;
    b.chooses("", "Yes").await;
    a.shows("bob left").await;
    b.shows("you are no longer in it").await;
    b.says("one more thing").await;
    b.shows("no longer a member").await;
    a.leaves().await;
    b.leaves().await;
    system.finish().await;
}

#[tokio::test]
async fn one_changes_one_s_name_and_password_and_logs_devices_out() {
    let system = System::start(2, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let shell = Shell::of(&system, &alice, 0);
    let log_in = |password: &str| format!("{password}\n");
    shell.run(&["login"], &log_in(&alice.password)).await.with(0);
    let mut a = Terminal::start(&shell, &["chat"], SIZE, &[]);
    a.shows("online at").await;
    let b = Terminal::chat(&system, &bob, 1, SIZE, &[]).await;
    a.finds(&bob).await;

    a.chooses(CTRL_Y, "Change the name").await;
    a.shows("> alice").await;
    a.types(CTRL_U).await;
    a.says("艾丽斯").await;
    a.shows("Others see you as 艾丽斯 now.").await;
    a.shows("simple-im 艾丽斯: online").await;
    a.says("hello").await;
    b.shows("艾丽斯").await;

    // Another device, which `tail` is: the list has it, and it is logged out from here.
    let tail = shell.start(&["tail"]);
    let list = async |a: &mut Terminal| {
        for _ in 0..100 {
            a.chooses(CTRL_Y, "Devices").await;
            let screen = a.shows("Your devices").await;
            if screen.lines().any(|line| line.contains("tail@") && line.contains(": connected")) {
                return;
            }
            a.closes("Your devices").await;
        }
        panic!("tail is not connected:\n{}", a.screen());
    };
    list(&mut a).await;
    a.chooses("", "tail@").await;
    a.chooses("", "Yes").await;
    a.until("it is logged out", |screen| {
        screen.lines().any(|line| line.contains("tail@") && line.contains(": logged out"))
    })
    .await;
    assert_eq!(tail.ended().await.1, Some(4));
    a.closes("Your devices").await;

    // The old password is asked for, nothing of either is shown, and the others' tokens end.
    a.chooses(CTRL_Y, "Change the password").await;
    a.shows("The one you have now:").await;
    a.says("wrong").await;
    for _ in 0..2 {
        a.shows("The new one").await;
        a.types("geheim 2").await;
        a.shows("> ********").await;
        a.types(ENTER).await;
    }
    a.shows("not the password you have now").await;
    a.chooses(CTRL_Y, "Change the password").await;
    a.shows("The one you have now:").await;
    a.says(&alice.password).await;
    a.shows("The new one:").await;
    a.says("geheim 2").await;
    a.shows("once more:").await;
    a.says("geheim 2").await;
    a.shows("Your password is another one now").await;
    let raw = String::from_utf8_lossy(&a.raw()).into_owned();
    assert!(!raw.contains("geheim") && !raw.contains(&alice.password), "a password on the screen");
    shell.run(&["send", &format!("id:{}", bob.id), "no"], "").await.failed(4);
    shell.run(&["login", "--device", "another"], &log_in(&alice.password)).await.failed(4);
    shell.run(&["login", "--device", "another"], &log_in("geheim 2")).await.with(0);

    // This one, too.
    a.chooses(CTRL_Y, "Devices").await;
    a.chooses("", "chat@").await;
    a.shows("The program ends.").await;
    a.chooses("", "Yes").await;
    assert_eq!(a.ended().await.0, Some(4));
    b.leaves().await;
    system.finish().await;
}

#[tokio::test]
async fn history_comes_as_one_scrolls() {
    let system = System::start(1, 1).await;
    let [alice, bob] = system.users(["alice", "bob"]).await;
    let mut wire = system.online(&bob, "phone", 0).await;
    for n in 1..=120 {
        wire.send_message(&format!("n{n}"), alice.id, &format!("number {n}.")).await;
        wire.expect(&stored(&format!("n{n}"), n)).await;
    }
    let mut a = Terminal::chat(&system, &alice, 0, SIZE, &[]).await;
    a.until("all unread", |screen| screen.contains(" 120 ")).await;
    a.types(CTRL_N).await;
    a.shows("number 120.").await;
    for _ in 0..40 {
        if a.screen().contains("number 1.") {
            break;
        }
        // What is to be loaded for it takes its time.
        let before = a.screen();
        a.types(PAGE_UP).await;
        a.until("another page", |screen| !screen.contains("loading") && screen != before).await;
    }
    a.shows("number 1.").await;
    // What comes now does not move what is being read.
    wire.say("n121", &alice, "number 121.", 121).await;
    a.until("one more below", |screen| screen.contains("number 1.") && screen.contains("more below")).await;
    a.types(&PAGE_DOWN.repeat(20)).await;
    a.shows("number 121.").await;
    a.leaves().await;
    system.finish().await;
}

#[tokio::test]
async fn nothing_of_others_is_obeyed_and_no_colour_is_none() {
    let system = System::start(1, 1).await;
    let [alice, mallory] = system.users(["alice", "mallory"]).await;
    let plain = [("NO_COLOR", "1")];
    let mut a = Terminal::chat(&system, &alice, 0, SIZE, &plain).await;
    let mut wire = system.online(&mallory, "phone", 0).await;
    wire.send_message("bad", alice.id, "\\u001B]0;owned\\u0007\\u001B[2J\\u009B31mred\\u202Eback").await;
    wire.expect(&stored("bad", 1)).await;
    a.shows("mallory").await;
    a.types(CTRL_N).await;
    a.shows("␛]0;owned␇␛[2J␦31mred␦back").await;
    let raw = String::from_utf8_lossy(&a.raw()).into_owned();
    for bad in ["\x1b]0;", "\x07", "\u{9b}", "\u{202e}"] {
        assert!(!raw.contains(bad), "{bad:?}");
    }
    assert!(a.is_plain(), "{raw:?}");
    a.leaves().await;
    let mut coloured = Terminal::chat(&system, &alice, 0, SIZE, &[]).await;
    coloured.shows(" mallory").await;
    coloured.types(CTRL_N).await;
    coloured.shows("mallory: ").await;
    assert!(!coloured.is_plain());
    coloured.leaves().await;
    system.finish().await;
}

#[tokio::test]
async fn ends_are_orderly_and_say_why() {
    let system = System::start(1, 1).await;
    let alice = system.user("alice").await;
    let shell = Shell::of(&system, &alice, 0);
    // The first time it asks for the password, without showing it.
    let mut a = Terminal::start(&shell, &["chat"], SIZE, &[]);
    a.shows("Password:").await;
    a.says(&alice.password).await;
    a.shows("online at").await;
    assert!(!String::from_utf8_lossy(&a.raw()).contains(&alice.password));
    // Another one on the same device, and one that is no terminal.
    let second = Terminal::start(&shell, &["chat"], SIZE, &[]).ended().await;
    assert!(second.0 == Some(1) && second.1.contains("is in use here"), "{second:?}");
    let dumb = Terminal::start(&shell, &["chat"], SIZE, &[("TERM", "dumb")]).ended().await;
    assert!(dumb.0 == Some(2) && dumb.1.contains("TERM=dumb"), "{dumb:?}");
    shell.run(&["chat"], "").await.failed(2);
    // A signal.
    kill(Pid::from_raw(a.pid() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(a.ended().await.0, Some(0));
    // A login that ends from outside.
    let a = Terminal::start(&shell, &["chat"], SIZE, &[]);
    a.shows("online at").await;
    shell.run(&["logout"], "").await.with(0);
    let out = a.ended().await;
    assert!(out.0 == Some(4) && out.1.contains("simple-im: "), "{out:?}");
    system.finish().await;
}
