//! Frames read by hand mean what the `toml` crate makes of them, and what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    ids::{Device, NodeId, SessionNo, UserId},
    message::{
        Accepted, Body, Entry, Sender,
        accepted::{decode, encode},
        parse::{Limits, parse},
    },
};

/// A comment after a whole document changes nothing, but the fast path leaves it to the `toml` crate.
fn commented(frame: &[u8]) -> Vec<u8> {
    [frame, b"\n# slow\n"].concat()
}

fuzz_target!(|frame: &[u8]| {
    let limits = Limits { text: 1024, entries: 8, members: 8 };
    if let Ok(entries) = parse(frame, &limits) {
        assert_eq!(Ok(&entries), parse(&commented(frame), &limits).as_ref());
        let from = Sender {
            user: UserId(1),
            device: Device::new("ipad").expect("a device"),
            session: SessionNo(1),
            node: NodeId::new("e1").expect("a node"),
        };
        for entry in entries {
            let what = match entry {
                Entry::Message(message) => Body::Message(message),
                Entry::Request(request) => Body::Request(request),
                Entry::Login(_) | Entry::Ack(_) => continue,
            };
            let accepted = Accepted { from: from.clone(), ts: 1, nonce: None, what };
            let mut out = Vec::new();
            encode(&accepted, &mut out);
            assert_eq!(decode(&out).expect("what was encoded"), accepted);
        }
    }
    if let Ok(accepted) = decode(frame) {
        assert_eq!(decode(&commented(frame)).expect("the same with a comment"), accepted);
        let mut out = Vec::new();
        encode(&accepted, &mut out);
        assert_eq!(decode(&out).expect("what was encoded"), accepted);
    }
});
