//! The calls.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, RequestBuilder, header};
use serde::Deserialize;
use toml::{Table, Value};

use super::{ApiError, Reply};
use crate::{
    client::{Delivery, incoming},
    config::Secret,
    ids::UserId,
    tls::{self, TlsError, Trust},
};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The API of a system, by one base URL or by several. Clones share their connections. It uses no proxy of the environment.
#[derive(Debug, Clone)]
pub struct Api {
    bases: Arc<[Box<str>]>,
    /// The one that answered last, shared by clones.
    current: Arc<AtomicUsize>,
    http: reqwest::Client,
    tls: Option<tls::Client>,
}

/// What a login gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserId,
    /// What every further call and the TCP login need.
    pub token: Secret,
    /// Where to connect.
    pub node: Node,
}

/// A node's address for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name or address.
    pub server: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.contains(':') && !self.server.starts_with('[') {
            write!(f, "[{}]:{}", self.server, self.port)
        } else {
            write!(f, "{}:{}", self.server, self.port)
        }
    }
}

/// What reporting a failed node gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The node lives after all (`status = 3`).
    Online,
    /// Go there instead.
    Moved(Node),
}

/// A user as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the keys of [[user]]")]
pub struct User {
    pub id: UserId,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub phone: String,
    #[serde(default)]
    pub avatar: String,
    /// 1: no longer a contact.
    #[serde(default)]
    pub deleted: i64,
}

/// What changed among the contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacts {
    /// The version to ask from next time.
    pub version: i64,
    /// New, changed and deleted ones.
    pub users: Vec<User>,
    /// Whether the list goes on: ask again from `version`.
    pub more: bool,
}

/// A page of what waits for this device.
#[derive(Debug, Clone, PartialEq)]
pub struct Offline {
    /// The frames, by kind.
    pub deliveries: Vec<Delivery>,
    /// The page's cursor, for [`Api::clear_offline`]: clears exactly this page. `None` for an empty one.
    pub upto: Option<String>,
    /// The whole answer.
    pub reply: Reply,
}

fn over(tls: Option<&tls::Client>) -> reqwest::Client {
    match super::builder(tls).timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => {
            unreachable!("nothing that is set here can fail, as every test of the API shows: {error}")
        }
    }
}

impl Api {
    /// `base`: `http://host:port`, with or without a slash at its end. A wrong one shows at the first call.
    pub fn new(base: impl AsRef<str>) -> Self {
        Self::any([base])
    }

    /// Several base URLs of one system: a call goes to the one that answered last, and where that cannot be connected to,
    /// to the others in turn. Without a balancer in front a client so outlives the node it began with.
    pub fn any(bases: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self::made(bases, None)
    }

    /// The same for URLs of `https://host:port`, trusting whom `tls` says. [`crate::client::Options::of_login`] takes it
    /// over.
    pub fn any_with_tls(bases: impl IntoIterator<Item = impl AsRef<str>>, tls: tls::Client) -> Self {
        Self::made(bases, Some(tls))
    }

    /// One base URL, over TLS.
    pub fn with_tls(base: impl AsRef<str>, tls: tls::Client) -> Self {
        Self::any_with_tls([base], tls)
    }

    /// [`Api::new`], or, where `base` begins with `https://`, [`Api::with_tls`] with this trust.
    ///
    /// # Errors
    /// The certificates to trust cannot be used.
    pub fn of(base: impl AsRef<str>, trust: &Trust) -> Result<Self, TlsError> {
        Ok(match base.as_ref().starts_with("https://") {
            true => Self::with_tls(base, tls::Client::new(trust)?),
            false => Self::new(base),
        })
    }

    fn made(bases: impl IntoIterator<Item = impl AsRef<str>>, tls: Option<tls::Client>) -> Self {
        let bases = bases.into_iter().map(|base| base.as_ref().trim_end_matches('/').into()).collect();
        Self { bases, current: Arc::default(), http: over(tls.as_ref()), tls }
    }

