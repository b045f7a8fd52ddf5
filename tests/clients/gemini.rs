//! A small Gemini, which does what a test's prompt tells it.
//!
//! The prompt of a request is a [`Script`] in JSON, so each case stands whole in the client's script. Two paths
//! of its own serve the cases: `GET /calls/{case}` tells how often the case was called upstream, and
//! `POST /open/{gate}` lets an answer go on that waits for the gate. Threads and blocking sockets: a few
//! connections at a time is all it will see.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// A gate that nobody opens in this time ends the answer: the case has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Script {
    /// Under which name its calls are counted.
    case: String,
    /// The statuses of the first calls; those after them succeed.
    #[serde(default)]
    refusals: Vec<u16>,
    /// When to come back, which a refusal says: seconds as Google writes them, `40s`.
    retry_delay: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// An event with a piece of the answer.
    Say(String),
    /// An event with a piece of a thought.
    Think(String),
    /// Nothing, until the gate of this name is open.
    WaitFor(String),
    /// The answer ends for this reason.
    Finish(String),
    /// The connection ends in the middle of the answer.
    Cut,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    calls: HashMap<String, usize>,
    open: HashSet<String>,
}

/// Starts one, for as long as the process lives.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("the address of a listener");
    let shared = Arc::new(Shared::default());
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            // An error is a client that has gone; what it missed, its test tells.
            thread::spawn(move || serve(connection, &shared));
        }
    });
    address
}

fn serve(connection: TcpStream, shared: &Shared) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (path, body) = read_request(&connection)?;
    if let Some(case) = path.strip_prefix("/calls/") {
        let calls = shared.lock().calls.get(case).copied().unwrap_or(0);
        return reply(&connection, 200, &json!(calls));
    }
    if let Some(gate) = path.strip_prefix("/open/") {
        shared.lock().open.insert(gate.to_owned());
        shared.opened.notify_all();
        return reply(&connection, 200, &json!(true));
    }
    let Some(script) = script(&body) else {
        let error = json!({"code": 400, "message": "the prompt is no script", "status": "INVALID_ARGUMENT"});
        return reply(&connection, 400, &json!({ "error": error }));
    };
    let call = shared.count(&script.case);
    match script.refusals.get(call) {
        Some(status) => {
            let mut error = json!({"code": status, "message": "The fake is out of order.", "status": "FAKE"});
            if let Some(delay) = &script.retry_delay {
                let kind = "type.googleapis.com/google.rpc.RetryInfo";
                error["details"] = json!([{"@type": kind, "retryDelay": delay}]);
            }
            reply(&connection, *status, &json!({ "error": error }))
        }
        None => answer(&connection, &script.steps, shared),
    }
}

fn answer(mut connection: &TcpStream, steps: &[Step], shared: &Shared) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    connection.write_all(head.as_bytes())?;
    let mut reason = "STOP";
    for step in steps {
        match step {
            Step::Say(text) => send_event(connection, &event(&json!({ "text": text }), None))?,
            Step::Think(text) => {
                send_event(connection, &event(&json!({ "text": text, "thought": true }), None))?;
            }
            Step::WaitFor(gate) => shared.wait_for(gate)?,
            Step::Finish(other) => reason = other,
            Step::Cut => return Ok(()),
        }
    }
    send_event(connection, &event(&json!({ "text": "" }), Some(reason)))?;
    connection.write_all(b"0\r\n\r\n")
}

fn event(part: &Value, finish_reason: Option<&str>) -> Value {
    let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
    if let Some(reason) = finish_reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 40, "candidatesTokenCount": 7, "thoughtsTokenCount": 3, "totalTokenCount": 50,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 32},
            ],
        },
    })
}

/// An event is a chunk of HTTP's in one write, as Google sends them.
fn send_event(mut connection: &TcpStream, event: &Value) -> io::Result<()> {
    let event = format!("data: {event}\r\n\r\n");
    connection.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
}

fn reply(mut connection: &TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Fake\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes())
}

/// The path and the body.
fn read_request(connection: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(connection);
    let mut request_line = String::new();
    reader.read_line(&mut request_line)?;
    let path = request_line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((path, body))
}

fn script(body: &[u8]) -> Option<Script> {
    let request: Value = serde_json::from_slice(body).ok()?;
    serde_json::from_str(request.pointer("/contents/0/parts/0/text")?.as_str()?).ok()
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    /// Counts a call; tells how many there were before.
    fn count(&self, case: &str) -> usize {
        let mut state = self.lock();
        let calls = state.calls.entry(case.to_owned()).or_default();
        *calls += 1;
        *calls - 1
    }

    fn wait_for(&self, gate: &str) -> io::Result<()> {
        let shut = |state: &mut State| !state.open.contains(gate);
        let waited = self.opened.wait_timeout_while(self.lock(), PATIENCE, shut);
        let (state, outcome) = waited.expect("no thread panics while it holds the lock");
        drop(state);
        if outcome.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}
