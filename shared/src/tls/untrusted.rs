//! A server's certificate that is not believed: what was expected and what was found, out of whatever error met it.

use std::{error::Error, io};

use tokio_rustls::rustls::{self, CertificateError};

/// A server showed a certificate that this client does not believe: nothing was said to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of {server} is not trusted: expected one {expected}, found {found}")]
pub struct Untrusted {
    /// Whose certificate: a base URL, or `host:port`.
    pub server: String,
    /// What would have been believed.
    pub expected: String,
    /// What is wrong with the one that was shown.
    pub found: String,
}

/// What is wrong with the certificate, where that is why this error came about.
pub(super) fn found(error: &(dyn Error + 'static)) -> Option<String> {
    match cause(error)? {
        rustls::Error::InvalidCertificate(wrong) => Some(words(wrong)),
        _ => None,
    }
}

/// The library's own error among the causes of this one.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error names what its content was caused by, not the content.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = held.map(|held| held as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn words(wrong: &CertificateError) -> String {
    match wrong {
        CertificateError::UnknownIssuer => "one that somebody else has signed".to_owned(),
        CertificateError::BadSignature => "one whose signature is wrong".to_owned(),
        CertificateError::ApplicationVerificationFailure => "another one".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "one that has ended".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "one that has not begun".to_owned()
        }
        CertificateError::NotValidForName => "one for another name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("one for other names: {}", presented.join(", "))
        }
        other => format!("one that cannot be used: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_found_inside_of_errors_of_others() {
        let wrong = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, wrong));
        assert_eq!(found(&nested).as_deref(), Some("one that somebody else has signed"));
        let boxed: Box<dyn Error + Send + Sync> = Box::new(nested);
        assert!(found(&io::Error::other(boxed)).is_some());
        for error in [io::ErrorKind::ConnectionReset.into(), io::Error::other(rustls::Error::DecryptError)] {
            assert_eq!(found(&error), None, "{error}");
        }
    }
}
