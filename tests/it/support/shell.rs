//! `hearken submit` and `hearken login` as a user starts them: in a pipe or on a terminal, with a home folder of their
//! own.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tempfile::TempDir;

use super::hearken::{KEY, command};
use super::{fixture, until};
use crate::kit::head::RequestHead;

/// A user's home folder, with a recording in it.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that is running.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("speech.mp3"), fixture("audio/speech.mp3")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn login_file(&self) -> PathBuf {
        self.path(".config/hearken/login.toml")
    }

    /// Returns a command that is started in this home folder and knows nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.current_dir(self.directory.path()).env("HOME", self.directory.path());
        command.env_remove("XDG_CONFIG_HOME").env_remove("NO_COLOR").env("TERM", "xterm");
        command
    }

    /// Returns a command that knows the server and the main key from its environment.
    pub(crate) fn knowing(&self, address: SocketAddr, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("HEARKEN_URL", format!("http://{address}")).env("HEARKEN_API_KEY", KEY);
        command
    }

    /// Runs a command that knows the server and the main key to its end.
    pub(crate) fn run(&self, address: SocketAddr, arguments: &[&str]) -> Ended {
        Running::start(&mut self.knowing(address, arguments)).ended()
    }
}

/// Returns a command on a terminal of its own, as `script` makes one: standard input, output and error are one,
/// unless the shell line redirects them.
pub(crate) fn on_terminal(command: &Command, more: &str) -> Command {
    let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    let line = format!("stty cols 100; exec {} {more}", words.collect::<Vec<_>>().join(" "));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
    around(script.env("SHELL", "/bin/sh"), command);
    script
}

/// Returns a command that is started by another one.
pub(crate) fn by(starter: &[&str], command: &Command) -> Command {
    let mut starting = Command::new(starter[0]);
    starting.args(&starter[1..]).arg(command.get_program()).args(command.get_args());
    around(&mut starting, command);
    starting
}

/// Returns a command with its standard output redirected by a shell, as in `>&-`.
pub(crate) fn with_output(redirection: &str, command: &Command) -> Command {
    by(&["sh", "-c", &format!("exec \"$0\" \"$@\" {redirection}")], command)
}

/// Copies the environment and folder of a command to another one.
fn around(starting: &mut Command, command: &Command) {
    starting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(directory) = command.get_current_dir() {
        starting.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starting.env(name, value),
            None => starting.env_remove(name),
        };
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{command:?}: {err}"));
        let (out, err) = (Arc::default(), Arc::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(collect(pipe, Arc::clone(&out)));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(collect(pipe, Arc::clone(&err)));
        }
        Self { child, out, err, readers }
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// Waits until the command's standard output contains these words.
    pub(crate) fn prints(&self, words: &str) {
        until(&format!("{words:?} on standard output"), || self.out().contains(words).then_some(()));
    }

    /// Waits until the command's standard error contains these words.
    pub(crate) fn tells(&self, words: &str) {
        until(&format!("{words:?} on standard error: {}", self.err()), || {
            self.err().contains(words).then_some(())
        });
    }

    /// Returns the id of the task that the command has submitted.
    pub(crate) fn task(&self) -> String {
        until("a task's id", || {
            self.err().lines().find_map(|line| line.strip_prefix("task ").map(str::to_owned))
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Takes the command's standard input, to write to it.
    pub(crate) fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn ended(mut self) -> Ended {
        let status = until("the command ends", || self.child.try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ended { status: status.code(), out: self.out(), err: self.err() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Returns the ended command, which must have this exit status and must not have printed the key.
    pub(crate) fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(!self.err.contains(KEY) && !self.out.contains(KEY), "the key is shown: {self:#?}");
        self
    }
}

fn collect(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    })
}

/// A fake server that handles each request on a connection of its own.
#[derive(Debug)]
pub(crate) struct FakeServer {
    address: SocketAddr,
}

impl FakeServer {
    /// Starts a fake server that replies with the result of `answer` for a request's head, once the request is
    /// complete. Without a result, it closes the connection.
    pub(crate) fn start(mut answer: impl FnMut(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let reply = whole_request(&mut socket).and_then(|head| answer(&head));
                // A client that has disconnected needs no reply.
                let _ = socket.write_all(reply.unwrap_or_default().as_bytes());
            }
        });
        Self { address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Reads a request to its end, and returns its head.
fn whole_request(socket: &mut TcpStream) -> Option<String> {
    let (mut read, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let length @ 1.. = socket.read(&mut buffer).ok()? else { return None };
        read.extend_from_slice(&buffer[..length]);
        let Some((head, end)) = RequestHead::parse(&read).unwrap() else { continue };
        let body = head.headers.number("content-length").unwrap().unwrap_or_default();
        if (read.len() - end) as u64 >= body {
            return Some(String::from_utf8_lossy(&read[..end]).to_ascii_lowercase());
        }
    }
}

/// Returns a reply after which the connection closes.
pub(crate) fn http(status: u16, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Such\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

/// A proxy that can cut every connection that goes through it.
#[derive(Debug)]
pub(crate) struct Cutter {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    requests: Arc<Mutex<Vec<u8>>>,
    lost: Lost,
    refuses: Arc<AtomicBool>,
}

/// The beginning of the request whose reply is lost, once.
type Lost = Arc<Mutex<Option<&'static str>>>;

impl Cutter {
    pub(crate) fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) =
            (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let (all, heard) = (Arc::clone(&connections), Arc::clone(&requests));
        let lost = Lost::default();
        let loses = Arc::clone(&lost);
        let refuses = Arc::<AtomicBool>::default();
        let refused = Arc::clone(&refuses);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if refused.load(Ordering::SeqCst) {
                    continue;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { return };
                all.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let (asked, loses) = (Arc::clone(&heard), Arc::clone(&loses));
                pass(near.try_clone().unwrap(), far.try_clone().unwrap(), {
                    let heard = Arc::clone(&heard);
                    move |bytes| {
                        heard.lock().unwrap().extend_from_slice(bytes);
                        true
                    }
                });
                pass(far, near, move |_| {
                    let mut lost = loses.lock().unwrap();
                    let asked = asked.lock().unwrap();
                    let now = lost.is_some_and(|request| String::from_utf8_lossy(&asked).contains(request));
                    lost.take_if(|_| now).is_none()
                });
            }
        });
        Self { address, connections, requests, lost, refuses }
    }

    /// Loses the reply to the first request that begins like this, and closes its connection.
    pub(crate) fn lose_reply_to(&self, request: &'static str) {
        *self.lost.lock().unwrap() = Some(request);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all existing connections.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Sets whether the proxy closes every new connection.
    pub(crate) fn refuse(&self, does: bool) {
        self.refuses.store(does, Ordering::SeqCst);
    }

    /// Returns everything that was sent to the server through the proxy.
    pub(crate) fn requests(&self) -> String {
        String::from_utf8_lossy(&self.requests.lock().unwrap()).into_owned()
    }
}

/// Passes on what comes, as long as `may` permits it.
fn pass(mut from: TcpStream, mut to: TcpStream, mut may: impl FnMut(&[u8]) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            if !may(bytes) || to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
