//! `simple-im login`, `send`, `tail` and `chat` before edges that speak TLS: whom they believe, what they keep of it, and
//! what they say where they do not.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use std::fs;

use shared::client::http::{Api, ApiError};
use tests::{
    certificates::{Authority, Pair},
    harness::{self, SOON, System, eventually},
    shell::Shell,
    terminal::Terminal,
};

const SIZE: (u16, u16) = (20, 80);

async fn system(authority: &Authority) -> System {
    let pair = authority.sign("edge", 2049);
    let options = harness::Options { edge: pair.settings(), ..harness::Options::default() };
    System::start_with(2, 1, options).await
}

/// The addresses of both edges.
fn secure(system: &System) -> String {
    format!("https://{},https://{}", system.edge(0).http, system.edge(1).http)
}

#[tokio::test]
async fn an_authority_is_named_once_and_kept_with_the_login() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let system = system(&authority).await;
    let (server, ca) = (secure(&system), authority.root());
    let (alice, bob) = (system.new_phone(), system.new_phone());
    let mut a = Shell::at(&server, &alice, None);
    let root = ca.to_str().unwrap();
    a.run(&["login", "--register", "alice", "--ca", root], "888888\n").await.with(0);
    let kept = fs::read_to_string(a.session()).unwrap();
    assert!(kept.contains(&format!("ca = \"{root}\"")), "{kept}");
    let b = Shell::at(&server, &bob, Some(ca.clone()));
    b.run(&["login", "--register", "bob"], "888888\n").await.with(0);

    // Nothing is said of it from here on, by flag or environment.
    let mut tail = b.start(&["tail", "--json"]);
    a.run(&["send", &bob, "over TLS"], "").await.with(0);
    assert_eq!(tail.json().await["text"], "over TLS");
    let chat = Terminal::start(&a, &["chat"], SIZE, &[]);
    chat.shows("online at").await;
    b.run(&["send", &alice, "and back"], "").await.with(0);
    chat.shows("bob").await;
    chat.leaves().await;
    assert_eq!(tail.json().await["text"], "and back");
    assert_eq!(tail.stop().await, (vec![], Some(0)));

    // Somebody else's for once does not replace what is kept; what cannot be read is said.
    let other = Authority::new(dir.path(), "other");
    a.believe(Some(other.root()));
    let said = a.run(&["send", &bob, "no"], "").await.failed(3);
    let expected = format!("expected one signed by a certificate of {}", other.root().display());
    assert!(said.contains(&expected) && said.contains("found one that somebody else has signed"), "{said}");
    assert!(said.contains("--ca FILE"), "{said}");
    a.believe(Some(dir.path().join("nowhere.pem")));
    assert!(a.run(&["send", &bob, "no"], "").await.failed(2).contains("nowhere.pem: expected a PEM file"));
    a.believe(None);
    a.run(&["send", &bob, "yes"], "").await.with(0);
    a.run(&["logout"], "").await.with(0);
    system.finish().await;
}

#[tokio::test]
async fn who_is_not_believed_is_told_nothing_and_the_person_why() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "authority");
    let system = system(&authority).await;
    let phone = system.new_phone();
    let root = authority.root().display().to_string();
    let mut shell = Shell::at(&secure(&system), &phone, None);
    // Nobody is named: the roots of this machine, none of which has signed it.
    let said = shell.run(&["login", "--register", "alice"], "888888\n").await.failed(3);
    let why = "is not trusted: expected one signed by a root certificate of this system, found one that somebody else has signed";
    assert!(said.contains(why) && said.contains("--stack DIR"), "{said}");
    shell.believe(Some(authority.root()));
    shell.run(&["login", "--register", "alice"], "888888\n").await.with(0);
    shell.believe(None);

    // The certificate is another one's now: the terminal does not begin, a logout keeps what it could not revoke.
    let second = Authority::new(dir.path(), "second");
    let pair = Pair { certificate: dir.path().join("edge.crt"), key: dir.path().join("edge.key") };
    second.sign_into(&pair, 2049);
    // Each edge looks at its files by itself.
    for edge in [0, 1] {
        eventually(SOON, async || {
            let believed = Api::with_tls(format!("https://{}", system.edge(edge).http), second.trusted());
            match believed.login("1", "2", None).await {
                Err(ApiError::Refused { .. }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    let (code, screen) = Terminal::start(&shell, &["chat"], SIZE, &[]).ended().await;
    assert!(code == Some(3) && screen.contains("is not trusted"), "{code:?} {screen}");
    shell.run(&["logout"], "").await.failed(3);
    assert!(fs::read_to_string(shell.session()).unwrap().contains("token = "));
    // Believed again, by a flag or by another login.
    let new = second.root().display().to_string();
    shell.run(&["tail", "--idle", "0", "--ca", &new], "").await.with(0);
    shell.run(&["login", "--ca", &new], "888888\n").await.with(0);
    assert!(!fs::read_to_string(shell.session()).unwrap().contains(&root));
    shell.run(&["tail", "--idle", "0"], "").await.with(0);

    // TLS or not is for the address to say, and for all of them alike.
    let plain = secure(&system).replace("https", "http");
    let run = async |server: &str| {
        let mut command = shell.command(&["login"]);
        command.env("SIMPLE_IM_SERVER", server);
        shell.run_command(command, "888888\n").await
    };
    assert!(run(&plain).await.failed(1).contains("begin with https://"));
    assert!(run(&secure(&system).replacen("https", "http", 1)).await.failed(2).contains("or none"));
    system.finish().await;
}
