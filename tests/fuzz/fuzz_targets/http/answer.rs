//! What must hold of every answer, whatever was asked.

use axum::http::{Method, header::CONTENT_TYPE};
use edge::http::args::VALUE_BYTES;
use shared::{
    command::{Caller, Code, call},
    rpc::{self, HttpCall},
};
use toml::{Table, Value};

use crate::{
    api::{Api, Seen, told},
    plain::Plain,
};

/// The longest answer that refuses something: a sentence, and what it shows of the request cut short.
const REFUSAL_BYTES: usize = 1024;

pub fn check(request: &Plain, seen: &Seen) {
    if let Some((name, asked)) = &seen.asked {
        is_of_the_table(request, name, asked);
        assert_eq!(seen.status, 200);
        assert_eq!(table(seen), told(asked, Value::String("7".to_owned())));
        let sent = rpc::to_vec(asked);
        assert_eq!(&rpc::from_slice::<HttpCall>(&sent).expect("what was written"), asked);
        return;
    }
    // The answer to HEAD has no body.
    if request.method == Method::HEAD && seen.body.is_empty() {
        return;
    }
    assert!(seen.body.len() <= REFUSAL_BYTES, "a refusal of {} bytes", seen.body.len());
    let table = table(seen);
    let response = &table["response"][0];
    if seen.status == 200 {
        assert_eq!((request.uri.path(), response["status"].as_integer()), ("/livez", Some(0)));
        return;
    }
    assert_eq!(response["status"].as_integer(), Some(1));
    let code = response["code"].as_str().and_then(Code::parse).expect("a published code");
    assert!(code.http() == seen.status || (code == Code::Unknown && [404, 405].contains(&seen.status)));
    let reason = response["r"].as_str().expect("a reason");
    assert!(reason.contains("expected") && reason.contains("found"), "{reason}");
}

/// What reaches a worker is what the call table promises.
fn is_of_the_table(request: &Plain, name: &str, asked: &HttpCall) {
    let call = call(name).expect("a call of the table");
    assert_eq!(request.method, call.method);
    let (pattern, path) = (call.path.split('/'), request.uri.path().split('/'));
    assert_eq!(pattern.clone().count(), path.clone().count());
    assert!(pattern.zip(path).all(|(known, found)| known.starts_with('{') || known == found));
    assert_eq!(asked.token.is_some(), call.caller == Caller::Token);
    for (name, value) in &asked.args {
        assert!(call.args.iter().any(|arg| arg.trim_end_matches('!') == name), "an argument {name}");
        assert!(value.len() <= VALUE_BYTES && !value.contains('\0'));
    }
    for required in call.args.iter().filter_map(|arg| arg.strip_suffix('!')) {
        assert!(asked.args.contains_key(required), "no argument {required}");
    }
}

/// Who accepts JSON gets the same tables, and asks the same.
pub fn is_the_same_as_json(api: &Api, request: &Plain, seen: &Seen) {
    let json = api.ask(&request.clone().with("accept", "application/json"));
    assert_eq!((json.status, &json.asked), (seen.status, &seen.asked));
    if !seen.body.is_empty() {
        assert_eq!(table(&json), table(seen));
    }
}

fn table(seen: &Seen) -> Table {
    let text = std::str::from_utf8(&seen.body).expect("UTF-8");
    match seen.headers[CONTENT_TYPE].to_str().expect("a content type") {
        "application/json" => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")),
        "application/toml; charset=utf-8" => {
            assert!(text.lines().all(|line| !line.is_empty()), "{text}");
            toml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
        }
        other => panic!("an answer of type {other}"),
    }
}
