//! The findings about memory, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::bench::{Findings, cores};
use super::crowd::Served;
use super::pace::Paced;
use super::proc::Resident;

/// The promised limit for one task's peak, as a multiple of the bytes that were sent.
const PROMISED: f64 = 1.5;
/// The default of `limits.max_payload_memory_bytes`.
const BUDGET: u64 = 268_435_456;
/// The promised limit for a crowd, as a multiple of the budget. The budget is for payloads only. A quarter of it is
/// added for a hundred connections with their buffers, the bytes of a body that are read before a connection asks for
/// its share, pieces on their way to disk and upstream, blocking threads, and memory that the allocator does not give
/// back at once.
const ALLOWED: f64 = 1.25;
/// The share of the machine that other processes may use before the table warns about noise. The kernel's own threads
/// count as other processes.
const MOST_FOR_OTHERS: f64 = 0.1;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    /// The bytes of each payload: a body's, or a download's.
    pub(crate) payload: u64,
    pub(crate) before: Resident,
    /// The peak since `before`.
    pub(crate) peak: Resident,
    /// The memory two seconds after the end.
    pub(crate) after: Resident,
    pub(crate) served: Served,
    /// The small submits alone, and beside the crowd.
    pub(crate) small: Option<(Paced, Paced)>,
    /// The CPU seconds of server, generator and other processes.
    pub(crate) cpu: [f64; 3],
}

impl Row {
    fn rise(&self) -> u64 {
        self.peak.peak.saturating_sub(self.before.now)
    }

    /// Returns the bytes that the rise is compared with.
    fn measure(&self) -> u64 {
        if self.clients == 1 { self.payload } else { BUDGET }
    }

    fn ratio(&self) -> f64 {
        self.rise() as f64 / self.measure() as f64
    }

    fn promised(&self) -> f64 {
        if self.clients == 1 { PROMISED } else { ALLOWED }
    }

    fn is_kept(&self) -> bool {
        self.ratio() <= self.promised()
    }

    fn others(&self) -> f64 {
        self.cpu[2] / (self.served.completed.as_secs_f64() * cores() as f64)
    }

    fn json(&self) -> Value {
        let [server, generator, others] = self.cpu;
        json!({
            "row": self.name,
            "clients": self.clients,
            "payload_bytes": self.payload,
            "submitted_bytes": self.payload * self.clients as u64,
            "resident_bytes": {
                "before": self.before.now,
                "peak": self.peak.peak,
                "rise": self.rise(),
                "after": self.after.now,
            },
            "compared_with_bytes": self.measure(),
            "ratio": self.ratio(),
            "promised_ratio": self.promised(),
            "kept": self.is_kept(),
            "refused_429": self.served.refused,
            "seconds": {
                "accepted": self.served.accepted.as_secs_f64(),
                "completed": self.served.completed.as_secs_f64(),
            },
            "cpu_seconds": {"server": server, "generator": generator, "others": others},
            "generator_share_of_submits": self.served.generator.share(),
            "small_submits": self.small.as_ref().map(|(alone, beside)| {
                json!({
                    "alone": alone.json(),
                    "beside": beside.json(),
                    "p99_ratio": (alone.stands() && beside.stands())
                        .then(|| beside.percentile(99) / alone.percentile(99)),
                })
            }),
        })
    }
}

/// All findings.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) file_system: String,
}

impl Findings for Report {
    fn is_whole(&self) -> bool {
        let small = self.rows.iter().filter_map(|row| row.small.as_ref());
        small.into_iter().all(|(alone, beside)| alone.stands() && beside.stands())
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        json!({
            "cores": cores(),
            "file_system": self.file_system,
            "max_payload_memory_bytes": BUDGET,
            "rows": rows,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Resident memory of the server, MB (10^6 bytes). {} cores, {}. Promised: one task's peak rises by at most\n\
             {PROMISED} times its payload; a crowd's by at most {ALLOWED} times the budget, {:.1} MB.\n",
            cores(),
            self.file_system,
            mb(BUDGET)
        )?;
        let heads =
            "row|submitted|before|peak|rise|ratio||after|429s|accepted|completed|CPU s|gen CPU s|gen %";
        line(f, MEMORY, heads.split('|').map(str::to_owned))?;
        for row in &self.rows {
            let cells = [
                format!(
                    "{}{}",
                    if row.clients == 1 { String::new() } else { format!("{} x ", row.clients) },
                    row.name
                ),
                format!("{:.1}", mb(row.payload * row.clients as u64)),
                format!("{:.1}", mb(row.before.now)),
                format!("{:.1}", mb(row.peak.peak)),
                format!("{:.1}", mb(row.rise())),
                format!("{:.2}", row.ratio()),
                (if row.is_kept() { "kept" } else { "NOT KEPT" }).to_owned(),
                format!("{:.1}", mb(row.after.now)),
                row.served.refused.to_string(),
                format!("{:.1} s", row.served.accepted.as_secs_f64()),
                format!("{:.1} s", row.served.completed.as_secs_f64()),
                format!("{:.1}", row.cpu[0]),
                format!("{:.1}", row.cpu[1]),
                format!("{:.0}", row.served.generator.share() * 100.0),
            ];
            line(f, MEMORY, cells)?;
        }
        writeln!(
            f,
            "\nratio: the rise divided by the payload, for a crowd by the budget. after: 2 s after the last task's end.\n\
             gen CPU s: of clients, upstream and file server, on the same cores. gen %: the clients' share of the\n\
             time of submits.\n\n\
             Small submits, one connection, ms:\n"
        )?;
        let heads = ["beside", "", "count", "p50", "p99", "max", "gen %", "p99 ratio"];
        line(f, SMALL, heads.map(str::to_owned))?;
        for row in &self.rows {
            let Some((alone, beside)) = &row.small else { continue };
            let ratio = (alone.stands() && beside.stands())
                .then(|| format!("{:.1}", beside.percentile(99) / alone.percentile(99)));
            small(f, row.name, "alone", alone, String::new())?;
            small(f, row.name, "beside", beside, ratio.unwrap_or_default())?;
        }
        let others = self.rows.iter().map(Row::others).fold(0.0, f64::max);
        if others > MOST_FOR_OTHERS {
            writeln!(
                f,
                "\nNOISY: others used up to {:.0} % of the machine during the measurement. Without them it is faster.",
                others * 100.0
            )?;
        }
        Ok(())
    }
}

const MEMORY: &[usize] = &[22, 9, 7, 7, 7, 6, 8, 7, 5, 9, 9, 7, 9, 6];
const SMALL: &[usize] = &[16, 7, 6, 8, 8, 8, 6, 9];

fn small(f: &mut fmt::Formatter<'_>, row: &str, when: &str, paced: &Paced, ratio: String) -> fmt::Result {
    if !paced.stands() {
        return writeln!(
            f,
            "{row:>16} {when:>7}  no figures: the generator was the bottleneck ({:.0} %)",
            paced.generator_share() * 100.0
        );
    }
    let cells = [
        row.to_owned(),
        when.to_owned(),
        paced.count().to_string(),
        format!("{:.1}", paced.percentile(50)),
        format!("{:.1}", paced.percentile(99)),
        format!("{:.1}", paced.percentile(100)),
        format!("{:.0}", paced.generator_share() * 100.0),
        ratio,
    ];
    line(f, SMALL, cells)
}

/// Writes a line of a table.
fn line(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize],
    cells: impl IntoIterator<Item = String>,
) -> fmt::Result {
    for (cell, width) in cells.into_iter().zip(widths) {
        write!(f, "{cell:>width$} ")?;
    }
    writeln!(f)
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
