//! The log on standard error: whatever happens to it, it stops neither the server nor a request.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

use crate::support::hearken::{Hearken, KEY, command};
use crate::support::http::Client;
use crate::support::metrics::Scraped;
use crate::support::shell::with_output;
use crate::support::until;
use crate::tidy::{root, sources};

/// A server whose standard error the test provides.
struct Server {
    child: Child,
    client: Client,
    _directory: TempDir,
}

impl Server {
    fn start(stderr: impl Into<Stdio>, filter: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("hearken.toml");
        let data = directory.path().join("data");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\nmetrics.listen = \"main\"\n\
             [[keys]]\nname = \"main\"\nkey = \"{KEY}\"\n[[channels]]\nkind = \"local\"",
            data.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut serve = command(&["serve", "--config", file.to_str().unwrap()]);
        let mut child = serve.env("HEARKEN_LOG", filter).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address: SocketAddr =
            line.trim_end().strip_prefix("hearken listening on http://").unwrap().parse().unwrap();
        let client = Client { address, key: Some(KEY.to_owned()), secrets: Arc::default() };
        Self { child, client, _directory: directory }
    }

    /// Sends this many requests over one connection, and reads all replies.
    fn ask(&self, requests: usize) {
        ask(&self.client, "/v1/models", requests, "HTTP/1.1 200 ");
    }

    fn lost_lines(&self) -> f64 {
        let text = self.client.without_key().get("/metrics").expect(200).text();
        Scraped::parse(&text).value("hearken_log_lines_dropped_total")
    }

    /// Stops the server as an operator would.
    fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("the server ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends this many requests over one connection, and reads all replies, which must begin like this.
fn ask(client: &Client, path: &str, requests: usize, expected: &str) {
    let request = client.head("GET", path, &[]);
    let last = client.head("GET", path, &[("connection", "close")]);
    let socket = client.send_raw(b"");
    let mut writing = socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 1..requests {
            writing.write_all(request.as_bytes()).unwrap();
        }
        writing.write_all(last.as_bytes()).unwrap();
    });
    let mut replies = Vec::new();
    (&socket).read_to_end(&mut replies).unwrap();
    sender.join().unwrap();
    assert_eq!(String::from_utf8_lossy(&replies).matches(expected).count(), requests);
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_full_disk_behind_the_log_stops_no_request() {
    let server = Server::start(full(), "info");
    server.ask(20);
    until("lost lines are counted", || (server.lost_lines() >= 20.0).then_some(()));
    assert!(server.stop().success());
}

#[test]
fn a_log_whose_reader_has_left_stops_no_request() {
    let (reader, writer) = std::io::pipe().unwrap();
    let server = Server::start(writer, "info");
    drop(reader);
    server.ask(20);
    until("lost lines are counted", || (server.lost_lines() >= 20.0).then_some(()));
    assert!(server.stop().success());
}

/// Reads a pipe from now on; [`line`] searches what was read.
fn read(mut pipe: PipeReader) -> Arc<Mutex<Vec<u8>>> {
    let read = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&read);
    std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            into.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    read
}

/// Waits for a line that contains these words.
fn line(read: &Mutex<Vec<u8>>, words: &str) -> String {
    until(words, || {
        let text = String::from_utf8_lossy(&read.lock().unwrap()).into_owned();
        let (whole, _) = text.rsplit_once('\n')?;
        whole.lines().find(|line| line.contains(words)).map(str::to_owned)
    })
}

#[test]
fn an_unread_log_stops_no_request_and_later_reports_lost_lines() {
    let (reader, writer) = std::io::pipe().unwrap();
    // At this level, each request is logged in many lines.
    let server = Server::start(writer, "trace");
    until("lost lines are counted", || {
        server.ask(100);
        (server.lost_lines() > 0.0).then_some(())
    });
    server.ask(1);
    let read = read(reader);
    let told = line(&read, "log lines were lost");
    let lines: f64 = told.split_once("lines=").unwrap().1.parse().unwrap();
    until("the metric counts them, too", || (server.lost_lines() >= lines).then_some(()));
    // A reader that continues gets whole lines again.
    server.client.get("/again").error(404, "not_found");
    line(&read, "path=\"/again\"");
}

#[test]
fn a_server_with_an_unread_log_stops_on_a_signal() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let server = Server::start(writer, "trace");
    until("lost lines are counted", || {
        server.ask(100);
        (server.lost_lines() > 0.0).then_some(())
    });
    assert!(server.stop().success());
}

#[test]
fn a_server_runs_and_revokes_the_first_key_when_it_cannot_show_it() {
    for output in [">/dev/full", ">/dev/null", ">&-"] {
        first_key_is_revoked(output);
    }
}

