//! Explains why a TLS handshake failed, with advice.

use rustls::{CertificateError, Error};

/// webpki's name for a server's certificate that is marked as an issuer of other certificates.
const AUTHORITY: &str = "CaUsedAsEndEntity";

/// Returns the problem, and what to do.
pub(super) fn explain(err: &Error) -> String {
    let (what, advice) = match err {
        Error::InvalidCertificate(err) => of_certificate(err),
        Error::AlertReceived(_) | Error::PeerIncompatible(_) => (
            "the server and hearken have no TLS version or cipher in common",
            "the server must offer TLS 1.2 or 1.3",
        ),
        Error::InvalidMessage(_) => (
            "the server does not use TLS at this port",
            "if it uses plain HTTP there, write http:// instead of https://",
        ),
        _ => (
            "the server's reply is not TLS",
            "check the port; for plain HTTP, write http:// instead of https://",
        ),
    };
    format!("the TLS connection failed: {what}; {advice}")
}

fn of_certificate(err: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError as Bad;
    match err {
        Bad::UnknownIssuer => (
            "this machine does not trust the issuer of the server's certificate",
            "name your own certificate authority with --ca FILE",
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => {
            ("its certificate has expired", "renew it on the server")
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            ("its certificate is not valid yet", "check the clocks of both machines")
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            ("its certificate is for another name", "use the name in the certificate")
        }
        // Only the text reveals it: rustls has no variant for this error.
        Bad::Other(err) if err.to_string() == AUTHORITY => (
            "the server's certificate is marked as a certificate authority, which a server must not use",
            "make another with `openssl req -x509 ... -addext basicConstraints=critical,CA:FALSE`",
        ),
        _ => ("its certificate cannot be trusted", "use another certificate on the server"),
    }
}
