//! Every URL that the gate accepts is public, and the HTTP client reads the same host and port in it.
//!
//! ```sh
//! mkdir -p tests/fuzz/corpus/url_gate
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none url_gate \
//!     tests/fuzz/corpus/url_gate tests/fuzz/seeds/url_gate -- \
//!     -dict=tests/fuzz/url_gate.dict -max_total_time=60 -timeout=5
//! ```
#![no_main]

use std::net::IpAddr;

use hearken::audio::{Gate, is_public};
use http::Uri;
use libfuzzer_sys::fuzz_target;
use url::{Host, Position};

fuzz_target!(|text: &str| {
    let Ok(url) = Gate::default().admit(text) else { return };
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    match url.host().expect("an accepted URL has a host") {
        Host::Domain(name) => assert!(name.trim_end_matches('.').contains('.'), "{name}"),
        Host::Ipv4(address) => assert!(is_public(IpAddr::V4(address)), "{address}"),
        Host::Ipv6(address) => assert!(is_public(IpAddr::V6(address)), "{address}"),
    }
    assert_eq!(Gate::default().admit(url.as_str()).as_ref(), Ok(&url), "what is stored is accepted again");

    let read: Uri = url.as_str().parse().expect("the client reads what was accepted");
    let default = if url.scheme() == "https" { 443 } else { 80 };
    assert_eq!(read.scheme_str(), Some(url.scheme()));
    assert_eq!(read.host(), url.host_str());
    assert_eq!(Some(read.port_u16().unwrap_or(default)), url.port_or_known_default());
    assert_eq!(read.path_and_query().map(|path| path.as_str()), Some(&url[Position::BeforePath..]));
});
