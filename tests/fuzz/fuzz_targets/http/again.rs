//! A call that was understood, asked again in every spelling, is the same call.

use axum::http::{Method, Uri, header::CONTENT_TYPE};
use edge::http::body::to_toml;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::{
    command::{Call, call},
    rpc::HttpCall,
};
use toml::{Table, Value};

use crate::{api::Api, plain::Plain};

const KINDS: [&str; 3] = ["application/x-www-form-urlencoded", "application/toml", "application/json"];

pub fn check(api: &Api, request: &Plain, name: &str, asked: &HttpCall) {
    let call = call(name).expect("a call of the table");
    let path = path(call, asked);
    let in_path = |name: &str| call.path.contains(&format!("{{{name}}}"));
    let rest: Table = asked
        .args
        .iter()
        .filter(|(name, _)| !in_path(name))
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    let json = serde_json::to_string(&rest).expect("strings");
    for (kind, body) in KINDS.into_iter().zip([form(&rest).replace("%20", "+"), to_toml(&rest), json]) {
        same(api, &spelt(request, call, &path, body).with(CONTENT_TYPE.as_str(), kind), name, asked);
    }
    same(api, &spelt(request, call, &format!("{path}?{}", form(&rest)), String::new()), name, asked);
}

#[track_caller]
fn same(api: &Api, request: &Plain, name: &str, asked: &HttpCall) {
    let seen = api.ask(request);
    let found = seen.asked.as_ref().map(|(name, asked)| (*name, asked));
    assert_eq!(
        found,
        Some((name, asked)),
        "{request:?} was answered {}",
        String::from_utf8_lossy(&seen.body)
    );
}

/// The request's headers (its token, its caller), with everything else anew.
fn spelt(request: &Plain, call: &Call, target: &str, body: String) -> Plain {
    let mut headers = request.headers.clone();
    headers.remove(CONTENT_TYPE);
    let method = Method::from_bytes(call.method.as_bytes()).expect("a method");
    Plain { method, uri: Uri::try_from(target).expect("a target"), headers, body: body.into_bytes() }
}

fn path(call: &Call, asked: &HttpCall) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => encoded(&asked.args[name]),
        None => part.to_owned(),
    };
    call.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn form(pairs: &Table) -> String {
    let pair =
        |(name, value): (&String, &Value)| format!("{name}={}", encoded(value.as_str().expect("text")));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
