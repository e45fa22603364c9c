//! However a stream is split, it gives the same frames and ends the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::frame::{Decoder, Frame, FrameError, split_counted};

fn decoded<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(chunk);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (limit, chunk, bytes) = (usize::from(input.0), usize::from(input.1) + 1, input.2);
    let (whole, error) = decoded(limit, std::iter::once(bytes));
    let (split, other) = decoded(limit, bytes.chunks(chunk));
    assert_eq!(whole, split);
    assert_eq!(
        error.map(|error| std::mem::discriminant(&error)),
        other.map(|error| std::mem::discriminant(&error))
    );

    let batch = bytes::Bytes::copy_from_slice(bytes);
    if let Ok(frames) = split_counted(&batch) {
        assert!(frames.iter().map(|frame| frame.len() + 3).sum::<usize>() <= batch.len());
    }
});
