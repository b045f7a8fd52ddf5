//! What a TLS handshake that failed means, in words for whoever made the connection.

use rustls::{CertificateError, Error};

/// How webpki calls a certificate that is a server's own and says of itself that it issues others.
const AUTHORITY: &str = "CaUsedAsEndEntity";

/// Says what is wrong, and what to do.
pub(super) fn told(err: &Error) -> String {
    let (what, advice) = match err {
        Error::InvalidCertificate(err) => of_certificate(err),
        Error::AlertReceived(_) | Error::PeerIncompatible(_) => {
            ("it agrees to no TLS that is spoken here", "it has to speak TLS 1.2 or 1.3")
        }
        Error::InvalidMessage(_) => (
            "it does not speak TLS at this port",
            "if it speaks plain HTTP there, write http:// instead of https://",
        ),
        _ => ("what it says is none", "does it speak https at this port?"),
    };
    format!("no TLS with it: {what}; {advice}")
}

fn of_certificate(err: &CertificateError) -> (&'static str, &'static str) {
    use CertificateError as Bad;
    match err {
        Bad::UnknownIssuer => (
            "its certificate is from nobody who is trusted here",
            "a certificate authority of your own is named with --ca FILE",
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => {
            ("its certificate has expired", "it has to be renewed there")
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            ("its certificate is not valid yet", "look at the clock, here and there")
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            ("its certificate is for another name", "name the server as its certificate does")
        }
        // Nothing else tells: the type is not known here.
        Bad::Other(err) if err.to_string() == AUTHORITY => (
            "its certificate is marked as a certificate authority, which no server may show as its own",
            "make one with `-addext basicConstraints=critical,CA:FALSE` behind `openssl req -x509`",
        ),
        _ => ("its certificate cannot be trusted", "another one has to be made there"),
    }
}
