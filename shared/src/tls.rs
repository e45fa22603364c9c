//! TLS as every part uses it: certificates and keys from PEM files, and whom a client trusts.
//!
//! | module | holds |
//! |---|---|
//! | [`pin`] | trusting one certificate by its fingerprint |
//! | [`Untrusted`] | a certificate that is not believed, in words |
//!
//! Versions 1.2 and 1.3, cryptography by `ring`. A certificate's chain, name and dates are always checked, except where
//! one certificate is pinned: then it alone is trusted, whatever stands in it.

pub mod pin;
mod untrusted;

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use self::pin::{Fingerprint, Pinned};
pub use self::untrusted::Untrusted;

/// What clients of the TCP port offer by ALPN. The HTTP port knows `http/1.1` alone: neither takes what was meant for the
/// other.
pub const ALPN: &[u8] = b"simple-im/1";

/// A certificate, key or setting that cannot be used. None of them is shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{}: expected a PEM file, found it unreadable: {source}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not hold what it should.
    #[error("{}: expected {expected} as PEM, found {found}", file.display())]
    NotPem {
        /// Which file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What it holds; never its text.
        found: &'static str,
    },
    /// The library does not take it: a key that belongs to another certificate, a certificate that is none.
    #[error("{}: expected a certificate and its key, found: {source}", file.display())]
    Unusable {
        /// The certificate's file.
        file: PathBuf,
        /// What the library said.
        #[source]
        source: rustls::Error,
    },
    /// A certificate without its key, or the other way round.
    #[error("expected a certificate's file and its key's, or neither, found one of them")]
    Half,
    /// This machine has no root certificates.
    #[error("expected root certificates on this system, found none that can be used: {reason}")]
    System {
        /// What was found instead.
        reason: String,
    },
}

/// Whose certificate a client believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those signed by a root of this system.
    System,
    /// Those signed by a certificate of this PEM file.
    Roots(PathBuf),
    /// Exactly this one.
    Pinned(Fingerprint),
}

impl Trust {
    /// As configuration writes it: a file of root certificates, or nothing for the system's.
    pub fn of_file(file: &str) -> Self {
        if file.is_empty() { Self::System } else { Self::Roots(file.into()) }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("signed by a root certificate of this system"),
            Self::Roots(file) => write!(f, "signed by a certificate of {}", file.display()),
            Self::Pinned(print) => write!(f, "with the fingerprint {print}"),
        }
    }
}

/// A client's side of TLS; clones share what was read.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    /// Whom it believes; `None`: nobody.
    trust: Option<Arc<Trust>>,
}

