//! hearken behind nginx, with the README's configuration: HTTP/2 from the client to nginx, HTTP/1.1 from nginx to
//! hearken.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tempfile::TempDir;

use crate::memory::wav;
use crate::support::certificate::Pair;
use crate::support::hearken::Hearken;
use crate::support::http2::Http2;
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, until};

const END: &str = "data: [DONE]\n\n";

/// A running nginx.
struct Nginx {
    process: Child,
    address: SocketAddr,
    pair: Pair,
    directory: TempDir,
}

impl Nginx {
    /// Starts nginx with the README's lines, of which some are replaced, in front of this program.
    fn before(hearken: &Hearken, replaced: &[(&str, &str)]) -> Self {
        let (directory, pair, address) = (TempDir::new().unwrap(), Pair::new(), free_address());
        pair.put(directory.path());
        let certificates = "/etc/letsencrypt/live/hearken.example.com/";
        let names = [
            ("127.0.0.1:8080", hearken.client().address.to_string()),
            ("listen 443 ", format!("listen {address} ")),
            (&format!("{certificates}fullchain.pem"), "cert.pem".to_owned()),
            (&format!("{certificates}privkey.pem"), "key.pem".to_owned()),
        ];
        let names = names.iter().map(|(theirs, ours)| (*theirs, ours.as_str()));
        let mut lines = lines_of_the_readme();
        for (theirs, ours) in names.chain(replaced.iter().copied()) {
            assert_eq!(
                lines.matches(theirs).count(),
                1,
                "{theirs:?} in the README's lines for nginx:\n{lines}"
            );
            lines = lines.replace(theirs, ours);
        }
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths: String = paths.iter().map(|name| format!("{name}_temp_path {name};\n")).collect();
        let file = format!(
            "user root;\ndaemon off;\npid nginx.pid;\nerror_log error.log;\nworker_processes 1;\n\
             events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{paths}{lines}}}\n"
        );
        let path = directory.path().join("nginx.conf");
        std::fs::write(&path, file).unwrap();
        let log = std::fs::File::create(directory.path().join("error.log")).unwrap();
        // Debian installs nginx in a folder that only root has in its PATH.
        let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap());
        let process = Command::new("nginx")
            .env("PATH", search)
            .arg("-p")
            .arg(directory.path())
            .arg("-c")
            .arg(path)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nginx must be installed: run ./tests/run, which installs it");
        let mut nginx = Self { process, address, pair, directory };
        until("nginx listens", || {
            let ended = nginx.process.try_wait().unwrap();
            assert!(ended.is_none(), "nginx does not run: {}", nginx.log());
            TcpStream::connect(address).ok()
        });
        nginx
    }

    fn connect(&self) -> Http2 {
        Http2::connect(self.address, &self.pair)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master process stops its worker. If it were killed, it would not.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("--- nginx:\n{}---", self.log());
        }
    }
}

fn lines_of_the_readme() -> String {
    let readme = include_str!("../../README.md");
    let (_, behind) = readme.split_once("```nginx\n").expect("the README has lines for nginx");
    behind.split_once("```").unwrap().0.to_owned()
}

/// Returns a free address with a port that the system never assigns on its own.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 5000) as u16;
    until("a port is free", || {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
    })
}

#[test]
fn frames_pass_at_once_and_streams_are_resumed() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::start(&upstream);
    let nginx = Nginx::before(&hearken, &[]);
    let mut client = nginx.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answers: Vec<_> = (0..20).map(|_| client.stream(&id, "")).collect();
    for answer in &mut answers {
        // The task has not ended, so a proxy that buffers would wait forever.
        client.read_to(answer, "\"Hel\"");
    }
    upstream.release();
    for answer in answers {
        let rest = client.rest(answer);
        assert!(rest.contains("\"lo\"") && rest.ends_with(END), "{rest}");
    }
    let resumed = client.stream(&id, "?offset=2");
    let resumed = client.rest(resumed);
    assert!(
        resumed.contains("id: 2\n") && !resumed.contains("id: 1\n") && resumed.ends_with(END),
        "{resumed}"
    );
}

#[test]
fn a_large_submit_passes_and_an_error_keeps_its_text() {
    let upstream = FakeUpstream::gemini().say("long").start();
    let hearken = Hearken::start(&upstream);
    let nginx = Nginx::before(&hearken, &[]);
    let mut client = nginx.connect();
    let audio = format!("data:audio/wav;base64,{}", base64(&wav(14_900_000)));
    let id = client.submit(json!({"audio_url": audio}));
    let (status, task) = client.get(&format!("/v1/tasks/{id}?wait=20"));
    assert!(status == 200 && task.contains("\"long\""), "{task}");
    let (status, error) = client.get("/v1/tasks/task-llm-0-00000000");
    assert!(status == 404 && error.contains("task_not_found"), "{error}");
}

#[test]
fn comments_keep_a_silent_stream_open() {
    let upstream = FakeUpstream::gemini().hold().say("late").start();
    let hearken = Hearken::before(&upstream).set("[stream]\nkeep_alive_seconds = 1").start();
    let nginx = Nginx::before(&hearken, &[("proxy_read_timeout 1h", "proxy_read_timeout 2s")]);
    let mut client = nginx.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    // The first one comes with the head, and each further one a second after the previous one.
    for _ in 0..4 {
        client.read_to(&mut answer, ": keep-alive\n");
    }
    upstream.release();
    let rest = client.rest(answer);
    assert!(rest.contains("\"late\"") && rest.ends_with(END), "{rest}");
}

#[test]
fn a_reader_that_disconnects_from_nginx_is_gone_for_hearken_too() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::start(&upstream);
    let nginx = Nginx::before(&hearken, &[]);
    let mut client = nginx.connect();
    let id = client.submit(json!({"stream": true}));
    let mut answer = client.stream(&id, "");
    client.read_to(&mut answer, "\"a\"");
    drop(answer);
    drop(client);
    hearken.log_line("end=left");
}
