//! Decides by the text of a URL whether hearken may download from it. Every URL of a client and every hop of a redirect
//! passes this gate.
//!
//! Nothing is fetched and no name is resolved here. A literal address that is internal is refused at once, and so is a
//! name that no public host can have. [`Gate::allows`] judges the address to which a name resolves, once it is known.
//!
//! The parser handles the spellings: the url crate follows the WHATWG's URL Standard, so `http://0x7f.1/`,
//! `http://①②⑦.0.0.1/` and `http://%6cocalhost/` are judged as the hosts that they mean. hearken stores and fetches the
//! parsed URL, never the client's text.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;
use super::host_pattern::{HostPattern, is_well_formed};

/// The longest URL that is accepted, in bytes: common servers accept no longer ones.
const MAX_URL_BYTES: usize = 8192;

/// Names and suffixes that no public host has. The addresses of other names are judged when they are known. These names
/// are refused early because they can only mean an internal host.
const INTERNAL_SUFFIXES: &[&str] = &[
    "corp",         // never delegated, because networks use it (ICANN, 2018; RFC 6762, appendix G)
    "home",         // the same
    "home.arpa",    // home networks (RFC 8375)
    "internal",     // reserved for private use (ICANN, 2024); clouds' metadata services
    "intranet",     // not delegated, in private use (RFC 6762, appendix G)
    "lan",          // the same
    "local",        // multicast DNS (RFC 6762); Kubernetes' cluster.local
    "localdomain",  // loopback in many /etc/hosts files
    "localdomain4", // the same
    "localdomain6", // the same
    "localhost",    // loopback (RFC 6761)
    "onion",        // Tor (RFC 7686)
    "private",      // not delegated, in private use (RFC 6762, appendix G)
    "svc",          // Kubernetes, as in kubernetes.default.svc
];

/// Decides which URLs may be fetched from: part of `[fetch]`. The default is the strictest useful setting.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// True if URLs may point at addresses that are not public.
    pub allow_private_networks: bool,
    /// The hosts that the operator opened deliberately: neither their addresses nor their ports are restricted. Other
    /// hosts are restricted as before.
    pub allow_hosts: Vec<HostPattern>,
    /// The allowed ports of other hosts; empty: any port.
    pub allow_ports: Vec<u16>,
}

/// The reason why a URL may not be fetched from, in words for the client that sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// The text is not a URL that can be fetched; the message says why and what to do.
    #[error("{0}")]
    Malformed(String),
    /// The scheme is neither http nor https.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// The URL has text before an `@`.
    #[error(
        "it holds a user name or a password, which would be stored but never sent: use a URL that needs \
         none, such as a pre-signed one"
    )]
    Credentials,
    /// The host is a literal address that is not public.
    #[error(
        "{0} is not a public address: put the file at a public address, or send it as a data: URI (the \
         operator of this service can allow the address)"
    )]
    InternalAddress(IpAddr),
    /// The host has a name that no public host has.
    #[error(
        "{0} is not a name of a public host: use one like files.example.com, or send the file as a data: URI \
         (the operator of this service can allow the host)"
    )]
    InternalName(String),
    /// The port is not among the configured ones.
    #[error(
        "this service does not fetch from port {0}: use an https:// URL without a port (the operator of this \
         service can allow the port)"
    )]
    Port(u16),
}

