//! Framing: what each form is, and that no split of the bytes changes it.
use super::*;

fn all(decoder: &mut Decoder) -> Vec<Frame> {
    std::iter::from_fn(|| decoder.next().unwrap()).collect()
}

#[test]
fn three_forms_on_one_stream() {
    let mut decoder = Decoder::new(64);
    decoder.feed(b"#5\nab\ncd#0\n[[m]]\nid = 1\n\n[[m]] id = 1 [m.to] id = 3\n\n\r\n");
    let toml = |text: &'static str| Frame::Toml(text.into());
    assert_eq!(
        all(&mut decoder),
        [
            toml("ab\ncd"),
            Frame::Heartbeat,
            toml("[[m]]\nid = 1\n"),
            toml("[[m]]\nid = 1\n[m.to]\nid = 3\n"),
            Frame::Heartbeat,
            Frame::Heartbeat,
        ]
    );
    assert_eq!(decoder.form(), Some(Form::Counted));
    assert!(!decoder.mid_frame());
}
