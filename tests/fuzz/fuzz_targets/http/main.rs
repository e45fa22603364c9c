//! Whatever a request says, the API answers it: no panic, a bounded answer that says what was expected, no secret in it,
//! and what reaches a worker says the same in every spelling.
//!
//! | module | holds |
//! |---|---|
//! | [`plain`] | an input as a request, written as people write one |
//! | [`api`] | the edge's router with a fake in place of the workers |
//! | [`answer`] | what must hold of every answer |
//! | [`again`] | a call that was understood, asked again in every spelling |
//! | [`secret`] | passwords and tokens in the worst surroundings |
#![no_main]

mod again;
mod answer;
mod api;
mod plain;
mod secret;

use std::net::SocketAddr;

use axum::http::HeaderValue;
use edge::http::{body, peer::Proxies};
use libfuzzer_sys::{Corpus, fuzz_target};

use crate::{api::Api, plain::Plain};

/// The bodies that are taken at first, so short that the fuzzer soon finds longer ones.
const SHORT: usize = 512;

struct Apis {
    short: Api,
    wide: Api,
}

thread_local! {
    static APIS: Apis = Apis { short: Api::new(SHORT), wide: Api::new(65_536) };
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some(request) = Plain::read(input) else { return Corpus::Reject };
    APIS.with(|Apis { short, wide }| {
        let seen = short.ask(&request);
        answer::check(&request, &seen);
        answer::is_the_same_as_json(short, &request, &seen);
        match &seen.asked {
            Some((name, asked)) => {
                assert!(request.body.len() <= SHORT, "a body of {} bytes was taken", request.body.len());
                again::check(wide, &request, name, asked);
            }
            None if request.body.len() > SHORT && wide.ask(&request).asked.is_some() => {
                assert_eq!(seen.status, 413, "only the body's length was wrong");
            }
            None => {}
        }
        secret::check(wide, &request);
    });
    callers(&request);
    tables(&request.body);
    Corpus::Keep
});

/// Only a trusted proxy is believed, and only what it wrote itself, the last entry.
fn callers(request: &Plain) {
    let trusted = SocketAddr::from(([10, 0, 0, 7], 1));
    let proxies = Proxies::parse("10.0.0.0/8").expect("a network");
    let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
    assert_eq!(proxies.caller(stranger, &request.headers), stranger.ip());
    let mut headers = request.headers.clone();
    let before = headers.get_all("x-forwarded-for").iter().next_back();
    let before = before.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    for last in ["203.0.113.9".to_owned(), format!("{before}, 203.0.113.9")] {
        headers.append("x-forwarded-for", HeaderValue::from_str(&last).expect("a header"));
        assert_eq!(proxies.caller(trusted, &headers).to_string(), "203.0.113.9");
    }
    if let Ok(setting) = std::str::from_utf8(&request.body) {
        Proxies::parse(setting);
    }
}

/// A table that was read can be written, without blank lines, and reads back.
fn tables(bytes: &[u8]) {
    let Some(table) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<toml::Table>().ok())
    else {
        return;
    };
    let text = body::to_toml(&table);
    assert!(text.lines().all(|line| !line.is_empty()), "{text}");
    let read = toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    // A table with NaN in it does not even equal itself.
    #[expect(clippy::eq_op, reason = "so that is found out")]
    let comparable = table == table;
    assert!(!comparable || read == table, "{read:?} is not {table:?}");
}
