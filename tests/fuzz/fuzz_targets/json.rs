//! What is taken as JSON is standard TOML then, and any frame of TOML is JSON whichever way it is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::json::{from_toml, to_toml};

/// What JSON says, whatever the order of its keys.
fn said(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).expect("what was written is JSON")
}

fuzz_target!(|frame: &[u8]| {
    if let Ok(text) = to_toml(frame) {
        let read: Result<toml::Table, _> = toml::from_slice(&text);
        assert!(read.is_ok(), "not TOML: {}", String::from_utf8_lossy(&text));
        said(&from_toml(&text).expect("JSON again"));
    }
    if toml::from_slice::<toml::Table>(frame).is_ok() {
        let quick = from_toml(frame).expect("what is TOML has a form in JSON");
        // A comment changes nothing, but the fast path leaves it to the `toml` crate.
        let slow = from_toml(&[frame, b"\n# slow\n"].concat()).expect("the same with a comment");
        assert_eq!(said(&quick), said(&slow));
    }
});
