//! The fake Gemini: it outlives the servers, plays the script that it finds in a prompt, and remembers who
//! called.
//!
//! Each process of the server is told another path to call, so that a call is known to be that process's also
//! where its bytes arrive after its death.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::script::{End, Pause, Script, checksum};

/// The upstream's key, as the configuration gives it.
pub(crate) const KEY: &str = "upstream-key-0a1b2c3d";
/// A call that was ended by the server may be noticed so much later than the next one that took its slot.
const CLOSING: Duration = Duration::from_secs(2);

/// The upstream of all rounds.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A call of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Which process of the server called.
    pub(crate) epoch: u32,
    /// How many events with text went out.
    pub(crate) pieces: u32,
    /// Was all of the script played?
    pub(crate) whole: bool,
}

/// When to come back: after less than a server waits for, and after more.
const SOON: &str = "0.05s";
const NEVER: &str = "600s";

#[derive(Debug)]
struct Shared {
    slots: usize,
    state: Mutex<State>,
    /// May they go on who stand still?
    released: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    tasks: HashMap<String, Task>,
    /// Calls that have not ended, by their number.
    open: BTreeMap<u64, (u32, String)>,
    calls: u64,
    /// The processes and tasks that were told to come back.
    stumbled: HashSet<(u32, String)>,
    connections: usize,
    faults: Vec<String>,
}

#[derive(Debug)]
struct Task {
    /// Tells requests apart: each run has to ask the same.
    request: u64,
    calls: Vec<Call>,
}

/// The server hung up, or sent what makes no sense.
struct Gone;

impl Upstream {
    /// Starts to listen. `slots` is how many calls a server may have open at once.
    pub(crate) async fn start(slots: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { slots, state: Mutex::default(), released: watch::Sender::new(false) });
        let upstream = Self { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    shared.state().connections += 1;
                    // A call that broke off is the server's affair; what it must not do was noted.
                    let _ = Connection::new(socket, Arc::clone(&shared)).serve().await;
                    shared.state().connections -= 1;
                });
            }
        });
        upstream
    }

    /// What the server of this epoch is told to call.
    pub(crate) fn base_url(&self, epoch: u32) -> String {
        format!("http://{}/{epoch}/v1beta", self.address)
    }

    /// Lets go on who stands still, and whoever comes to it, until [`Upstream::hold`].
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// From now on scripts stand still where they say so.
    pub(crate) fn hold(&self) {
        self.shared.released.send_replace(false);
    }

    /// The calls of a task, in the order in which they came.
    pub(crate) fn calls(&self, token: &str) -> Vec<Call> {
        self.shared.state().tasks.get(token).map(|task| task.calls.clone()).unwrap_or_default()
    }

    /// The tasks of which a call of this process is open.
    pub(crate) fn open_calls(&self, epoch: u32) -> Vec<String> {
        let state = self.shared.state();
        state.open.values().filter(|(of, _)| *of == epoch).map(|(_, token)| token.clone()).collect()
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// What the server did that it must not do.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.shared.state().faults.clone()
    }

    /// Forgets the tasks.
    pub(crate) fn forget(&self) {
        let mut state = self.shared.state();
        state.tasks.clear();
        state.stumbled.clear();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn fault(&self, text: String) {
        self.state().faults.push(text);
    }

    /// Looks again in a while whether the calls that are open now still are, and too many.
    fn watch_slots(self: &Arc<Self>, epoch: u32) {
        let open = move |state: &State| -> Vec<u64> {
            let of_epoch = state.open.iter().filter(|(_, (of, _))| *of == epoch);
            of_epoch.map(|(call, _)| *call).collect()
        };
        let now = open(&self.state());
        if now.len() <= self.slots {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            sleep(CLOSING).await;
            let later = open(&shared.state());
            let stayed = now.iter().filter(|call| later.contains(call)).count();
            if stayed > shared.slots {
                shared.fault(format!("{stayed} calls at once, with {} slots", shared.slots));
            }
        });
    }
}

/// A call from when its request was read until its connection ends.
struct OpenCall {
    number: u64,
    index: usize,
    token: String,
    shared: Arc<Shared>,
}

impl OpenCall {
    fn new(shared: &Arc<Shared>, epoch: u32, token: &str, request: u64) -> Self {
        let mut state = shared.state();
        let number = state.calls;
        state.calls += 1;
        state.open.insert(number, (epoch, token.to_owned()));
        let task = state.tasks.entry(token.to_owned()).or_insert_with(|| Task { request, calls: Vec::new() });
        task.calls.push(Call { epoch, pieces: 0, whole: false });
        let (index, same) = (task.calls.len() - 1, task.request == request);
        if !same {
            state.faults.push(format!("another run of {token} asks something else"));
        }
        drop(state);
        shared.watch_slots(epoch);
        Self { number, index, token: token.to_owned(), shared: Arc::clone(shared) }
    }

