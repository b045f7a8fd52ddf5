//! Reads the certificate and the key for TLS from their PEM files, and checks them.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::memmem;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate as Parsed;
use x509_cert::certificate::Version;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

use crate::config::{ConfiguredFile, TlsConfig};

/// The time before the expiry of a certificate from which on there is a warning. Automatic renewals happen earlier, so
/// a certificate with less time left needs attention.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The content of both files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(..)")
    }
}

/// A certificate that can be presented to clients, with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    begins: SystemTime,
    ends: SystemTime,
    is_authority: bool,
}

/// Why the files of a certificate cannot be used. The text names the place in the configuration and the file, and says
/// what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {file} {reason}")]
pub struct CertificateError {
    place: String,
    file: String,
    reason: String,
}

impl CertificateError {
    fn new(file: &ConfiguredFile, reason: impl Into<String>) -> Self {
        Self { place: file.place.clone(), file: file.path.display().to_string(), reason: reason.into() }
    }
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(config: &TlsConfig) -> Result<Self, CertificateError> {
        let read = |file: &ConfiguredFile| {
            std::fs::read(&file.path).map_err(|err| {
                let advice = match err.kind() {
                    io::ErrorKind::PermissionDenied => "allow the user that runs hearken to read it",
                    _ => "name an existing PEM file; relative paths begin where hearken was started",
                };
                CertificateError::new(file, format!("cannot be read: {err}: {advice}"))
            })
        };
        Ok(Self { certificate: read(&config.certificate)?, key: read(&config.key)? })
    }
}

impl Certificate {
    /// Reads and checks the files that the configuration names. An expired certificate, or one that is not valid yet,
    /// is accepted: [`Certificate::warning`] reports that.
    ///
    /// # Errors
    /// [`CertificateError`] if a file cannot be read or does not hold what it should, or if the key does not belong to
    /// the certificate.
    pub fn load(config: &TlsConfig) -> Result<Self, CertificateError> {
        Self::check(&Pair::read(config)?, config)
    }

    pub(super) fn check(pair: &Pair, config: &TlsConfig) -> Result<Self, CertificateError> {
        let of_certificate = |reason: String| CertificateError::new(&config.certificate, reason);
        let of_key = |reason: String| CertificateError::new(&config.key, reason);
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&pair.certificate).collect::<Result<_, _>>().map_err(|err| {
                of_certificate(format!(
                    "is not a valid PEM file ({}): write the certificate to it again",
                    fault(&err)
                ))
            })?;
        let Some(leaf) = chain.first() else {
            let reason = "holds no certificate: it must begin with -----BEGIN CERTIFICATE-----, as in certbot's \
                          fullchain.pem";
            return Err(of_certificate(reason.to_owned()));
        };
        let unreadable =
            |err: String| of_certificate(format!("holds a certificate that cannot be read ({err})"));
        let parsed = Parsed::from_der(leaf).map_err(|err| unreadable(err.to_string()))?;
        if parsed.tbs_certificate().version() != Version::V3 {
            let reason = "holds a certificate of X.509 version 1, which current clients refuse: make one with names \
                          (subjectAltName), as in openssl's -addext subjectAltName=DNS:hearken.example.com";
            return Err(of_certificate(reason.to_owned()));
        }
        let validity = parsed.tbs_certificate().validity();
        if memmem::find(&pair.key, b"ENCRYPTED").is_some() {
            let reason = "holds a private key with a pass phrase: write it without one, as openssl pkey does";
            return Err(of_key(reason.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|err| match err {
            pem::Error::NoItemsFound => of_key(
                "holds no private key: it must begin with -----BEGIN PRIVATE KEY-----, as in certbot's privkey.pem"
                    .to_owned(),
            ),
            err => of_key(format!("is not a valid PEM file ({}): write the key to it again", fault(&err))),
        })?;
        let key = ring::sign::any_supported_type(&key).map_err(|_| {
            let reason = "holds a private key of a type that hearken does not support: use RSA (2048 bits or more), \
                          ECDSA (P-256, P-384) or Ed25519";
            of_key(reason.to_owned())
        })?;
        let (names, begins, ends) = (
            names(&parsed).map_err(|err| unreadable(err.to_string()))?,
            UNIX_EPOCH + validity.not_before.to_unix_duration(),
            UNIX_EPOCH + validity.not_after.to_unix_duration(),
        );
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| {
            let file = config.certificate.path.display();
            of_key(format!(
                "holds a key that does not belong to the certificate in {file}: name the files of one pair, with the \
                 server's certificate before those of its issuers"
            ))
        })?;
        Ok(Self { key: Arc::new(key), names, begins, ends, is_authority: is_authority(&parsed) })
    }

