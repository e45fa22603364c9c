//! A browser's way of having a token without its scripts ever seeing it: the cookie `im_session`, set by a login that asks
//! for it with the header `IM-Session: cookie`, and good only beside that header.
//!
//! The header is the guard against cross-site calls: a page elsewhere cannot send it without asking first, and is not
//! answered. `SameSite=Strict` and the `Origin` stand before it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use shared::{
    command::{Call, Code},
    rpc::HttpReply,
};
use toml::Value;

use super::{backend::Failure, input, origin::Origins};

/// The cookie's name.
pub const NAME: &str = "im_session";
/// The header that says that a call is made with it.
pub const HEADER: HeaderName = HeaderName::from_static("im-session");
/// How long a browser keeps it: as long as a device is remembered that is not seen.
const SECONDS: u32 = 30 * 24 * 3600;

/// A call made in this way.
#[derive(Debug, Clone, Copy)]
pub struct ByCookie {
    /// The browser came over an encrypted connection, so that it may keep the cookie to such.
    pub secure: bool,
}

impl ByCookie {
    /// Whether the caller asks for it.
    ///
    /// # Errors
    /// 400 for another value of the header, 403 for an origin that is not ours.
    pub fn of(headers: &HeaderMap, origins: &Origins, secure: bool) -> Result<Option<Self>, Failure> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        if value != "cookie" {
            let found = input::shown(&String::from_utf8_lossy(value.as_bytes()));
            return Err(Failure::invalid(format!("expected the header IM-Session as cookie, found {found}")));
        }
        origins.check(headers)?;
        Ok(Some(Self { secure }))
    }

    /// What the browser is to do with its cookie after this answer. A login's token goes into the cookie and out of
    /// `reply`.
    pub fn after(self, call: &Call, reply: &mut HttpReply) -> Option<HeaderValue> {
        if reply.status == StatusCode::UNAUTHORIZED && code(reply) == Some(Code::Token.as_str()) {
            return Some(self.clear());
        }
        if reply.status != StatusCode::OK {
            return None;
        }
        match call.name {
            "account.login" => self.set(&take_token(reply)?),
            "api.logout" => Some(self.clear()),
            _ => None,
        }
    }

    fn set(self, token: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{NAME}={token}; {}; Max-Age={SECONDS}", self.attributes())).ok()
    }

    fn clear(self) -> HeaderValue {
        let secure =
            HeaderValue::from_static("im_session=; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=0");
        let plain = HeaderValue::from_static("im_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
        if self.secure { secure } else { plain }
    }

    fn attributes(self) -> &'static str {
        if self.secure {
            "Path=/; HttpOnly; SameSite=Strict; Secure"
        } else {
            "Path=/; HttpOnly; SameSite=Strict"
        }
    }
}

fn first<'a>(reply: &'a mut HttpReply, key: &str) -> Option<&'a mut Value> {
    reply.body.get_mut("response")?.as_array_mut()?.first_mut()?.get_mut(key)
}

fn code(reply: &HttpReply) -> Option<&str> {
    reply.body.get("response")?.get(0)?.get("code")?.as_str()
}

fn take_token(reply: &mut HttpReply) -> Option<String> {
    match first(reply, "user")?.as_table_mut()?.remove("token")? {
        Value::String(token) => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use shared::command::call;

    use super::*;

    const WAY: ByCookie = ByCookie { secure: false };

    fn reply(status: u16, body: &str) -> HttpReply {
        HttpReply { status, retry_after: None, body: toml::from_str(body).unwrap() }
    }

    #[test]
    fn a_logins_token_goes_into_the_cookie_and_nowhere_else() {
        let body = "[[response]]\nstatus = 0\n[response.user]\nid = 1\ntoken = \"ry+/=\"\n";
        let mut answered = reply(200, body);
        let cookie = WAY.after(call("account.login").unwrap(), &mut answered).unwrap();
        assert_eq!(cookie, "im_session=ry+/=; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
        assert_eq!(answered, reply(200, "[[response]]\nstatus = 0\n[response.user]\nid = 1\n"));
        let secure = ByCookie { secure: true }.after(call("account.login").unwrap(), &mut reply(200, body));
        assert!(secure.unwrap().to_str().unwrap().contains("; Secure"), "over TLS");
    }

    #[test]
    fn a_logout_and_a_token_that_is_no_more_clear_it() {
        let cleared = "im_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
        let done = &mut reply(200, "[[response]]\nstatus = 0\n");
        assert_eq!(WAY.after(call("api.logout").unwrap(), done).unwrap(), cleared);
        let gone = &mut reply(401, "[[response]]\nstatus = 1\ncode = \"token\"\n");
        assert_eq!(WAY.after(call("api.groups").unwrap(), gone).unwrap(), cleared);
        for (name, status, body) in [
            ("api.groups", 200, "[[response]]\nstatus = 0\n"),
            ("account.login", 401, "[[response]]\nstatus = 1\ncode = \"credentials\"\n"),
            ("api.logout", 503, "[[response]]\nstatus = 1\ncode = \"unavailable\"\n"),
        ] {
            assert_eq!(WAY.after(call(name).unwrap(), &mut reply(status, body)), None, "{name}");
        }
    }
}
