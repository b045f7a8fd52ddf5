//! The hosts that an operator lists in `fetch.allow_hosts`: one exact host, or all names below a suffix.

use std::net::Ipv6Addr;

use url::Host;

/// A host, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// The host as the url crate writes it, but without brackets and without a dot at the end.
    host: String,
    /// True if the pattern covers the names below the host, not the host itself.
    below: bool,
}

/// Explains why a text is not a pattern, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a host: write a name like \"files.example.com\", an address like \"10.0.0.7\" or \"[::1]\", \
         or \"*.example.com\" for all names below one; without scheme, port and path"
)]
pub struct NoHost(String);

impl HostPattern {
    /// Reads an exact name, a literal address (IPv6 with or without brackets) or `*.suffix`. The text is
    /// normalised as the host of a URL is: letter case, IDNA, spellings of addresses.
    ///
    /// # Errors
    /// [`NoHost`], if the text is none of these.
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        let refused = || NoHost(text.to_owned());
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |suffix| (true, suffix));
        let host = if let Ok(address) = bare(name).parse::<Ipv6Addr>() {
            Host::Ipv6(address)
        } else {
            // The parser would decode an escape, and would take a star for a letter.
            if name.contains(['%', '*']) || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(refused());
            }
            Host::parse(name).map_err(|_| refused())?
        };
        if let Host::Domain(name) = &host
            && !is_well_formed(name)
        {
            return Err(refused());
        }
        if below && !matches!(host, Host::Domain(_)) {
            return Err(refused());
        }
        Ok(Self { host: normal(&host.to_string()).to_owned(), below })
    }

    /// Returns true if the pattern covers the host of a parsed URL (IPv6 with or without brackets).
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = normal(host);
        if !self.below {
            return host.eq_ignore_ascii_case(&self.host);
        }
        // Bytes, because a text need not have a character boundary where the suffix would begin.
        let (host, suffix) = (host.as_bytes(), self.host.as_bytes());
        host.len()
            .checked_sub(suffix.len() + 1)
            .is_some_and(|dot| dot > 0 && host[dot] == b'.' && host[dot + 1..].eq_ignore_ascii_case(suffix))
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.host)
    }
}

/// Returns true for a name that can be looked up: labels of 1 to 63 letters, digits, hyphens and underscores, at most
/// 253 bytes in all (RFC 1035, 2.3.4), with or without a dot at the end.
pub(super) fn is_well_formed(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Returns a host in the form that patterns keep: without the brackets of IPv6 and the dot of the root.
fn normal(host: &str) -> &str {
    let host = bare(host);
    host.strip_suffix('.').unwrap_or(host)
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(host)
    }

    #[test]
    fn an_exact_host_matches_itself_however_it_is_written() {
        for (pattern, host) in [
            ("files.example.com", "files.example.com"),
            ("Files.Example.COM.", "files.example.com"),
            ("files.example.com", "FILES.example.com."),
            ("minio", "minio"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("my_bucket.example", "my_bucket.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1]", "::1"),
            ("[0:0::0:1]", "[::1]"),
            ("FD00::A", "[fd00::a]"),
        ] {
            assert!(matches(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("example.com", "files.example.com"),
            ("example.com", "example.com.evil.example"),
            ("example.com", "example.org"),
            ("example.com", "example.com.."),
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "[::ffff:7f00:1]"),
            ("::1", "[::2]"),
        ] {
            assert!(!matches(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn a_suffix_matches_the_names_below_it_and_not_itself() {
        for host in ["a.example.com", "a.b.example.com", "A.Example.Com", "a.example.com."] {
            assert!(matches("*.example.com", host), "{host}");
            assert!(matches("*.EXAMPLE.com.", host), "{host}");
        }
        for host in
            ["example.com", ".example.com", "badexample.com", "a.example.com.org", "com", "", "é.example.co"]
        {
            assert!(!matches("*.example.com", host), "{host}");
        }
        assert!(matches("*.internal", "metadata.google.internal"));
    }

    #[test]
    fn texts_that_are_not_hosts_are_refused_as_patterns() {
        for text in [
            "",
            "*",
            "*.",
            "**",
            "*.*",
            "*.*.example.com",
            "a.*.com",
            "a*.example.com",
            "example.*",
            ".",
            "..",
            ".example.com",
            "a..b",
            "https://example.com",
            "example.com/",
            "example.com/a",
            "example.com:443",
            "127.0.0.1:9000",
            "[::1]:80",
            "[::1",
            "::1]",
            "*.127.0.0.1",
            "*.[::1]",
            "*.::1",
            "user@example.com",
            "example.com?x",
            "example.com#x",
            "a b",
            " example.com",
            "example.com\n",
            "ex%61mple.com",
            "256.0.0.1",
            "1.2.3.4.5",
            "a{b}.example",
            "10.0.0.0/8",
            "fe80::1%eth0",
            "example.com,example.org",
        ] {
            let error = HostPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains("*.example.com"), "{error}");
        }
    }
}
