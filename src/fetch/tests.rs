//! Tests that no name leads to a private address, even if a name server changes its answers.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tempfile::TempDir;
use url::Url;

use super::*;
use crate::audio::{Container, HostPattern};
use crate::metrics::Metrics;
use crate::store::{Retention, StoreConfig};

const WAV: &[u8] =
    b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x04\0\0\0\x80\x80\x80\x80";
/// A public address that is not assigned to any host.
const PUBLIC: &str = "2000::1";

/// A name server that gives each answer once, and then repeats the last one.
#[derive(Clone)]
struct Script {
    answers: Arc<Mutex<VecDeque<Vec<IpAddr>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Self {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        Self { answers: Arc::new(Mutex::new(answers.collect())), asked: Arc::default() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Script {
    fn resolve(&self, host: String, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        self.asked.lock().unwrap().push(host);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let answer = answer.unwrap().into_iter().map(|address| SocketAddr::new(address, port)).collect();
        std::future::ready(Ok(answer)).boxed_local()
    }
}

/// A server on loopback, and the requests that it received.
struct Inside {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Starts a server on loopback that answers every request with these bytes.
fn inside(answer: Vec<u8>) -> Inside {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&requests);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut request = vec![0; 4096];
            let count = socket.read(&mut request).unwrap_or(0);
            theirs.lock().unwrap().push(String::from_utf8_lossy(&request[..count]).into_owned());
            let _ = socket.write_all(&answer);
        }
    });
    Inside { port, requests }
}

fn file() -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", WAV.len());
    [head.as_bytes(), WAV].concat()
}

fn redirect(location: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn store() -> (TempDir, Store) {
    let data_dir = TempDir::new().unwrap();
    let day = Duration::from_secs(86_400);
    let retention = Retention { chunks: day, tasks: day, idempotency: day };
    let config = StoreConfig { sync: false, max_spool_bytes: 1 << 20 };
    let metrics = Metrics::new(std::iter::empty()).unwrap();
    let store = Store::open(data_dir.path(), retention, config, metrics.store).unwrap();
    (data_dir, store)
}

/// Downloads with these names allowed and these answers of the name server.
async fn fetch(opened: &[&str], script: &Script, url: String) -> Result<Fetched, FetchError> {
    let mut config = testing::config();
    config.connect_timeout = Duration::from_millis(100);
    config.gate.allow_hosts = opened.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
    let (_data_dir, store) = store();
    let fetcher = Fetcher::with_resolver(config, Arc::new(script.clone()));
    fetcher.fetch(&store, &Url::parse(&url).unwrap(), 1 << 20).await
}

#[actix_rt::test]
async fn a_name_is_looked_up_once_and_the_checked_address_is_connected_to() {
    let inside = inside(file());
    let script = Script::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let url = format!("http://files.example.com:{}/a.wav", inside.port);
    let fetched = fetch(&["files.example.com"], &script, url).await.unwrap();
    assert_eq!(fetched.audio.container, Container::Wav);
    assert_eq!(script.asked(), ["files.example.com"]);
    let requests = inside.requests.lock().unwrap();
    assert!(requests[0].contains(&format!("host: files.example.com:{}\r\n", inside.port)), "{requests:?}");
}

#[actix_rt::test]
async fn a_name_is_refused_if_any_of_its_addresses_is_not_public() {
    let inside = inside(file());
    for answer in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["169.254.169.254"],
        &["10.1.2.3"],
        &["fd00::1"],
        &[PUBLIC, "127.0.0.1"],
        &["127.0.0.1", PUBLIC],
    ] {
        let script = Script::new(&[answer]);
        let url = format!("http://files.example.com:{}/a.wav", inside.port);
        let refused = fetch(&[], &script, url).await.unwrap_err();
        assert!(matches!(refused, FetchError::Forbidden), "{answer:?}: {refused}");
        assert_eq!(script.asked().len(), 1, "{answer:?}");
    }
    assert!(inside.requests.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn a_private_address_in_a_second_answer_is_refused_too() {
    let inside = inside(file());
    let script = Script::new(&[&[PUBLIC], &["127.0.0.1"]]);
    let url = format!("http://files.example.com:{}/a.wav", inside.port);
    // The first address belongs to no host, so the name is looked up again.
    let refused = fetch(&[], &script, url).await.unwrap_err();
    assert!(matches!(refused, FetchError::Forbidden), "{refused}");
    assert_eq!(script.asked().len(), 2);
    assert!(inside.requests.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn each_hop_of_a_redirect_is_looked_up_and_checked() {
    let inside = inside(file());
    let door = self::inside(redirect(&format!("http://evil.example.com:{}/a.wav", inside.port)));
    let script = Script::new(&[&["127.0.0.1"]]);
    let refused =
        fetch(&["door.example.com"], &script, format!("http://door.example.com:{}/", door.port)).await;
    assert!(matches!(refused, Err(FetchError::Forbidden)), "{refused:?}");
    assert_eq!(script.asked(), ["door.example.com", "evil.example.com"]);
    assert_eq!(door.requests.lock().unwrap().len(), 1);
    assert!(inside.requests.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn a_name_without_an_address_does_not_resolve() {
    let script = Script::new(&[&[]]);
    let failed = fetch(&[], &script, "http://files.example.com/a.wav".to_owned()).await.unwrap_err();
    assert!(matches!(failed, FetchError::Unresolved), "{failed}");
}
