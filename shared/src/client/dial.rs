//! From nowhere to a logged-in connection: which node, TCP, login.

use std::{fmt, time::Duration};

use super::{
    Connection, Options,
    handle::Refused,
    http::{ApiError, Failed},
};
use crate::{
    command::{Code, RequestName},
    tls::Untrusted,
};

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// Trying again will not help.
    Refused(Refused),
    /// It may; what happened, for people.
    Again(String),
    /// It may once that server has another certificate.
    Untrusted(Untrusted),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Again(reason) => f.write_str(reason),
            Self::Untrusted(untrusted) => untrusted.fmt(f),
        }
    }
}

/// How often one attempt is sent on by nodes that are about to end.
const SENT_ON: usize = 3;
/// The longest that a node without another one may keep a client away.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What became of a connection that was made.
enum Reached {
    /// Logged in.
    In(Connection),
    /// That node is about to end; another one takes sessions.
    Elsewhere(String),
}

/// Remembers between attempts where to go.
#[derive(Debug)]
pub struct Dialer {
    server: Option<String>,
    /// The server failed last time: the API is asked for another one.
    failed: bool,
    before: bool,
    retry_after: Duration,
}

impl Dialer {
    /// Begins at the configured server, if there is one.
    pub fn new(options: &Options) -> Self {
        Self { server: options.server.clone(), failed: false, before: false, retry_after: Duration::ZERO }
    }

    /// Begins at this one, with a session that there has been before.
    pub fn to(server: String) -> Self {
        Self { server: Some(server), failed: false, before: true, retry_after: Duration::ZERO }
    }

    /// Where it last connected to.
    pub fn server(&self) -> &str {
        self.server.as_deref().unwrap_or_default()
    }

    /// There is a connection to this one, made by another.
    pub fn is_at(&mut self, server: String) {
        self.server = Some(server);
        (self.failed, self.before) = (false, true);
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn dial(&mut self, options: &Options) -> Result<Connection, Failure> {
        self.retry_after = Duration::ZERO;
        let mut server = self.find(options).await?;
        // Until the login has succeeded this counts as failed; also if this future is dropped.
        self.failed = true;
        for _ in 0..=SENT_ON {
            match self.reach(&server, options).await? {
                Reached::In(connection) => {
                    self.is_at(server);
                    return Ok(connection);
                }
                Reached::Elsewhere(next) => server = next,
            }
        }
        Err(Failure::Again(format!("{server}: one node after the other is about to end")))
    }

    async fn reach(&mut self, server: &str, options: &Options) -> Result<Reached, Failure> {
        let again = |error: std::io::Error| match options
            .tls
            .as_ref()
            .and_then(|tls| tls.untrusted(server, &error))
        {
            Some(untrusted) => Failure::Untrusted(untrusted),
            None => Failure::Again(format!("{server}: {error}")),
        };
        let mut connection =
            Connection::connect_within(server, options.tls.as_ref(), options.connect_timeout)
                .await
                .map_err(again)?;
        connection.set_patience(options.login_timeout);
        let name = if self.before { RequestName::Reconnect } else { RequestName::Login };
        let answer = connection.login_as(name, options.user, &options.device, options.token.expose()).await;
        if !matches!(answer, Ok(Ok(())))
            && let Some((next, after)) = connection.sent_on()
        {
            self.retry_after = Duration::from_millis(after).min(LONGEST_WAIT);
            return match next {
                Some(next) => Ok(Reached::Elsewhere(next)),
                None => Err(Failure::Again(format!("{server}: about to end, and there is no other node"))),
            };
        }
        match answer.map_err(again)? {
            Ok(()) => Ok(Reached::In(connection)),
            Err(refused) => match refused.code {
                Some(Code::Unavailable | Code::RateLimited) | None => {
                    Err(Failure::Again(format!("{server}: {refused}")))
                }
                Some(_) => Err(Failure::Refused(refused)),
            },
        }
    }

    async fn find(&mut self, options: &Options) -> Result<String, Failure> {
        let Some(api) = &options.http else {
            return self.server.clone().ok_or_else(|| Failure::Again("no server is known".to_owned()));
        };
        let token = options.token.expose();
        let found = match &self.server {
            Some(server) if !self.failed => return Ok(server.clone()),
            Some(server) => match api.failed(token).await {
                Ok(Failed::Moved(node)) => Ok(node),
                // The node lives, yet it could not be reached from here: perhaps another one can.
                Ok(Failed::Online) => api.reconnect(options.user, token).await,
                // A login that never reached a node leaves nothing to report as failed.
                Err(ApiError::Refused { code, .. }) if code != Some(Code::Token) => {
                    api.reconnect(options.user, token).await
                }
                Err(ApiError::Network { .. } | ApiError::Untrusted(_)) => return Ok(server.clone()),
                Err(error) => Err(error),
            },
            None => api.reconnect(options.user, token).await,
        };
        match found {
            Ok(node) => {
                let server = node.to_string();
                self.server = Some(server.clone());
                Ok(server)
            }
            Err(ApiError::Refused { code: code @ Some(Code::Token), reason, .. }) => {
                Err(Failure::Refused(Refused { code, reason, id: String::new(), t: None }))
            }
            Err(ApiError::Untrusted(untrusted)) if self.server.is_none() => {
                Err(Failure::Untrusted(untrusted))
            }
            Err(error) => {
                if let ApiError::Refused { retry_after: Some(seconds), .. } = &error {
                    self.retry_after = Duration::from_secs((*seconds).min(60));
                }
                // The API has no node to name: the one that is known may be back.
                match &self.server {
                    Some(server) => Ok(server.clone()),
                    None => Err(Failure::Again(error.to_string())),
                }
            }
        }
    }
}
