//! A fake upstream of any kind: a real HTTP/1.1 server that says what it is told to say, when it is told, remembers
//! what it was asked, and notices when the program hangs up. A panic in one of its threads fails the test.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use super::PATIENCE;
pub(crate) use crate::kit::gemini::{finish_event, text_event};
pub(crate) use crate::kit::openai::{chunk, usage_chunk};
use crate::kit::openai::{transcript_delta, transcript_done};
pub(crate) use crate::kit::server::Request;
use crate::kit::server::{Line, Listener, listen, reply_head};

#[derive(Debug, Clone)]
enum Step {
    Say(Vec<u8>),
    Hold,
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length,
    /// The version that the response says.
    Close(&'static str),
}

/// What is answered to one request.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    /// Bytes go out in pieces of this size.
    piece: usize,
    steps: Vec<Step>,
    /// Does the script say itself how it ends?
    ended: bool,
    never: bool,
    slam: bool,
}

/// Whose language a fake speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Gemini,
    Chat,
    Transcription,
}

impl Dialect {
    /// An event with text in it.
    fn text(self, text: &str) -> Value {
        match self {
            Self::Gemini => text_event(text),
            Self::Chat => chunk(&json!({"content": text}), None),
            Self::Transcription => transcript_delta(text),
        }
    }

    /// An event with a thought in it.
    fn thought(self, text: &str) -> Value {
        match self {
            Self::Gemini => {
                let mut event = text_event(text);
                event["candidates"][0]["content"]["parts"][0]["thought"] = json!(true);
                event
            }
            Self::Chat => chunk(&json!({"reasoning_content": text}), None),
            Self::Transcription => panic!("who transcribes does not think"),
        }
    }

    fn event(self, event: &Value) -> String {
        let end = if self == Self::Chat { "\n\n" } else { "\r\n\r\n" };
        format!("data: {event}{end}")
    }

    /// The end of an answer, with this reason.
    fn finish(self, reason: &str) -> String {
        match self {
            Self::Gemini => self.event(&finish_event(reason)),
            Self::Chat => {
                self.event(&chunk(&json!({}), Some(reason)))
                    + &self.event(&usage_chunk())
                    + "data: [DONE]\n\n"
            }
            Self::Transcription => self.event(&transcript_done()) + "data: [DONE]\r\n\r\n",
        }
    }

    fn ordinary_reason(self) -> &'static str {
        if self == Self::Gemini { "STOP" } else { "stop" }
    }

    fn base_path(self) -> &'static str {
        if self == Self::Gemini { "/v1beta" } else { "/v1" }
    }

    /// The kind of a channel for it.
    fn kind(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Chat => "openai",
            Self::Transcription => "transcription",
        }
    }
}

/// A script: one answer per request; the last one serves all further requests.
#[derive(Debug)]
pub(crate) struct Script {
    dialect: Dialect,
    answers: Vec<Answer>,
}

#[derive(Debug, Default)]
struct State {
    /// With the numbers of their connections.
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
    /// A script whose first answer is a stream of events; without another word it ends with `STOP`.
    pub(crate) fn gemini() -> Script {
        Script { dialect: Dialect::Gemini, answers: Vec::new() }.then()
    }

    /// A script whose first answer is a stream of chunks of a chat; without another word it ends with `stop`, the usage
    /// and `[DONE]`.
    pub(crate) fn openai() -> Script {
        Script { dialect: Dialect::Chat, answers: Vec::new() }.then()
    }

    /// A script whose first answer is a stream of OpenAI's transcription events, which ends as OpenAI's do.
    pub(crate) fn transcription() -> Script {
        Script { dialect: Dialect::Transcription, answers: Vec::new() }.then()
    }

