//! Runs all rounds of all sides of all rows: the sides of a row take turns, so that a slow minute of the machine
//! affects all.

use super::super::Outcome;
use super::super::server::settle;
use super::figures::{Figures, Refusal, refusal};
use super::nchan::Installed;
use super::options::Options;
use super::round::Round;
use super::row::{Line, Row};
use super::side::Side;
use super::table::Table;
use super::workload::Workload;

/// How often a round is tried if the generator or the publisher was too slow: other processes may have used the
/// machine.
const TRIES: usize = 3;

/// Measures the chosen ones of these rows.
pub(crate) fn measure(title: &'static str, options: &Options, rows: &[Workload]) -> Outcome<Table> {
    let workloads = options.workloads(rows)?;
    // The processes that are started from here inherit the limit.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?;
    let nchan = Installed::find();
    let absent = nchan.is_none().then(|| {
        "nchan is not measured: nginx with its nchan module is not installed (Debian: libnginx-mod-nchan).".to_owned()
    });
    let scene = Scene { options, nchan: nchan.as_ref(), descriptors };
    let rows = workloads.into_iter().map(|workload| scene.row(workload)).collect::<Outcome<_>>()?;
    Ok(Table { title, rows, rounds: options.rounds, absent })
}

/// The facts that all rows have in common.
struct Scene<'a> {
    options: &'a Options,
    nchan: Option<&'a Installed>,
    /// The number of file descriptors that a process may have open.
    descriptors: u64,
}

impl Scene<'_> {
    fn row(&self, workload: Workload) -> Outcome<Row> {
        let is_measured = |side: &Side| {
            self.options.chooses(*side, &workload) && (*side != Side::Nchan || self.nchan.is_some())
        };
        let sides = Side::ALL.into_iter().filter(is_measured);
        let mut lines: Vec<_> = sides.map(|side| Line { side, rounds: self.begin(&workload) }).collect();
        for round in 1..=self.options.rounds {
            for line in &mut lines {
                // One bad round is enough: more rounds would not help.
                let Ok(rounds) = &mut line.rounds else { continue };
                match self.round(line.side, &workload) {
                    Ok(figures) => rounds.push(figures),
                    Err(why) => line.rounds = Err(why.to_string()),
                }
                let good = if workload.is_idle() { "all subscribed" } else { "every event arrived once" };
                let said = line.rounds.as_ref().map_or_else(String::as_str, |_| good);
                eprintln!(
                    "{}, {}, round {round} of {}: {said}",
                    workload.name, line.side, self.options.rounds
                );
                settle()?;
            }
        }
        Ok(Row { workload, lines })
    }

    fn begin(&self, workload: &Workload) -> Result<Vec<Figures>, String> {
        let (needed, there) = (workload.descriptors(), self.descriptors);
        if needed > there {
            return Err(format!("it needs {needed} file descriptors, but the system allows {there}"));
        }
        Ok(Vec::new())
    }

    /// Measures one round; repeats it if something other than the server was too slow.
    fn round(&self, side: Side, workload: &Workload) -> Outcome<Figures> {
        let mut tries = 1;
        loop {
            let round = Round::measure(side, workload, self.nchan)?;
            match refusal(side, &round) {
                None => return Ok(Figures::of(&round)),
                Some(Refusal::Bottleneck(why)) if tries < TRIES => {
                    eprintln!("{}, {side}: {why}; trying again", workload.name);
                    tries += 1;
                }
                Some(Refusal::Bottleneck(why) | Refusal::Wrong(why)) => return Err(why.into()),
            }
        }
    }
}
