//! Submits audio to hearken as a task, and prints the answer while it arrives.
//!
//! ```text
//! HEARKEN_API_KEY=sk-... cargo run --example submit -- AUDIO [MODEL] [PROMPT]
//! ```
//!
//! AUDIO is a file or an http(s) URL. `HEARKEN_URL` is the server (default: `http://127.0.0.1:8080`). The answer goes
//! to standard output; reasoning and messages go to standard error. The exit status is 0 if the task completes, else 1.
//! Ctrl-C cancels the task.
//!
//! The example uses nothing of hearken's library. In a program of your own, it needs these dependencies:
//!
//! ```toml
//! actix-rt = "2"
//! awc = { version = "3", default-features = false, features = ["rustls-0_23-webpki-roots"] }
//! base64 = "0.23"
//! bytes = "1"
//! futures-util = "0.3"
//! rand = "0.10"
//! rustls = { version = "0.23", default-features = false, features = ["ring", "std", "tls12"] }
//! serde_json = "1"
//! tokio = { version = "1", features = ["macros"] }
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program for the command line")]

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use actix_rt::time::{sleep, timeout};
use awc::Client;
use awc::error::PayloadError;
use awc::http::Method;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::LocalBoxStream;
use serde_json::{Value, json};

/// A connection that is silent for this long is lost: hearken sends a keep-alive every 15 seconds in a stream, and
/// answers any other request of this program after 60 seconds at the latest.
const SILENCE: Duration = Duration::from_secs(90);
/// How often one request is repeated before the program gives up.
const MAX_RETRIES: u32 = 8;
/// The code of a request that got no answer. All other codes are hearken's.
const CONNECTION: &str = "connection";
/// The codes of failures that end by themselves.
const TEMPORARY: [&str; 7] = [
    CONNECTION,
    "idempotency_conflict",
    "queue_full",
    "rate_limit_exceeded",
    "shutting_down",
    "storage_full",
    "storage_unavailable",
];

/// Why there is no answer.
enum Failure {
    /// A request was refused, or lost.
    Refused { code: String, message: String, retry_after: Option<u64> },
    /// The task has failed. Repeating a request does not change that.
    Task { code: String, message: String },
    /// This program cannot continue.
    Other(String),
}

impl Failure {
    fn lost(reason: impl Display) -> Self {
        let message = format!("the connection was lost ({reason})");
        Self::Refused { code: CONNECTION.to_owned(), message, retry_after: None }
    }

    /// Returns the failure of a task, from its `error`.
    fn of_task(error: &Value) -> Self {
        Self::Task { code: text(&error["code"]).to_owned(), message: text(&error["message"]).to_owned() }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message, .. } | Self::Task { code, message } => {
                write!(f, "{code}: {message}")
            }
            Self::Other(message) => f.write_str(message),
        }
    }
}

/// Returns the text of a JSON string, and nothing for any other value.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

type Body = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// A request that can be sent several times.
struct Request<'a> {
    method: Method,
    path: &'a str,
    header: Option<(&'static str, &'a str)>,
    body: Option<&'a Value>,
}

impl<'a> Request<'a> {
    fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, header: None, body: None }
    }

    fn post(path: &'a str) -> Self {
        Self { method: Method::POST, path, header: None, body: None }
    }
}

/// A hearken server.
struct Server {
    client: Client,
    url: String,
}

impl Server {
    fn new(url: &str, key: &str) -> Self {
        let client = Client::builder().bearer_auth(key).timeout(SILENCE).finish();
        Self { client, url: url.trim_end_matches('/').to_owned() }
    }

    /// Sends a request once. Returns the body of the response, which is not read yet.
    async fn send(&self, request: &Request<'_>) -> Result<Body, Failure> {
        let mut sent = self.client.request(request.method.clone(), format!("{}{}", self.url, request.path));
        if let Some(header) = request.header {
            sent = sent.insert_header(header);
        }
        let response = match request.body {
            Some(body) => sent.send_json(body).await,
            None => sent.send().await,
        };
        let response = response.map_err(Failure::lost)?;
        let status = response.status();
        let retry_after =
            response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.boxed_local();
        if status.is_success() {
            return Ok(body);
        }
        let answer = read(body).await?;
        match answer["error"]["code"].as_str() {
            Some(code) => {
                let message = text(&answer["error"]["message"]).to_owned();
                Err(Failure::Refused { code: code.to_owned(), message, retry_after })
            }
            // This is not hearken's answer: a proxy in front of it could not reach it.
            None => Err(Failure::lost(format_args!("HTTP status {status}"))),
        }
    }

