//! A fake upstream of any kind: a real HTTP/1.1 server that answers as a script says, keeps the requests, and notices
//! when the program disconnects. A panic in one of its threads fails the test.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::Value;

use super::PATIENCE;
pub(crate) use super::script::Script;
use super::script::{Answer, Dialect, Framing, Step};
pub(crate) use crate::kit::server::Request;
use crate::kit::server::{Line, Listener, listen};

#[derive(Debug, Default)]
struct State {
    /// The requests, with the numbers of their connections.
    requests: Vec<(Request, usize)>,
    connections: Vec<TcpStream>,
    closed: HashSet<usize>,
    holds_reached: usize,
    permits: usize,
    panics: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running fake.
#[derive(Debug)]
pub(crate) struct FakeUpstream {
    dialect: Dialect,
    listener: Listener,
    shared: Arc<Shared>,
}

impl FakeUpstream {
    /// Returns a script whose first answer is a stream of events. Unless it says otherwise, it ends with `STOP`.
    pub(crate) fn gemini() -> Script {
        Script { dialect: Dialect::Gemini, answers: Vec::new() }.then()
    }

    /// Returns a script whose first answer is a stream of chat chunks. Unless it says otherwise, it ends with `stop`,
    /// the usage and `[DONE]`.
    pub(crate) fn openai() -> Script {
        Script { dialect: Dialect::Chat, answers: Vec::new() }.then()
    }

    /// Returns a script whose first answer is a stream of OpenAI's transcription events, with OpenAI's end.
    pub(crate) fn transcription() -> Script {
        Script { dialect: Dialect::Transcription, answers: Vec::new() }.then()
    }

    /// Returns a script that answers with an error.
    pub(crate) fn error(status: u16, body: &Value) -> Script {
        Self::gemini().refuses(status, body)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}{}", self.listener.address, self.dialect.base_path())
    }

    /// Returns the kind of a channel that can call this fake.
    pub(crate) fn kind(&self) -> &'static str {
        self.dialect.kind()
    }

    /// Releases the answer that waits at its next hold; one release per hold.
    pub(crate) fn release(&self) {
        self.shared.change(|state| state.permits += 1);
    }

    /// Waits until answers have reached this many holds in all.
    pub(crate) fn held(&self, holds: usize) {
        self.shared.wait("the fake reaches its hold", |state| (state.holds_reached >= holds).then_some(()));
    }

    /// Waits for the request with this number, from 0.
    pub(crate) fn request(&self, number: usize) -> Request {
        self.shared.wait("the program calls its upstream", |state| {
            state.requests.get(number).map(|(request, _)| request.clone())
        })
    }

    /// Returns how many requests there have been.
    pub(crate) fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests.len()
    }

    /// Returns how many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections.len()
    }

    /// Waits until the program has closed the connection on which the request with this number came.
    pub(crate) fn closed(&self, number: usize) {
        self.shared.wait("the program closes the connection", |state| {
            let (_, connection) = state.requests.get(number)?;
            state.closed.contains(connection).then_some(())
        });
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.listener.close();
        let panics = self.shared.change(|state| {
            for connection in &state.connections {
                let _ = connection.shutdown(Shutdown::Both);
            }
            state.panics.clone()
        });
        assert!(std::thread::panicking() || panics.is_empty(), "in the fake upstream: {panics:?}");
    }
}

impl Script {
    pub(crate) fn start(mut self) -> FakeUpstream {
        let dialect = self.dialect;
        for answer in &mut self.answers {
            if !answer.ended {
                let finish = dialect.finish(dialect.ordinary_reason());
                answer.steps.push(Step::Say(finish.into_bytes()));
            }
        }
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (answers, theirs) = (self.answers, Arc::clone(&shared));
        let listener = listen(Ipv4Addr::LOCALHOST, move |line| theirs.serve(line, &answers));
        FakeUpstream { dialect, listener: listener.unwrap(), shared }
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    /// Waits for something that must happen within [`PATIENCE`].
    fn wait<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let started = Instant::now();
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = PATIENCE.checked_sub(started.elapsed()).unwrap_or_else(|| {
                panic!("waited in vain: {what}; requests: {:?}, panics: {:?}", state.requests, state.panics)
            });
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Serves a connection to its end. A panic is reported when the fake is dropped.
    fn serve(&self, mut line: Line, answers: &[Answer]) {
        let socket = line.socket().try_clone().unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let number = line.number;
        self.change(|state| state.connections.push(socket.try_clone().unwrap()));
        let served = std::panic::catch_unwind(AssertUnwindSafe(|| self.answer_all(&mut line, answers)));
        let _ = socket.shutdown(Shutdown::Both);
        self.change(|state| {
            state.closed.insert(number);
            if let Err(panic) = served {
                let text = panic.downcast_ref::<String>().cloned();
                state.panics.push(text.unwrap_or_else(|| "it panicked".to_owned()));
            }
        });
    }

    fn answer_all(&self, line: &mut Line, answers: &[Answer]) {
        // Invalid requests end a connection as a close does.
        while let Ok(Some(request)) = line.request() {
            assert!(request.header("content-length").is_some(), "a request must have a Content-Length");
            let number = self.change(|state| {
                state.requests.push((request, line.number));
                state.requests.len() - 1
            });
            let answer = answers.get(number).or(answers.last()).unwrap();
            if self.say(line, answer).is_err() || matches!(answer.framing, Framing::Close(_)) {
                return;
            }
        }
    }

    /// Sends an answer. Returns an error if the connection must end, or has ended.
    fn say(&self, line: &mut Line, answer: &Answer) -> io::Result<()> {
        if answer.slam {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if answer.never {
            return line.until(|| false);
        }
        line.write(answer.head())?;
        for step in &answer.steps {
            match step {
                Step::Say(bytes) => {
                    for piece in bytes.chunks(answer.piece.min(bytes.len().max(1))) {
                        if answer.framing == Framing::Chunked {
                            line.chunk(piece)?
                        } else {
                            line.write(piece)?
                        }
                    }
                }
                Step::Hold => {
                    self.change(|state| state.holds_reached += 1);
                    line.until(|| {
                        let mut state = self.state.lock().unwrap();
                        let is_free = state.permits > 0;
                        state.permits -= usize::from(is_free);
                        is_free
                    })?;
                }
                Step::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        if answer.framing == Framing::Chunked { line.end() } else { Ok(()) }
    }
}
