//! `[tls]`: the files that the listener speaks TLS with.

use std::path::PathBuf;

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// The PEM files that the listener speaks TLS with. They are read by [`server`](crate::server), again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and behind it those of its issuers.
    pub certificate: ConfiguredFile,
    /// The certificate's private key.
    pub key: ConfiguredFile,
}

/// A file that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredFile {
    /// Where it is.
    pub path: PathBuf,
    /// Where that was set, to name it when the file turns out to be of no use.
    pub place: String,
}

/// `[tls]`, as it may be written.
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
    /// Takes both files or neither. An empty text is none, so that the environment can switch TLS off.
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
