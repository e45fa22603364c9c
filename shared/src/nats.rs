//! Connecting to NATS as every part does it: who it is, where it is answered, and TLS.
//!
//! The broker's client takes no notice of a user and password in a URL, and gives everybody the same inboxes; so this is
//! where every connection begins.

use std::{io, time::Duration};

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::{
    config::{Secret, SecretUrl},
    subject::Subjects,
};

/// What every server's `[nats]` says of the way there. Empty texts: nothing.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// `nats://user:password@host:port`, or `tls://…` to insist on TLS.
    pub url: SecretUrl,
    /// In place of the URL's password.
    pub password: Secret,
    /// A PEM file of roots to trust in place of the system's. Insists on TLS.
    pub ca: String,
    /// A PEM file to show the server. Insists on TLS.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The way to NATS, as often as it is taken.
#[derive(Debug, Clone)]
pub struct Door {
    server: ServerAddr,
    login: Login,
    ca: Option<String>,
    identity: Option<(String, String)>,
}

#[derive(Debug, Clone)]
enum Login {
    Nobody,
    Token(Secret),
    User(String, Secret),
}

impl Settings {
    /// This URL and nothing else.
    fn of_url(url: &str) -> Self {
        Self {
            url: SecretUrl::new(url),
            password: Secret::new(""),
            ca: String::new(),
            certificate: String::new(),
            key: String::new(),
        }
    }
}

impl Door {
    /// By these settings.
    ///
    /// # Errors
    /// The URL is not one, or one of certificate and key is missing. Neither is shown.
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let wrong = |what: &str| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
            ConnectError::with_source(ConnectErrorKind::ServerParse, error)
        };
        let server: ServerAddr = settings.url.expose().parse().map_err(|_: io::Error| {
            wrong("expected nats://host:port or tls://host:port, found something else")
        })?;
        let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let given = |secret: &str| (!secret.is_empty()).then(|| Secret::new(secret));
        let password = given(settings.password.expose()).or_else(|| given(&plain(server.password()?)));
        let login = match (server.username().map(plain), password) {
            (Some(user), Some(password)) => Login::User(user, password),
            (Some(token), None) => Login::Token(Secret::new(token)),
            (None, None) => Login::Nobody,
            (None, Some(_)) => return Err(wrong("expected a user in the URL, found a password alone")),
        };
        let identity = match (settings.certificate.as_str(), settings.key.as_str()) {
            ("", "") => None,
            ("", _) | (_, "") => {
                return Err(wrong("expected a certificate's file and its key's, found one of them"));
            }
            (certificate, key) => Some((certificate.to_owned(), key.to_owned())),
        };
        let ca = (!settings.ca.is_empty()).then(|| settings.ca.clone());
        Ok(Self { server: without_login(server)?, login, ca, identity })
    }

    /// For tools: by the URL alone.
    ///
    /// # Errors
    /// As [`Door::new`].
    pub fn of_url(url: &str) -> Result<Self, ConnectError> {
        Self::new(&Settings::of_url(url))
    }

    /// Where it leads, without a login.
    pub fn server(&self) -> &ServerAddr {
        &self.server
    }

    /// Whether it leads in without a login: then whoever else knows the broker may do everything there, and may be of a
    /// release that knows no logins.
    pub fn is_open(&self) -> bool {
        matches!(self.login, Login::Nobody)
    }

    /// For people and tools: one connection under this name, made within `patience` or not at all.
    ///
    /// # Errors
    /// Nobody is there, or the login is refused.
    pub async fn connect(&self, name: &str, patience: Duration) -> Result<Client, ConnectError> {
        let connecting = self.options().name(name).connection_timeout(patience).connect(self.server.clone());
        connecting.await
    }

    /// What a connection is made with.
    pub fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new();
        match &self.login {
            Login::Nobody => {}
            Login::Token(token) => options = options.token(token.expose().to_owned()),
            Login::User(user, password) => {
                options = options
                    .user_and_password(user.clone(), password.expose().to_owned())
                    .custom_inbox_prefix(Subjects::inbox(user));
            }
        }
        // What the server offers could be left out by whoever stands between.
        options = options.require_tls(self.ca.is_some() || self.identity.is_some());
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.into());
        }
        if let Some((certificate, key)) = &self.identity {
            options = options.add_client_certificate(certificate.into(), key.into());
        }
        options
    }
}

/// For tools and tests: a connection to where this URL leads, as the user in it.
///
/// # Errors
/// As [`Door::new`], or nobody is there.
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    let door = Door::of_url(url)?;
    door.options().connect(door.server().clone()).await
}

fn without_login(server: ServerAddr) -> Result<ServerAddr, ConnectError> {
    let mut url = server.into_inner();
    // Fails for URLs without a host alone, and those have no login either.
    url.set_username("").ok();
    url.set_password(None).ok();
    ServerAddr::from_url(url).map_err(|error| ConnectError::with_source(ConnectErrorKind::ServerParse, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(url: &str, password: &str) -> Result<Door, ConnectError> {
        Door::new(&Settings { password: Secret::new(password), ..Settings::of_url(url) })
    }

    #[test]
    fn who_connects_stands_in_the_url_and_is_not_shown() {
        let login = |url, password| match door(url, password).unwrap().login {
            Login::Nobody => String::new(),
            Login::Token(token) => token.expose().to_owned(),
            Login::User(user, password) => format!("{user} {}", password.expose()),
        };
        assert_eq!(login("nats://broker:4222", ""), "");
        assert_eq!(login("nats://geheim@broker", ""), "geheim");
        assert_eq!(login("nats://edge:ge%3Aheim@broker", ""), "edge ge:heim");
        assert_eq!(login("nats://edge@broker", "geheim"), "edge geheim");
        assert_eq!(login("nats://edge:old@broker", "geheim"), "edge geheim");
        let opened = door("tls://edge:geheim@broker:7", "").unwrap();
        assert_eq!(opened.server().as_url_str(), "tls://broker:7");
        assert!(!format!("{opened:?}").contains("geheim"));
        let refused = door("nats://broker", "geheim").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("geheim"));
    }
}
