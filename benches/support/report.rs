//! Combines rounds into rows, and rows into a table and a JSON file.

use std::fmt;

use serde_json::{Value, json};

use super::bench::{Findings, cores};
use super::load::Worked;
use super::statistics::median;

/// The promised share of the speed without durability that a durable server keeps.
const PROMISED: f64 = 0.5;
/// The limit for the generator's share of the connections' time, and of the CPU time of both.
const MOST_FOR_GENERATOR: f64 = 0.5;
/// The share of the machine that other processes may use before the table warns about noise. The kernel's own threads
/// count as other processes.
const MOST_FOR_OTHERS: f64 = 0.1;

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// `store.sync = true`
    Synced,
    /// `store.sync = false`
    Unsynced,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synced => "sync on",
            Self::Unsynced => "sync off",
        })
    }
}

/// The figures of one round, or the medians of several.
#[derive(Debug, Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The server CPU for one submit.
    cpu_us: f64,
    /// The share of time that connections waited for the generator.
    generator_time: f64,
    /// The generator's share of the CPU time of both.
    generator_cpu: f64,
    /// The share of the machine that other processes used.
    others: f64,
}

impl Figures {
    fn of(worked: &Worked) -> Self {
        let count = worked.latencies.len();
        let percentile = |percent: usize| {
            let latency = worked.latencies.get((count * percent / 100).min(count.saturating_sub(1)));
            latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        let (server, generator) = (worked.server_cpu.as_secs_f64(), worked.generator.ran.as_secs_f64());
        Self {
            per_second: count as f64 / worked.time.as_secs_f64(),
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            cpu_us: server * 1e6 / count as f64,
            generator_time: worked.generator.share(),
            generator_cpu: generator / (generator + server),
            others: (worked.machine_cpu.as_secs_f64() - server - generator).max(0.0)
                / (worked.time.as_secs_f64() * cores() as f64),
        }
    }

    fn medians(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Self {
            per_second: of(|figures| figures.per_second),
            p50_ms: of(|figures| figures.p50_ms),
            p99_ms: of(|figures| figures.p99_ms),
            cpu_us: of(|figures| figures.cpu_us),
            generator_time: of(|figures| figures.generator_time),
            generator_cpu: of(|figures| figures.generator_cpu),
            others: of(|figures| figures.others),
        }
    }

    /// Returns true if the figures measure the server, and not the generator.
    fn stand(&self) -> bool {
        self.generator_time < MOST_FOR_GENERATOR && self.generator_cpu < MOST_FOR_GENERATOR
    }

    fn json(&self) -> Value {
        json!({
            "submits_per_second": self.per_second,
            "latency_ms": {"p50": self.p50_ms, "p99": self.p99_ms},
            "server_cpu_us_per_submit": self.cpu_us,
            "generator_share": {"time": self.generator_time, "cpu": self.generator_cpu},
            "others_share_of_machine": self.others,
        })
    }
}

/// The rounds with one size of body.
#[derive(Debug)]
pub(crate) struct Row {
    body: &'static str,
    bytes: usize,
    connections: usize,
    synced: Vec<Figures>,
    unsynced: Vec<Figures>,
}

impl Row {
    pub(crate) fn new(body: &'static str, bytes: usize, connections: usize) -> Self {
        Self { body, bytes, connections, synced: Vec::new(), unsynced: Vec::new() }
    }

    pub(crate) fn add(&mut self, side: Side, worked: &Worked) {
        let rounds = match side {
            Side::Synced => &mut self.synced,
            Side::Unsynced => &mut self.unsynced,
        };
        rounds.push(Figures::of(worked));
    }

    fn medians(&self) -> (Figures, Figures) {
        (Figures::medians(&self.synced), Figures::medians(&self.unsynced))
    }

    fn others(&self) -> f64 {
        let (synced, unsynced) = self.medians();
        synced.others.max(unsynced.others)
    }

    fn stands(&self) -> bool {
        let (synced, unsynced) = self.medians();
        synced.stand() && unsynced.stand()
    }

