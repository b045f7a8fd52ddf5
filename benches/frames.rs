//! Measures the CPU time of a chunk: `cargo bench --bench frames`
//!
//! Measures, for each event, the pure functions that a chunk passes through: the upstream's bytes are decoded as an
//! event stream, the JSON is mapped to hearken's terms, and a text becomes a frame. There is no socket, no disk and no
//! actor. The streams are those of the tests' recordings; their second event, a text, is repeated. Each event comes as
//! a separate piece, as it does from a network at the speed of a model.
//!
//! Options, after `--`: `--seconds N` for each row (3).
//!
//! # How to read the figures
//!
//! - `decode` is the event stream alone; `read` also maps its content: the whole path from the bytes to an
//!   [`UpstreamEvent`].
//! - `encode` makes the frame of a text; `append` also makes the text, keeps both and publishes them; there are no
//!   subscribers.
//! - A figure is the mean that criterion estimates, with its 95 % confidence interval. Criterion's own report is above
//!   the table, and compares with the run before.
//!
//! # When it refuses to print figures
//!
//! - A stream does not reach its end, or some of its texts were not seen.
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]
#![expect(clippy::print_stderr, reason = "the reason for a failure is not a result")]

mod support;

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use hearken::secret::Secret;
use hearken::task::{Answer, Encoder, Entry, Format, TextKind};
use hearken::upstream::{
    Batch, BodyReader, ResponseFormat, UpstreamError, UpstreamEvent, gemini_reader, openai_reader,
    transcription_reader,
};
use hearken::wire::completion::CompletionHead;
use hearken::wire::event_stream::EventStreamDecoder;
use serde::Deserialize;
use serde_json::{Value, json};

use support::Outcome;
use support::bench::{Findings, run};

/// How often the text of a stream is repeated.
const REPEATED: usize = 500;
/// The size limit of an event, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// The text that a model sends at once.
const TEXT: &str = " and then the speaker goes on to say that the second part of the plan is";
const GROUP: &str = "frames";

fn main() -> ExitCode {
    run("frames", |arguments| Ok(arguments.number("--seconds", 1)?.unwrap_or(3)), |seconds| measure(*seconds))
}

/// The body of an upstream's answer.
struct Recorded {
    provider: &'static str,
    /// The pieces of the body, one event each.
    pieces: Vec<Vec<u8>>,
    reader: fn() -> Box<dyn BodyReader>,
}

impl Recorded {
    fn of(provider: &'static str, recording: &str, reader: fn() -> Box<dyn BodyReader>) -> Self {
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        let blank_line = if recording.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
        for (place, event) in recording.split_inclusive(blank_line).enumerate() {
            let times = if place == 1 { REPEATED } else { 1 };
            pieces.extend(std::iter::repeat_n(event.as_bytes().to_vec(), times));
        }
        Self { provider, pieces, reader }
    }