    /// Whom it trusts, where it speaks TLS.
    pub fn tls(&self) -> Option<&tls::Client> {
        self.tls.as_ref()
    }

    /// The base URL that answered last, without a slash at its end.
    pub fn base(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed);
        self.bases.get(current).map_or("", |base| base)
    }

    /// Any call: `args` go into the query for GET and DELETE and into the form otherwise.
    ///
    /// # Errors
    /// Only [`ApiError::Network`] and [`ApiError::Untrusted`]; a refusal is a reply as well.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        args: &[(&str, &str)],
    ) -> Result<Reply, ApiError> {
        // Something that is no method is sent as it stands, for the server to refuse.
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let first = self.current.load(Ordering::Relaxed);
        let mut tried = 1;
        loop {
            let at = (first + tried - 1) % self.bases.len().max(1);
            let base = self.bases.get(at).map_or("", |base| base);
            let request = self.http.request(method.clone(), format!("{base}{path}"));
            let request = match method {
                _ if args.is_empty() => request,
                Method::GET | Method::DELETE | Method::HEAD => request.query(args),
                _ => request.form(args),
            };
            match self.send(request, token).await {
                // Nothing was sent there: asking another one repeats nothing.
                Err(ApiError::Network { source }) if source.is_connect() && tried < self.bases.len() => {
                    tried += 1
                }
                answer => {
                    self.current.store(at, Ordering::Relaxed);
                    return answer.map_err(|error| self.named(base, error));
                }
            }
        }
    }

    /// A failed handshake by its reason, where that is the certificate.
    fn named(&self, base: &str, error: ApiError) -> ApiError {
        let untrusted = match (&self.tls, &error) {
            (Some(tls), ApiError::Network { source }) => tls.untrusted(base, source),
            _ => None,
        };
        untrusted.map_or(error, ApiError::Untrusted)
    }

    async fn send(&self, mut request: RequestBuilder, token: Option<&str>) -> Result<Reply, ApiError> {
        if let Some(token) = token {
            request = request.header(header::COOKIE, format!("token={token}"));
        }
        let response = request.header(header::ACCEPT, "application/toml").send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.text().await?.parse::<Table>().unwrap_or_default();
        Ok(Reply { status, retry_after, body })
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`ApiError`]; `taken` where the phone has a user.
    pub async fn register(&self, phone: &str, name: &str, password: &str) -> Result<(), ApiError> {
        let args = [("phone", phone), ("name", name), ("password", password)];
        self.call("POST", "/user", None, &args).await?.success().map(drop)
    }

    /// Logs in; `device` makes the device known from now on.
    ///
    /// # Errors
    /// [`ApiError`]; `credentials` where phone or password do not fit.
    pub async fn login(&self, phone: &str, password: &str, device: Option<&str>) -> Result<Login, ApiError> {
        let args: Vec<_> = [("phone", phone), ("password", password)]
            .into_iter()
            .chain(device.map(|device| ("device", device)))
            .collect();
        let reply = self.call("POST", "/server/login", None, &args).await?.success()?;
        let user = reply.response().and_then(|response| response.get("user")?.as_table());
        let user = user.ok_or_else(|| unreadable("[response.user]", &reply))?;
        let id = user.get("id").and_then(Value::as_integer).and_then(|id| UserId::new(id).ok());
        let token = user.get("token").and_then(Value::as_str);
        Ok(Login {
            user: id.ok_or_else(|| unreadable("user.id", &reply))?,
            token: Secret::new(token.ok_or_else(|| unreadable("user.token", &reply))?),
            node: node(&reply)?,
        })
    }

    /// Ends the token's validity.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn logout(&self, token: &str) -> Result<(), ApiError> {
        self.call("POST", "/server/logout", Some(token), &[]).await?.success().map(drop)
    }

    /// Asks for a node to connect to.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn reconnect(&self, user: UserId, token: &str) -> Result<Node, ApiError> {
        let args = [("id", user.to_string())];
        let args: Vec<_> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
        node(&self.call("POST", "/server/reconnect", Some(token), &args).await?.success()?)
    }

    /// Reports that the token's node cannot be reached.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn failed(&self, token: &str) -> Result<Failed, ApiError> {
        let reply = self.call("POST", "/server/failed", Some(token), &[]).await?;
        if reply.outcome() == Some(3) {
            return Ok(Failed::Online);
        }
        node(&reply.success()?).map(Failed::Moved)
    }

    /// What waits for this token's device.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn offline(&self, token: &str) -> Result<Offline, ApiError> {
        let reply = self.call("GET", "/offline", Some(token), &[]).await?.success()?;
        let upto = reply.response().and_then(|response| response.get("cursor")?.as_str()).map(str::to_owned);
        Ok(Offline { deliveries: incoming::deliveries(&reply.body), upto, reply })
    }

    /// Clears what waits: up to what an [`Offline`] named, or exactly what the last [`Self::offline`] returned.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn clear_offline(&self, token: &str, upto: Option<&str>) -> Result<(), ApiError> {
        let args: Vec<_> = upto.map(|upto| ("upto", upto)).into_iter().collect();
        self.call("DELETE", "/offline", Some(token), &args).await?.success().map(drop)
    }

    /// Finds a user by phone; `None`: nobody has it.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn user_by_phone(&self, token: &str, phone: &str) -> Result<Option<User>, ApiError> {
        self.user(token, &format!("/user/phone/{}", segment(phone))).await
    }

    /// Finds a user by id; `None`: there is none.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn user_by_id(&self, token: &str, id: UserId) -> Result<Option<User>, ApiError> {
        self.user(token, &format!("/user/id/{id}")).await
    }

    async fn user(&self, token: &str, path: &str) -> Result<Option<User>, ApiError> {
        let reply = self.call("GET", path, Some(token), &[]).await?;
        if reply.status == 404 {
            return Ok(None);
        }
        Ok(users(&reply.success()?)?.into_iter().next())
    }

    /// What changed among the contacts since a version; 0: all of them.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn contacts(&self, token: &str, since: i64) -> Result<Contacts, ApiError> {
        let reply =
            self.call("GET", &format!("/contact/version/{since}"), Some(token), &[]).await?.success()?;
        let version = reply.response().and_then(|response| response.get("contact_version")?.as_integer());
        let more = reply.response().and_then(|response| response.get("more")?.as_integer()) == Some(1);
        Ok(Contacts {
            more,
            version: version.ok_or_else(|| unreadable("contact_version", &reply))?,
            users: users(&reply)?,
        })
    }
}

/// `server` and `port` of the response; the port is text in simple_im's own answers.
fn node(reply: &Reply) -> Result<Node, ApiError> {
    let read = || {
        let response = reply.response()?;
        let port = match response.get("port")? {
            Value::String(text) => text.parse().ok()?,
            other => u16::try_from(other.as_integer()?).ok()?,
        };
        Some(Node { server: response.get("server")?.as_str()?.to_owned(), port })
    };
    read().ok_or_else(|| unreadable("server and port", reply))
}

pub(super) fn users(reply: &Reply) -> Result<Vec<User>, ApiError> {
    let users: Result<_, _> = reply.rows("user").map(|row| row.clone().try_into::<User>()).collect();
    users.map_err(|_| unreadable("[[user]] with id, name, phone and avatar", reply))
}

pub(super) fn unreadable(expected: &'static str, reply: &Reply) -> ApiError {
    let keys: Vec<&str> = reply.response().into_iter().flat_map(Table::keys).map(String::as_str).collect();
    ApiError::Unreadable {
        expected,
        found: format!("HTTP {} with the keys {}", reply.status, keys.join(", ")),
    }
}

/// One part of a path, percent-encoded.
fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests;
