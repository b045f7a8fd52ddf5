//! Addresses to listen on: `listen` and `metrics.listen`.

use std::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;

use crate::setting::{Keys, Problem, Section};

/// The listener that serves metrics, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsListen {
    /// Metrics are not served.
    Off,
    /// The main listener serves metrics.
    Main,
    /// A separate listener at this `host:port` serves metrics.
    Own(String),
}

/// The keys of `[metrics]`, as the file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsKeys {
    listen: Option<String>,
}

impl Keys for MetricsKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("listen", "\"127.0.0.1:9464\"")];
}

/// Checks the address of the main listener.
pub(super) fn main_address(listen: String) -> Result<String, Problem> {
    check_address(&listen).map_err(|wrong| {
        let problem = Problem::value("listen", wrong.reason);
        match wrong.port {
            Some(port) => problem.advise(format!(
                "127.0.0.1:{port} accepts connections from this machine only, 0.0.0.0:{port} from any machine; \
                 write one of them"
            )),
            None => problem,
        }
    })?;
    Ok(listen)
}

impl MetricsKeys {
    /// Checks where metrics are served, beside a main listener at the address `main`. A port without an address means
    /// that only this machine can connect.
    pub(super) fn checked(self, at: &Section<'_>, main: &str) -> Result<MetricsListen, Problem> {
        let listen = match self.listen.unwrap_or_default().as_str() {
            "" => return Ok(MetricsListen::Off),
            "main" => return Ok(MetricsListen::Main),
            port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
            port if port.starts_with(':') => format!("127.0.0.1{port}"),
            address => address.to_owned(),
        };
        check_address(&listen).map_err(|wrong| {
            at.wrong("listen", wrong.reason)
                .advise("write main, a port or an address; or write \"\" to serve no metrics")
        })?;
        if conflict(&listen, main) {
            let reason = format!("the service itself listens on {listen}");
            return Err(at.problem("listen", reason).advise("choose another port, or write main"));
        }
        Ok(MetricsListen::Own(listen))
    }
}

/// The reason why a text is not an address.
struct WrongAddress {
    reason: String,
    /// The port, if the text is only a port.
    port: Option<u16>,
}

/// Checks that a text is an address to listen on: a name or an IP address, and a port.
fn check_address(listen: &str) -> Result<(), WrongAddress> {
    let wrong = |reason: String| Err(WrongAddress { reason, port: None });
    if listen.trim().is_empty() {
        return wrong("an address and a port are needed, and this is empty".to_owned());
    }
    if let Ok(port) = listen.strip_prefix(':').unwrap_or(listen).parse() {
        return Err(WrongAddress {
            reason: format!("{listen:?} is a port without an address"),
            port: Some(port),
        });
    }
    if listen.contains("://") {
        return wrong(format!("{listen:?} is a URL, and an address and a port are needed"));
    }
    let bare = listen.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() && !listen.contains("]:") {
        return wrong(format!("{listen:?} has no port (an IPv6 address needs brackets, as in [::1]:8080)"));
    }
    let Some((host, port)) = listen.rsplit_once(':') else {
        return wrong(format!("{listen:?} has no port"));
    };
    if port.parse::<u16>().is_err() {
        return wrong(format!("{port:?} is not a port, which is a number from 0 to 65535"));
    }
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    if is_host {
        Ok(())
    } else {
        wrong(format!("{host:?} is neither a name nor an IP address (an IPv6 address needs brackets)"))
    }
}

fn split(listen: &str) -> Option<(&str, u16)> {
    let (host, port) = listen.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// Returns true if a listener at one address prevents a listener at the other. The system reports the conflicts that
/// this check misses.
fn conflict(one: &str, other: &str) -> bool {
    let (Some((one, port)), Some((other, its_port))) = (split(one), split(other)) else { return false };
    let everywhere = |host: &str| {
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        ip.is_ok_and(|ip| ip.is_unspecified())
    };
    port != 0 && port == its_port && (one == other || everywhere(one) || everywhere(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::{Subject, Variables};

    fn metrics(listen: &str, main: &str) -> Result<MetricsListen, Problem> {
        let keys = MetricsKeys { listen: Some(listen.to_owned()) };
        keys.checked(&Section::new("metrics", &Variables::default()), main)
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for listen in
            ["127.0.0.1:8080", "0.0.0.0:0", "[::]:8080", "[::1]:0", "localhost:80", "my-host.example:65535"]
        {
            assert!(check_address(listen).is_ok(), "{listen}");
        }
        for (listen, reason) in [
            ("", "this is empty"),
            (" ", "this is empty"),
            ("8080", "a port without an address"),
            (":8080", "a port without an address"),
            ("localhost", "has no port"),
            ("127.0.0.1", "has no port"),
            ("::1", "has no port"),
            ("[::1]", "has no port"),
            ("127.0.0.1:", "\"\" is not a port"),
            ("127.0.0.1:99999", "\"99999\" is not a port"),
            ("127.0.0.1:-1", "\"-1\" is not a port"),
            ("http://127.0.0.1:8080", "is a URL"),
            ("::1:8080", "has no port"),
            ("fe80::1%eth0:8080", "needs brackets"),
            ("a b:8080", "neither a name nor an IP address"),
        ] {
            let wrong = check_address(listen).expect_err(listen);
            assert!(wrong.reason.contains(reason), "{listen}: {}", wrong.reason);
        }
    }

    #[test]
    fn metrics_are_off_or_on_the_main_or_a_separate_listener() {
        let at = |listen: &str| metrics(listen, "0.0.0.0:8080").map_err(|problem| problem.subject);
        let own = |address: &str| Ok(MetricsListen::Own(address.to_owned()));
        for (listen, expected) in [
            ("", Ok(MetricsListen::Off)),
            ("main", Ok(MetricsListen::Main)),
            ("9464", own("127.0.0.1:9464")),
            (":9464", own("127.0.0.1:9464")),
            ("0.0.0.0:0", own("0.0.0.0:0")),
            ("[::1]:9464", own("[::1]:9464")),
            ("127.0.0.1:8080", Err(Subject::Key("metrics.listen".to_owned()))),
            ("there", Err(Subject::Key("metrics.listen".to_owned()))),
            ("70000", Err(Subject::Key("metrics.listen".to_owned()))),
        ] {
            assert_eq!(at(listen), expected, "{listen}");
        }
        assert!(metrics("127.0.0.1:8080", "10.0.0.1:8080").is_ok());
    }
}
