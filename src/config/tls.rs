//! `[tls]`: the files for the listener's TLS.

use std::path::PathBuf;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// The PEM files for the listener's TLS. The [`server`](crate::server) reads them repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, followed by those of its issuers.
    pub certificate: ConfiguredFile,
    /// The private key of the certificate.
    pub key: ConfiguredFile,
}

/// A file that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The place where the path was set, for messages about a file that turns out to be unusable.
    pub place: String,
}

/// The keys of `[tls]`, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsKeys {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Keys for TlsKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] =
        &[("certificate", "\"/etc/hearken/fullchain.pem\""), ("key", "\"/etc/hearken/privkey.pem\"")];
}

impl TlsKeys {
    /// Accepts both files or neither. An empty text counts as not set, so that the environment can switch TLS off.
    pub(super) fn checked(self, at: &Section<'_>) -> Result<Option<TlsConfig>, Problem> {
        let named = |path: Option<PathBuf>| {
            let path = path.filter(|path| !path.as_os_str().is_empty())?;
            Some(ConfiguredFile { path, place: String::new() })
        };
        match (named(self.certificate), named(self.key)) {
            (Some(certificate), Some(key)) => Ok(Some(TlsConfig { certificate, key })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                let advice =
                    "remove tls.certificate, or name the PEM file with the certificate's private key";
                Err(at.wrong("key", "it is missing").advise(advice))
            }
            (None, Some(_)) => {
                let advice =
                    "remove tls.key, or name the PEM file with the certificate and those of its issuers";
                Err(at.wrong("certificate", "it is missing").advise(advice))
            }
        }
    }
}