    fn note(&self, change: impl FnOnce(&mut Call)) {
        let mut state = self.shared.state();
        let task = state.tasks.get_mut(&self.token);
        // A task that was forgotten has no calls to count.
        if let Some(call) = task.and_then(|task| task.calls.get_mut(self.index)) {
            change(call);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.shared.state().open.remove(&self.number);
    }
}

struct Connection {
    incoming: OwnedReadHalf,
    outgoing: OwnedWriteHalf,
    shared: Arc<Shared>,
}

impl Connection {
    fn new(socket: TcpStream, shared: Arc<Shared>) -> Self {
        let _ = socket.set_nodelay(true);
        let (incoming, outgoing) = socket.into_split();
        Self { incoming, outgoing, shared }
    }

    /// Reads one request and plays its script.
    async fn serve(mut self) -> Result<(), Gone> {
        let (epoch, body) = self.request().await?;
        let Some((script, audio)) = read_question(&body) else {
            self.shared.fault(format!("a request that is none: {}", String::from_utf8_lossy(&body)));
            return Err(Gone);
        };
        if audio != script.audio {
            self.shared.fault(format!("the audio of {} arrived as another", script.token));
        }
        if script.stumbles && self.shared.state().stumbled.insert((epoch, script.token.clone())) {
            return self.refuse(503, SOON).await;
        }
        let request = checksum(&String::from_utf8_lossy(&body));
        let call = OpenCall::new(&self.shared, epoch, &script.token, request);
        self.play(&script, &call).await
    }

    async fn request(&mut self) -> Result<(u32, Vec<u8>), Gone> {
        let mut bytes = Vec::new();
        let (head, epoch, length) = loop {
            if self.incoming.read_buf(&mut bytes).await.map_err(|_| Gone)? == 0 {
                return Err(Gone);
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            let httparse::Status::Complete(head) = request.parse(&bytes).map_err(|_| Gone)? else { continue };
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(found.value).ok()
            };
            let epoch = request.path.and_then(|path| path.split('/').nth(1)?.parse().ok());
            let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
            if header("x-goog-api-key") != Some(KEY) {
                self.shared.fault("a request without the channel's key".to_owned());
            }
            break (head, epoch.ok_or(Gone)?, length.ok_or(Gone)?);
        };
        bytes.drain(..head);
        while bytes.len() < length {
            if self.incoming.read_buf(&mut bytes).await.map_err(|_| Gone)? == 0 {
                return Err(Gone);
            }
        }
        Ok((epoch, bytes))
    }

    async fn play(&mut self, script: &Script, call: &OpenCall) -> Result<(), Gone> {
        self.rest(script.before).await?;
        if let End::Status(status) = script.end {
            self.refuse(status, NEVER).await?;
            call.note(|call| call.whole = true);
            return Ok(());
        }
        self.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n",
        )
        .await?;
        for number in 0..script.pieces {
            if script.holds_at == Some(number) {
                self.rest(Pause::UntilReleased).await?;
            }
            // Counted before it is said: nobody may have heard what was not counted.
            call.note(|call| call.pieces += 1);
            self.event(&text(&script.piece(number))).await?;
            if script.pause_ms > 0 {
                self.rest(Pause::Millis(script.pause_ms)).await?;
            }
        }
        match script.end {
            End::Finish => self.event(&finish()).await?,
            End::Fault => self.event(&error(503)).await?,
            End::Cut | End::Status(_) => return Err(Gone),
        }
        call.note(|call| call.whole = true);
        self.write("0\r\n\r\n").await
    }

    /// Answers with an error and says when to come back.
    async fn refuse(&mut self, status: u16, come_back: &str) -> Result<(), Gone> {
        let mut body = error(status);
        body["error"]["details"] =
            json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": come_back}]);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.write(&head).await
    }

    /// Stands still, unless the server hangs up.
    async fn rest(&mut self, pause: Pause) -> Result<(), Gone> {
        let mut released = self.shared.released.subscribe();
        let over = async {
            match pause {
                Pause::Millis(millis) => sleep(Duration::from_millis(millis)).await,
                Pause::UntilReleased => {
                    let _ = released.wait_for(|released| *released).await;
                }
            }
        };
        let mut unasked = [0; 64];
        tokio::select! {
            () = over => Ok(()),
            // Nothing more is to come: whatever this brings, it is the end.
            _ = self.incoming.read(&mut unasked) => Err(Gone),
        }
    }

    async fn event(&mut self, event: &Value) -> Result<(), Gone> {
        let event = format!("data: {event}\r\n\r\n");
        self.write(&format!("{:x}\r\n{event}\r\n", event.len())).await
    }

    async fn write(&mut self, text: &str) -> Result<(), Gone> {
        self.outgoing.write_all(text.as_bytes()).await.map_err(|_| Gone)
    }
}

/// The script in a request's prompt, and the checksum of its audio.
fn read_question(body: &[u8]) -> Option<(Script, u64)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let parts = body["contents"][0]["parts"].as_array()?;
    let prompt = parts.iter().find_map(|part| part["text"].as_str())?;
    let audio = parts.iter().find_map(|part| part["inlineData"]["data"].as_str())?;
    Some((serde_json::from_str(prompt).ok()?, checksum(audio)))
}

fn text(text: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 11, "totalTokenCount": 11}})
}

fn finish() -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP",
        "index": 0}], "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 5,
        "totalTokenCount": 16}})
}

fn error(code: u16) -> Value {
    json!({"error": {"code": code, "message": "The script says so.", "status": "SCRIPTED"}})
}
