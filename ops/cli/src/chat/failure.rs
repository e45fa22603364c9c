//! How the commands for people and scripts end when they do not succeed: each reason has an exit code of its own.

use std::process::ExitCode;

use shared::{
    client::{ConnectError, SendError, http::ApiError},
    command::Code,
};

/// The text for `--help` of who needs to tell exit codes apart.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused by the server, 2 wrong arguments or no terminal, 3 not reached, not believed (its \
     certificate) or not answered in time (what was sent may have been stored: the same --id sends it again without harm), \
     4 not logged in";

/// What to do where a certificate is not believed.
const TRUST: &str = "--ca FILE names the certificate of whoever signs it, --stack DIR a stack of this machine with its own; \
     `simple-im login` keeps either";
/// What an edge that has TLS says to whoever has not is no TOML.
const SECURE: &str = "a system that speaks TLS has addresses that begin with https://";

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused it: trying again will not help.
    #[error("{0}")]
    Refused(String),
    /// The arguments, or the terminal, are not what the command needs.
    #[error("{0}")]
    Usage(String),
    /// Nobody was reached, or answered in time: it may help to try again.
    #[error("{0}")]
    Unreachable(String),
    /// No token and no password, or they are refused.
    #[error("{0}")]
    LoggedOut(String),
    /// What this machine said: of a file, of stdin.
    #[error("{0:#}")]
    Here(#[from] anyhow::Error),
}

impl Failure {
    /// What the process ends with.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Refused(_) | Self::Here(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
            Self::LoggedOut(_) => ExitCode::from(4),
        }
    }
}

/// Whether a refusal says that the login is not good (any more).
pub fn is_logged_out(code: Option<Code>) -> bool {
    matches!(code, Some(Code::Token | Code::Credentials | Code::Forbidden))
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match &error {
            ApiError::Network { .. } | ApiError::Refused { code: Some(Code::Unavailable), .. } => {
                Self::Unreachable(because(&error))
            }
            ApiError::Untrusted(untrusted) => Self::Unreachable(format!("{untrusted}; {TRUST}")),
            ApiError::Refused { code, .. } if is_logged_out(*code) => Self::LoggedOut(error.to_string()),
            ApiError::Refused { status: 400, code: None, .. } => Self::Refused(format!("{error}; {SECURE}")),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Refused(refused) if is_logged_out(refused.code) => {
                Self::LoggedOut(error.to_string())
            }
            ConnectError::Refused(_) => Self::Refused(error.to_string()),
            ConnectError::Untrusted(untrusted) => Self::Unreachable(format!("{untrusted}; {TRUST}")),
            ConnectError::Unreachable { .. } | ConnectError::Nowhere => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Refused(_) => Self::Refused(error.to_string()),
            SendError::Full | SendError::Closed => Self::Unreachable(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Here(error.into())
    }
}

/// An error with what caused it: an HTTP client's own words stop before the reason.
fn because(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