    /// Returns one name or address for which the certificate is valid, in the form for a URL.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let name = self.names.first()?;
        Some(match (name.strip_prefix("*."), name.parse::<Ipv6Addr>()) {
            (Some(domain), _) => format!("hearken.{domain}"),
            (None, Ok(address)) => format!("[{address}]"),
            (None, Err(_)) => name.clone(),
        })
    }

    /// Returns when the certificate expires, as in `Fri, 15 May 2026 15:34:21 GMT`.
    #[must_use]
    pub fn ends(&self) -> String {
        httpdate::fmt_http_date(self.ends)
    }

    /// Returns a warning for the operator, if the certificate has a fault at this time.
    #[must_use]
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        let clients = "clients refuse it";
        if self.ends <= now {
            Some(format!("the certificate has expired on {}: {clients}; renew it", self.ends()))
        } else if now < self.begins {
            let begins = httpdate::fmt_http_date(self.begins);
            Some(format!("the certificate is valid only from {begins} on: {clients}; check the clock"))
        } else if self.is_authority {
            Some(
                "the certificate is marked as a certificate authority: many clients refuse it, also `hearken submit`; \
                 make it with `-addext basicConstraints=critical,CA:FALSE` after `openssl req -x509`"
                    .to_owned(),
            )
        } else if self.ends <= now + SOON {
            Some(format!("the certificate expires on {}: renew it", self.ends()))
        } else {
            None
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        write!(f, "for {names}, until {}", self.ends())
    }
}

/// Returns true for a certificate that may issue others, which is the default of `openssl req -x509`.
fn is_authority(certificate: &Parsed) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, BasicConstraints { ca: true, .. }))))
}

fn names(certificate: &Parsed) -> Result<Vec<String>, x509_cert::der::Error> {
    let Some((_, SubjectAltName(names))) = certificate.tbs_certificate().get_extension::<SubjectAltName>()?
    else {
        return Ok(Vec::new());
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(|address| address.to_string()),
        _ => None,
    };
    Ok(names.iter().filter_map(name).collect())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Describes the fault of a PEM file, without any of its content.
fn fault(err: &pem::Error) -> &'static str {
    match err {
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is broken",
        pem::Error::Base64Decode(_) => "its base64 is broken",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

    use super::*;

    fn config() -> TlsConfig {
        let file =
            |path: &str| ConfiguredFile { path: PathBuf::from(path), place: "h.toml:2: tls.x".to_owned() };
        TlsConfig { certificate: file("cert.pem"), key: file("key.pem") }
    }

    /// Makes a certificate for these names, valid from the beginning of 2020 to that of 2030.
    fn certificate(names: &[&str]) -> Certificate {
        marked(names, IsCa::NoCa)
    }

    fn marked(names: &[&str], is_ca: IsCa) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2030, 1, 1);
        parameters.is_ca = is_ca;
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let pair = Pair { certificate: certificate.into(), key: key.serialize_pem().into() };
        Certificate::check(&pair, &config()).unwrap()
    }

    #[test]
    fn a_certificate_shows_its_names_and_one_of_them_for_a_url() {
        let all = certificate(&["*.example.com", "example.com", "::1", "10.0.0.1"]);
        assert_eq!(
            all.to_string(),
            "for *.example.com, example.com, ::1, 10.0.0.1, until Tue, 01 Jan 2030 00:00:00 GMT"
        );
        assert_eq!(all.host().as_deref(), Some("hearken.example.com"));
        assert_eq!(certificate(&["::1"]).host().as_deref(), Some("[::1]"));
        assert_eq!(certificate(&["10.0.0.1"]).host().as_deref(), Some("10.0.0.1"));
        assert_eq!(certificate(&[]).host(), None);
    }

    #[test]
    fn a_warning_is_given_before_validity_and_two_weeks_before_expiry() {
        let certificate = certificate(&["localhost"]);
        let warning = |seconds_before_end: u64| {
            certificate
                .warning(certificate.ends - Duration::from_secs(seconds_before_end))
                .unwrap_or_default()
        };
        assert!(warning(0).contains("has expired on Tue, 01 Jan 2030"));
        assert!(warning(1).contains("expires on Tue, 01 Jan 2030 00:00:00 GMT: renew it"));
        assert!(warning(SOON.as_secs()).contains("renew it"));
        assert_eq!(warning(SOON.as_secs() + 1), "");
        let early = certificate.begins - Duration::from_secs(1);
        assert!(
            certificate.warning(early).unwrap().contains("valid only from Wed, 01 Jan 2020 00:00:00 GMT on")
        );
    }
    #[test]
    fn a_warning_is_given_for_a_certificate_authority() {
        for (is_ca, warns) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(BasicConstraints::Unconstrained), true),
        ] {
            let certificate = marked(&["localhost"], is_ca);
            let warning = certificate.warning(certificate.begins);
            assert_eq!(warning.is_some_and(|text| text.contains("CA:FALSE")), warns);
        }
    }
}