    /// Sends a request until it has an answer. Returns the answer.
    async fn persist(&self, request: Request<'_>) -> Result<Value, Failure> {
        let mut retries = 0;
        loop {
            let answer = match self.send(&request).await {
                Ok(body) => read(body).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(Value::Null) => pause(Failure::lost("the answer is not JSON"), retries).await?,
                Ok(answer) => return Ok(answer),
                Err(failure) => pause(failure, retries).await?,
            }
            retries += 1;
        }
    }

    /// Shows every chunk of the task's answer once, over as many connections as it takes.
    async fn follow(&self, stream: &str, answer: &mut Answer) -> Result<(), Failure> {
        loop {
            match self.listen(stream, answer).await {
                Ok(()) => return Ok(()),
                // The chunks are no longer kept, but the result is.
                Err(Failure::Refused { code, .. }) if code == "stream_expired" => return Ok(()),
                Err(failure) => pause(failure, answer.retries).await?,
            }
            answer.retries += 1;
        }
    }

    /// Reads one connection to the stream.
    async fn listen(&self, stream: &str, answer: &mut Answer) -> Result<(), Failure> {
        let last_id = answer.last_id.clone();
        let header = last_id.as_deref().map(|id| ("Last-Event-ID", id));
        let mut body = self.send(&Request { header, ..Request::get(stream) }).await?;
        let (mut unread, mut event) = (Vec::new(), HashMap::new());
        while let Some(bytes) = next(&mut body).await? {
            unread.extend_from_slice(&bytes);
            // hearken's events have one line of data each. An empty line ends an event.
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line[..end]);
                if let Some((name, value)) = line.split_once(':') {
                    // The name of a comment (a keep-alive) is empty.
                    event.insert(name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned());
                    continue;
                }
                let mut field = |name| event.remove(name).unwrap_or_default();
                let (name, id, data) = (field("event"), field("id"), field("data"));
                let data: Value = serde_json::from_str(&data).unwrap_or_default();
                match name.as_str() {
                    "chunk" => answer.add(id, &data),
                    "done" => return Ok(()),
                    "error" => return Err(Failure::of_task(&data["error"])),
                    _ => {}
                }
            }
        }
        Err(Failure::lost("it was closed"))
    }

    /// Waits until the task ends. Returns its result, a ChatCompletion.
    async fn result(&self, id: &str) -> Result<Value, Failure> {
        let path = format!("/v1/tasks/{id}?wait=60");
        loop {
            let mut task = self.persist(Request::get(&path)).await?;
            match text(&task["status"]) {
                "completed" => return Ok(task["results"][0].take()),
                "failed" => return Err(Failure::of_task(&task["error"])),
                _ => {}
            }
        }
    }
}

/// Returns the next piece of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    let piece = timeout(SILENCE, body.next()).await.map_err(|_| Failure::lost("it was silent"))?;
    piece.transpose().map_err(Failure::lost)
}

/// Reads a body as JSON. Returns `null` for anything else.
async fn read(mut body: Body) -> Result<Value, Failure> {
    let mut json = Vec::new();
    while let Some(bytes) = next(&mut body).await? {
        json.extend_from_slice(&bytes);
    }
    Ok(serde_json::from_slice(&json).unwrap_or_default())
}

/// Waits before the next attempt. Returns the failure again if another attempt is useless.
async fn pause(failure: Failure, retries: u32) -> Result<(), Failure> {
    let Failure::Refused { code, retry_after, .. } = &failure else { return Err(failure) };
    if !TEMPORARY.contains(&code.as_str()) || retries == MAX_RETRIES {
        return Err(failure);
    }
    let seconds = retry_after.unwrap_or_else(|| 2_u64.pow(retries).min(30));
    eprintln!("{failure}; trying again in {seconds} s");
    sleep(Duration::from_secs(seconds)).await;
    Ok(())
}

