//! Framing and parsing of what clients send. `.toml`: with a number that only the `toml` crate reads.

use shared::{
    dialect,
    frame::{self, Decoder, Form, Frame},
    message::parse::{Limits, parse},
};

use crate::{
    counting::Counting,
    samples::{ALL, client_ack, client_message, traffic},
};

/// What the decoder is fed at a time where much has come.
const READ: usize = 64 * 1024;

/// All of them.
pub fn all(counting: &mut Counting) {
    let limits = Limits::default();
    let messages: Vec<String> = traffic().map(|(from, to, seq)| client_message(from, to, seq)).collect();
    let acks: Vec<String> = traffic().map(|(from, _, seq)| client_ack(from, seq)).collect();
    let loose: Vec<String> = messages.iter().map(|frame| frame.replace("to = ", "to = 0x")).collect();
    let lines: Vec<String> = messages.iter().map(|frame| frame.trim_end().replace('\n', " ")).collect();

    for (name, form) in [("frame.decode.counted", Form::Counted), ("frame.decode.text", Form::Text)] {
        counting.bench(name, ALL, || framed(form, &messages), |bytes| decode(&bytes));
    }
    counting.bench(
        "frame.decode.single",
        ALL,
        || (Decoder::new(READ), messages.iter().map(|one| framed(Form::Counted, [one])).collect()),
        |(mut decoder, reads): (Decoder, Vec<Vec<u8>>)| {
            for read in reads {
                decoder.feed(&read);
                while let Ok(Some(frame)) = decoder.next() {
                    drop(frame);
                }
            }
        },
    );
    for (name, form) in [("frame.write.counted", Form::Counted), ("frame.write.text", Form::Text)] {
        // With room for all: what growing costs goes by where the allocator has room beside.
        let room = 2 * messages.iter().map(String::len).sum::<usize>();
        counting.bench(name, ALL, || Vec::with_capacity(room), |out| written(form, &messages, out));
    }
    counting.bench(
        "dialect.line",
        ALL,
        || (),
        |()| lines.iter().filter(|line| dialect::to_standard(line).is_ok()).count(),
    );

    for (name, frames) in [("parse.message", &messages), ("parse.ack", &acks), ("parse.message.toml", &loose)]
    {
        counting.bench(
            name,
            ALL,
            || (),
            |()| {
                let read = frames.iter().filter(|frame| parse(frame.as_bytes(), &limits).is_ok()).count();
                assert_eq!(read, ALL, "every frame is valid");
            },
        );
    }
}

fn framed<'a>(form: Form, frames: impl IntoIterator<Item = &'a String>) -> Vec<u8> {
    written(form, frames, Vec::new())
}

fn written<'a>(form: Form, frames: impl IntoIterator<Item = &'a String>, mut out: Vec<u8>) -> Vec<u8> {
    frames.into_iter().for_each(|one| frame::write(form, one.as_bytes(), &mut out));
    out
}

/// As many frames as there are, read by the 64 KiB.
fn decode(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::new(READ);
    let mut frames = 0;
    for read in bytes.chunks(READ) {
        decoder.feed(read);
        while let Ok(Some(Frame::Toml(_))) = decoder.next() {
            frames += 1;
        }
    }
    frames
}
