//! The player against scripted servers.

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::document::blocks;

/// Hands out one end of each pair; the test plays the server on the other.
struct Pairs(Vec<DuplexStream>);

impl Connect for Pairs {
    type Stream = DuplexStream;
    async fn tcp(&mut self, _edge: usize) -> io::Result<DuplexStream> {
        self.0.pop().ok_or_else(|| io::Error::other("no more connections"))
    }
    fn http(&self, _edge: usize) -> String {
        "http://127.0.0.1:9".to_owned()
    }
}

/// A server that answers each of `script`'s sentences, once it has come, with its reply; then closes or echoes beats.
async fn play(document: &str, script: &[(&str, &str)], closes: bool) -> Result<Ran, Mistake> {
    let (client, mut server) = duplex(4096);
    let blocks = blocks(document).unwrap();
    let serve = async {
        for (sentence, reply) in script {
            let mut seen = vec![0; sentence.len()];
            server.read_exact(&mut seen).await.unwrap();
            assert_eq!(String::from_utf8(seen).unwrap(), *sentence);
            server.write_all(reply.as_bytes()).await.unwrap();
        }
        if closes {
            drop(server);
            return;
        }
        let mut beat = [0; 3];
        while let Ok(n @ 1..) = server.read(&mut beat).await {
            if server.write_all(&beat[..n]).await.is_err() {
                break;
            }
        }
    };
    let mut pairs = Pairs(vec![client]);
    let run = async {
        let result = run(&blocks, &mut pairs).await;
        drop(pairs);
        result
    };
    // The player ends, and with it its connection, and with that the server.
    let (result, ()) = tokio::join!(run, serve);
    result
}

#[tokio::test]
async fn text_frames_go_out_and_entries_come_in_any_order() {
    let document = "```tcp alice\n[[m]]\nid = \"a\"\n\n[[m]]\nid = \"b\"\n```\n\
                    ```expect alice\n[[a]]\nid = \"b\"\nseq = {b}\n\n[[a]]\nid = \"a\"\nseq = {a}\n```\n\
                    ```tcp alice\n[[a]]\nseq = {a}\n```\n```expect alice\n[[x]]\nseq = {b}\n```\n";
    let script = [
        ("[[m]]\nid = \"a\"\n\n", ""),
        ("[[m]]\nid = \"b\"\n\n", "[[a]]\nid = \"a\"\nseq = 1\n[[a]]\nid = \"b\"\nseq = 2\n\n"),
        ("[[a]]\nseq = 1\n\n", "[[x]]\nseq = 2\n\n"),
    ];
    assert_eq!(play(document, &script, false).await, Ok(Ran { sent: 3, received: 3, calls: 0 }));
}

#[tokio::test]
async fn raw_bytes_are_counted_and_counted_answers_read() {
    let document =
        "```raw alice\n#{n}\n[[m]]\n#0\n```\n```expect alice\n[[a]]\nx = 1\n```\n```expect alice\n\n```\n";
    let script = [("#6\n[[m]]\n#0\n", "#12\n[[a]]\nx = 1\n#0\n")];
    assert_eq!(play(document, &script, false).await, Ok(Ran { sent: 1, received: 2, calls: 0 }));
}

#[tokio::test]
async fn what_differs_is_told_with_its_line() {
    let document = "words\n```tcp alice\n[[m]]\n```\n```expect alice\n[[a]]\nid = \"a\"\n```\n";
    for (reply, reason) in [
        ("[[a]]\nid = \"b\"\n\n", "expected \"a\", found \"b\""),
        ("[[a]]\nid = \"a\"\nseq = 1\n\n", "expected no such key"),
        ("[[rr]]\nid = \"a\"\n\n", "rr"),
        ("\n", "a heartbeat"),
        ("id = \n\n", "expected TOML"),
    ] {
        let mistake = play(document, &[("[[m]]\n\n", reply)], false).await.unwrap_err();
        assert_eq!(mistake.line, 5);
        assert!(mistake.reason.contains(reason), "{reason:?} in {mistake}");
    }
}

#[tokio::test]
async fn what_the_document_does_not_show_is_a_mistake_at_the_end() {
    let document = "```tcp alice\n[[m]]\n```\n```expect alice\n[[a]]\n```\n";
    let script = [("[[m]]\n\n", "[[a]]\n\n[[surprise]]\n\n")];
    assert!(play(document, &script, false).await.unwrap_err().reason.contains("surprise"));
    let script = [("[[m]]\n\n", "[[a]]\n\n")];
    assert!(play(document, &script, true).await.is_err(), "closed without the document saying so");
    let closed = format!("{document}```closed alice\n```\n");
    assert!(play(&closed, &script, true).await.is_ok());
}

#[tokio::test]
async fn a_receipt_may_come_again_and_an_answer_may_not() {
    let document = "```tcp alice\n[[m]]\n```\n```expect alice\n[[a]]\nlvl = \"LVL\"\n```\n";
    for (level, fits) in [("read", true), ("delivered", true), ("stored", false)] {
        let reply = format!("[[a]]\nlvl = \"{level}\"\n\n").repeat(2);
        let result = play(&document.replace("LVL", level), &[("[[m]]\n\n", &reply)], false).await;
        assert_eq!(result.is_ok(), fits, "{level}: {result:?}");
    }
}

#[test]
fn calls_are_read_as_words() {
    assert_eq!(words("POST /user name=\"Big Bob\"  x=1").unwrap(), ["POST", "/user", "name=Big Bob", "x=1"]);
    assert!(words("a \"b").is_err());
    let names = Names::default();
    for wrong in ["GET", "POST /x pair", "GET /x\nX-Other: 1", "GET /{who}"] {
        assert!(http("http://x", &names, wrong).is_err(), "{wrong}");
    }
}
