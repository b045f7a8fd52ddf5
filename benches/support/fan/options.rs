//! The command line of both benchmarks.

use super::super::Outcome;
use super::side::Side;
use super::workload::Workload;

/// How long a row of one's own is, where nothing else is said.
const OWN_SECONDS: u64 = 10;

/// What may be chosen.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// Empty: all of them.
    pub(crate) sides: Vec<Side>,
    /// Empty: all of them.
    rows: Vec<String>,
    seconds: Option<u64>,
    tasks: Option<u64>,
    subscribers: Option<u64>,
    rate: Option<u64>,
    stuck: u64,
}

impl Options {
    /// `None` where nothing is to be measured: it was not `cargo bench` who started this, but `cargo test`.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self {
            rounds: 3,
            sides: Vec::new(),
            rows: Vec::new(),
            seconds: None,
            tasks: None,
            subscribers: None,
            rate: None,
            stuck: 0,
        };
        let mut is_bench = false;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--row" => options.rows.push(value()?),
                "--server" => {
                    let name = value()?;
                    let sides = Side::named(&name);
                    if sides.is_empty() {
                        let names = Side::ALL.map(Side::name).join(", ");
                        return Err(format!("there is no server {name:?}, but hearken, {names}").into());
                    }
                    options.sides.extend(sides);
                }
                "--rounds" => options.rounds = usize::try_from(number(&argument, &value()?, 1)?)?,
                "--seconds" => options.seconds = Some(number(&argument, &value()?, 1)?),
                "--tasks" => options.tasks = Some(number(&argument, &value()?, 1)?),
                "--subscribers" => options.subscribers = Some(number(&argument, &value()?, 1)?),
                "--rate" => options.rate = Some(number(&argument, &value()?, 0)?),
                "--stuck" => options.stuck = number(&argument, &value()?, 0)?,
                "--bench" => is_bench = true,
                // Cargo passes on what is meant for the harness that these benchmarks do not have.
                _ => {}
            }
        }
        Ok(is_bench.then_some(options))
    }

    /// Those rows of a benchmark that were chosen, or one like its first with what was said of it.
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
            return Err(format!("there are no such rows, but {}", names.join(", ")).into());
        }
        let as_said = |row: Workload| {
            let seconds = self.seconds.unwrap_or(row.seconds);
            let row = Workload { seconds, stuck: self.stuck, ..row };
            if row.stuck >= row.all_subscribers() {
                return Err(format!("{}: somebody must read", row.name).into());
            }
            Ok(row)
        };
        chosen.into_iter().map(as_said).collect()
    }

    /// Is this side to be measured on this workload?
    pub(crate) fn chooses(&self, side: Side, workload: &Workload) -> bool {
        side.suits(workload) && (self.sides.is_empty() || self.sides.contains(&side))
    }
}

fn number(argument: &str, value: &str, least: u64) -> Outcome<u64> {
    /// More than any machine holds, and small enough for a product of two.
    const MOST: u64 = 1_000_000;
    let number = value.parse().ok().filter(|number| (least..=MOST).contains(number));
    Ok(number.ok_or_else(|| format!("{argument} needs a number from {least} to {MOST}"))?)
}
