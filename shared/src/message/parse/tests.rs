//! Client frames, good and bad.
use super::*;

#[test]
fn a_message() {
    let entries = parse(b"[[m]]\nid=\"a_02\"\nc=\"hello\"\nto=2\n", &Limits::default()).unwrap();
    assert!(matches!(&entries[..], [Entry::Message(message)] if message.content == "hello"));
    let refusal = parse(b"[[m]]\nid=\"a_02\"\nc=\"hello\"\nto=\"x\"\n", &Limits::default()).unwrap_err();
    assert_eq!(
        refusal.reason,
        "expected `to` as a whole number of 1 or more, or [m.to] id; found string \"x\""
    );
}
