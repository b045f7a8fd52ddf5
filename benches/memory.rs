//! Measures the memory that audio takes: `cargo bench --bench memory`
//!
//! Measures how far the resident memory of the server rises with the largest audio that upstreams accept: 15 MB, which
//! is a body of 20 MB. A row has one task on one of the paths that audio takes, or a crowd: many clients that submit at
//! the same moment. The server is the real program in a separate process, over sockets, on a real disk, a fresh one for
//! each row, with the default budget for payloads. The upstream is a fake that keeps nothing. It waits two seconds
//! before it reads a request, because a real upstream is far away.
//!
//! During the uploads of a crowd, one connection sends small submits at a steady pace, which only need to be accepted.
//! They are also measured before, while the server is otherwise idle.
//!
//! Options, after `--`: `--clients N` in a crowd (100).
//!
//! # How to read the figures
//!
//! - The peak is the kernel's own account (`VmHWM`), reset after a warm-up of a few small submits, so no peak between
//!   two measurements is missed. It includes the mapped pages of the program's file, and none of the page cache. The
//!   rise is that peak minus the resident memory at the start of the row.
//! - The rise of one task is compared with the bytes that were sent: the request's body, or the file behind the URL.
//!   The rise of a crowd is compared with the budget, `limits.max_payload_memory_bytes`.
//! - Clients that get `429 queue_full` submit again after `Retry-After`, all at the same moment, until accepted.
//! - A small submit's latency begins when it was due, if the one before was not answered by then.
//! - Clients, upstream, file server and the small submits' client share the machine with the server: where few cores
//!   are all busy, its times are longer than they would be alone. The table shows what they used. In the first moment
//!   of a crowd, all its clients fill their sockets at once, and small submits wait longest.
//!
//! # When it refuses to print figures
//!
//! - The data directory would be in memory: the data written there would not be counted.
//! - A submit is answered neither with `200` and a task's id nor, if it is large, with `429 queue_full` and a
//!   `Retry-After`.
//! - A task does not complete.
//! - The upstream receives audio that differs by a byte from the audio that was sent, or more or fewer requests than
//!   there are tasks.
//! - The generator was the bottleneck of the small submits: in their time, or in that of the slowest hundredth, their
//!   thread ran, or was ready to run and had no core, half of the time or more
//!   ([`Attention`](support::proc::Attention)). Then only the small submits have no figures.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "progress is not a result")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use support::Outcome;
use support::bench::{place, run};
use support::crowd::{Served, serve_crowd};
use support::footprint::{Report, Row};
use support::kit::client::Connection;
use support::kit::server::{listen, reply_head};
use support::pace::{Paced, submit_steadily};
use support::proc::{cpu_time, disk, forget_peak, machine_cpu_time, resident};
use support::request::{MODEL, by_url, data, post, post_chunked, post_once, submit_to, wav};
use support::server::{Server, settle};
use support::tasks::acknowledged;
use support::upstream::FakeGemini;

/// The bytes of each recording: the most whose base64 `channels[].max_request_bytes` allows, next to a prompt.
const AUDIO_BYTES: usize = 14_999_900;
/// The bytes of a small submit's body: a WAV of about 1 kB.
const SMALL_BYTES: usize = 1_500;
/// The model of small submits: its channel runs one task at a time, which never ends.
const SMALL_MODEL: &str = "gemini-small";
/// The model of the embedded channel.
const LOCAL_MODEL: &str = "local-inspect";
/// The number of small submits before a row.
const WARM_UP: usize = 5;
/// How long small submits are measured without a crowd.
const ALONE: Duration = Duration::from_secs(8);
/// The time from the end of a row to the measurement of the memory that is still resident.
const AFTER: Duration = Duration::from_secs(2);

/// How the audio reaches a task, and which channel runs it.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// The audio is in the body.
    Inline,
    /// The audio is in the body, as some clients write it: `\/` for every slash, and lines of 76 characters.
    Escaped,
    /// The audio is in the body as for [`Self::Escaped`], with an `Idempotency-Key`: hearken then compares the body
    /// with others.
    Keyed,
    /// The audio is in the body, whose length is not stated in advance.
    Chunked,
    /// The audio is downloaded from a URL.
    Url,
    /// The audio is in the body, and the embedded channel runs the task.
    Local,
}

/// The audio of the rows.
struct Recording {
    wav: Arc<[u8]>,
    base64: Arc<str>,
}

fn main() -> ExitCode {
    run(
        "memory",
        |arguments| Ok(arguments.number("--clients", 2)?.unwrap_or(100)),
        |clients| measure(*clients),
    )
}

fn measure(crowd: usize) -> Outcome<Report> {
    let file_system = disk(place())?;
    let wav = wav(AUDIO_BYTES)?;
    let recording = Recording { base64: STANDARD.encode(&wav).into(), wav: wav.into() };
    let mut rows = Vec::new();
    for (way, clients) in [
        (Way::Inline, 1),
        (Way::Escaped, 1),
        (Way::Keyed, 1),
        (Way::Chunked, 1),
        (Way::Url, 1),
        (Way::Local, 1),
        (Way::Inline, crowd),
        (Way::Url, crowd),
    ] {
        let row = one_row(&recording, way, clients)?;
        eprintln!("{} of {clients}: all completed, and the upstream received what was sent", row.name);
        rows.push(row);
        settle()?;
    }
    Ok(Report { rows, file_system })
}