    /// Returns the ratios of neighbouring rounds, sorted by size.
    fn ratios(&self) -> Vec<f64> {
        let pairs = self.synced.iter().zip(&self.unsynced);
        let mut ratios: Vec<_> = pairs.map(|(on, off)| on.per_second / off.per_second).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios
    }

    fn json(&self) -> Value {
        let (synced, unsynced) = self.medians();
        if !self.stands() {
            return json!({
                "body": self.body,
                "refused": "the generator was the bottleneck",
                "generator_share": [synced.json()["generator_share"], unsynced.json()["generator_share"]],
            });
        }
        let ratios = self.ratios();
        json!({
            "body": self.body,
            "body_bytes": self.bytes,
            "connections": self.connections,
            "sync_on": synced.json(),
            "sync_off": unsynced.json(),
            "ratio": median(ratios.iter().copied()),
            "ratios": ratios,
        })
    }
}

/// All findings.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) file_system: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
}

impl Findings for Report {
    fn is_whole(&self) -> bool {
        self.rows.iter().all(Row::stands)
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        json!({
            "seconds": self.seconds,
            "rounds": self.rounds,
            "cores": cores(),
            "file_system": self.file_system,
            "promised_ratio": PROMISED,
            "rows": rows,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Asynchronous submits, acknowledged when durable (sync on) and when the system knows (sync off).\n\
             Medians of {} rounds of {} s each, {} cores, {}. Promised: a ratio of at least {PROMISED}.\n",
            self.rounds,
            self.seconds,
            cores(),
            self.file_system
        )?;
        let side = ["submits/s", "p50 ms", "p99 ms", "CPU µs", "gen %"];
        let heads = ["body", "conns"].into_iter().chain(side).chain(side).chain(["ratio", "range", ""]);
        let titles = [Side::Synced, Side::Unsynced].map(|side| format!("| {:<44}", side.to_string()));
        writeln!(f, "{:14}{}|", "", titles.concat())?;
        line(f, heads.map(str::to_owned))?;
        for row in &self.rows {
            if row.stands() {
                row.fmt(f)?;
            } else {
                writeln!(f, "{:>6}  no figures: the generator was the bottleneck", row.body)?;
            }
        }
        writeln!(
            f,
            "\nCPU µs: of the server, for one submit. gen %: the generator's share of the connections' time."
        )?;
        let others = self.rows.iter().map(Row::others).fold(0.0, f64::max);
        if others > MOST_FOR_OTHERS {
            writeln!(
                f,
                "NOISY: others used up to {:.0} % of the machine. Without them there are more submits.",
                others * 100.0
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (synced, unsynced) = self.medians();
        let ratios = self.ratios();
        let ratio = median(ratios.iter().copied());
        let side = |figures: &Figures| {
            [
                format!("{:.0}", figures.per_second),
                format!("{:.1}", figures.p50_ms),
                format!("{:.1}", figures.p99_ms),
                format!("{:.0}", figures.cpu_us),
                format!("{:.0}", figures.generator_time * 100.0),
            ]
        };
        let range = format!(
            "{:.2}-{:.2}",
            ratios.first().copied().unwrap_or(f64::NAN),
            ratios.last().copied().unwrap_or(f64::NAN)
        );
        let kept = if ratio >= PROMISED { "kept" } else { "NOT KEPT" };
        let cells = [self.body.to_owned(), self.connections.to_string()]
            .into_iter()
            .chain(side(&synced))
            .chain(side(&unsynced))
            .chain([format!("{ratio:.2}"), range, kept.to_owned()]);
        line(f, cells)
    }
}

/// Writes a line of the table.
fn line(f: &mut fmt::Formatter<'_>, cells: impl Iterator<Item = String>) -> fmt::Result {
    const WIDTHS: [usize; 15] = [6, 6, 9, 8, 8, 8, 7, 9, 8, 8, 8, 7, 6, 11, 9];
    for (column, (cell, width)) in cells.zip(WIDTHS).enumerate() {
        let bar = if matches!(column, 2 | 7 | 12) { "|" } else { "" };
        write!(f, "{bar}{cell:>width$} ")?;
    }
    writeln!(f)
}