/// Starts a server whose standard output goes nowhere; `output` is a shell's redirection.
fn first_key_is_revoked(output: &str) {
    let directory = TempDir::new().unwrap();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    serve.env("HEARKEN_METRICS__LISTEN", "127.0.0.1:0").current_dir(directory.path());
    let mut serve = with_output(output, &serve);
    let mut child = serve.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let (mut address, mut is_told) = (None, false);
    for line in lines {
        if let Some((_, rest)) = line.split_once("metrics at http://") {
            address = rest.strip_suffix("/metrics").map(|address| address.parse().unwrap());
        }
        is_told = line.contains("hearken keys create");
        if is_told {
            break;
        }
    }
    assert!(is_told);
    let client = Client { address: address.unwrap(), key: None, secrets: Arc::default() };
    client.get("/healthz").expect(200);
    let data = directory.path().join("hearken-data");
    let wal = data.join("hearken.sqlite-wal");
    let before = wal.metadata().unwrap().ino();
    // If the server has lost its locks on the database, this connection is the last one that closes it, and removes the
    // log.
    let other = Connection::open(data.join("hearken.sqlite")).unwrap();
    let keys: i64 = other.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap();
    assert_eq!(keys, 0);
    other.close().unwrap();
    assert_eq!(wal.metadata().unwrap().ino(), before, "the server has its locks");
    let listed = command(&["keys", "list"]).current_dir(directory.path()).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "", "the key is revoked");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_reason_for_a_failed_start_waits_for_a_slow_reader() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("hearken-data")).unwrap();
    std::fs::write(directory.path().join("hearken-data/hearken.sqlite"), "this is no database").unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut fill = Command::new("head");
    fill.args(["-c", "1000000", "/dev/zero"]).stdout(writer.try_clone().unwrap());
    let mut filling = fill.spawn().unwrap();
    until("the pipe takes nothing", || {
        let mut ready = [PollFd::new(&writer, PollFlags::OUT)];
        (poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 0).then_some(())
    });
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = serve.current_dir(directory.path()).stderr(writer).spawn().unwrap();
    // Both hold the pipe's writing end, and would keep the pipe open.
    drop((fill, serve));
    // The log waits for its reader for a second only. The program then still waits, to write the reason.
    assert!(!ends_within(&mut child, Duration::from_millis(1500)));
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("\0hearken: ") && said.contains("hearken.sqlite is damaged"), "{}", said.len());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    filling.wait().unwrap();
}

fn ends_within(child: &mut Child, time: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn the_next_start_recreates_the_first_key_of_a_failed_start() {
    let directory = TempDir::new().unwrap();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    // The key is created when the store opens, and the certificate is read after that.
    serve.env("HEARKEN_TLS__CERTIFICATE", "none.pem").env("HEARKEN_TLS__KEY", "none.pem");
    let failed = serve.current_dir(directory.path()).output().unwrap();
    let said = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(2), "{said}");
    assert!(said.lines().last().unwrap().contains("none.pem cannot be read: "), "{said}");
    let listed = command(&["keys", "list"]).current_dir(directory.path()).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "");
}

#[test]
fn only_log_lines_of_unknown_callers_are_limited() {
    let hearken = Hearken::builder().local().start();
    let unknown = hearken.without_key();
    std::thread::scope(|scope| {
        scope.spawn(|| ask(&unknown, "/unknown", 400, "HTTP/1.1 404 "));
        ask(&hearken, "/known", 60, "HTTP/1.1 404 ");
    });
    let count = |path: &str| hearken.log().lines().filter(|line| line.contains(path)).count();
    until("each request of the known caller is logged", || (count("path=\"/known\"") == 60).then_some(()));
    assert!(
        hearken
            .log()
            .lines()
            .filter(|line| line.contains("path=\"/known\""))
            .all(|line| line.contains("key="))
    );
    until("each other request is logged or counted", || {
        let told = |line: &str| {
            line.split_once("not logged")?.1.split_once("requests=")?.1.trim().parse::<usize>().ok()
        };
        let told: usize = hearken.log().lines().filter_map(told).sum();
        let logged = count("path=\"/unknown\"");
        (told > 0 && told + logged == 400).then_some(())
    });
}

#[test]
fn a_long_path_is_shortened_in_the_log() {
    let hearken = Hearken::builder().local().start();
    hearken.get(&format!("/{}", "x".repeat(5000))).error(404, "not_found");
    let line = hearken.log_line("path=\"/xxx");
    assert!(line.len() < 600, "{} bytes", line.len());
}

#[test]
fn the_documents_quote_log_messages_of_the_source() {
    let source: String = sources("src").into_iter().map(|(_, text)| text).collect();
    // A long message is divided in the source by a backslash at the end of the line.
    let source: String = source.split("\\\n").map(str::trim_start).collect::<Vec<_>>().concat();
    let page = std::fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let (_, logs) = page.split_once("### The lines of normal work").unwrap();
    let (logs, _) = logs.split_once("### What is never logged").unwrap();
    let cells = logs.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let first = cells.next()?;
        if matches!(first, "error" | "warn") { cells.next() } else { Some(first) }
    });
    let quoted: Vec<&str> = cells.filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`')).collect();
    assert!(quoted.len() > 10, "{quoted:?}");
    for message in quoted {
        assert!(
            source.contains(&format!("\"{message}")),
            "no log line of the source begins with {message:?}"
        );
    }
}
