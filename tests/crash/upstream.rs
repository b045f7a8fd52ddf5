//! The fake Gemini: it outlives the servers, plays the script in a prompt, and remembers each call.
//!
//! Each process of the server has another path to call. So a call can be assigned to its process even if its bytes
//! arrive after the process has ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::kit::Outcome;
use crate::kit::gemini::{error, finish_event, framed, text_event};
use crate::kit::server::{Line, Request, listen};
use crate::script::{End, Pause, Script, checksum};

/// The upstream's key, as the configuration gives it.
pub(crate) const KEY: &str = "upstream-key-0a1b2c3d";
/// How much later than the next call in its slot the upstream may notice that the server ended a call.
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
    /// The process of the server that called.
    pub(crate) epoch: u32,
    /// How many events with text were sent.
    pub(crate) pieces: u32,
    /// True if the whole script was played.
    pub(crate) whole: bool,
}

/// The retry delays: one that a server waits for, and one that is too long.
const SOON: &str = "0.05s";
const NEVER: &str = "600s";

#[derive(Debug)]
struct Shared {
    slots: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// True if the answers that wait may continue.
    released: bool,
    tasks: HashMap<String, Task>,
    /// Calls that have not ended, by their number.
    open: BTreeMap<u64, (u32, String)>,
    calls: u64,
    /// The processes and tasks whose call was refused with a retry delay.
    stumbled: HashSet<(u32, String)>,
    connections: usize,
    faults: Vec<String>,
}

#[derive(Debug)]
struct Task {
    /// Distinguishes requests: each run has to send the same one.
    request: u64,
    calls: Vec<Call>,
}

impl Upstream {
    /// Starts to listen. `slots` is how many calls a server may have open at once.
    pub(crate) fn start(slots: usize) -> Self {
        let shared = Arc::new(Shared { slots, state: Mutex::default() });
        let theirs = Arc::clone(&shared);
        let listener = listen(Ipv4Addr::LOCALHOST, move |mut line| {
            theirs.state().connections += 1;
            // The server may break off a call. What it must not do was recorded.
            let _ = serve(&mut line, &theirs);
            theirs.state().connections -= 1;
        });
        Self { address: listener.unwrap().address, shared }
    }

    /// Returns the URL that the server of this epoch has to call.
    pub(crate) fn base_url(&self, epoch: u32) -> String {
        format!("http://{}/{epoch}/v1beta", self.address)
    }

    /// Releases the answers that wait now or later, until [`Upstream::hold`].
    pub(crate) fn release(&self) {
        self.shared.state().released = true;
    }

    /// From now on, scripts wait where they say so.
    pub(crate) fn hold(&self) {
        self.shared.state().released = false;
    }

    /// Returns the calls of a task, in the order in which they came.
    pub(crate) fn calls(&self, token: &str) -> Vec<Call> {
        self.shared.state().tasks.get(token).map(|task| task.calls.clone()).unwrap_or_default()
    }

    /// Returns the tasks with an open call of this process.
    pub(crate) fn open_calls(&self, epoch: u32) -> Vec<String> {
        let state = self.shared.state();
        state.open.values().filter(|(of, _)| *of == epoch).map(|(_, token)| token.clone()).collect()
    }

    /// Returns how many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Returns what the server did that it must not do.
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

    /// Checks after a while whether the calls that are open now are still open, and too many.
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
        thread::spawn(move || {
            thread::sleep(CLOSING);
            let later = open(&shared.state());
            let stayed = now.iter().filter(|call| later.contains(call)).count();
            if stayed > shared.slots {
                shared.fault(format!("{stayed} calls at once, with {} slots", shared.slots));
            }
        });
    }
}

/// A call, from when its request was read until its connection ends.
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

/// Reads one request and plays its script.
fn serve(line: &mut Line, shared: &Arc<Shared>) -> Outcome<()> {
    let Some(request) = line.request()? else { return Ok(()) };
    if request.header("x-goog-api-key") != Some(KEY) {
        shared.fault("a request without the channel's key".to_owned());
    }
    let Request { target, body, .. } = request;
    let epoch = target.split('/').nth(1).unwrap_or_default().parse()?;
    let Some((script, audio)) = read_question(&body) else {
        shared.fault(format!("a request that is none: {}", String::from_utf8_lossy(&body)));
        return Ok(());
    };
    if audio != script.audio {
        shared.fault(format!("the audio of {} arrived as another", script.token));
    }
    if script.stumbles && shared.state().stumbled.insert((epoch, script.token.clone())) {
        return Ok(line.json(503, &error(503, Some(SOON)))?);
    }
    let request = checksum(&String::from_utf8_lossy(&body));
    let call = OpenCall::new(shared, epoch, &script.token, request);
    Ok(play(line, &script, &call)?)
}

fn play(line: &mut Line, script: &Script, call: &OpenCall) -> io::Result<()> {
    let stand_still = |line: &Line, pause| match pause {
        Pause::Millis(millis) => line.rest(Duration::from_millis(millis)),
        Pause::UntilReleased => line.until(|| call.shared.state().released),
    };
    stand_still(line, script.before)?;
    if let End::Status(status) = script.end {
        line.json(status, &error(status, Some(NEVER)))?;
        call.note(|call| call.whole = true);
        return Ok(());
    }
    line.begin_events()?;
    for number in 0..script.pieces {
        if script.holds_at == Some(number) {
            stand_still(line, Pause::UntilReleased)?;
        }
        // Counted before it is sent: a client must not receive what was not counted.
        call.note(|call| call.pieces += 1);
        line.chunk(framed(&text_event(&script.piece(number))))?;
        stand_still(line, Pause::Millis(script.pause_ms))?;
    }
    match script.end {
        End::Finish => line.chunk(framed(&finish_event("STOP")))?,
        End::Fault => line.chunk(framed(&error(503, None)))?,
        End::Cut | End::Status(_) => return Ok(()),
    }
    call.note(|call| call.whole = true);
    line.end()
}

/// Returns the script in a request's prompt, and the checksum of its audio.
fn read_question(body: &[u8]) -> Option<(Script, u64)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let parts = body["contents"][0]["parts"].as_array()?;
    let prompt = parts.iter().find_map(|part| part["text"].as_str())?;
    let audio = parts.iter().find_map(|part| part["inlineData"]["data"].as_str())?;
    Some((serde_json::from_str(prompt).ok()?, checksum(audio)))
}
