//! What travels to nodes.
use super::*;

#[test]
fn a_push_is_read_back() {
    let push = Delivery::Push(Push {
        to: vec![UserId(2), UserId(3)],
        conversation: Conversation::direct(UserId(2), UserId(3)),
        seq: Seq(17),
        from: UserId(2),
        id: MessageId::new("a \"02\"").unwrap(),
        skip: Some(SessionNo(4711)),
        receipt: true,
        body: Bytes::from_static(b"[[m]]\nid = \"a\"\n"),
    });
    let mut out = Vec::new();
    encode(&push, &mut out);
    encode(&Delivery::Resync, &mut out);
    assert_eq!(decode(&out.into()).unwrap(), [push, Delivery::Resync]);
}
