//! A delivery as one line: for people, and as JSON for programs.

use serde_json::{Map, Value, json};
use shared::{
    client::{Delivery, DeliveryKind},
    ids::{Conversation, UserId},
};
use toml::Table;

use super::{clean, clock::Clock};

/// One JSON object, without a line end.
///
/// | key | value |
/// |---|---|
/// | `kind` | `m` to a user, `gm` to a group, `r` a request |
/// | `conversation`, `seq` | its place: the two name it for ever |
/// | `id`, `from`, `device`, `own` | the sender's own id, the sender, on which device, whether that is this user |
/// | `to` or `group` | whom it was for |
/// | `ts` | when it was accepted, Unix seconds |
/// | `text` | what a message says |
/// | `request` | a request's `t` and its other keys |
pub fn json(delivery: &Delivery, me: UserId) -> String {
    let kind = match delivery.kind {
        DeliveryKind::Message => "m",
        DeliveryKind::GroupMessage => "gm",
        DeliveryKind::Request => "r",
    };
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    set("kind", json!(kind));
    set("conversation", json!(delivery.conversation.to_string()));
    set("seq", json!(delivery.seq.0));
    set("id", json!(delivery.id.as_str()));
    set("from", json!(delivery.from.0));
    set("device", json!(delivery.device.as_ref().map(|device| device.as_str())));
    set("own", json!(delivery.from == me));
    match delivery.conversation {
        Conversation::Group(group) => set("group", json!(group.0)),
        talk => set("to", json!(talk.peer(delivery.from).unwrap_or(me).0)),
    }
    set("ts", json!(delivery.ts));
    if let Some(text) = delivery.text() {
        set("text", json!(text));
    }
    if let Some((_, table)) = delivery.request() {
        set("request", own_keys(table));
    }
    Value::Object(object).to_string()
}

/// A request's keys without those that every delivery has.
fn own_keys(table: &Table) -> Value {
    const EVERY: [&str; 6] = ["id", "seq", "ts", "from", "to", "group"];
    let own = table.iter().filter(|(key, _)| !EVERY.contains(&key.as_str()));
    Value::Object(own.map(|(key, value)| (key.clone(), json!(value))).collect())
}

/// One line for people: when, where (a group's), who, what.
pub fn plain(delivery: &Delivery, me: UserId, name: &str, clock: &Clock) -> String {
    let who = if delivery.from == me { "me".to_owned() } else { clean::line(name) };
    let place = match (delivery.conversation, delivery.from == me) {
        (Conversation::Group(group), _) => format!(" [group:{group}]"),
        (talk, true) => format!(" [to id:{}]", talk.peer(me).unwrap_or(me)),
        (_, false) => String::new(),
    };
    let what = match (delivery.text(), delivery.request()) {
        (Some(text), _) => clean::line(text),
        (None, Some((name, table))) => {
            let own: Vec<String> = table
                .iter()
                .filter(|(key, _)| {
                    ["message", "name", "members", "group_id", "member_id"].contains(&key.as_str())
                })
                .map(|(key, value)| format!("{key} = {value}"))
                .collect();
            clean::line(format!("* {} {}", name.as_str(), own.join(" ")).trim_end())
        }
        (None, None) => String::new(),
    };
    format!("{}{place} {who}: {what}", clock.full(delivery.ts))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shared::{
        client::Content,
        command::RequestName,
        ids::{Device, GroupId, MessageId, Seq},
    };

    use super::*;

    fn message(from: i64, conversation: Conversation, text: &str) -> Delivery {
        Delivery {
            kind: match conversation {
                Conversation::Group(_) => DeliveryKind::GroupMessage,
                Conversation::Direct(..) => DeliveryKind::Message,
            },
            conversation,
            seq: Seq(17),
            from: UserId(from),
            device: Some(Device::new("ipad").unwrap()),
            id: MessageId::new("a_02").unwrap(),
            ts: 1_444_719_450,
            content: Content::Text(text.to_owned()),
            raw: Bytes::new(),
        }
    }

    #[test]
    fn json_has_what_a_script_needs() {
        let (me, talk) = (UserId(3), Conversation::direct(UserId(1), UserId(3)));
        assert_eq!(
            json(&message(1, talk, "two\nlines \x1b[2J"), me),
            r#"{"conversation":"dm:1:3","device":"ipad","from":1,"id":"a_02","kind":"m","own":false,"seq":17,"text":"two\nlines \u001b[2J","to":3,"ts":1444719450}"#
        );
        let own: Value =
            serde_json::from_str(&json(&message(3, Conversation::Group(GroupId(9)), "x"), me)).unwrap();
        assert_eq!((&own["own"], &own["group"], &own["to"]), (&json!(true), &json!(9), &Value::Null));
    }

    #[test]
    fn requests_are_told_too() {
        let table = "id = \"a_13\"\nt = \"add_contact\"\nto = 3\nmessage = \"it's\\nme\"\nts = 5\nseq = 7\n[from]\nid = 1\n";
        let delivery = Delivery {
            kind: DeliveryKind::Request,
            content: Content::Request { name: RequestName::AddContact, table: table.parse().unwrap() },
            ..message(1, Conversation::direct(UserId(1), UserId(3)), "")
        };
        let value: Value = serde_json::from_str(&json(&delivery, UserId(3))).unwrap();
        assert_eq!(value["request"], json!({ "t": "add_contact", "message": "it's\nme" }));
        let plain = plain(&delivery, UserId(3), "Alice\x1b[2J", &Clock::utc());
        assert!(plain.starts_with("2015-10-13 06:57:30 Alice␛[2J: * add_contact message = "), "{plain}");
        assert!(!plain.contains(char::is_control), "{plain:?}");
    }

    #[test]
    fn a_line_says_where() {
        let (me, clock) = (UserId(3), Clock::utc());
        let talk = Conversation::direct(UserId(1), UserId(3));
        let tell = |delivery: &Delivery| plain(delivery, me, "Alice", &clock)[20..].to_owned();
        assert_eq!(tell(&message(1, talk, "two\nlines")), "Alice: two␤lines");
        assert_eq!(tell(&message(3, talk, "hi")), "[to id:1] me: hi");
        assert_eq!(tell(&message(1, Conversation::Group(GroupId(9)), "hi")), "[group:9] Alice: hi");
    }
}
