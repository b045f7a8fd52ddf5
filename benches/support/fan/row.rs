//! The findings about one workload: the rounds of all sides, and how sides compare.

use serde_json::{Value, json};

use super::super::statistics::median;
use super::figures::Figures;
use super::side::Side;
use super::workload::Workload;

/// All sides of one workload.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) lines: Vec<Line>,
}

/// The rounds of one side.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) side: Side,
    /// The figures in order of the rounds, or why there are none.
    pub(crate) rounds: Result<Vec<Figures>, String>,
}

/// How one side's figures compare with another's.
pub(crate) type Ratio = fn(&Figures, &Figures) -> f64;

pub(crate) const CPU: Ratio = |ours, theirs| ours.cpu_us / theirs.cpu_us;
pub(crate) const DELIVERED: Ratio = |ours, theirs| ours.delivered_per_second / theirs.delivered_per_second;
pub(crate) const P99: Ratio = |ours, theirs| ours.latency.p99 / theirs.latency.p99;
pub(crate) const P99_TO_P50: Ratio = |ours, theirs| ours.latency.p99 / theirs.latency.p50;
pub(crate) const MEMORY: Ratio = |ours, theirs| ours.memory_each / theirs.memory_each;

impl Row {
    /// Returns the median of the ratios within each round; `NAN` if there is nothing to compare.
    pub(crate) fn ratio(&self, line: &Line, base: Side, ratio: Ratio) -> f64 {
        let base = self.lines.iter().find(|other| other.side == base && other.side != line.side);
        let (Ok(ours), Some(Ok(theirs))) = (&line.rounds, base.map(|base| &base.rounds)) else {
            return f64::NAN;
        };
        median(ours.iter().zip(theirs).map(|(ours, theirs)| ratio(ours, theirs)))
    }

    /// Returns the largest share of the machine that other processes used in any round.
    pub(crate) fn others(&self) -> f64 {
        let rounds = self.lines.iter().filter_map(|line| line.rounds.as_ref().ok());
        rounds.flat_map(|rounds| rounds.iter().map(|figures| figures.others)).fold(0.0, f64::max)
    }

    pub(crate) fn json(&self) -> Value {
        let sides: Vec<_> = self.lines.iter().map(|line| self.line_json(line)).collect();
        json!({"workload": self.workload, "sides": sides})
    }

    fn line_json(&self, line: &Line) -> Value {
        let rounds = match &line.rounds {
            Ok(rounds) => rounds,
            Err(why) => return json!({"side": line.side.name(), "refused": why}),
        };
        let ratios = |base| {
            json!({
                "server_cpu": self.ratio(line, base, CPU),
                "delivered": self.ratio(line, base, DELIVERED),
                "p99": self.ratio(line, base, P99),
                "p99_to_p50": self.ratio(line, base, P99_TO_P50),
                "memory": self.ratio(line, base, MEMORY),
            })
        };
        json!({
            "side": line.side.name(),
            "missing": 0,
            "repeated": 0,
            "medians": Figures::medians(rounds).json(),
            "rounds": rounds.iter().map(Figures::json).collect::<Vec<_>>(),
            "to_floor": ratios(Side::Floor),
            "to_nchan": ratios(Side::Nchan),
        })
    }
}
