//! Addresses to listen on: `listen` and `metrics.listen`.

use std::net::IpAddr;

use super::{MetricsListen, Problem};

/// A checked `host:port`.
pub(super) fn address(key: &str, listen: String, example: &str) -> Result<String, Problem> {
    match split(&listen) {
        Some((host, _)) if !host.is_empty() => Ok(listen),
        _ => Err(Problem::new(key, format!("{listen:?} is no address: write {example}"))),
    }
}

/// Where metrics are served, beside a server at `main`. A port alone is one of this machine only.
pub(super) fn metrics(listen: Option<String>, main: &str) -> Result<MetricsListen, Problem> {
    const KEY: &str = "metrics.listen";
    let listen = match listen.unwrap_or_default().as_str() {
        "" => return Ok(MetricsListen::Off),
        "main" => return Ok(MetricsListen::Main),
        port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
        port if port.starts_with(':') => format!("127.0.0.1{port}"),
        address => address.to_owned(),
    };
    let listen =
        address(KEY, listen, "\"main\", a port or an address as in \"127.0.0.1:9464\", or \"\" for none")?;
    if clash(&listen, main) {
        return Err(Problem::new(
            KEY,
            format!("{listen} is where the service listens: take another port, or write \"main\""),
        ));
    }
    Ok(MetricsListen::Own(listen))
}

fn split(listen: &str) -> Option<(&str, u16)> {
    let (host, port) = listen.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// Can only one of them be had? What is not seen here, the system says.
fn clash(one: &str, other: &str) -> bool {
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

    #[test]
    fn metrics_are_off_or_here_or_at_an_address_of_their_own() {
        let at =
            |listen: &str| metrics(Some(listen.to_owned()), "0.0.0.0:8080").map_err(|problem| problem.key);
        let own = |address: &str| Ok(MetricsListen::Own(address.to_owned()));
        for (listen, expected) in [
            ("", Ok(MetricsListen::Off)),
            ("main", Ok(MetricsListen::Main)),
            ("9464", own("127.0.0.1:9464")),
            (":9464", own("127.0.0.1:9464")),
            ("0.0.0.0:0", own("0.0.0.0:0")),
            ("[::1]:9464", own("[::1]:9464")),
            ("127.0.0.1:8080", Err("metrics.listen".to_owned())),
            ("there", Err("metrics.listen".to_owned())),
            ("70000", Err("metrics.listen".to_owned())),
        ] {
            assert_eq!(at(listen), expected, "{listen}");
        }
        assert_eq!(metrics(None, "127.0.0.1:8080"), Ok(MetricsListen::Off));
        assert!(metrics(Some("127.0.0.1:8080".into()), "10.0.0.1:8080").is_ok());
    }
}
