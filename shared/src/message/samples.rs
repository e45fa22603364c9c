//! What the property tests draw from: every type of frame, and texts that went slightly wrong.
//!
//! The larger strategies are boxed: held by value inside one another they outgrow a test's stack.

use proptest::{collection::vec, option, prelude::*, sample::Index, sample::select};

use super::*;

/// Any text without U+0000, with everything that needs an escape.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z ]{0,12}",
        2 => r#"[ "'\\\n\r\t\[\]#=a\x01\x07\x08\x0c\x1b\x7f\x80é大𝄞]{0,16}"#,
        1 => any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
    .boxed()
}

fn without_controls() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z_0-9]{1,8}", 1 => r#"[ "'\\\[\]#=a\x80é大]{1,9}"#]
        .prop_map(|text| text.replace('\u{80}', "-"))
        .boxed()
}

/// An id that a client gave.
pub(crate) fn id() -> impl Strategy<Value = MessageId> {
    without_controls().prop_map(|text| MessageId::new(&text).unwrap())
}

/// A device's name.
pub(crate) fn device() -> impl Strategy<Value = Device> {
    without_controls().prop_map(|text| Device::new(&text).unwrap())
}

/// 1 and above, small ones mostly.
pub(crate) fn number() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1..30i64, 1 => 1..=i64::MAX, 1 => Just(i64::MAX)]
}

/// A user.
pub(crate) fn user() -> impl Strategy<Value = UserId> {
    number().prop_map(UserId)
}

fn group() -> impl Strategy<Value = GroupId> {
    number().prop_map(GroupId)
}

/// A conversation of either kind.
pub(crate) fn conversation() -> impl Strategy<Value = Conversation> {
    prop_oneof![
        (user(), user()).prop_map(|(one, other)| Conversation::direct(one, other)),
        group().prop_map(Conversation::Group)
    ]
}

fn wanted() -> impl Strategy<Value = WantedAck> {
    select(vec![
        WantedAck::Stored,
        WantedAck::Queued,
        WantedAck::Delivered,
        WantedAck::Read,
        WantedAck::Receipts,
    ])
}

/// A message to a user or a group.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let to = prop_oneof![user().prop_map(Target::User), group().prop_map(Target::Group)];
    (id(), to, text(), wanted()).prop_map(|(id, to, content, ack)| Message { id, to, content, ack })
}

/// Everything that a worker decides.
pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    let members = vec(user(), 0..4).prop_map(|users| {
        let mut once = Vec::new();
        users.into_iter().for_each(|user| {
            if !once.contains(&user) {
                once.push(user)
            }
        });
        once
    });
    let name = text().prop_filter("a group has a name", |name| !name.is_empty());
    prop_oneof![
        (user(), text()).prop_map(|(to, message)| Ask::AddContact { to, message }),
        user().prop_map(|to| Ask::AcceptContact { to }),
        user().prop_map(|to| Ask::DeclineContact { to }),
        user().prop_map(|to| Ask::DeleteContact { to }),
        user().prop_map(|to| Ask::Block { to }),
        user().prop_map(|to| Ask::Unblock { to }),
        (name, members).prop_map(|(name, members)| Ask::CreateGroup { name, members }),
        (group(), user()).prop_map(|(group, member)| Ask::CreateGroupMember { group, member }),
        (group(), option::of(user())).prop_map(|(group, member)| Ask::DeleteGroupMember { group, member }),
        group().prop_map(|group| Ask::DeleteGroup { group }),
    ]
    .boxed()
}

/// A frame on the broker.
pub(crate) fn accepted() -> impl Strategy<Value = Accepted> {
    let node = "[a-z0-9_-]{1,12}".prop_map(|text| NodeId::new(&text).unwrap());
    let from = (user(), device(), number(), node);
    let what = prop_oneof![
        3 => message().prop_map(Body::Message),
        1 => (id(), ask()).prop_map(|(id, what)| Body::Request(Request { id, what })),
    ];
    let ts = prop_oneof![4 => 1_400_000_000..1_800_000_000i64, 1 => any::<i64>()];
    (from, ts, option::of(any::<u64>()), what)
        .prop_map(|((user, device, session, node), ts, nonce, what)| Accepted {
            from: Sender { user, device, session: SessionNo(session), node },
            ts,
            nonce,
            what,
        })
        .boxed()
}

