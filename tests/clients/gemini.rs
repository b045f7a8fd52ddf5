//! A small Gemini that does what a test's prompt says.
//!
//! The prompt of a request is a [`Script`] in JSON, so each case is complete in the client's script. Two paths of its
//! own serve the cases: `GET /calls/{case}` returns how often the upstream was called for the case, and `POST
//! /open/{gate}` releases an answer that waits for the gate.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::Outcome;
use crate::kit::gemini::{self, framed};
use crate::kit::server::{Line, listen};

/// A gate that stays closed for this long ends the answer: the case has failed.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Script {
    /// The name under which its calls are counted.
    case: String,
    /// The statuses of the first calls. The calls after them succeed.
    #[serde(default)]
    refusals: Vec<u16>,
    /// The retry delay in a refusal, in seconds as Google writes them: `40s`.
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
    /// Sends nothing until the gate of this name is open.
    WaitFor(String),
    /// Ends the answer for this reason.
    Finish(String),
    /// Closes the connection in the middle of the answer.
    Cut,
}

#[derive(Default)]
struct State {
    calls: HashMap<String, usize>,
    open: HashSet<String>,
}

/// Starts a small Gemini that runs as long as the process.
pub(crate) fn start() -> SocketAddr {
    let state = Mutex::<State>::default();
    // An error means that the client has disconnected. Its test reports what it missed.
    let listener = listen(Ipv4Addr::LOCALHOST, move |mut line| drop(serve(&mut line, &state)));
    listener.expect("a free port").address
}

fn with<T>(state: &Mutex<State>, change: impl FnOnce(&mut State) -> T) -> T {
    change(&mut state.lock().expect("no thread panics while it holds the lock"))
}

/// Answers one request.
fn serve(line: &mut Line, state: &Mutex<State>) -> Outcome<()> {
    let Some(request) = line.request()? else { return Ok(()) };
    if let Some(case) = request.target.strip_prefix("/calls/") {
        let calls = with(state, |state| state.calls.get(case).copied().unwrap_or(0));
        return Ok(line.json(200, &json!(calls))?);
    }
    if let Some(gate) = request.target.strip_prefix("/open/") {
        with(state, |state| state.open.insert(gate.to_owned()));
        return Ok(line.json(200, &json!(true))?);
    }
    let Some(script) = script(&request.body) else {
        let error = json!({"code": 400, "message": "the prompt is no script", "status": "INVALID_ARGUMENT"});
        return Ok(line.json(400, &json!({ "error": error }))?);
    };
    let call = with(state, |state| {
        let calls = state.calls.entry(script.case).or_default();
        *calls += 1;
        *calls - 1
    });
    match script.refusals.get(call) {
        Some(status) => Ok(line.json(*status, &gemini::error(*status, script.retry_delay.as_deref()))?),
        None => answer(line, &script.steps, state),
    }
}

fn answer(line: &mut Line, steps: &[Step], state: &Mutex<State>) -> Outcome<()> {
    line.begin_events()?;
    let mut reason = "STOP";
    for step in steps {
        match step {
            Step::Say(text) => line.chunk(event(&json!({ "text": text }), None))?,
            Step::Think(text) => line.chunk(event(&json!({ "text": text, "thought": true }), None))?,
            Step::WaitFor(gate) => {
                let began = Instant::now();
                let is_open = || with(state, |state| state.open.contains(gate));
                line.until(|| is_open() || began.elapsed() > PATIENCE)?;
                if !is_open() {
                    return Err("a gate stays shut".into());
                }
            }
            Step::Finish(other) => reason = other,
            Step::Cut => return Ok(()),
        }
    }
    line.chunk(event(&json!({ "text": "" }), Some(reason)))?;
    Ok(line.end()?)
}

fn event(part: &Value, finish_reason: Option<&str>) -> String {
    let usage = json!({
        "promptTokenCount": 40, "candidatesTokenCount": 7, "thoughtsTokenCount": 3, "totalTokenCount": 50,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 32}],
    });
    framed(&gemini::event(part, finish_reason, &usage))
}

fn script(body: &[u8]) -> Option<Script> {
    let request: Value = serde_json::from_slice(body).ok()?;
    serde_json::from_str(request.pointer("/contents/0/parts/0/text")?.as_str()?).ok()
}
