//! Certificates for `localhost`, made for one test; each one is self-signed.

use std::path::Path;
use std::process::{Command, Output};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

use super::hearken::{Hearken, KEY};

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
}

impl Pair {
    /// Returns a certificate that is valid until the beginning of this year.
    pub(crate) fn until(year: i32) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(year, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// Returns a valid certificate.
    pub(crate) fn new() -> Self {
        Self::until(2099)
    }

    /// Writes `cert.pem` and `key.pem`.
    pub(crate) fn put(&self, directory: &Path) {
        std::fs::write(directory.join("cert.pem"), &self.certificate).unwrap();
        std::fs::write(directory.join("key.pem"), &self.key).unwrap();
    }
}

/// Calls the program with curl, and waits until curl ends.
pub(crate) fn curl(hearken: &Hearken, path: &str, options: &[&str]) -> Output {
    curl_command(hearken, path, options).output().unwrap()
}

/// Returns a curl command that calls the program, trusts the certificate beside the configuration, and has the key.
pub(crate) fn curl_command(hearken: &Hearken, path: &str, options: &[&str]) -> Command {
    let port = hearken.client().address.port();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "--noproxy", "*", "--cacert", "cert.pem"])
        .args(["-H", &format!("authorization: Bearer {KEY}")])
        .args(options)
        .arg(format!("https://localhost:{port}{path}"))
        .current_dir(hearken.directory());
    curl
}
