//! What has to be right before a connection changes from HTTP to WebSocket (RFC 6455, section 4.2).

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
            SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
    response::Response,
};
use shared::{command::Code, ids::TokenDigest};
use tungstenite::handshake::derive_accept_key;

use crate::{
    http::{backend::Failure, origin::Origins, token},
    session::dialect::Dialect,
};

/// The subprotocol whose frames are JSON.
pub const JSON: &str = "simple-im.json";

/// A request that may be upgraded.
#[derive(Debug)]
pub struct Shaken {
    accept: HeaderValue,
    /// What its messages are written in.
    pub dialect: Dialect,
    /// The token of the browser's cookie.
    pub token: Option<TokenDigest>,
}

/// Checks a request.
///
/// # Errors
/// 426 for what asks for no WebSocket, 400 for one that asks wrongly, 403 for a page that is not ours.
pub fn check(request: &Request, origins: &Origins) -> Result<Shaken, Failure> {
    let headers = request.headers();
    if !has(headers, &CONNECTION, "upgrade") || !has(headers, &UPGRADE, "websocket") {
        return Err(no_upgrade());
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let reason = "expected Sec-WebSocket-Version 13, found another or none";
        return Err(Failure::new(Code::Invalid, reason).with_status(StatusCode::UPGRADE_REQUIRED));
    }
    let accept = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let accept = accept.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return Err(Failure::malformed("expected Sec-WebSocket-Key of 24 characters, found another or none"));
    };
    origins.check(headers)?;
    let json = list(headers, &SEC_WEBSOCKET_PROTOCOL).any(|protocol| protocol == JSON);
    let dialect = if json { Dialect::Json } else { Dialect::Standard };
    // One that is none is the login's to refuse: a page cannot read the status of a refused upgrade.
    let token = token::session(headers).ok().flatten();
    Ok(Shaken { accept, dialect, token })
}

impl Shaken {
    /// 101.
    pub fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if self.dialect == Dialect::Json {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(JSON));
        }
        response
    }
}

/// 426.
pub fn no_upgrade() -> Failure {
    let reason = "expected a request to upgrade to websocket, found none";
    Failure::new(Code::Invalid, reason).with_status(StatusCode::UPGRADE_REQUIRED)
}

/// What a 426 has to say.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    list(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}