impl Client {
    /// Believing this.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(trust: &Trust) -> Result<Self, TlsError> {
        Self::with_identity(trust, "", "")
    }

    /// The same, and showing a certificate of its own where the server asks for one. Empty names: none.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn with_identity(trust: &Trust, certificate: &str, key: &str) -> Result<Self, TlsError> {
        let builder = versions(ClientConfig::builder_with_provider(provider()));
        let builder = match trust {
            Trust::System => builder.with_root_certificates(system_roots()?),
            Trust::Roots(file) => builder.with_root_certificates(roots(file)?),
            Trust::Pinned(print) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned::new(*print, provider()))),
        };
        let config = match (certificate, key) {
            ("", "") => builder.with_no_client_auth(),
            ("", _) | (_, "") => return Err(TlsError::Half),
            (certificate, key) => {
                let unusable = |source| TlsError::Unusable { file: certificate.into(), source };
                let (chain, key) = (self::certificates(certificate.as_ref())?, self::key(key.as_ref())?);
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        Ok(Self { config: Arc::new(config), trust: Some(Arc::new(trust.clone())) })
    }

    /// One that believes nobody: for clients that only speak without TLS, and need to be told of none.
    pub fn nobody() -> Self {
        let builder = versions(ClientConfig::builder_with_provider(provider()));
        let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        Self { config: Arc::new(config), trust: None }
    }

    /// What was wrong with the certificate of `server`, where that is what an error came from: of a handshake, or of an HTTP
    /// client made with this.
    pub fn untrusted(&self, server: &str, error: &(dyn Error + 'static)) -> Option<Untrusted> {
        let found = untrusted::found(error)?;
        let expected = self.trust.as_ref().map_or_else(|| "of nobody".to_owned(), |trust| trust.to_string());
        Some(Untrusted { server: server.to_owned(), expected, found })
    }

    /// For the library, offering these protocols by ALPN.
    pub fn config(&self, alpn: &[&[u8]]) -> ClientConfig {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tls::Client")
    }
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// 1.2 and 1.3.
fn versions<Side: rustls::ConfigSide>(
    builder: rustls::ConfigBuilder<Side, rustls::WantsVersions>,
) -> rustls::ConfigBuilder<Side, rustls::WantsVerifier> {
    match builder.with_safe_default_protocol_versions() {
        Ok(builder) => builder,
        Err(error) => unreachable!("ring serves the library's own versions, as a test shows: {error}"),
    }
}

/// A server's side: this chain and key, asking clients for no certificate, taking these protocols by ALPN.
///
/// # Errors
/// [`TlsError::Unusable`]: they do not belong together, or are not what they should be.
pub fn server(
    file: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &[u8],
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let unusable = |source| TlsError::Unusable { file: file.into(), source };
    let builder = versions(rustls::ServerConfig::builder_with_provider(provider()));
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    // A client that comes back within hours is spared most of the handshake, and nothing is kept here for it: many come back
    // at once. Its ticket is of no use once the certificate is another.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Every certificate of a PEM file, at least one.
///
/// # Errors
/// [`TlsError::Unreadable`], [`TlsError::NotPem`].
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |found| TlsError::NotPem { file: file.into(), expected: "certificates", found };
    let text = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(chain) if chain.is_empty() => Err(wrong("none")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(wrong(found(&error))),
    }
}

/// The private key of a PEM file.
///
/// # Errors
/// [`TlsError::Unreadable`], [`TlsError::NotPem`].
pub fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::NotPem {
        file: file.into(),
        expected: "a private key",
        found: found(&error),
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Unreadable { file: file.into(), source })
}

/// The library's own words would quote the file.
fn found(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "none",
        pem::Error::MissingSectionEnd { .. } => "a section without its end",
        pem::Error::Base64Decode(_) => "a section that is not base64",
        _ => "something else",
    }
}

fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|source| TlsError::Unusable { file: file.into(), source })?;
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // A system's bundle may hold a few that the library does not take.
    let (taken, _) = store.add_parsable_certificates(found.certs);
    if taken == 0 {
        let reason = found.errors.first().map_or_else(|| "no error".to_owned(), ToString::to_string);
        return Err(TlsError::System { reason });
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (dir, certificate, key)
    }

    #[test]
    fn a_certificate_and_its_key_serve_and_another_s_key_does_not() {
        let (_one, certificate, own) = made();
        let (_two, other, key) = made();
        let serve = |key: &Path| server(&certificate, certificates(&certificate)?, self::key(key)?, ALPN);
        serve(&own).unwrap();
        assert!(matches!(serve(&key), Err(TlsError::Unusable { .. })));
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        Client::with_identity(&Trust::Roots(other.clone()), &text(&other), &text(&key)).unwrap();
        let half = Client::with_identity(&Trust::Roots(other.clone()), &text(&other), "");
        assert!(matches!(half, Err(TlsError::Half)));
        drop(Client::nobody());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_showing_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret.pem");
        for (text, expected) in [
            ("geheim", "expected a private key as PEM, found none"),
            ("-----BEGIN PRIVATE KEY-----\nZ2VoZWlt\n", "found a section without its end"),
            ("-----BEGIN PRIVATE KEY-----\n~geheim~\n-----END PRIVATE KEY-----\n", "not base64"),
            ("-----BEGIN geheim\n", "found something else"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = key(&file).unwrap_err();
            assert!(said.to_string().contains(expected), "{said}");
            assert!(!format!("{said} {said:?}").contains("geheim"), "{said:?}");
        }
        let missing = certificates(&dir.path().join("none.pem")).unwrap_err();
        assert!(missing.to_string().contains("none.pem: expected a PEM file"), "{missing}");
    }
}
