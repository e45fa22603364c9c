//! What an HTTP call gives: any answer as it came, or the success that a typed call needs.

use toml::{Table, Value};

use crate::{command::Code, tls::Untrusted};

/// An answer of the API, success or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Seconds, where the answer says when to come again.
    pub retry_after: Option<u64>,
    /// The body; empty where it is not TOML.
    pub body: Table,
}

/// Why a call has no success.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The API could not be reached, or did not answer in time: try again, perhaps elsewhere.
    #[error("HTTP API: {source}")]
    Network {
        /// What the network said.
        #[from]
        source: reqwest::Error,
    },
    /// The API shows a certificate that this client does not believe; the call was not made.
    #[error("HTTP API: {0}")]
    Untrusted(#[from] Untrusted),
    /// The call was refused. With `retry_after` it may be tried again then.
    #[error("HTTP {status}, {}: {reason}", code.map_or("no code", Code::as_str))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// For programs; `None` for a code that this version does not know.
        code: Option<Code>,
        /// For people.
        reason: String,
        /// Seconds.
        retry_after: Option<u64>,
    },
    /// A success that lacks what it should hold: not this system's API, or another version's.
    #[error("expected {expected} in the answer, found {found}")]
    Unreadable {
        /// What is missing.
        expected: &'static str,
        /// What stood there.
        found: String,
    },
}

impl ApiError {
    /// The refusal's code, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }
}

impl Reply {
    /// The first `[[response]]`.
    pub fn response(&self) -> Option<&Table> {
        self.rows("response").next()
    }

    /// The entries of one kind: `[[user]]`, `[[group]]`, `[[m]]`.
    pub fn rows(&self, kind: &str) -> impl Iterator<Item = &Table> {
        self.body.get(kind).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
    }

    /// `status` of the response: 0 success, 1 failure, 3 "IM is online".
    pub fn outcome(&self) -> Option<i64> {
        self.response()?.get("status")?.as_integer()
    }

    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        self.status == 200 && self.outcome() == Some(0)
    }

    /// The refusal's code.
    pub fn code(&self) -> Option<Code> {
        Code::parse(self.response()?.get("code")?.as_str()?)
    }

    /// Itself if it is a success.
    ///
    /// # Errors
    /// [`ApiError::Refused`].
    pub fn success(self) -> Result<Self, ApiError> {
        if self.is_success() {
            return Ok(self);
        }
        let reason = self.response().and_then(|response| response.get("r")?.as_str());
        let reason = reason.unwrap_or("the answer gives no reason").to_owned();
        Err(ApiError::Refused {
            status: self.status,
            code: self.code(),
            reason,
            retry_after: self.retry_after,
        })
    }
}
