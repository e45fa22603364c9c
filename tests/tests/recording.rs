//! The recording of the terminal client in the README is what a real run shows.

#![allow(clippy::unwrap_used, reason = "a test says by a panic that it has failed")]

use tests::{
    harness::System,
    terminal::{Terminal, key::CTRL_N},
};

/// What the README shows between its markers.
fn recorded() -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = std::fs::read_to_string(readme).unwrap_or_else(|error| panic!("{readme}: {error}"));
    let (_, rest) =
        text.split_once("<!-- chat:begin -->\n```text\n").expect("README.md has the recording's begin");
    rest.split_once("```\n<!-- chat:end -->").expect("README.md has the recording's end").0.to_owned()
}

/// With times, days, and addresses as every run has them.
fn told(screen: &str, address: &str) -> String {
    let screen = screen.replace(address, "127.0.0.1:1987");
    screen.lines().map(|line| format!("{}\n", line_told(line).trim_end())).collect()
}

/// A time of day becomes 11:48, a day 2026-11-22.
fn line_told(line: &str) -> String {
    let digits = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(c, like)| if like == b'0' { c.is_ascii_digit() } else { c == like })
    };
    let told = line.split(' ').map(|word| {
        let (line, word) =
            word.split_once('│').map_or(("", word), |(before, after)| (&word[..before.len() + 3], after));
        let word = match word {
            word if digits(word, "00:00") => "11:48",
            word if digits(word, "0000-00-00") => "2026-11-22",
            word => word,
        };
        format!("{line}{word}")
    });
    told.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_recording_of_the_readme_is_what_one_sees() {
    let system = System::start(2, 2).await;
    let [alice, bob, carol] = system.users(["Alice", "Bob", "Carol"]).await;
    let size = (13, 80);
    let mut a = Terminal::chat(&system, &alice, 0, size, &[]).await;
    let mut b = Terminal::chat(&system, &bob, 1, size, &[]).await;
    a.finds(&bob).await;
    a.says("Lunch at twelve?").await;
    b.shows("Alice").await;
    b.types(CTRL_N).await;
    b.shows("Lunch at twelve?").await;
    a.shows("✓✓ read").await;
    b.says("好的，一会儿见 😀 The usual place, or the new one across the river?").await;
    a.shows("across the").await;
    a.says("The new one. I have a table for two.").await;
    a.until("both are read", |screen| screen.matches("✓✓ read").count() == 2).await;
    let mut wire = system.online(&carol, "phone", 0).await;
    let keys = format!("name = \"friends\"\nmembers = [{}]", alice.id);
    let group =
        wire.done("make", "create_group", &keys, "seq = 1\ngroup_id = \"…\"").await["group_id"].as_integer();
    wire.say_group("hi", group.unwrap(), "Who comes along on Sunday?", 2).await;
    a.shows("# friends").await;
    a.types("On my way").await;
    let screen =
        a.until("everything", |screen| screen.contains(" 2 ") && screen.contains("> On my way")).await;
    let address = screen.split("online at ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let found = told(&screen, &address);
    assert!(found == recorded(), "README.md should show\n{found}");
    a.types("\u{15}").await;
    a.leaves().await;
    b.leaves().await;
    system.finish().await;
}
