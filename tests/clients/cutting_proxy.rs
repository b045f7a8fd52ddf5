//! A proxy in front of the program that loses replies and cuts streams, and sees where its clients continue.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::kit::head::RequestHead;
use crate::kit::server::listen;

/// The end of a frame. Neither the head of a reply nor HTTP's own chunks contain these two bytes.
const FRAME_END: &[u8] = b"\n\n";
/// The beginning of a frame. No other reply of the program contains it.
const FRAME_BEGIN: &[u8] = b"\nevent: ";
/// The position of a cut in the middle of a frame, in bytes: within its JSON.
const INTO_THE_FRAME: usize = 60;
const READ_BYTES: usize = 64 * 1024;

/// Called with the path of a stream when a client comes back after a cut, before the request is passed on.
type OnResume = Box<dyn Fn(&str) + Send + Sync>;

/// A proxy. It listens as long as the process runs.
pub(crate) struct CuttingProxy {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    /// How many replies to submits are lost.
    lost_replies: usize,
    /// The cuts of the streams, in order: each is in the middle of a frame, after this many whole ones. Further streams
    /// are not cut.
    cuts: VecDeque<usize>,
    /// Set when a stream has been cut.
    has_cut: bool,
    /// The numbers of the chunks where clients continued to read after a cut.
    resumed: Vec<u64>,
}

/// What the proxy knows of the reply that it passes on.
#[derive(Default)]
struct Reply {
    is_lost: bool,
    received: Vec<u8>,
    /// Set when the first frame has begun; `None` in it means that the stream is not cut.
    cut: Option<Option<usize>>,
}

impl CuttingProxy {
    /// Starts a proxy in front of a program. It loses the first reply to a submit, and makes these cuts.
    pub(crate) fn start(program: SocketAddr, cuts: &[usize], on_resume: OnResume) -> Self {
        let cuts = cuts.iter().copied().collect();
        let state = State { lost_replies: 1, cuts, has_cut: false, resumed: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let (shared, on_resume) = (Arc::clone(&state), Arc::new(on_resume));
        let listener = listen(Ipv4Addr::LOCALHOST, move |line| {
            pass_on(line.into_socket(), program, &shared, &on_resume);
        });
        Self { address: listener.expect("a free port").address, state }
    }

    /// Returns the numbers of the chunks where clients continued to read after a cut.
    pub(crate) fn resumed(&self) -> Vec<u64> {
        with(&self.state, |state| state.resumed.clone())
    }
}

fn with<T, R>(shared: &Mutex<T>, change: impl FnOnce(&mut T) -> R) -> R {
    change(&mut shared.lock().expect("no thread panics while it holds the lock"))
}

/// Passes on both directions of a connection. An error on one side ends both, as a cut does.
fn pass_on(client: TcpStream, program: SocketAddr, state: &Arc<Mutex<State>>, on_resume: &Arc<OnResume>) {
    let Ok(program) = TcpStream::connect(program) else { return };
    let sockets = (client.try_clone(), program.try_clone());
    let (Ok(client_reader), Ok(program_writer)) = sockets else { return };
    let reply = Arc::new(Mutex::new(Reply::default()));
    let upwards = {
        let (reply, state, on_resume) = (Arc::clone(&reply), Arc::clone(state), Arc::clone(on_resume));
        move || {
            copy(client_reader, program_writer, |bytes| {
                if let Some(begun) = begin(bytes, &state, &on_resume) {
                    with(&reply, |reply| *reply = begun);
                }
                bytes.len()
            });
        }
    };
    thread::spawn(upwards);
    copy(program, client, |bytes| with(&reply, |reply| let_through(reply, bytes, state)));
}

/// Copies until the end, an error, or a read of which `passes` lets only a part through. Then closes both sides.
fn copy(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> usize) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        let passed = passes(bytes);
        if to.write_all(&bytes[..passed]).is_err() || passed < length {
            break;
        }
    }
    // An error means that the socket is closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Returns what the proxy has to do with the reply, if these bytes begin a request. A client sends a request only when
/// it has the reply to the previous one, so no read contains parts of two requests.
fn begin(bytes: &[u8], state: &Mutex<State>, on_resume: &OnResume) -> Option<Reply> {
    let (head, _) = RequestHead::parse(bytes).ok()??;
    let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
    let mut reply = Reply::default();
    if (head.method, path) == ("POST", "/v1/llm/generations") {
        reply.is_lost = with(state, |state| {
            let is_lost = state.lost_replies > 0;
            state.lost_replies -= usize::from(is_lost);
            is_lost
        });
    }
    if path.ends_with("/stream") {
        let last = head.headers.number("last-event-id").ok()?;
        let offset = query.strip_prefix("offset=").and_then(|offset| offset.parse().ok());
        let next = last.map(|last| last + 1).or(offset).unwrap_or(0);
        let has_cut = with(state, |state| {
            state.resumed.extend(state.has_cut.then_some(next));
            state.has_cut
        });
        if has_cut {
            on_resume(path);
        }
    }
    Some(reply)
}

/// Returns how many of these bytes of a reply the client gets.
fn let_through(reply: &mut Reply, bytes: &[u8], state: &Mutex<State>) -> usize {
    if reply.is_lost {
        return 0;
    }
    let passed = reply.received.len();
    reply.received.extend_from_slice(bytes);
    if reply.cut.is_none() && find(&reply.received, FRAME_BEGIN, 0).is_some() {
        reply.cut = Some(with(state, |state| state.cuts.pop_front()));
    }
    let Some(end) = reply.cut.flatten().and_then(|frames| place(&reply.received, frames)) else {
        return bytes.len();
    };
    with(state, |state| state.has_cut = true);
    end.saturating_sub(passed).min(bytes.len())
}

/// Returns the position of a cut after this many frames, if the bytes reach it.
fn place(bytes: &[u8], frames: usize) -> Option<usize> {
    let end = (0..frames).try_fold(0, |end, _| Some(find(bytes, FRAME_END, end)? + FRAME_END.len()))?;
    let next = find(bytes, FRAME_BEGIN, end.saturating_sub(1))?;
    (bytes.len() > next + INTO_THE_FRAME).then_some(next + INTO_THE_FRAME)
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(wanted.len()).position(|window| window == wanted)?;
    Some(from + found)
}