/// Measures one row on a fresh server.
fn one_row(recording: &Recording, way: Way, clients: usize) -> Outcome<Row> {
    let upstream = FakeGemini::start(Arc::clone(&recording.base64))?;
    let files = serve_file(Arc::clone(&recording.wav))?;
    let server = Server::start(|silent| settings(silent, upstream.address()))?;
    let (request, payload) = way.request(recording, files);

    let small = submit_to(SMALL_MODEL, SMALL_BYTES)?;
    let mut connection = Connection::open(server.address())?;
    for _ in 0..WARM_UP {
        acknowledged(&connection.exchange(&small)?)?;
    }
    let is_crowd = clients > 1;
    let alone = is_crowd
        .then(|| {
            beside(&server, &small, || {
                thread::sleep(ALONE);
                Ok(())
            })
            .map(|((), paced)| paced)
        })
        .transpose()?;

    forget_peak(server.pid())?;
    let before = resident(server.pid())?;
    let cpu_before = cpu(&server)?;
    let load = || serve_crowd(server.address(), &request, clients);
    let (served, small): (Served, _) = match alone {
        Some(alone) => {
            let (served, with) = beside(&server, &small, load)?;
            (served, Some((alone, with)))
        }
        None => (load()?, None),
    };
    let [server_cpu, generator_cpu, machine] = cpu(&server)?;
    let peak = resident(server.pid())?;
    thread::sleep(AFTER);
    let after = resident(server.pid())?;

    let (asked, seen) = (if matches!(way, Way::Local) { 0 } else { clients }, upstream.seen());
    if seen.right != asked || !seen.wrong.is_empty() {
        let wrong = seen.wrong.first().map_or("nothing wrong", String::as_str);
        return Err(
            format!("of {asked} requests the upstream received {} intact, and {wrong}", seen.right).into()
        );
    }
    server.end()?.close()?;
    let used = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64();
    let (by_server, by_generator) = (used(server_cpu, cpu_before[0]), used(generator_cpu, cpu_before[1]));
    let others = (used(machine, cpu_before[2]) - by_server - by_generator).max(0.0);
    Ok(Row {
        name: way.name(),
        clients,
        payload: payload as u64,
        before,
        peak,
        after,
        served,
        small,
        cpu: [by_server, by_generator, others],
    })
}

/// Starts a server that serves a WAV under every path, until the process ends.
fn serve_file(wav: Arc<[u8]>) -> Outcome<SocketAddr> {
    let length = wav.len().to_string();
    let headers = [("content-type", "audio/wav"), ("content-length", &length), ("connection", "close")];
    let head = reply_head(200, &headers);
    let listener = listen(Ipv4Addr::LOCALHOST, move |mut line| {
        // If a download breaks off, its task reports it.
        if let Ok(Some(_)) = line.request() {
            let _ = line.write(&head).and_then(|()| line.write(&wav));
        }
    })?;
    Ok(listener.address)
}

/// Returns the CPU time of server, generator and the whole machine.
fn cpu(server: &Server) -> Outcome<[Duration; 3]> {
    Ok([server.cpu_time()?, cpu_time(std::process::id())?, machine_cpu_time()?])
}

/// Sends small submits while `work` runs.
fn beside<T>(server: &Server, small: &[u8], work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Paced)> {
    let stop = AtomicBool::new(false);
    let address = server.address();
    thread::scope(|scope| {
        let steady = scope.spawn(|| submit_steadily(address, small, &stop));
        let done = work();
        // The thread must stop, whether the work succeeded or failed.
        stop.store(true, Ordering::Release);
        let paced = steady.join().map_err(|_| "a thread panicked")?;
        Ok((done?, paced?))
    })
}

/// Returns the settings that differ from the defaults; the budget and the number of running tasks are the defaults.
fn settings(silent: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "[[channels]]\nname = \"heard\"\nkind = \"gemini\"\nbase_url = \"http://{upstream}\"\napi_key = \"fake\"\n\
         models = [\"{MODEL}\"]\nmax_retries = 0\n\
         [[channels]]\nname = \"silent\"\nkind = \"gemini\"\nbase_url = \"http://{silent}\"\napi_key = \"silent\"\n\
         models = [\"{SMALL_MODEL}\"]\nmax_running_tasks = 1\nmax_retries = 0\n\
         first_chunk_timeout_ms = 86400000\ntotal_timeout_ms = 86400000\n\
         [[channels]]\nkind = \"local\"\n\
         [fetch]\nallow_hosts = [\"127.0.0.1\"]\n"
    )
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Escaped => "inline, escaped",
            Self::Keyed => "escaped, keyed",
            Self::Chunked => "inline, chunked",
            Self::Url => "by URL",
            Self::Local => "inline, to local",
        }
    }

    /// Returns a submit, and how many bytes its payload has.
    fn request(self, recording: &Recording, files: SocketAddr) -> (Vec<u8>, usize) {
        let body = match self {
            Self::Inline | Self::Chunked => data(MODEL, &recording.base64),
            Self::Escaped | Self::Keyed => data(MODEL, &escaped(&recording.base64)),
            Self::Local => data(LOCAL_MODEL, &recording.base64),
            Self::Url => {
                let body = by_url(MODEL, &format!("http://{files}/long.wav"));
                return (post(&body), recording.wav.len());
            }
        };
        let request = match self {
            Self::Keyed => post_once(&body),
            Self::Chunked => post_chunked(&body),
            Self::Inline | Self::Escaped | Self::Local | Self::Url => post(&body),
        };
        (request, body.len())
    }
}

/// Returns the base64 as PHP writes it in JSON (`\/` for every slash), and folded into lines of 76 characters.
fn escaped(base64: &str) -> String {
    let mut escaped = String::with_capacity(base64.len() + base64.len() / 16);
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position % 76 == 0 {
            escaped.push_str("\\n");
        }
        if character == '/' {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
