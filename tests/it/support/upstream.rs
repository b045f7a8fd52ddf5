//! A fake upstream of any kind: a real HTTP/1.1 server that says what it is told to say, when it is told, remembers
//! what it was asked, and notices when the program hangs up. A panic in one of its threads fails the test.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Instant;

use serde_json::{Value, json};

use super::PATIENCE;

/// What the program sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    connection: usize,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

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
            Self::Transcription => json!({"type": "transcript.text.delta", "delta": text}),
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
            Self::Transcription => {
                let done = json!({"type": "transcript.text.done", "text": "not looked at", "usage": {"type": "tokens",
                    "input_tokens": 11, "output_tokens": 5, "total_tokens": 16, "input_token_details": {"audio_tokens": 7}}});
                self.event(&done) + "data: [DONE]\r\n\r\n"
            }
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
    requests: Vec<Request>,
    connections: Vec<TcpStream>,
    closed: HashSet<usize>,
    holds_reached: usize,
    permits: usize,
    stopped: bool,
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
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// An event of Gemini's with text in it.
pub(crate) fn text_event(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 11, "totalTokenCount": 11},
        "modelVersion": "gemini-test-001", "responseId": "r-1"})
}

/// An event of Gemini's that ends an answer.
pub(crate) fn finish_event(reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason, "index": 0}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5, "thoughtsTokenCount": 3,
            "totalTokenCount": 19, "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 7}]},
        "modelVersion": "gemini-test-001", "responseId": "r-1"})
}

/// A chunk of a chat completion.
pub(crate) fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "their-model",
        "system_fingerprint": null, "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        "usage": null})
}

/// The chunk with the usage, as OpenAI sends it when it was asked to.
pub(crate) fn usage_chunk() -> Value {
    json!({"id": "chatcmpl-theirs", "object": "chat.completion.chunk", "created": 7, "model": "their-model",
        "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0}}})
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
        format!("http://{}{}", self.address, self.dialect.base_path())
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
        self.shared.wait("the program asks its upstream", |state| state.requests.get(number).cloned())
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
            let connection = state.requests.get(number)?.connection;
            state.closed.contains(&connection).then_some(())
        });
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        let panics = self.shared.change(|state| {
            state.stopped = true;
            for connection in &state.connections {
                let _ = connection.shutdown(Shutdown::Both);
            }
            state.panics.clone()
        });
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let (answers, theirs) = (Arc::new(self.answers), Arc::clone(&shared));
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                if theirs.state.lock().unwrap().stopped {
                    return;
                }
                let (Ok(socket), answers, shared) = (socket, Arc::clone(&answers), Arc::clone(&theirs))
                else {
                    return;
                };
                std::thread::spawn(move || {
                    let serve = AssertUnwindSafe(|| Connection::new(number, socket, &shared).serve(&answers));
                    if let Err(panic) = std::panic::catch_unwind(serve) {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.unwrap_or_else(|| "it panicked".to_owned());
                        shared.change(|state| state.panics.push(text));
                    }
                });
            }
        });
        FakeUpstream { dialect, address, shared }
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
}

/// The other side is gone, or the test is over: nothing is left to say.
struct Gone;

struct Connection<'a> {
    number: usize,
    socket: TcpStream,
    /// What the program sends, as it comes; a thread of its own reads, so that a close is noticed at once.
    incoming: mpsc::Receiver<Vec<u8>>,
    unread: Vec<u8>,
    shared: &'a Arc<Shared>,
}

impl<'a> Connection<'a> {
    fn new(number: usize, socket: TcpStream, shared: &'a Arc<Shared>) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        shared.change(|state| state.connections.push(socket.try_clone().unwrap()));
        let (sender, incoming) = mpsc::channel();
        let mut reader = socket.try_clone().unwrap();
        let theirs = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match reader.read(&mut buffer) {
                    Err(err) if err.kind() == ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => break,
                    Ok(length) => {
                        let _ = sender.send(buffer[..length].to_vec());
                    }
                }
            }
            theirs.change(|state| state.closed.insert(number));
        });
        Self { number, socket, incoming, unread: Vec::new(), shared }
    }

    fn serve(mut self, answers: &[Answer]) {
        while let Some(request) = self.request() {
            let number = self.shared.change(|state| {
                state.requests.push(request);
                state.requests.len() - 1
            });
            let answer = answers.get(number).or(answers.last()).unwrap();
            if self.say(answer).is_err() || matches!(answer.framing, Framing::Close(_)) {
                break;
            }
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Reads a request; `None` when there is none any more.
    fn request(&mut self) -> Option<Request> {
        let head_end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.unread.extend(self.incoming.recv().ok()?);
        };
        let head: Vec<u8> = self.unread.drain(..head_end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().unwrap().split(' ').map(str::to_owned);
        let (method, target) = (first.next().unwrap(), first.next().unwrap());
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = length.map(|(_, value)| value.parse().unwrap()).expect("a Content-Length");
        while self.unread.len() < length {
            self.unread.extend(self.incoming.recv().ok()?);
        }
        let body = self.unread.drain(..length).collect();
        Some(Request { method, target, headers, body, connection: self.number })
    }

    fn say(&mut self, answer: &Answer) -> Result<(), Gone> {
        if answer.slam {
            return Err(Gone);
        }
        if answer.never {
            return self.until(|_| false);
        }
        let version = if let Framing::Close(version) = answer.framing { version } else { "1.1" };
        let mut head = format!("HTTP/{version} {} Whatever\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match answer.framing {
            Framing::Chunked => "transfer-encoding: chunked\r\n\r\n".to_owned(),
            Framing::Close(_) => "connection: close\r\n\r\n".to_owned(),
            Framing::Length => {
                let said = |step: &Step| if let Step::Say(bytes) = step { bytes.len() } else { 0 };
                // A body that is cut says that it is longer than what comes.
                let unsaid = if answer.steps.iter().any(|step| matches!(step, Step::Cut)) { 100 } else { 0 };
                format!("content-length: {}\r\n\r\n", answer.steps.iter().map(said).sum::<usize>() + unsaid)
            }
        };
        self.write(head.as_bytes())?;
        for step in &answer.steps {
            match step {
                Step::Say(bytes) => {
                    for piece in bytes.chunks(answer.piece.min(bytes.len().max(1))) {
                        if answer.framing == Framing::Chunked {
                            let chunk =
                                [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                            self.write(&chunk)?;
                        } else {
                            self.write(piece)?;
                        }
                    }
                }
                Step::Hold => {
                    self.shared.change(|state| state.holds_reached += 1);
                    self.until(|state| {
                        let free = state.permits > 0;
                        state.permits -= usize::from(free);
                        free
                    })?;
                }
                Step::Cut => return Err(Gone),
            }
        }
        if answer.framing == Framing::Chunked { self.write(b"0\r\n\r\n") } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.socket.write_all(bytes).map_err(|_| Gone)
    }

    /// Stands still until it may go on, the program hangs up, or the test is over.
    fn until(&self, mut free: impl FnMut(&mut State) -> bool) -> Result<(), Gone> {
        let mut state = self.shared.state.lock().unwrap();
        loop {
            if state.stopped || state.closed.contains(&self.number) {
                return Err(Gone);
            }
            if free(&mut state) {
                return Ok(());
            }
            state = self.shared.changed.wait(state).unwrap();
        }
    }
}