    fn bytes(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Reads the body from the first byte to its end; returns the number of its texts.
    fn read(&self) -> Outcome<usize> {
        let mut reader = (self.reader)();
        let (mut texts, mut ended) = (0, false);
        let mut count = |batch: &mut Batch| {
            for event in batch.drain(..) {
                texts += usize::from(matches!(event, UpstreamEvent::Text(..)));
                ended |= matches!(event, UpstreamEvent::Finished { .. });
            }
            ended
        };
        let mut batch = Batch::new();
        for piece in &self.pieces {
            reader.take(piece, &mut batch).map_err(unread)?;
            if count(&mut batch) {
                return Ok(texts);
            }
        }
        reader.finish(&mut batch).map_err(unread)?;
        if count(&mut batch) { Ok(texts) } else { Err(format!("{} does not end", self.provider).into()) }
    }
}

fn unread(err: UpstreamError) -> String {
    format!("a recording cannot be read: {err:?}")
}

fn recordings() -> [Recorded; 3] {
    [
        Recorded::of("gemini", include_str!("../tests/fixtures/gemini/text.sse"), || {
            Box::new(gemini_reader(key()))
        }),
        Recorded::of("openai", include_str!("../tests/fixtures/openai/chat-usage.sse"), || {
            Box::new(openai_reader(key()))
        }),
        Recorded::of(
            "transcription",
            include_str!("../tests/fixtures/openai/transcription-deltas.sse"),
            || Box::new(transcription_reader("text/event-stream".to_owned(), ResponseFormat::Json, key())),
        ),
    ]
}

fn key() -> Secret {
    Secret::new("key".to_owned())
}

fn head() -> CompletionHead {
    CompletionHead {
        id: "chatcmpl-0123456789abcdefghijklmn".into(),
        created: 1_776_874_565,
        model: "gemini-2.5-pro".into(),
    }
}

fn measure(seconds: u64) -> Outcome<Table> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&directory)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(seconds));
    let mut group = criterion.benchmark_group(GROUP);
    let mut rows = Vec::new();
    for recorded in &recordings() {
        let texts = recorded.read()?;
        if texts < REPEATED {
            return Err(format!("of {} {texts} texts were seen", recorded.provider).into());
        }
        let (events, bytes) = (recorded.pieces.len(), recorded.bytes());
        rows.push(Row::new(format!("decode-{}", recorded.provider), events, bytes));
        bench(&mut group, rows.last(), || {
            let mut decoder = EventStreamDecoder::new(MAX_EVENT_BYTES);
            let mut found = Vec::new();
            for piece in &recorded.pieces {
                let _ = decoder.feed(black_box(piece), &mut found);
                black_box(&found);
                found.clear();
            }
        });
        rows.push(Row::new(format!("read-{}", recorded.provider), events, bytes));
        bench(&mut group, rows.last(), || {
            let _ = black_box(black_box(recorded).read());
        });
    }
    let encoder = Encoder::new(Format::Tasks, Some(Arc::new(head())));
    let entry = Entry::Delta { kind: TextKind::Content, text: TEXT.into() };
    let bytes: usize = (0..REPEATED).map(|id| encoder.encode(id, &entry).len()).sum();
    rows.push(Row::new("encode".to_owned(), REPEATED, bytes));
    bench(&mut group, rows.last(), || {
        for id in 0..REPEATED {
            black_box(encoder.encode(id, black_box(&entry)));
        }
    });
    rows.push(Row::new("append".to_owned(), REPEATED, bytes));
    bench(&mut group, rows.last(), || {
        let mut answer = Answer::new(head(), Some(Format::Tasks));
        for _ in 0..REPEATED {
            // The text is moved in, as from an upstream.
            answer.push(TextKind::Content, black_box(TEXT).to_owned());
            answer.publish(answer.log().len());
        }
        black_box(answer);
    });
    group.finish();
    for row in &mut rows {
        let path = directory.join(GROUP).join(&row.name).join("new").join("estimates.json");
        row.estimate = serde_json::from_slice::<Estimates>(&fs::read(path)?)?.mean;
    }
    Ok(Table { rows })
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, row: Option<&Row>, mut work: impl FnMut()) {
    if let Some(row) = row {
        group.throughput(Throughput::Elements(row.events as u64));
        group.bench_function(&row.name, |bencher| bencher.iter(&mut work));
    }
}

/// The part of criterion's output that this benchmark reads.
#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
}

/// Nanoseconds for all events.
#[derive(Default, Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Default, Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

struct Row {
    name: String,
    events: usize,
    bytes: usize,
    estimate: Estimate,
}

impl Row {
    fn new(name: String, events: usize, bytes: usize) -> Self {
        Self { name, events, bytes, estimate: Estimate::default() }
    }

    fn each(&self, nanoseconds: f64) -> f64 {
        nanoseconds / self.events as f64
    }
}

struct Table {
    rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:>22} {:>9} {:>9} {:>17} {:>8}", "", "bytes", "ns", "95 %", "MB/s")?;
        for row in &self.rows {
            let Estimate { point_estimate, confidence_interval: Interval { lower_bound, upper_bound } } =
                &row.estimate;
            writeln!(
                f,
                "{:>22} {:>9} {:>9.0} {:>8.0}-{:<8.0} {:>8.0}",
                row.name,
                row.bytes / row.events,
                row.each(*point_estimate),
                row.each(*lower_bound),
                row.each(*upper_bound),
                row.bytes as f64 * 1e3 / point_estimate
            )?;
        }
        writeln!(f, "\nFor each event or frame. MB: 10^6 bytes.")
    }
}

impl Findings for Table {
    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let Estimate { point_estimate, confidence_interval: Interval { lower_bound, upper_bound } } =
                    &row.estimate;
                json!({"row": row.name, "events": row.events, "bytes": row.bytes,
                    "ns_for_each": row.each(*point_estimate),
                    "ns_for_each_95": [row.each(*lower_bound), row.each(*upper_bound)]})
            })
            .collect();
        json!({ "rows": rows })
    }
}
