//! The command line of both benchmarks.

use super::super::Outcome;
use super::super::arguments::Arguments;
use super::side::Side;
use super::workload::Workload;

/// The default length of a custom row.
const OWN_SECONDS: u64 = 10;

/// The options of the command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// The chosen sides; empty: all.
    pub(crate) sides: Vec<Side>,
    /// The chosen rows; empty: all.
    rows: Vec<String>,
    seconds: Option<u64>,
    tasks: Option<u64>,
    subscribers: Option<u64>,
    rate: Option<u64>,
    stuck: u64,
}

impl Options {
    pub(crate) fn read(arguments: &Arguments) -> Outcome<Self> {
        let mut sides = Vec::new();
        for name in arguments.values("--server")? {
            let named = Side::named(name);
            if named.is_empty() {
                let names = Side::ALL.map(Side::name).join(", ");
                return Err(format!("there is no server {name:?}; choose hearken, {names}").into());
            }
            sides.extend(named);
        }
        Ok(Self {
            rounds: arguments.number("--rounds", 1)?.unwrap_or(3),
            sides,
            rows: arguments.values("--row")?.into_iter().map(str::to_owned).collect(),
            seconds: arguments.number("--seconds", 1)?,
            tasks: arguments.number("--tasks", 1)?,
            subscribers: arguments.number("--subscribers", 1)?,
            rate: arguments.number("--rate", 0)?,
            stuck: arguments.number("--stuck", 0)?.unwrap_or(0),
        })
    }

    /// Returns the chosen rows of a benchmark, or a row like its first with the options of a custom row.
    pub(crate) fn workloads(&self, rows: &[Workload]) -> Outcome<Vec<Workload>> {
        let is_own = self.tasks.is_some() || self.subscribers.is_some() || self.rate.is_some();
        let own = rows.first().filter(|_| is_own).map(|first| Workload {
            name: "own".to_owned(),
            tasks: self.tasks.unwrap_or(first.tasks),
            subscribers: self.subscribers.unwrap_or(first.subscribers),
            rate: self.rate.unwrap_or(first.rate),
            seconds: OWN_SECONDS,
            stuck: 0,
        });
        let named = rows.iter().filter(|row| self.rows.is_empty() || self.rows.contains(&row.name));
        let chosen: Vec<_> = own.map_or_else(|| named.cloned().collect(), |own| vec![own]);
        if chosen.is_empty() {
            let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
            return Err(format!("there are no such rows; choose {}", names.join(", ")).into());
        }
        let as_said = |row: Workload| {
            let seconds = self.seconds.unwrap_or(row.seconds);
            let row = Workload { seconds, stuck: self.stuck, ..row };
            if row.stuck >= row.all_subscribers() {
                return Err(format!("{}: at least one subscriber must read", row.name).into());
            }
            Ok(row)
        };
        chosen.into_iter().map(as_said).collect()
    }

    /// Returns true if this side is to be measured on this workload.
    pub(crate) fn chooses(&self, side: Side, workload: &Workload) -> bool {
        side.suits(workload) && (self.sides.is_empty() || self.sides.contains(&side))
    }
}
