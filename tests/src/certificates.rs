//! A certificate authority of a test's own, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use shared::tls::{Client, Trust};

/// Signs certificates for servers of this machine.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
    name: String,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Pair {
    /// An edge's settings that show this pair, looked at again each second.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tls.certificate", self.certificate.display().to_string()),
            ("tls.key", self.key.display().to_string()),
            ("tls.reload_seconds", "1".to_owned()),
        ]
    }
}

impl Authority {
    /// One of this name, with its files in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate can be made");
        let authority = Self { issuer, dir: dir.to_owned(), name: name.to_owned() };
        fs::write(authority.root(), authority.issuer.as_ref().pem()).expect("the root can be written");
        authority
    }

    /// Its own certificate, for those who trust it.
    pub fn root(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// A client that trusts it and nobody else.
    pub fn trusted(&self) -> Client {
        Client::new(&Trust::Roots(self.root())).expect("the root can be trusted")
    }

    /// A certificate for 127.0.0.1 and localhost that ends on the first day of this year, written to this pair's files.
    pub fn sign_into(&self, pair: &Pair, ends: i32) {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).expect("these are names");
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate can be signed");
        fs::write(&pair.certificate, signed.pem()).expect("the certificate can be written");
        fs::write(&pair.key, key.serialize_pem()).expect("the key can be written");
    }

    /// The same, to files of this name.
    pub fn sign(&self, name: &str, ends: i32) -> Pair {
        let file = |suffix: &str| self.dir.join(format!("{name}.{suffix}"));
        let pair = Pair { certificate: file("crt"), key: file("key") };
        self.sign_into(&pair, ends);
        pair
    }
}
