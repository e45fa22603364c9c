//! What the original clients send is cut without losing a byte; what is taken of it is TOML, of one entry, and what they are
//! sent in turn can be read as they read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::original::{from_toml, split, to_toml};

fn kept(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

fuzz_target!(|read: &[u8]| {
    let pieces: Vec<&[u8]> = split(read).collect();
    assert_eq!(pieces.iter().flat_map(|piece| kept(piece)).collect::<Vec<_>>(), kept(read));
    for piece in pieces {
        let Ok(text) = to_toml(piece) else { continue };
        let entry: toml::Table = match toml::from_slice(&text) {
            Ok(entry) => entry,
            // That, TOML's own reader finds, and the client is told.
            Err(error) if error.message().contains("duplicate") => continue,
            Err(error) => panic!("not TOML: {error}\n{}", String::from_utf8_lossy(&text)),
        };
        assert_eq!(entry.len(), 1, "one entry");
        let shown = from_toml(&text).expect("what is TOML has their form");
        // A string ends at the next quote; what is between strings holds nothing that they do not know.
        let between: Vec<&[u8]> = shown.split(|byte| *byte == b'"').step_by(2).collect();
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.=[], \n".contains(byte);
        assert!(between.iter().all(|text| text.iter().all(known)), "{}", String::from_utf8_lossy(&shown));
    }
});
