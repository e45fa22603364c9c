//! What is read as a batch of deliveries can be written and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use shared::delivery::{decode, encode};

fuzz_target!(|batch: &[u8]| {
    if let Ok(deliveries) = decode(&Bytes::copy_from_slice(batch)) {
        let mut out = Vec::new();
        deliveries.iter().for_each(|delivery| encode(delivery, &mut out));
        assert_eq!(decode(&out.into()).expect("what was encoded"), deliveries);
    }
});