impl Gate {
    /// Reads a URL as a client wrote it. White space and byte order marks around it were copied by accident and are
    /// removed. Its fragment, which only concerns the client, is dropped.
    ///
    /// # Errors
    /// The reason why the URL may not be fetched from.
    pub fn admit(&self, text: &str) -> Result<Url, UrlRefusal> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
        let (scheme, rest) = text.split_once(':').ok_or(UrlRefusal::Scheme)?;
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlRefusal::Scheme);
        }
        check_length(text)?;
        // The parser is as forgiving as browsers: it would drop tabs and line ends, and read \ as /.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return malformed(
                "it contains white space, a control character or a backslash: encode it, such as a space as %20",
            );
        }
        // The parser would read the host a.wav from `https:a.wav` and `https:///a.wav`.
        let authority = rest.strip_prefix("//").filter(|rest| !rest.starts_with('/')).ok_or_else(|| {
            UrlRefusal::Malformed(
                "it must have the form https://host/path, with two slashes and a host".to_owned(),
            )
        })?;
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        // The parser drops empty credentials, so they are refused here. They only serve to deceive readers.
        if authority.contains('@') {
            return Err(UrlRefusal::Credentials);
        }
        let mut url = Url::parse(text)
            .map_err(|err| UrlRefusal::Malformed(format!("the URL does not parse: {err}")))?;
        url.set_fragment(None);
        self.check(&url)?;
        Ok(url)
    }

    /// Checks a parsed URL: the client's, or one to which a server redirects.
    ///
    /// # Errors
    /// The reason why the URL may not be fetched from.
    pub fn check(&self, url: &Url) -> Result<(), UrlRefusal> {
        check_length(url.as_str())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlRefusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefusal::Credentials);
        }
        let host = url.host().ok_or_else(|| UrlRefusal::Malformed("it has no host".to_owned()))?;
        if let Host::Domain(name) = host
            && !is_well_formed(name)
        {
            return malformed("its host is not a valid name: use labels of letters, digits and hyphens");
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if port == 0 {
            return malformed("no server can listen on port 0: leave the port out");
        }
        if self.is_allowed_host(url.host_str().unwrap_or_default()) {
            return Ok(());
        }
        if !self.allow_private_networks {
            check_host(host)?;
        }
        if !self.allow_ports.is_empty() && !self.allow_ports.contains(&port) {
            return Err(UrlRefusal::Port(port));
        }
        Ok(())
    }

    /// Returns true if a connection may go to this address, to which `host` resolved. The host is written as in
    /// [`Url::host_str`].
    #[must_use]
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        self.allow_private_networks || is_public(address) || self.is_allowed_host(host)
    }

    fn is_allowed_host(&self, host: &str) -> bool {
        self.allow_hosts.iter().any(|pattern| pattern.matches(host))
    }
}

fn malformed<T>(reason: &str) -> Result<T, UrlRefusal> {
    Err(UrlRefusal::Malformed(reason.to_owned()))
}

fn check_length(text: &str) -> Result<(), UrlRefusal> {
    if text.len() > MAX_URL_BYTES {
        return malformed(&format!("it is longer than {MAX_URL_BYTES} bytes: send a shorter URL"));
    }
    Ok(())
}

fn check_host(host: Host<&str>) -> Result<(), UrlRefusal> {
    let address = match host {
        Host::Domain(name) if is_internal_name(name) => {
            return Err(UrlRefusal::InternalName(name.to_owned()));
        }
        Host::Domain(_) => return Ok(()),
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
    };
    if is_public(address) { Ok(()) } else { Err(UrlRefusal::InternalAddress(address)) }
}

