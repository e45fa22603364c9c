//! Messages to one who need not be there, and what waits for them over HTTP.

use crate::{
    harness::System,
    people::{User, delivered},
    web::Reply,
    wire::Wire,
};

/// Sends `c = "number n"` for each n, from seq n on, to one who need not be there.
pub async fn send_numbered(wire: &mut Wire, to: &User, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        wire.say(&format!("m{n}"), to, &format!("number {n}"), n).await;
    }
}

/// What [`send_numbered`]'s message is delivered as.
pub fn numbered(n: i64, to: &User, from: &User) -> String {
    delivered(&format!("m{n}"), &format!("number {n}"), n, to, from, "phone")
}

/// `GET /offline`, which must succeed.
pub async fn offline(system: &System, token: &str, query: &str, edge: usize) -> Reply {
    let reply = system.call(edge, "GET", &format!("/offline{query}")).token(token).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply
}

/// The ids of an answer's messages, in its order.
pub fn ids(reply: &Reply) -> Vec<String> {
    reply.entries("m").iter().map(|m| m["id"].as_str().expect("an id is a text").to_owned()).collect()
}
