//! Caddy, with `deploy/caddy/Caddyfile`.

use std::process::Command;

use super::{Place, Proxy, adapted, proxy_suite};
use crate::support::hearken::Hearken;

proxy_suite!(caddy);

/// Starts Caddy in front of this program.
fn caddy(hearken: &Hearken) -> Proxy {
    let place = Place::new();
    let site = format!("https://localhost:{} {{\n\ttls cert.pem key.pem", place.address.port());
    let ours = hearken.client().address.to_string();
    let sites = adapted("caddy/Caddyfile", &[("hearken.example.com {", &site), ("127.0.0.1:8080", &ours)]);
    // Several of them run at the same time, so none may use a fixed port, for administration or for redirects.
    let options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_bind 127.0.0.1\n}\n";
    std::fs::write(place.directory.path().join("Caddyfile"), options.to_owned() + &sites).unwrap();
    let mut command = Command::new("caddy");
    command
        .args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"])
        .env("XDG_DATA_HOME", place.directory.path())
        .env("XDG_CONFIG_HOME", place.directory.path());
    // At TERM, Caddy would wait for its open connections.
    place.start(&mut command, "KILL")
}
