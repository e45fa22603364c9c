//! Framing: what each form is, where it ends, and that no split of the bytes changes it.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::message::samples;

const LIMIT: usize = 256;

/// What a decoder gives for these chunks: every frame, and the error that ended it.
fn decoded<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> (Vec<Frame>, Option<FrameError>) {
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

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (frames, error) = decoded([bytes], LIMIT);
    assert_eq!(error, None);
    frames
}

fn error(bytes: &[u8]) -> FrameError {
    decoded([bytes], LIMIT).1.expect("an error")
}

fn toml(text: &str) -> Frame {
    Frame::Toml(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn three_forms_on_one_stream() {
    let bytes =
        b"#5\nab\ncd#0\n[[m]]\nid = 1\n\n[[m]] id = 1 [m.to] id = 3\n\n\r\n[[m]] # a\r\nid = 2\r\n\r\n";
    assert_eq!(
        frames(bytes),
        [
            toml("ab\ncd"),
            Frame::Heartbeat,
            toml("[[m]]\nid = 1\n"),
            toml("[[m]]\nid = 1\n[m.to]\nid = 3\n"),
            Frame::Heartbeat,
            Frame::Heartbeat,
            toml("[[m]] # a\r\nid = 2\r\n"),
        ]
    );
}

#[test]
fn the_form_is_that_of_the_first_frame() {
    let form = |bytes: &[u8]| {
        let mut decoder = Decoder::new(LIMIT);
        assert_eq!(decoder.form(), None);
        decoder.feed(bytes);
        while let Ok(Some(_)) = decoder.next() {}
        decoder.form()
    };
    assert_eq!(form(b"#1\na\n"), Some(Form::Counted));
    assert_eq!(form(b"#x"), Some(Form::Counted), "so that the error is answered in kind");
    assert_eq!(form(b"\n#1\na"), Some(Form::Text));
    assert_eq!(form(b"[[m]] id = 1\n"), Some(Form::Text));
    assert_eq!(form(b"["), Some(Form::Text));
}

/// Blank lines, `#` and `[[` mean nothing inside a counted frame, and `#` and `[[` nothing inside a text frame.
#[test]
fn a_body_is_not_looked_into() {
    let body = "[[m]]\nc = \"\"\"\n\n#3\n[[m]] id = 1\n\"\"\"\n";
    let bytes = format!("#{}\n{body}#0\n", body.len());
    assert_eq!(frames(bytes.as_bytes()), [toml(body), Frame::Heartbeat]);
    assert_eq!(frames(b"a = 1\n#3\n[[m]] id = 1\n\n"), [toml("a = 1\n#3\n[[m]] id = 1\n")]);
    assert_eq!(
        frames(b"c = '''\n\n'''\n\n"),
        [toml("c = '''\n"), toml("'''\n")],
        "a blank line ends a text frame"
    );
}

#[test]
fn a_one_line_frame_that_cannot_be_read_does_not_end_the_stream() {
    let frames = frames(b"[[m]] id = \"a\n[[m] id = 1\n[[m]] c = \"\xff\"\n[[m]] id = 1\n");
    assert!(matches!(&frames[0], Frame::Bad(reason) if reason.contains("closing quote")), "{frames:?}");
    assert!(matches!(&frames[1], Frame::Bad(reason) if reason.contains("header")), "{frames:?}");
    assert!(matches!(&frames[2], Frame::Bad(reason) if reason.contains("0xff at column 12")), "{frames:?}");
    assert_eq!(frames[3..], [toml("[[m]]\nid = 1\n")]);
}

#[test]
fn a_count_is_decimal_or_the_stream_ends() {
    for (bytes, found) in [
        (&b"#x"[..], "#x"),
        (b"#\n", "#"),
        (b"# 5\n", "# 5"),
        (b"#-5\n", "#-5"),
        (b"#+5\n", "#+5"),
        (b"#5 \n", "#5 "),
        (b"#0x10\n", "#0x10"),
        (b"#111111111111111111111", "#111111111111111111111"),
        (b"#5\r\nhello", "#5\r"),
    ] {
        assert_eq!(error(bytes), FrameError::Count { found: found.to_owned() });
    }
    assert_eq!(frames(b"#00000000000000000002\nab"), [toml("ab")]);
}

#[test]
fn an_error_stays() {
    let mut decoder = Decoder::new(LIMIT);
    decoder.feed(b"#x\n");
    let error = decoder.next().unwrap_err();
    decoder.feed(b"#1\na");
    assert_eq!(decoder.next().unwrap_err(), error);
    assert_eq!(decoder.held(), 0);
}

#[test]
fn a_frame_over_the_limit_is_refused_as_soon_as_it_is_known() {
    let too_long = |found| FrameError::TooLong { limit: LIMIT, found };
    assert_eq!(error(b"#257\n"), too_long(257));
    assert_eq!(error(b"#99999999999999999999\n"), too_long(usize::MAX));
    assert_eq!(error(&[b'a'; LIMIT + 1]), too_long(LIMIT + 1), "before its line ends");
    assert_eq!(error(&b"a\n".repeat(LIMIT / 2 + 1)), too_long(LIMIT + 2), "before its blank line");
    assert_eq!(frames(&[&b"#256\n"[..], &[b'a'; LIMIT]].concat()).len(), 1);
    assert_eq!(frames(&[&b"a\n".repeat(LIMIT / 2)[..], b"\r\n"].concat()).len(), 1);
    let one_line = format!("[[m]] c = '{}'", "a".repeat(LIMIT - 12));
    assert_eq!(frames(format!("{one_line}\r\n").as_bytes()).len(), 1);
    assert!(matches!(error(format!("{one_line} \r\n").as_bytes()), FrameError::TooLong { .. }));
}

#[test]
fn a_connection_that_ends_in_mid_frame_is_told() {
    for (bytes, mid) in [
        (&b""[..], false),
        (b"#", true),
        (b"#2\n", true),
        (b"#2\na", true),
        (b"#2\nab", false),
        (b"#0\n", false),
        (b"a", true),
        (b"a\n", true),
        (b"a\n\n", false),
        (b"\r", true),
        (b"[[m]] a = 1", true),
        (b"[[m]] a = 1\n", false),
    ] {
        let mut decoder = Decoder::new(LIMIT);
        decoder.feed(bytes);
        while decoder.next().unwrap().is_some() {}
        assert_eq!(decoder.mid_frame(), mid, "{bytes:?}");
    }
}

/// A read's memory is not kept for what little of it is left, and none is kept while nothing is under way.
#[test]
fn memory_is_let_go() {
    let mut decoder = Decoder::new(64 * 1024);
    decoder.feed(&b"#5\nhello".repeat(8_000));
    while decoder.next().unwrap().is_some() {}
    assert_eq!(decoder.held(), 0);
    for whole in [&b"#5\nhello"[..], b"#0\n", b"\n", b"a\n\n", b"[[m]] a = 1\n"] {
        decoder.feed(&whole.repeat(5_000));
        decoder.feed(b"#9\nab");
        while decoder.next().unwrap().is_some() {}
        assert!(decoder.held() < 64, "{} bytes", decoder.held());
        decoder.feed(b"cdefghi");
        assert_eq!(decoder.next().unwrap(), Some(toml("abcdefghi")));
        assert_eq!(decoder.next().unwrap(), None);
        assert_eq!(decoder.held(), 0);
    }
}

/// Were each drip to search or move all that came before it, these would take hours.
#[test]
fn drips_and_crowds_cost_what_their_bytes_cost() {
    let mut decoder = Decoder::new(1 << 22);
    for _ in 0..1 << 19 {
        decoder.feed(b"a");
        assert_eq!(decoder.next().unwrap(), None);
    }
    decoder.feed(b"\n\n");
    assert!(matches!(decoder.next().unwrap(), Some(Frame::Toml(frame)) if frame.len() == (1 << 19) + 1));
    let crowd = b"#1\na\n[[m]] a = 1\nb\n\n#0\n".repeat(40_000);
    assert_eq!(decoded([&crowd[..]], 64).0.len(), 200_000);
}

/// simple_im took these in reverse.
#[test]
fn two_frames_in_one_segment_come_out_in_order() {
    let bytes = b"[[m]] id = \"a\"\n[[m]] id = \"b\"\n#12\n[[m]]\nid='c'[[m]]\nid='d'\n\n";
    let expected = ["[[m]]\nid = \"a\"\n", "[[m]]\nid = \"b\"\n", "[[m]]\nid='c'", "[[m]]\nid='d'\n"];
    assert_eq!(frames(bytes), expected.map(toml));
}

/// simple_im died of these.
#[test]
fn a_frame_split_anywhere_is_one_frame() {
    for bytes in [
        &b"#21\n[[a]]\r\nid = \"a_02\"\r\n"[..],
        b"[[m]]\r\nid = \"a\"\r\n\r\n",
        b"[[m]] id = \"a\" to = 3\r\n",
    ] {
        let whole = frames(bytes);
        for cut in 0..=bytes.len() {
            assert_eq!(decoded([&bytes[..cut], &bytes[cut..]], LIMIT), (whole.clone(), None), "cut at {cut}");
        }
    }
}

/// simple_im took one read for one frame, and 1,460 bytes for the longest.
#[test]
fn a_frame_longer_than_a_segment_comes_out_whole() {
    let text = format!("[[m]]\nid = \"a\"\nc = \"{}\"\nto = 3\n", "hello ".repeat(5_000));
    for form in [Form::Counted, Form::Text] {
        let mut bytes = Vec::new();
        write(form, text.as_bytes(), &mut bytes);
        assert_eq!(decoded(bytes.chunks(1_460), 64 * 1024), (vec![toml(&text)], None));
    }
    let one_line = text.trim_end().replace('\n', " ") + "\n";
    assert_eq!(decoded(one_line.as_bytes().chunks(1_460), 64 * 1024), (vec![toml(&text)], None));
}

#[test]
fn a_batch_is_cut_without_copies() {
    let batch = Bytes::from_static(b"#2\nab#0\n#3\ncde");
    let frames = split_counted(&batch).unwrap();
    assert_eq!(frames, [&b"ab"[..], b"", b"cde"]);
    assert_eq!(frames[2].as_ptr(), batch[11..].as_ptr());
    assert!(split_counted(&Bytes::new()).unwrap().is_empty());
    for (wrong, expected) in [
        (&b"#3\nab"[..], FrameError::TooLong { limit: 2, found: 3 }),
        (b"#3", FrameError::Count { found: "#3".to_owned() }),
        (b"#2\nab\n", FrameError::Count { found: "\n".to_owned() }),
        (b"ab", FrameError::Count { found: "ab".to_owned() }),
    ] {
        assert_eq!(split_counted(&Bytes::from_static(wrong)).unwrap_err(), expected);
    }
}

/// One frame as a client may send it, and what comes out.
fn sent() -> impl Strategy<Value = (Vec<u8>, Frame)> {
    let counted = vec(any::<u8>(), 1..40).prop_map(|body| {
        let mut bytes = Vec::new();
        write(Form::Counted, &body, &mut bytes);
        (bytes, Frame::Toml(body.into()))
    });
    let text = vec("[a-z=\"\\[#][ a-z=\"\\[\\]#]{0,9}", 1..4).prop_map(|lines| {
        let body = format!("[[m]]\n{}\n", lines.join("\n"));
        (format!("{body}\n").into_bytes(), toml(&body))
    });
    let one_line = vec("[a-z]{1,3} = [0-9]{1,3}", 1..4).prop_map(|pairs| {
        (format!("[[m]] {}\n", pairs.join(" ")).into_bytes(), toml(&format!("[[m]]\n{}\n", pairs.join("\n"))))
    });
    let heartbeat = proptest::sample::select(vec![&b"#0\n"[..], b"\n", b"\r\n"])
        .prop_map(|bytes| (bytes.to_vec(), Frame::Heartbeat));
    prop_oneof![counted, text, one_line, heartbeat]
}

proptest! {
    #[test]
    fn any_split_decodes_the_same(sent in vec(sent(), 0..6), cuts in samples::cuts()) {
        let (bytes, expected): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let bytes = bytes.concat();
        prop_assert_eq!(decoded(samples::chunks(&bytes, &cuts), LIMIT), (expected, None));
    }

    #[test]
    fn any_split_of_garbage_fails_the_same(
        bytes in vec(proptest::sample::select(b"#0123\n\n\r[m]a=\"\xff ".to_vec()), 0..80),
        cuts in samples::cuts(),
        limit in 1..20usize,
    ) {
        let (whole, one) = decoded([&bytes[..]], limit);
        let (split, other) = decoded(samples::chunks(&bytes, &cuts), limit);
        prop_assert_eq!(whole, split);
        // How much had gathered, or of a wrong count been seen, depends on the split.
        prop_assert_eq!(one.map(|error| std::mem::discriminant(&error)), other.map(|error| std::mem::discriminant(&error)));
    }

    #[test]
    fn what_is_written_is_read_back(lines in vec("[a-z=\" ]{1,20}", 1..9), text in any::<bool>()) {
        let form = if text { Form::Text } else { Form::Counted };
        let body = format!("[[m]]\n{}\n", lines.join("\n"));
        let mut bytes = Vec::new();
        write(form, body.as_bytes(), &mut bytes);
        write_heartbeat(form, &mut bytes);
        prop_assert_eq!(frames(&bytes), [toml(&body), Frame::Heartbeat]);
    }

    #[test]
    fn a_batch_of_any_frames_is_cut_as_it_was_written(bodies in vec(vec(any::<u8>(), 0..20), 0..6), garbage in vec(any::<u8>(), 0..50)) {
        let mut batch = Vec::new();
        bodies.iter().for_each(|body| write(Form::Counted, body, &mut batch));
        prop_assert_eq!(split_counted(&batch.into()).unwrap(), bodies);
        if let Ok(frames) = split_counted(&garbage.clone().into()) {
            prop_assert!(garbage.is_empty() || !frames.is_empty());
        }
    }
}