/// A row of `messages`.
pub(crate) fn stored() -> impl Strategy<Value = Stored> {
    let what = prop_oneof![
        (text(), wanted()).prop_map(|(content, ack)| StoredBody::Text { content, ack }),
        (ask(), option::of(group()), option::of(0..99i64))
            .prop_map(|(what, group, contact_version)| StoredBody::Request { what, group, contact_version }),
    ];
    (conversation(), number(), any::<bool>(), device(), id(), 0..2_000_000_000i64, what)
        .prop_map(|(conversation, seq, low, device, id, ts, what)| {
            let sender = match conversation {
                Conversation::Direct(user, other) => {
                    if low {
                        user
                    } else {
                        other
                    }
                }
                Conversation::Group(group) => UserId(group.0),
            };
            Stored { conversation, seq: Seq(seq), sender, device, id, ts, what }
        })
        .boxed()
}

/// One thing that goes wrong with a text.
#[derive(Debug, Clone)]
pub(crate) enum Slip {
    Insert(Index, &'static str),
    Cut(Index, usize),
    RepeatLine(Index, Index),
    MoveLine(Index, Index),
}

/// A few slips.
pub(crate) fn slips() -> impl Strategy<Value = Vec<Slip>> {
    let token = select(vec![
        "\"",
        "\\",
        "\n",
        "\r",
        "\r\n",
        " ",
        "\t",
        "#",
        "=",
        "[",
        "]",
        ".",
        ",",
        "'",
        "0",
        "1",
        "-",
        "+",
        "_",
        "é",
        "\0",
        "\\u0041",
        "\\n",
        "\\\"",
        "\\e",
        "\u{7f}",
        "\u{feff}",
        "\"\"\"",
        "id = 3\n",
        "id=\"z\"\n",
        "to = 3\n",
        "c = \"x\"\n",
        "seq = 4\n",
        "group = 9\n",
        "lvl = \"read\"\n",
        "ack = \"queued\"\n",
        "nonce = 5\n",
        "other = 1\n",
        "[m.to]\n",
        "[m.from]\n",
        "[a.from]\n",
        "[a.to]\n",
        "[[m]]\n",
        "[[gm]]\n",
        "[[a]]\n",
        "[[r]]\n",
        "[m]\n",
        "# hi\n",
        "true",
        "{}",
        "9999999999999999999",
    ]);
    let slip = prop_oneof![
        3 => (any::<Index>(), token).prop_map(|(at, token)| Slip::Insert(at, token)),
        2 => (any::<Index>(), 1..6usize).prop_map(|(at, length)| Slip::Cut(at, length)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Slip::RepeatLine(from, to)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Slip::MoveLine(from, to)),
    ];
    vec(slip, 0..4)
}

/// The text after these slips.
pub(crate) fn slipped(text: &str, slips: &[Slip]) -> String {
    let mut text = text.to_owned();
    for slip in slips {
        let place = |at: &Index| {
            let places: Vec<_> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            *at.get(&places)
        };
        match slip {
            Slip::Insert(at, token) => {
                let at = place(at);
                text.insert_str(at, token);
            }
            Slip::Cut(at, length) => {
                let start = place(at);
                text = text[..start].chars().chain(text[start..].chars().skip(*length)).collect();
            }
            Slip::RepeatLine(from, to) | Slip::MoveLine(from, to) => {
                let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
                if lines.is_empty() {
                    continue;
                }
                let from = from.index(lines.len());
                let line =
                    if matches!(slip, Slip::MoveLine(..)) { lines.remove(from) } else { lines[from].clone() };
                lines.insert(to.index(lines.len() + 1), line);
                text = lines.concat();
            }
        }
    }
    text
}

/// Where to cut a stream into chunks.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..8)
}

/// The chunks between these cuts.
pub(crate) fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> =
        cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}