    /// A script that answers an error.
    pub(crate) fn error(status: u16, body: &Value) -> Script {
        Self::gemini().refuses(status, body)
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}{}", self.listener.address, self.dialect.base_path())
    }

    /// The kind of a channel for it.
    pub(crate) fn kind(&self) -> &'static str {
        self.dialect.kind()
    }

    /// Lets the answer that stands at its next hold go on; one release per hold.
    pub(crate) fn release(&self) {
        self.shared.change(|state| state.permits += 1);
    }

    /// Waits until this many holds have been reached in all.
    pub(crate) fn held(&self, holds: usize) {
        self.shared.wait("the fake comes to its hold", |state| (state.holds_reached >= holds).then_some(()));
    }

    /// Waits for the request with this number, from 0.
    pub(crate) fn request(&self, number: usize) -> Request {
        self.shared.wait("the program asks its upstream", |state| {
            state.requests.get(number).map(|(request, _)| request.clone())
        })
    }

    /// How many requests there have been.
    pub(crate) fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests.len()
    }

    /// Returns how many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections.len()
    }

    /// Waits until the program has closed the connection on which the request with this number came.
    pub(crate) fn closed(&self, number: usize) {
        self.shared.wait("the program hangs up", |state| {
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
    fn answer(&mut self) -> &mut Answer {
        self.answers.last_mut().unwrap()
    }

    fn step(mut self, step: Step) -> Self {
        self.answer().steps.push(step);
        self
    }

    /// What follows answers the next request.
    pub(crate) fn then(mut self) -> Self {
        self.answers.push(Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/event-stream".to_owned())],
            framing: Framing::Chunked,
            piece: usize::MAX,
            steps: Vec::new(),
            ended: false,
            never: false,
            slam: false,
        });
        self
    }

    /// An event with text.
    pub(crate) fn say(self, text: &str) -> Self {
        let event = self.dialect.text(text);
        self.event(&event)
    }

    /// So many events with the same text.
    pub(crate) fn say_often(self, times: usize, text: &str) -> Self {
        (0..times).fold(self, |script, _| script.say(text))
    }

    /// An event with a thought.
    pub(crate) fn think(self, text: &str) -> Self {
        let event = self.dialect.thought(text);
        self.event(&event)
    }

    /// Any event.
    pub(crate) fn event(self, event: &Value) -> Self {
        let event = self.dialect.event(event);
        self.raw(event)
    }

    /// An error instead of an answer.
    pub(crate) fn refuses(self, status: u16, body: &Value) -> Self {
        self.status(status).content_type("application/json; charset=UTF-8").raw(body.to_string()).ends()
    }

    /// Any bytes of the body.
    pub(crate) fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Say(bytes.into()))
    }

    /// The event that ends the answer, with this reason.
    pub(crate) fn finish(self, reason: &str) -> Self {
        let finish = self.dialect.finish(reason);
        self.raw(finish).ends()
    }

    /// The body ends here, without a word of the fake's own.
    pub(crate) fn ends(mut self) -> Self {
        self.answer().ended = true;
        self
    }

    /// Stands still until it is released.
    pub(crate) fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Closes the socket in the middle of the body.
    pub(crate) fn cut(self) -> Self {
        self.step(Step::Cut).ends()
    }

    /// Takes the request and never answers.
    pub(crate) fn never(mut self) -> Self {
        self.answer().never = true;
        self
    }

    /// Takes the request and hangs up.
    pub(crate) fn slam(mut self) -> Self {
        self.answer().slam = true;
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.answer().status = status;
        self
    }

    pub(crate) fn content_type(mut self, value: &str) -> Self {
        self.answer().headers.retain(|(name, _)| name != "content-type");
        self.header("content-type", value)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.answer().headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes go out in pieces of this size, each a write and a chunk of its own.
    pub(crate) fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.answer().piece = bytes;
        self
    }

    /// The body has a `Content-Length`.
    pub(crate) fn with_length(mut self) -> Self {
        self.answer().framing = Framing::Length;
        self
    }

    /// The body ends with the connection.
    pub(crate) fn until_close(mut self) -> Self {
        self.answer().framing = Framing::Close("1.1");
        self
    }

    /// The same in the words of an older time.
    pub(crate) fn until_close_in_http_1_0(mut self) -> Self {
        self.answer().framing = Framing::Close("1.0");
        self
    }

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

    /// Waits for something that must come within [`PATIENCE`].
    fn wait<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let started = Instant::now();
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = PATIENCE.checked_sub(started.elapsed()).unwrap_or_else(|| {
                panic!("in vain: {what}; requests: {:?}, panics: {:?}", state.requests, state.panics)
            });
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Serves a connection to its end; what panics meanwhile is told when the fake is dropped.
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
        // What is no request ends a connection like a close.
        while let Ok(Some(request)) = line.request() {
            assert!(request.header("content-length").is_some(), "a Content-Length");
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

    /// Gives an answer; an error where the connection must end, or has.
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

impl Answer {
    fn head(&self) -> String {
        let framing = match self.framing {
            Framing::Chunked => ("transfer-encoding", "chunked".to_owned()),
            Framing::Close(_) => ("connection", "close".to_owned()),
            Framing::Length => {
                let said = |step: &Step| if let Step::Say(bytes) = step { bytes.len() } else { 0 };
                // A body that is cut says that it is longer than what comes.
                let unsaid = if self.steps.iter().any(|step| matches!(step, Step::Cut)) { 100 } else { 0 };
                ("content-length", (self.steps.iter().map(said).sum::<usize>() + unsaid).to_string())
            }
        };
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = headers.chain([(framing.0, framing.1.as_str())]).collect();
        let head = reply_head(self.status, &headers);
        if let Framing::Close(version) = self.framing { head.replacen("1.1", version, 1) } else { head }
    }
}
