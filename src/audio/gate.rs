//! Which URLs hearken may fetch from, judged by their text: the gate that every URL of a client and every hop of a
//! redirect passes.
//!
//! Nothing is fetched and no name is resolved here. An address that is literally internal is refused at once;
//! what a name resolves to is asked again with [`Gate::allows`], when it is known.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;

/// Longest URL that is accepted, in bytes: what common servers take.
const MAX_URL_BYTES: usize = 8192;

/// Which URLs may be fetched from: part of `[fetch]`.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// May they point at addresses that are not public?
    pub allow_private_networks: bool,
}

/// Why a URL may not be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no URL that could be fetched; the text says why.
    #[error("{0}")]
    Malformed(String),
    /// Its host is literally internal.
    #[error("its host is not on the public internet")]
    Internal,
}

impl Gate {
    /// Reads a URL as a client wrote it.
    ///
    /// # Errors
    /// Why it may not be fetched from.
    pub fn admit(&self, text: &str) -> Result<Url, Refusal> {
        let malformed = |reason: &str| Err(Refusal::Malformed(reason.to_owned()));
        if text.len() > MAX_URL_BYTES {
            return malformed(&format!("the URL is longer than {MAX_URL_BYTES} bytes"));
        }
        let authority = text.split_once(':').map(|(_, rest)| rest).unwrap_or_default();
        // Of `https:///a.wav` the parser would make the host a.wav.
        if !authority.starts_with("//")
            || authority.starts_with("///")
            || text.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return malformed("the URL must read https://host/path, without white space");
        }
        let url =
            Url::parse(text).map_err(|err| Refusal::Malformed(format!("the URL does not parse ({err})")))?;
        self.check(&url)?;
        Ok(url)
    }

    /// Judges a URL that was parsed: the client's, or one to which a server redirects.
    ///
    /// # Errors
    /// Why it may not be fetched from.
    pub fn check(&self, url: &Url) -> Result<(), Refusal> {
        let internal = match url.host() {
            None => return Err(Refusal::Malformed("the URL has no host".to_owned())),
            Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
            Some(Host::Domain(name)) => is_internal_name(name),
        };
        if internal && !self.allow_private_networks { Err(Refusal::Internal) } else { Ok(()) }
    }

    /// May a connection go to this address, which is what `host` resolved to?
    #[must_use]
    pub fn allows(&self, _host: &str, address: IpAddr) -> bool {
        self.allow_private_networks || is_public(address)
    }
}

fn is_internal_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    name.is_empty() || matches!(last, "localhost" | "local" | "internal" | "localdomain")
}
