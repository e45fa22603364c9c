//! A certificate authority of a private stack's own, and the certificate that its edges show: for this machine alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use crate::record::replace;

/// The first day of the year in which what is made here ends: the files are a test's or a developer's.
const ENDS: i32 = 2049;

/// What edges show, and what their clients trust, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The authority's own certificate, for clients.
    pub ca: PathBuf,
    /// The edges' certificate, for 127.0.0.1 and localhost.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The pair kept in this folder; made where one of its files is missing. The authority signs this one certificate: its key
/// is kept nowhere.
///
/// # Errors
/// When they cannot be made or written.
pub fn kept_in(dir: &Path) -> Result<Pair> {
    let pair = Pair { ca: dir.join("ca.pem"), certificate: dir.join("edge.crt"), key: dir.join("edge.key") };
    if [&pair.ca, &pair.certificate, &pair.key].iter().all(|file| file.is_file()) {
        return Ok(pair);
    }
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "simple-im private stack");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_after = rcgen::date_time_ymd(ENDS, 1, 1);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.not_after = rcgen::date_time_ymd(ENDS, 1, 1);
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, &issuer)?;
    for (file, text) in [
        (&pair.key, key.serialize_pem()),
        (&pair.certificate, signed.pem()),
        (&pair.ca, issuer.as_ref().pem()),
    ] {
        replace(file, &text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(pair)
}
