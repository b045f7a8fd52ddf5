//! The fault matrix: every fault, of every kind of upstream, before and after the first chunk, as a client sees it in
//! the three places. This test writes the table in `docs/errors.md`.
//!
//! After an intended change, `HEARKEN_UPDATE_DOCUMENTS=1 cargo test --test it faults` rewrites the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::closed_port;
use crate::support::fake_command::{ANY_KEY, FakeCommand};
use crate::support::hearken::Hearken;
use crate::support::http::Client;
use crate::support::subscriber::{Frame, content};
use crate::tidy::root;

/// The lines around the table in the document.
const BEGIN: &str = "<!-- The fault matrix, written by tests/it/faults.rs -->\n";
const END: &str = "<!-- The end of the fault matrix -->\n";

/// A kind of channel, and the beginning of its models' names.
const KINDS: [(&str, &str); 3] = [("gemini", "g"), ("openai", "c"), ("transcription", "t")];

/// Stands in place of a script: nothing listens at the channel's address.
const NO_LISTENER: &str = "no listener";

/// A fault: what happens, and the scripts that make it happen before the first chunk and after it.
type Fault = (&'static str, Option<&'static str>, Option<&'static str>);

const FAULTS: [Fault; 30] = [
    ("no server listens", Some(NO_LISTENER), None),
    ("closes without a response", Some("slam"), None),
    ("never answers", Some("silent"), None),
    ("goes silent", Some("stall"), Some("stall+after=2")),
    ("never ends", None, Some("endless+pause=50")),
    ("cuts the connection", Some("cut=9"), Some("cut=9+after=2")),
    ("cuts the connection within a frame", Some("half"), Some("half+after=2")),
    ("ends the body within a frame", Some("torn"), Some("torn+after=2")),
    ("ends without a sign of the finish", Some("unfinished+after=0"), Some("unfinished")),
    ("empty response", Some("empty"), None),
    ("HTML, or a damaged event", Some("garbage"), Some("garbage+after=2")),
    ("an error as an event", Some("error"), Some("error+after=2")),
    ("an error after the finish", None, Some("late-error")),
    ("400", Some("400"), None),
    ("401", Some("401"), None),
    ("403", Some("403"), None),
    ("404", Some("404"), None),
    ("413", Some("413"), None),
    ("429", Some("429"), None),
    ("429, retry in 60 s", Some("429=60"), None),
    ("429, the quota is used up", Some("daily"), None),
    ("500", Some("500"), None),
    ("501", Some("501"), None),
    ("503", Some("503"), None),
    ("the region is refused", Some("region"), None),
    ("the prompt is blocked", Some("blocked"), None),
    ("the filter ends the answer", None, Some("filtered")),
    ("each byte sent alone: no fault", None, Some("split")),
    ("`NaN` next to the answer, and events that are words or numbers: no fault", None, Some("odd")),
    ("compressed although not requested: no fault", None, Some("gzip")),
];

/// What a client sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    calls: u64,
    http: String,
    stream: String,
    task: String,
}

fn failed(error: &Value) -> String {
    let code = error["code"].as_str().unwrap();
    let status =
        error["upstream_status"].as_u64().map(|status| format!(", upstream {status}")).unwrap_or_default();
    format!("`{code}`{status}")
}

fn of_frames(frames: &[Frame]) -> String {
    let texts = frames.iter().filter(|frame| frame.event == "chunk" && !frame.content().is_empty()).count();
    let texts = match texts {
        0 => String::new(),
        _ if !content(frames).starts_with("1: ") => panic!("other texts: {frames:?}"),
        texts @ 1..=5 => format!("{texts} texts, then "),
        _ => "texts, then ".to_owned(),
    };
    let last = frames.last().unwrap();
    let end = match last.event.as_str() {
        "error" => format!("`error` {}", failed(&last.json()["error"])),
        end => format!("`{end}`"),
    };
    texts + &end
}

fn of_task(task: &Value) -> String {
    match task["status"].as_str().unwrap() {
        "failed" => format!("failed: {}", failed(&task["error"])),
        _ => format!("completed: `{}`", task["results"][0]["choices"][0]["finish_reason"].as_str().unwrap()),
    }
}

/// Causes a fault twice: for a subscriber, and for a blocking caller.
fn trigger(client: &Client, model: &str) -> Seen {
    let id = client.submit(json!({"model": model, "stream": true}));
    let stream = of_frames(&client.stream(&id).rest());
    let task = of_task(&client.wait(&id));
    let reply = client.try_submit(json!({"model": model, "sync": true}));
    let after =
        reply.header("retry-after").map(|after| format!(", `Retry-After: {after}`")).unwrap_or_default();
    let http = match reply.status {
        200 => "200".to_owned(),
        status => format!("{status} {}{after}", failed(&reply.json()["error"])),
    };
    Seen { calls: 0, http, stream, task }
}

