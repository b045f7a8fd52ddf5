//! The figures of a round, and the reasons to refuse them.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::statistics::{Spread, median};
use super::round::{Round, Run};
use super::side::Side;

/// The limit for the generator's share of a core: near a whole core, the generator itself reads late.
const MOST_FOR_GENERATOR: f64 = 0.95;
/// How late a publisher may make one in a hundred of its events, in ms. Later events come in bursts, and a burst costs
/// less than events that come one by one.
const MOST_LATE_MS: f64 = 50.0;

/// The server's memory while events were published, in bytes, with all that its processes share.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) begin: f64,
    pub(crate) half: f64,
    pub(crate) end: f64,
    pub(crate) most: f64,
}

impl Memory {
    /// Summarises the measurements, which are in order of time.
    fn of(seen: &[u64]) -> Self {
        let bytes = |bytes: Option<&u64>| bytes.map_or(f64::NAN, |bytes| *bytes as f64);
        Self {
            begin: bytes(seen.first()),
            half: bytes(seen.get(seen.len() / 2)),
            end: bytes(seen.last()),
            most: bytes(seen.iter().max()),
        }
    }
}

/// The figures of one round, or the medians of several. A figure that was not measured is `NAN`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) delivered_per_second: f64,
    /// The server CPU for one event of one subscriber.
    pub(crate) cpu_us: f64,
    /// The time from when an event was made until it was read, ms.
    pub(crate) latency: Spread,
    /// The time from when the first event of a task was made until it was read, ms.
    pub(crate) beginning: Spread,
    /// The server's memory for each subscriber while nothing was published, bytes.
    pub(crate) memory_each: f64,
    pub(crate) memory: Memory,
    /// The size of a frame, bytes.
    pub(crate) frame: f64,
    /// The generator's share of a core.
    pub(crate) generator: f64,
    /// The publisher's share of a core; the floor has no publisher.
    pub(crate) publisher: f64,
    /// The delay with which the slowest hundredth of the events was made, ms.
    pub(crate) late: f64,
    /// How long the server accepted nothing more, s.
    pub(crate) held: f64,
    /// The share of the machine that other processes used.
    pub(crate) others: f64,
}

impl Figures {
    pub(crate) fn of(round: &Round) -> Self {
        const NONE: f64 = f64::NAN;
        const NO_SPREAD: Spread = Spread { p50: NONE, p99: NONE, max: NONE };
        let idle = Self {
            delivered_per_second: NONE,
            cpu_us: NONE,
            latency: NO_SPREAD,
            beginning: NO_SPREAD,
            memory_each: round.memory_each,
            memory: Memory::of(&[]),
            frame: NONE,
            generator: NONE,
            publisher: NONE,
            late: NONE,
            held: NONE,
            others: NONE,
        };
        let Some(run) = &round.run else { return idle };
        let delivered = run.received.delivered as f64;
        Self {
            delivered_per_second: delivered / run.received.seconds,
            cpu_us: run.server_cpu.as_secs_f64() * 1e6 / delivered,
            latency: run.received.latency,
            beginning: run.received.beginning,
            memory_each: round.memory_each,
            memory: Memory::of(&run.resident),
            frame: run.received.frame,
            generator: run.received.generator,
            publisher: run.publisher,
            late: run.published.late.p99,
            held: run.published.held,
            others: run.others,
        }
    }

    pub(crate) fn medians(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        let spread = |spread: fn(&Self) -> Spread| Spread {
            p50: median(rounds.iter().map(|figures| spread(figures).p50)),
            p99: median(rounds.iter().map(|figures| spread(figures).p99)),
            max: median(rounds.iter().map(|figures| spread(figures).max)),
        };
        Self {
            delivered_per_second: of(|figures| figures.delivered_per_second),
            cpu_us: of(|figures| figures.cpu_us),
            latency: spread(|figures| figures.latency),
            beginning: spread(|figures| figures.beginning),
            memory_each: of(|figures| figures.memory_each),
            memory: Memory {
                begin: of(|figures| figures.memory.begin),
                half: of(|figures| figures.memory.half),
                end: of(|figures| figures.memory.end),
                most: of(|figures| figures.memory.most),
            },
            frame: of(|figures| figures.frame),
            generator: of(|figures| figures.generator),
            publisher: of(|figures| figures.publisher),
            late: of(|figures| figures.late),
            held: of(|figures| figures.held),
            others: of(|figures| figures.others),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "delivered_per_second": self.delivered_per_second,
            "server_cpu_us_per_event": self.cpu_us,
            "latency_ms": self.latency,
            "first_event_latency_ms": self.beginning,
            "server_bytes_per_idle_subscriber": self.memory_each,
            "server_resident_bytes": self.memory,
            "frame_bytes": self.frame,
            "generator_share_of_core": self.generator,
            "publisher_share_of_core": self.publisher,
            "events_late_ms_p99": self.late,
            "server_held_publisher_seconds": self.held,
            "others_share_of_machine": self.others,
        })
    }
}

/// The reason why a round has no figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The server failed a requirement.
    Wrong(String),
    /// Another process was too slow; another round may succeed.
    Bottleneck(String),
}

/// Returns why a round has no figures, or `None` if it has figures.
pub(crate) fn refusal(side: Side, round: &Round) -> Option<Refusal> {
    let Run { received, ended, published, publisher, .. } = round.run.as_ref()?;
    let (missing, repeated) = (received.missing.max(ended.missing), ended.repeated);
    // The floor makes its events itself, so late events are part of its result.
    let has_publisher = matches!(side, Side::HandOver | Side::StreamedBody | Side::Nchan);
    if missing > 0 || repeated > 0 {
        Some(Refusal::Wrong(format!("{missing} events were missing, {repeated} came again")))
    } else if ended.open > 0 {
        Some(Refusal::Wrong(format!("{} responses did not end with their task", ended.open)))
    } else if received.generator >= MOST_FOR_GENERATOR {
        let share = received.generator * 100.0;
        Some(Refusal::Bottleneck(format!("the generator was the bottleneck: {share:.0} % of a core")))
    } else if has_publisher && published.late.p99 >= MOST_LATE_MS {
        let (late, share) = (published.late.p99, publisher * 100.0);
        let why =
            format!("the publisher was the bottleneck: {late:.0} ms late (p99), with {share:.0} % of a core");
        Some(Refusal::Bottleneck(why))
    } else {
        None
    }
}
