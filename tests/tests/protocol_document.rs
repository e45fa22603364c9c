//! The protocol document is true: whatever it shows is run, and nothing of the tables is missing from it.

use std::collections::HashSet;

use shared::command::{CALLS, Call, Code, RequestName};
use tests::{
    document::{self, Block, Kind, run::Edges},
    harness::System,
};

const DOCUMENT: &str = include_str!("../../ops/docs/PROTOCOL.md");

fn blocks() -> Vec<Block> {
    document::blocks(DOCUMENT).unwrap_or_else(|mistake| panic!("PROTOCOL.md, {mistake}"))
}

#[tokio::test]
async fn everything_that_the_document_shows_is_so() {
    let blocks = blocks();
    let system = System::start(2, 2).await;
    let ran = match document::run::run(&blocks, &mut Edges(&system)).await {
        Ok(ran) => ran,
        Err(mistake) => panic!("PROTOCOL.md, {mistake}"),
    };
    let answers = blocks.iter().filter(|block| matches!(block.kind, Kind::Response(_))).count();
    assert_eq!(ran.calls, answers, "every call was made");
    system.finish().await;
}

#[test]
fn everything_expected_can_be_read() {
    for block in blocks().iter().filter(|b| matches!(b.kind, Kind::Expect | Kind::Response(_))) {
        for part in block.text.split("\n\n") {
            document::matching::parse(part)
                .unwrap_or_else(|why| panic!("PROTOCOL.md, line {}: {why}", block.line));
        }
    }
}

#[test]
fn every_request_is_shown() {
    let sent: String = blocks()
        .iter()
        .filter(|b| matches!(b.kind, Kind::Tcp | Kind::Raw))
        .map(|b| b.text.as_str())
        .collect();
    for name in RequestName::ALL {
        assert!(sent.contains(&format!("t = \"{name}\"")), "{name} is sent nowhere");
    }
}

#[test]
fn every_call_is_shown_and_listed_with_its_arguments() {
    let blocks = blocks();
    let made: HashSet<&str> = blocks
        .iter()
        .filter(|block| block.kind == Kind::Http)
        .filter_map(|block| CALLS.iter().find(|call| is_made_by(call, &block.text)))
        .map(|call| call.name)
        .collect();
    for call in CALLS {
        assert!(made.contains(call.name), "{} {} is called nowhere", call.method, call.path);
        let start = format!("| `{} {}` |", call.method, call.path);
        let row = DOCUMENT.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{} {} has no row", call.method, call.path));
        for arg in call.args {
            assert!(row.contains(&format!("`{arg}`")), "{arg} is missing: {row}");
        }
    }
}

fn is_made_by(call: &Call, line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (parts, found): (Vec<_>, Vec<_>) =
        (call.path.split('/').collect(), path.split('?').next().unwrap_or_default().split('/').collect());
    method == call.method
        && parts.len() == found.len()
        && parts.iter().zip(found).all(|(part, found)| part.starts_with('{') || *part == found)
}

#[test]
fn every_code_is_listed_with_its_status() {
    for code in Code::ALL {
        let start = format!("| `{code}` |");
        let row = DOCUMENT.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{code} has no row"));
        assert!(row.ends_with(&format!("| {} |", code.http())), "expected {}: {row}", code.http());
    }
}
