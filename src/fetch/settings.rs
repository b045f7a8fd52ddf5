//! `[fetch]`: the URLs from which audio may be downloaded, and the limits.

use std::time::Duration;

use serde::Deserialize;

use crate::audio::{Gate, HostPattern};
use crate::setting::{Keys, Problem, Section};

/// The settings for downloads of `audio_url`s.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// The gate, which decides whether a URL, or a target of a redirect, may be downloaded.
    pub gate: Gate,
    /// The largest file, in bytes.
    pub max_bytes: u64,
    /// The longest time for the name look-up, TCP and TLS of one hop.
    pub connect_timeout: Duration,
    /// The longest time for the whole download, with all its redirects.
    pub total_timeout: Duration,
    /// The most redirects that are followed. With 0, each redirect is a failure.
    pub max_redirects: u32,
}

/// The keys of `[fetch]`, as the user writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchKeys {
    allow_private_networks: Option<bool>,
    allow_hosts: Option<Vec<String>>,
    allow_ports: Option<Vec<u16>>,
    max_bytes: Option<u64>,
    connect_timeout_ms: Option<u64>,
    total_timeout_ms: Option<u64>,
    max_redirects: Option<u32>,
}

impl Keys for FetchKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("allow_private_networks", "true"),
        ("allow_hosts", "[\"files.example.com\"]"),
        ("allow_ports", "[443, 8443]"),
        ("max_redirects", "3"),
    ];
}

impl FetchKeys {
    /// Checks the keys.
    ///
    /// # Errors
    /// Returns a [`Problem`] for the first invalid value.
    pub fn checked(self, at: &Section<'_>) -> Result<FetchConfig, Problem> {
        let max_redirects = self.max_redirects.unwrap_or(3);
        if max_redirects > 20 {
            let reason = format!("a whole number from 0 to 20 is needed, and this is {max_redirects}");
            return Err(at.wrong("max_redirects", reason));
        }
        let allow_hosts = self.allow_hosts.unwrap_or_default();
        let allow_hosts = allow_hosts.iter().enumerate().map(|(index, text)| {
            HostPattern::parse(text)
                .map_err(|err| at.problem(&format!("allow_hosts[{index}]"), err.to_string()))
        });
        let allow_ports = self.allow_ports.unwrap_or_default();
        if let Some(index) = allow_ports.iter().position(|port| *port == 0) {
            return Err(at
                .wrong(&format!("allow_ports[{index}]"), "there is no port 0")
                .advise("list ports from 1 to 65535, or write an empty list to allow every port"));
        }
        Ok(FetchConfig {
            gate: Gate {
                allow_private_networks: self.allow_private_networks.unwrap_or(false),
                allow_hosts: allow_hosts.collect::<Result<_, _>>()?,
                allow_ports,
            },
            max_bytes: at.positive("max_bytes", self.max_bytes, 20_000_000)?,
            connect_timeout: at.milliseconds("connect_timeout_ms", self.connect_timeout_ms, 5_000)?,
            total_timeout: at.milliseconds("total_timeout_ms", self.total_timeout_ms, 60_000)?,
            max_redirects,
        })
    }
}
