//! Protection of the machine's own network: no spelling of a URL makes the program connect to a listener of its
//! machine.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use serde_json::json;

use crate::support::hearken::{Builder, Hearken};
use crate::support::host::Host;
use crate::support::http::Client;
use crate::support::upstream::FakeUpstream;

const REFUSED: &str = include_str!("../fixtures/urls/refused.toml");
const ACCEPTED: &str = include_str!("../fixtures/urls/accepted.toml");

/// A listener on loopback, at one port of both IP versions where there are two. No connection must come.
struct LoopbackListener {
    listeners: Vec<TcpListener>,
    port: u16,
}

impl LoopbackListener {
    fn listen() -> Self {
        let v4 = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = v4.local_addr().unwrap().port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
        let listeners: Vec<_> = [Ok(v4), v6].into_iter().flatten().collect();
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        Self { listeners, port }
    }

    /// Asserts that no connection has come: one that was ever made would wait here to be accepted.
    fn assert_never_reached(&self) {
        for listener in &self.listeners {
            let knock = listener.accept().map(|(_, from)| from);
            assert!(knock.as_ref().is_err_and(|err| err.kind() == ErrorKind::WouldBlock), "{knock:?}");
        }
    }
}

/// Returns the message with which this URL must be refused.
fn refusal(client: &Client, url: &str) -> String {
    let reply = client.try_submit(json!({"audio_url": url}));
    assert_eq!(reply.status, 422, "{url:?}: {reply}");
    let error = reply.error(422, "invalid_audio_url");
    assert_eq!(error["param"], "audio_url", "{error}");
    error["message"].as_str().unwrap().to_owned()
}

/// Starts a server whose only slot is taken: accepted tasks wait, and nothing is resolved or called.
fn busy(upstream: &FakeUpstream, configure: impl FnOnce(Builder) -> Builder) -> Hearken {
    let hearken = configure(Hearken::before(upstream).channel("max_running_tasks = 1")).start();
    hearken.submit(json!({}));
    upstream.held(1);
    hearken
}

/// URLs, grouped by the reason for which they are refused and by the trick.
type Spellings = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn spellings(inside: &LoopbackListener) -> Spellings {
    toml::from_str(&REFUSED.replace("PORT", &inside.port.to_string())).unwrap()
}

#[test]
fn no_spelling_of_a_url_reaches_a_listener_on_loopback() {
    let inside = LoopbackListener::listen();
    let hearken = Hearken::builder().local().start();
    for (reason, tricks) in spellings(&inside) {
        for url in tricks.into_values().flatten() {
            let message = refusal(&hearken, &url);
            assert!(message.contains(&reason), "{url:?} is not refused because {reason:?}: {message}");
        }
    }
    let tasks = hearken.get("/v1/tasks").expect(200).json();
    assert_eq!(tasks["data"], json!([]), "a refused submit makes no task");
    inside.assert_never_reached();
}

#[test]
fn no_spelling_of_a_redirect_reaches_a_listener_on_loopback() {
    let inside = LoopbackListener::listen();
    let targets: Vec<String> =
        spellings(&inside).into_values().flat_map(BTreeMap::into_values).flatten().collect();
    // A server can only send targets that a header can hold.
    let targets: Vec<String> = targets
        .into_iter()
        .filter(|url| !url.is_empty() && !url.contains(|c: char| c.is_ascii_control()))
        .collect();
    assert!(targets.len() > 200, "{}", targets.len());
    let theirs = targets.clone();
    let door = Host::serve_at(Ipv4Addr::new(127, 0, 0, 2), move |asked| {
        let mut path = asked.target.split('/').skip(1);
        match (path.next(), path.next()) {
            (Some("far"), Some(index)) => {
                let nearer = format!("/near/{index}");
                asked.redirect(307, &nearer);
            }
            (Some("near"), Some(index)) => {
                let target = index.parse().ok().and_then(|index: usize| theirs.get(index));
                asked.redirect(302, target.unwrap());
            }
            // A target without a scheme or a host leads back to this host.
            _ => asked.answer(404, &[("content-length", "0")], b""),
        }
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = Hearken::before(&upstream).set("[fetch]\nallow_hosts = [\"127.0.0.2\"]").start();
    let submit = |index: usize| {
        let chain = if index.is_multiple_of(2) { "near" } else { "far" };
        hearken.submit(json!({"audio_url": door.url(&format!("/{chain}/{index}"))}))
    };
    let tasks: Vec<_> = (0..targets.len()).map(submit).collect();
    for (id, target) in tasks.iter().zip(&targets) {
        let task = hearken.wait(id);
        assert_eq!(task["error"]["code"], "audio_fetch_failed", "{target:?}: {task}");
    }
    assert!(door.requests().len() >= targets.len());
    assert_eq!(upstream.requests(), 0);
    inside.assert_never_reached();
}

#[test]
fn public_urls_are_accepted() {
    type Table = BTreeMap<String, BTreeMap<String, String>>;
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = busy(&upstream, |builder| builder);
    for url in toml::from_str::<Table>(ACCEPTED).unwrap().into_values().flat_map(BTreeMap::into_keys) {
        let reply = hearken.try_submit(json!({"audio_url": url}));
        assert_eq!(reply.status, 200, "{url:?}: {reply}");
    }
}

#[test]
fn audio_is_fetched_only_from_configured_ports() {
    let inside = LoopbackListener::listen();
    let hearken = Hearken::builder()
        .local()
        .set("[fetch]\nallow_private_networks = true\nallow_ports = [80, 443]")
        .start();
    for url in [
        format!("http://127.0.0.1:{}/a.wav", inside.port),
        format!("http://[::1]:0{}/a.wav", inside.port),
        "http://example.com:22/".to_owned(),
        "https://example.com:8443/".to_owned(),
        "https://example.com:65535/".to_owned(),
    ] {
        let message = refusal(&hearken, &url);
        assert!(message.contains("does not fetch from port"), "{message}");
    }
    inside.assert_never_reached();
}

#[test]
fn a_configured_host_can_be_reached_but_not_its_neighbours() {
    let inside = LoopbackListener::listen();
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let doors = "[\"files.internal\", \"*.corp\"]";
    let hearken = busy(&upstream, |builder| builder.env("HEARKEN_FETCH__ALLOW_HOSTS", doors));
    for url in ["http://internal/", "http://a.files.internal/", "http://corp/", "http://files.internal.lan/"]
    {
        refusal(&hearken, url);
    }
    refusal(&hearken, &format!("http://127.0.0.1:{}/", inside.port));
    for url in ["http://files.internal:9000/a.wav", "http://FILES.internal./a.wav", "http://wiki.corp/a.wav"]
    {
        let reply = hearken.try_submit(json!({"audio_url": url}));
        assert_eq!(reply.status, 200, "{url}: {reply}");
    }
    inside.assert_never_reached();
}