/// The answer, as far as it has arrived.
#[derive(Default)]
struct Answer {
    text: String,
    is_thinking: bool,
    /// The number of the last chunk.
    last_id: Option<String>,
    /// The attempts to continue since that chunk.
    retries: u32,
}

impl Answer {
    /// Adds a chunk, and shows it.
    fn add(&mut self, id: String, chunk: &Value) {
        (self.last_id, self.retries) = (Some(id), 0);
        let delta = &chunk["choices"][0]["delta"];
        if let Some(reasoning) = delta["reasoning_content"].as_str() {
            self.is_thinking = true;
            eprint!("{reasoning}");
        }
        let piece = said(delta);
        if !piece.is_empty() {
            if self.is_thinking {
                eprintln!();
            }
            self.is_thinking = false;
            self.text += piece;
            print!("{piece}");
            // An error means that nothing reads the output. The task continues.
            let _ = io::stdout().flush();
        }
    }
}

/// Returns the text of a message or a delta. A model that refuses to answer says so in `refusal`.
fn said(message: &Value) -> &str {
    Some(text(&message["content"])).filter(|text| !text.is_empty()).unwrap_or(text(&message["refusal"]))
}

/// Streams the task's answer, then waits for its result.
async fn finish(server: &Server, task: &Value) -> Result<(), Failure> {
    let mut answer = Answer::default();
    server.follow(text(&task["stream"]["url"]), &mut answer).await?;
    let completion = server.result(text(&task["id"])).await?;
    let whole = said(&completion["choices"][0]["message"]);
    println!("{}", whole.strip_prefix(&answer.text).unwrap_or(whole));
    let reason = text(&completion["choices"][0]["finish_reason"]);
    eprintln!("completed ({reason}), {} tokens", completion["usage"]["total_tokens"]);
    Ok(())
}

async fn run(server: &Server, audio: &str, model: &str, prompt: &str) -> Result<(), Failure> {
    let audio = if audio.starts_with("http://") || audio.starts_with("https://") {
        audio.to_owned()
    } else {
        let bytes = std::fs::read(audio).map_err(|err| Failure::Other(format!("{audio}: {err}")))?;
        // hearken recognises the format by the bytes.
        format!("data:application/octet-stream;base64,{}", BASE64_STANDARD.encode(bytes))
    };
    let body =
        json!({"model": model, "audio_url": audio, "prompt": prompt, "stream": true, "reasoning": true});
    // However often the request is sent, the key makes it one task.
    let key = format!("{:032x}", rand::random::<u128>());
    let header = Some(("Idempotency-Key", key.as_str()));
    let task =
        server.persist(Request { header, body: Some(&body), ..Request::post("/v1/llm/generations") }).await?;
    let id = text(&task["id"]);
    eprintln!("task {id}");
    tokio::select! {
        finished = finish(server, &task) => finished,
        _ = actix_rt::signal::ctrl_c() => {
            server.persist(Request::post(&format!("/v1/tasks/{id}/cancel"))).await?;
            Err(Failure::Other("cancelled".to_owned()))
        }
    }
}

#[actix_rt::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (audio, model, prompt) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [audio] => (audio, "local-inspect", "Please transcribe this audio file"),
        [audio, model] => (audio, model, "Please transcribe this audio file"),
        [audio, model, prompt] => (audio, model, prompt),
        _ => ("", "", ""),
    };
    let key = std::env::var("HEARKEN_API_KEY").unwrap_or_default();
    if audio.is_empty() || key.is_empty() {
        eprintln!("usage: HEARKEN_API_KEY=sk-... cargo run --example submit -- AUDIO [MODEL] [PROMPT]");
        return ExitCode::FAILURE;
    }
    let url = std::env::var("HEARKEN_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    match run(&Server::new(&url, &key), audio, model, prompt).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}
