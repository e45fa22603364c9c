//! HTTP calls and their answers.

use std::{net::IpAddr, sync::OnceLock};

use reqwest::{Client, Method, header};
use shared::client::http::builder;
use toml::{Table, Value};

use crate::pattern::{self, difference};

/// One call, ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    url: String,
    token: Option<String>,
    body: String,
    json: bool,
    headers: Vec<(&'static str, String)>,
    from: Option<IpAddr>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// What the browser is to keep, as it came.
    pub set_cookie: String,
    /// The body's type.
    pub content_type: String,
    /// The body as it came.
    pub text: String,
    /// The body as tables; empty where it is not TOML or JSON.
    pub body: Table,
}

impl Call {
    /// `method` and the whole URL.
    pub fn new(method: &str, url: String) -> Self {
        let method = method.parse().expect("tests name real methods");
        Self { method, url, token: None, body: String::new(), json: false, headers: Vec::new(), from: None }
    }

    /// With the token as a cookie.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With a pair in the form that is its body.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !self.body.is_empty() {
            self.body.push('&');
        }
        self.body.push_str(name);
        self.body.push('=');
        // `curl --data-urlencode` for everything that is not plain.
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    self.body.push(char::from(byte))
                }
                _ => self.body.push_str(&format!("%{byte:02X}")),
            }
        }
        self
    }

    /// With a body that is sent as it is.
    pub fn raw(mut self, body: String) -> Self {
        self.body = body;
        self
    }

    /// From this address of this machine. It also claims to be passed on for another, which is not to be believed.
    pub fn from(mut self, address: [u8; 4]) -> Self {
        self.from = Some(address.into());
        self
    }

    /// Asks for JSON.
    pub fn json(mut self) -> Self {
        self.json = true;
        self
    }

    /// With one header more.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// As a page makes it that has this cookie, or none yet.
    pub fn by_cookie(self, cookie: Option<&str>) -> Self {
        let call = self.header("im-session", "cookie");
        match cookie {
            Some(cookie) => call.header("cookie", cookie),
            None => call,
        }
    }

    /// Sends it.
    ///
    /// # Panics
    /// When there is no answer, or its body is not what its type says.
    pub async fn send(self) -> Reply {
        self.try_send().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Sends it; an error where there is no answer at all.
    pub async fn try_send(self) -> Result<Reply, String> {
        static CLIENT: OnceLock<Client> = OnceLock::new();
        // No connection is kept: under `cargo test` each test has a runtime of its own.
        let make = |from| builder(None).pool_max_idle_per_host(0).local_address(from).build();
        let client = match self.from {
            Some(_) => &make(self.from).expect("a client can be made"),
            None => CLIENT.get_or_init(|| make(None).expect("a client can be made")),
        };
        let what = format!("{} {}", self.method, self.url);
        let mut request = client.request(self.method, &self.url);
        if let Some(token) = &self.token {
            request = request.header(header::COOKIE, format!("token={token}"));
        }
        if self.from.is_some() {
            request =
                request.header(header::FORWARDED, "for=192.0.2.1").header("x-forwarded-for", "192.0.2.1");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if self.json {
            request = request.header(header::ACCEPT, "application/json");
        }
        if !self.body.is_empty() {
            request =
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(self.body);
        }
        let reply = request.send().await.map_err(|e| format!("{what}: {e:?}"))?;
        let status = reply.status().as_u16();
        let text_of = |name| reply.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let (content_type, retry_after) =
            (text_of(header::CONTENT_TYPE), text_of(header::RETRY_AFTER).parse().ok());
        let set_cookie = text_of(header::SET_COOKIE);
        let text = reply.text().await.map_err(|e| format!("{what}: {e}"))?;
        let body = if content_type.starts_with("application/json") {
            serde_json::from_str(&text).map_err(|e| format!("{what}: not JSON: {e}: {text}"))?
        } else if content_type.starts_with("application/toml") {
            text.parse().map_err(|e| format!("{what}: not TOML: {e}: {text}"))?
        } else {
            Table::new()
        };
        Ok(Reply { status, retry_after, set_cookie, content_type, text, body })
    }
}

impl Reply {
    /// The status and the whole body must be these (`…` stands for any value).
    ///
    /// # Panics
    /// When they are not.
    pub fn expect(self, status: u16, toml: &str) -> Self {
        let expected = Value::Table(pattern::table(toml));
        let why = difference(&expected, &Value::Table(self.body.clone()));
        assert!(
            self.status == status && why.is_none(),
            "{}\n── expected {status}\n{toml}\n── found {}\n{}",
            why.unwrap_or_default(),
            self.status,
            self.text
        );
        self
    }

    /// A plain success.
    pub fn expect_ok(self) -> Self {
        self.expect(200, "[[response]]\nstatus = 0")
    }

    /// A refusal with this code.
    pub fn expect_refused(self, status: u16, code: &str) -> Self {
        self.expect(status, &format!("[[response]]\nstatus = 1\nr = \"…\"\ncode = \"{code}\""))
    }

    /// The cookie that it sets, as a browser sends it back.
    pub fn cookie(&self) -> String {
        self.set_cookie.split(';').next().unwrap_or_default().to_owned()
    }

    /// The `[[response]]` table.
    pub fn response(&self) -> Table {
        self.entries("response").into_iter().next().unwrap_or_default()
    }

    /// All entries of a kind.
    pub fn entries(&self, kind: &str) -> Vec<Table> {
        match self.body.get(kind) {
            Some(Value::Array(entries)) => entries.iter().filter_map(Value::as_table).cloned().collect(),
            _ => Vec::new(),
        }
    }
}