/// Starts hearken with two channels of each kind: one at the fault upstream, one at an address where nothing listens.
fn hearken_over(fake: &FakeCommand, closed: SocketAddr) -> Hearken {
    let mut builder = Hearken::builder();
    for (kind, letter) in KINDS {
        let path = if kind == "gemini" { "v1beta" } else { "v1" };
        let url = if kind == "gemini" { fake.gemini_url() } else { fake.openai_url() };
        for (name, models, base_url) in [
            (kind.to_owned(), format!("{letter}+*"), url),
            (format!("{kind}-no-listener"), format!("n{letter}"), format!("http://{closed}/{path}")),
        ] {
            builder = builder.channel(&format!(
                "[[channels]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n\
                 api_key = \"{ANY_KEY}\"\nmodels = [\"{models}\"]\n\
                 max_retries = 1\nmax_retry_wait_ms = 20\nbreaker_failures = 0\nmax_running_tasks = 100\n\
                 first_chunk_timeout_ms = 2000\nidle_timeout_ms = 2000\ntotal_timeout_ms = 5000\n\
                 total_timeout_audio_factor = 0"
            ));
        }
    }
    builder.start()
}

/// Returns what clients see of each fault, by its number and by whether it comes after the first chunk, with the kinds
/// for which they see it.
fn trigger_all() -> BTreeMap<(usize, bool), BTreeMap<Seen, Vec<&'static str>>> {
    let fake = FakeCommand::start();
    let (_port, closed) = closed_port();
    let hearken = hearken_over(&fake, closed);
    let mut todo: Vec<(usize, bool, usize, String)> = Vec::new();
    for (number, (_, before, after)) in FAULTS.iter().enumerate() {
        for (is_after, script) in [(false, before), (true, after)] {
            for (kind, (name, letter)) in KINDS.iter().enumerate() {
                let Some(script) = script else { continue };
                // Only this dialect can end a transcription with a filter.
                let style =
                    if *name == "transcription" && *script == "filtered" { "+style=vllm" } else { "" };
                let model = if *script == NO_LISTENER {
                    format!("n{letter}")
                } else {
                    format!("{letter}+{script}{style}")
                };
                todo.push((number, is_after, kind, model));
            }
        }
    }
    let todo = Mutex::new(todo);
    let seen = Mutex::new(BTreeMap::<_, BTreeMap<Seen, Vec<_>>>::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let client = hearken.client();
                loop {
                    let Some((number, is_after, kind, model)) = todo.lock().unwrap().pop() else { return };
                    let seen_here = trigger(&client, &model);
                    let calls = fake.stats()["calls_by_model"][&model].as_u64().unwrap_or(0) / 2;
                    let seen_here = Seen { calls, ..seen_here };
                    let mut seen = seen.lock().unwrap();
                    seen.entry((number, is_after)).or_default().entry(seen_here).or_default().push(kind);
                }
            });
        }
    });
    let named = |mut kinds: Vec<usize>| {
        kinds.sort_unstable();
        kinds.into_iter().map(|kind| KINDS[kind].0).collect()
    };
    let seen = seen.into_inner().unwrap();
    seen.into_iter()
        .map(|(fault, seen)| (fault, seen.into_iter().map(|(seen, kinds)| (seen, named(kinds))).collect()))
        .collect()
}

fn table() -> String {
    let mut table = "| the upstream | first chunk | kind | calls | blocking call | stream | task |\n\
                     |---|---|---|---|---|---|---|\n"
        .to_owned();
    for ((number, is_after), seen) in trigger_all() {
        let mut rows: Vec<_> = seen.into_iter().collect();
        rows.sort_by_key(|(_, kinds)| KINDS.iter().position(|(kind, _)| kinds.first() == Some(kind)));
        for (seen, kinds) in rows {
            let Seen { calls, http, stream, task } = seen;
            let kinds = if kinds.len() == KINDS.len() { "all".to_owned() } else { kinds.join(", ") };
            let calls = if calls == 0 { "-".to_owned() } else { calls.to_string() };
            let when = if is_after { "after" } else { "before" };
            let name = FAULTS[number].0;
            let _ = writeln!(table, "| {name} | {when} | {kinds} | {calls} | {http} | {stream} | {task} |");
        }
    }
    table
}

#[test]
fn the_error_page_shows_what_clients_see_of_every_fault() {
    let path = root().join("docs/errors.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (told, after) = rest.split_once(END).expect("the page's table has an end");
    let seen = table();
    if told != seen && std::env::var_os("HEARKEN_UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{seen}{END}{after}")).unwrap();
        return;
    }
    assert!(told == seen, "docs/errors.md has:\n{told}\nbut clients see:\n{seen}");
}
