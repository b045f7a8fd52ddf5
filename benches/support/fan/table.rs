//! The findings, as tables and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::super::bench::{Findings, cores};
use super::figures::Figures;
use super::row::{CPU, DELIVERED, Line, MEMORY, P99, P99_TO_P50, Ratio, Row};
use super::side::Side;
use super::workload::Workload;

/// The share of the machine that other processes may use before the table warns about noise.
const MOST_FOR_OTHERS: f64 = 0.1;

/// All findings.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) rounds: usize,
    /// The side that was not measured at all, and why.
    pub(crate) absent: Option<String>,
}

impl Findings for Table {
    fn is_whole(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.lines).all(|line| line.rounds.is_ok())
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        json!({"cores": cores(), "rounds": self.rounds, "not_measured": self.absent, "rows": rows})
    }
}

/// A column of a table.
struct Column {
    head: &'static str,
    width: usize,
    cell: Cell,
}

/// The content of a column.
enum Cell {
    /// A figure, with the number of digits behind the point.
    Figure(usize, fn(&Figures) -> f64),
    Ratio(Side, Ratio),
}

/// Columns that belong together.
struct Group {
    title: &'static str,
    columns: &'static [Column],
}

const fn figure(head: &'static str, width: usize, digits: usize, figure: fn(&Figures) -> f64) -> Column {
    Column { head, width, cell: Cell::Figure(digits, figure) }
}

const fn ratio(head: &'static str, width: usize, base: Side, ratio: Ratio) -> Column {
    Column { head, width, cell: Cell::Ratio(base, ratio) }
}

const FIGURES: Group = Group {
    title: "",
    columns: &[
        figure("delivered/s", 11, 0, |figures| figures.delivered_per_second),
        figure("CPU us", 7, 2, |figures| figures.cpu_us),
        figure("p50 ms", 7, 1, |figures| figures.latency.p50),
        figure("p99 ms", 7, 1, |figures| figures.latency.p99),
        figure("max ms", 7, 1, |figures| figures.latency.max),
        figure("B/sub", 6, 0, |figures| figures.memory_each),
        figure("peak MB", 7, 1, |figures| figures.memory.most / 1e6),
        // Every side in a table has 0 missing events; others are refused.
        figure("missing", 7, 0, |_| 0.0),
        figure("repeated", 8, 0, |_| 0.0),
        figure("gen %", 5, 0, |figures| figures.generator * 100.0),
        figure("late ms", 8, 1, |figures| figures.late),
    ],
};
const TO_FLOOR: Group = Group {
    title: "to floor",
    columns: &[
        ratio("CPU", 6, Side::Floor, CPU),
        ratio("deliv", 6, Side::Floor, DELIVERED),
        ratio("p99", 6, Side::Floor, P99),
    ],
};
const TO_NCHAN: Group = Group {
    title: "to nchan",
    columns: &[
        ratio("CPU", 6, Side::Nchan, CPU),
        ratio("deliv", 6, Side::Nchan, DELIVERED),
        ratio("p99", 6, Side::Nchan, P99),
        ratio("p99:p50", 7, Side::Nchan, P99_TO_P50),
        ratio("B/sub", 6, Side::Nchan, MEMORY),
    ],
};
const IDLE_FIGURES: Group =
    Group { title: "", columns: &[figure("B/sub", 8, 0, |figures| figures.memory_each)] };
const IDLE_TO_NCHAN: Group = Group { title: "to nchan", columns: &[ratio("B/sub", 8, Side::Nchan, MEMORY)] };

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} Medians of {} rounds; ratios are the medians of those within a round. {} cores.",
            self.title,
            self.rounds,
            cores()
        )?;
        if let Some(absent) = &self.absent {
            writeln!(f, "{absent}")?;
        }
        self.rows.iter().try_for_each(|row| write!(f, "\n{row}"))?;
        writeln!(
            f,
            "\nCPU us: of the server, for one event of one subscriber. ms: from the upstream's write to the subscriber's\n\
             read. B/sub: of the server, for a subscriber that waits. gen %: the generator's share of a core. late:\n\
             the publisher's delay, p99. p99:p50 compares a p99 with the other's p50."
        )?;
        let others = self.rows.iter().map(Row::others).fold(0.0, f64::max);
        if others > MOST_FOR_OTHERS {
            writeln!(
                f,
                "\nNOISY: others used up to {:.0} % of the machine. Compare ratios, and repeat.",
                others * 100.0
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Workload { name, tasks, subscribers, stuck, rate, seconds } = &self.workload;
        write!(f, "{name}: {tasks} x {subscribers} subscribers, ")?;
        let groups: &[Group] = if self.workload.is_idle() {
            writeln!(f, "nothing is published\n")?;
            &[IDLE_FIGURES, IDLE_TO_NCHAN]
        } else {
            write!(f, "{rate} events/s for {seconds} s, {} deliveries/s offered", self.workload.offered())?;
            writeln!(f, "{}\n", if *stuck > 0 { format!(", {stuck} read nothing") } else { String::new() })?;
            &[FIGURES, TO_FLOOR, TO_NCHAN]
        };
        write!(f, "{:9}", "")?;
        for Group { title, columns } in groups {
            let width: usize = columns.iter().map(|column| column.width + 1).sum();
            write!(f, " |{title:^width$}")?;
        }
        write!(f, "\n{:9}", "")?;
        for Group { columns, .. } in groups {
            write!(f, " |")?;
            columns.iter().try_for_each(|Column { head, width, .. }| write!(f, " {head:>width$}"))?;
        }
        writeln!(f)?;
        self.lines.iter().try_for_each(|line| write_line(f, self, line, groups))
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, row: &Row, line: &Line, groups: &[Group]) -> fmt::Result {
    let rounds = match &line.rounds {
        Ok(rounds) => rounds,
        Err(why) => return writeln!(f, "{:>9} | no figures: {why}", line.side),
    };
    let medians = Figures::medians(rounds);
    write!(f, "{:>9}", line.side)?;
    for Group { columns, .. } in groups {
        write!(f, " |")?;
        for Column { width, cell, .. } in *columns {
            let (digits, value) = match cell {
                Cell::Figure(digits, figure) => (*digits, figure(&medians)),
                Cell::Ratio(base, ratio) => (2, row.ratio(line, *base, *ratio)),
            };
            let cell = if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() };
            write!(f, " {cell:>width$}")?;
        }
    }
    writeln!(f)
}