/// Returns true for a name that only a private network resolves. The parser has lower-cased it.
fn is_internal_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    // The resolver completes a name without a dot from its search list, or the name is a top-level domain.
    !name.contains('.')
        || INTERNAL_SUFFIXES.iter().any(|suffix| {
            name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use awc::http::Uri;
    use proptest::prelude::*;

    use super::*;

    const REFUSED: &str = include_str!("../../tests/fixtures/urls/refused.toml");
    const ACCEPTED: &str = include_str!("../../tests/fixtures/urls/accepted.toml");

    fn gate(hosts: &[&str], ports: &[u16]) -> Gate {
        Gate {
            allow_hosts: hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
            allow_ports: ports.to_vec(),
            ..Gate::default()
        }
    }

    #[test]
    fn an_allowed_host_is_restricted_neither_in_address_nor_in_port() {
        let gate = gate(&["minio", "*.internal", "127.0.0.1", "::1"], &[443]);
        for url in [
            "http://minio/a.wav",
            "http://MINIO.:9000/a.wav",
            "http://files.corp.internal:81/",
            "http://127.0.0.1:9000/",
            "http://2130706433:9000/",
            "http://[::1]:9000/",
            "http://[0:0:0:0:0:0:0:1]/",
        ] {
            assert!(gate.admit(url).is_ok(), "{url}: {:?}", gate.admit(url));
        }
        for url in ["http://internal/", "http://127.0.0.2/", "http://[::ffff:127.0.0.1]/", "http://redis/"] {
            assert!(gate.admit(url).is_err(), "{url}");
        }
        assert_eq!(
            gate.admit("http://minio:0/").map_err(|err| err.to_string().contains("port 0")),
            Err(true)
        );
        let inside = IpAddr::from([10, 0, 0, 7]);
        assert!(gate.allows("minio", inside) && gate.allows("a.internal", inside));
        assert!(gate.allows("[::1]", "::1".parse().unwrap()));
        assert!(!gate.allows("minio.example.com", inside));
        // A host is allowed by its name, which does not allow every name that resolves to the same address.
        assert!(!gate.allows("files.example.com", IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn a_list_of_hosts_neither_opens_nor_closes_other_hosts() {
        let gate = gate(&["minio"], &[]);
        assert!(gate.admit("https://files.example.com:8443/a.wav").is_ok());
        assert!(gate.allows("files.example.com", IpAddr::from([8, 8, 8, 8])));
        assert!(gate.admit("http://10.0.0.7/").is_err());
    }

    #[test]
    fn only_listed_ports_pass_if_there_is_a_list() {
        let listed = gate(&[], &[443, 8443]);
        for url in
            ["https://a.example/", "https://a.example:443/", "http://a.example:8443/", "https://8.8.8.8/"]
        {
            assert!(listed.admit(url).is_ok(), "{url}");
        }
        assert_eq!(listed.admit("http://a.example/"), Err(UrlRefusal::Port(80)));
        assert_eq!(listed.admit("https://a.example:80/"), Err(UrlRefusal::Port(80)));
        assert_eq!(listed.admit("https://a.example:22/"), Err(UrlRefusal::Port(22)));
        let private = Gate { allow_private_networks: true, ..listed };
        assert_eq!(
            private.admit("https://10.0.0.7:22/"),
            Err(UrlRefusal::Port(22)),
            "allowing all networks does not allow all ports"
        );
        assert!(gate(&[], &[]).admit("https://a.example:22/").is_ok());
    }

    #[test]
    fn allowing_private_networks_frees_names_and_addresses_only() {
        let gate = Gate { allow_private_networks: true, ..Gate::default() };
        for url in ["http://localhost:8000/a.wav", "http://redis/", "http://127.1/", "http://[::1]/"] {
            assert!(gate.admit(url).is_ok(), "{url}");
        }
        for url in ["http://a@localhost/", "ftp://localhost/", "http://localhost:0/", "http://a..b/"] {
            assert!(gate.admit(url).is_err(), "{url}");
        }
        assert!(gate.allows("localhost", IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn a_hop_of_a_redirect_is_judged_like_a_clients_url() {
        let hop = |text: &str| Gate::default().check(&Url::parse(text).unwrap());
        assert_eq!(hop("https://cdn.example.com/a.wav"), Ok(()));
        assert_eq!(hop("file:///etc/passwd"), Err(UrlRefusal::Scheme));
        assert_eq!(hop("data:audio/wav;base64,AAAA"), Err(UrlRefusal::Scheme));
        assert_eq!(hop("https://a:b@example.com/"), Err(UrlRefusal::Credentials));
        assert!(matches!(hop("http://0x7f.1/"), Err(UrlRefusal::InternalAddress(_))));
        assert!(matches!(hop("http://metadata/"), Err(UrlRefusal::InternalName(_))));
        assert!(matches!(hop("http://example.com:0/"), Err(UrlRefusal::Malformed(_))));
        assert!(matches!(
            hop(&format!("http://example.com/{}", "a".repeat(8192))),
            Err(UrlRefusal::Malformed(_))
        ));
    }

    #[test]
    fn a_fragment_is_dropped() {
        let url = Gate::default().admit("https://example.com/a.wav?x=1#secret").unwrap();
        assert_eq!(url.as_str(), "https://example.com/a.wav?x=1");
    }

    #[test]
    fn no_spelling_of_an_internal_host_passes() {
        type Table = BTreeMap<String, BTreeMap<String, Vec<String>>>;
        let table: Table = toml::from_str(&REFUSED.replace("PORT", "4711")).unwrap();
        let spellings = table.iter().flat_map(|(reason, tricks)| {
            tricks.iter().flat_map(move |(trick, urls)| urls.iter().map(move |url| (reason, trick, url)))
        });
        let mut wrong = Vec::new();
        for (reason, trick, url) in spellings.clone() {
            match Gate::default().admit(url) {
                Err(refusal) if refusal.to_string().contains(reason) => {}
                other => wrong.push(format!("{reason:?}, {trick}: {url:?}: {other:?}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(spellings.count() >= 290);
    }

    #[test]
    fn public_urls_pass_in_one_spelling() {
        type Table = BTreeMap<String, BTreeMap<String, String>>;
        for (text, stored) in toml::from_str::<Table>(ACCEPTED).unwrap().into_values().flatten() {
            let url = Gate::default().admit(&text).unwrap_or_else(|err| panic!("{text}: {err}"));
            assert_eq!(url.as_str(), stored, "{text}");
            assert_eq!(Gate::default().admit(&stored), Ok(url), "{stored}");
            same_for_the_client(&stored).unwrap();
        }
    }

    /// Checks that the HTTP client reads an accepted URL as the gate judged it.
    fn same_for_the_client(accepted: &str) -> Result<(), TestCaseError> {
        let parsed = Url::parse(accepted).unwrap();
        let read = accepted.parse::<Uri>();
        prop_assert!(read.is_ok(), "the client does not read {accepted}: {read:?}");
        let read = read.unwrap();
        let default = if read.scheme_str() == Some("https") { 443 } else { 80 };
        prop_assert_eq!(read.scheme_str(), Some(parsed.scheme()));
        prop_assert_eq!(read.host(), parsed.host_str());
        prop_assert_eq!(read.port_u16().unwrap_or(default), parsed.port_or_known_default().unwrap());
        prop_assert!(!read.authority().unwrap().as_str().contains('@'));
        prop_assert_eq!(read.path_and_query().unwrap().as_str(), &parsed[url::Position::BeforePath..]);
        Ok(())
    }

    fn properties_of_what_is_accepted(text: &str) -> Result<(), TestCaseError> {
        let Ok(url) = Gate::default().admit(text) else { return Ok(()) };
        prop_assert!(matches!(url.scheme(), "http" | "https"));
        prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        match url.host() {
            Some(Host::Domain(name)) => {
                prop_assert!(name.trim_end_matches('.').contains('.') && is_well_formed(name), "{name}");
            }
            Some(Host::Ipv4(address)) => prop_assert!(is_public(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => prop_assert!(is_public(IpAddr::V6(address))),
            None => prop_assert!(false, "no host: {url}"),
        }
        prop_assert_eq!(Gate::default().admit(url.as_str()), Ok(url.clone()));
        same_for_the_client(url.as_str())
    }

    /// Returns the spellings of an IPv4 address that the C library's inet_aton and browsers read.
    fn classic_spellings(address: u32) -> Vec<String> {
        let [a, b, c, d] = address.to_be_bytes();
        let (low24, low16) = (address & 0xff_ffff, address & 0xffff);
        vec![
            format!("{a}.{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("{a}.{b}.{low16}"),
            format!("{a}.{low24}"),
            format!("{address}"),
            format!("{address:#x}"),
            format!("0X{address:08X}."),
            format!("0{address:o}"),
            format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("0000{a:o}.{b:#06x}.{low16}"),
            format!("{a}.0{low24:o}"),
            format!("{a}%2e{b}%2E{c}.{d}"),
            format!("{a}.{b}.{c}.{d}").chars().map(full_width).collect(),
        ]
    }

    fn full_width(c: char) -> char {
        char::from_u32(c as u32 + 0xfee0).unwrap_or(c)
    }

    /// Hosts of all kinds, some with a public or an internal suffix.
    fn host() -> impl Strategy<Value = String> {
        let start = prop_oneof![
            "localhost|redis|0x[0-9a-f]{1,8}|[0-9]{1,10}",
            "[0-9.x]{1,15}",
            r"\[[0-9a-f:.]{2,20}\]",
            r"\[2[46a]0[0-9](:[0-9a-f]{1,4}){1,4}::\]",
            "[a-z0-9_-]{1,12}",
            r"[a-z0-9_\-.%①ß。{}*~!$&'(),;=+]{0,12}",
        ];
        (start, r"(\.(com|local|example))?\.?").prop_map(|(start, end)| start + &end)
    }

    proptest! {
        #[test]
        fn every_accepted_url_is_public_and_read_alike_by_the_client(
            scheme in "(?i)https?",
            user in "([a-z]{0,2}(:[a-z]?)?@)?",
            host in host(),
            port in "(:[0-9]{0,5})?",
            rest in r"([/?#]\PC{0,20})?",
        ) {
            properties_of_what_is_accepted(&format!("{scheme}://{user}{host}{port}{rest}"))?;
        }

        #[test]
        fn every_text_that_is_accepted_is_a_public_url(text in r"(https?:/{0,3})?\PC*") {
            properties_of_what_is_accepted(&text)?;
        }

        #[test]
        fn an_ipv4_address_passes_in_every_spelling_or_in_none(random: u32, special in 0..4_usize) {
            // Most addresses that are tried are within or beside the closed blocks.
            let near = random >> 15;
            let address = [random, 0x7f00_0000 | near, 0xa9fe_0000 | near, random >> 7][special];
            let public = is_public(IpAddr::from(address.to_be_bytes()));
            for host in classic_spellings(address) {
                let admitted = Gate::default().admit(&format!("http://{host}/"));
                prop_assert_eq!(admitted.is_ok(), public, "{}: {:?}", host, admitted);
            }
        }
    }
}
