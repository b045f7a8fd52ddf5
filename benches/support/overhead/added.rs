//! The time that was added to the first text and to each of the others, as a table and as JSON.

use std::fmt;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::bench::{Findings, cores};
use super::super::proc::Attention;
use super::super::statistics::{Durations, Spread, median};
use super::ask::Answered;

/// The most that hearken may add to the first text and to another one, ms.
const PROMISED: [f64; 2] = [0.9, 0.1];
/// The limit for the share of an answer's time in which the client was busy or without a core.
const MOST_FOR_GENERATOR: f64 = 0.5;
/// How late the upstream may make one in a hundred of its texts, in ms.
const MOST_LATE_MS: f64 = 10.0;

/// All findings.
#[derive(Debug)]
pub(crate) struct Added {
    first: Compared,
    other: Compared,
    pub(crate) pairs: usize,
    generator: f64,
    late: f64,
}

/// The times of direct texts and of texts through hearken.
#[derive(Debug)]
struct Compared {
    straight: Spread,
    through: Spread,
    /// The median of the differences within pairs, ms.
    paired: f64,
    /// The most that may be added, ms.
    promised: f64,
}

impl Compared {
    fn of(pairs: &[(u64, u64)], promised: f64) -> Outcome<Self> {
        let (mut straight, mut through) = (Durations::new()?, Durations::new()?);
        for (one, other) in pairs {
            straight.add(*one);
            through.add(*other);
        }
        let paired = median(pairs.iter().map(|(one, other)| (*other as f64 - *one as f64) / 1e6));
        Ok(Self { straight: straight.spread(), through: through.spread(), paired, promised })
    }

    /// Returns the difference of the p50s, ms.
    fn added(&self) -> f64 {
        self.through.p50 - self.straight.p50
    }

    fn is_kept(&self) -> bool {
        self.added() < self.promised
    }

    fn json(&self) -> Value {
        json!({
            "straight_ms": self.straight,
            "through_ms": self.through,
            "added_ms": self.added(),
            "paired_ms": self.paired,
            "promised_ms": self.promised,
            "kept": self.is_kept(),
        })
    }
}

impl Added {
    /// Computes the findings from pairs of answers, direct and through hearken, and the upstream's delay (p99, ms).
    pub(crate) fn of(pairs: &[(Answered, Answered)], late: f64) -> Outcome<Self> {
        let generator =
            Attention::sum(pairs.iter().flat_map(|(one, other)| [one.attention, other.attention]));
        let generator = generator.share();
        if generator >= MOST_FOR_GENERATOR {
            let percent = generator * 100.0;
            return Err(format!("the generator was the bottleneck: {percent:.0} % of the time").into());
        }
        if late >= MOST_LATE_MS {
            return Err(format!("the upstream was the bottleneck: {late:.1} ms late (p99)").into());
        }
        let first: Vec<_> = pairs.iter().map(|(one, other)| (one.first, other.first)).collect();
        let others = pairs
            .iter()
            .flat_map(|(one, other)| one.others.iter().copied().zip(other.others.iter().copied()));
        Ok(Self {
            first: Compared::of(&first, PROMISED[0])?,
            other: Compared::of(&others.collect::<Vec<_>>(), PROMISED[1])?,
            pairs: pairs.len(),
            generator,
            late,
        })
    }
}

impl Findings for Added {
    fn json(&self) -> Value {
        json!({
            "cores": cores(),
            "pairs": self.pairs,
            "first": self.first.json(),
            "chunk": self.other.json(),
            "generator_share": self.generator,
            "upstream_late_ms_p99": self.late,
        })
    }
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "One synchronous stream at a time, straight from the upstream and through hearken; {} pairs, {} cores; ms.\n\n\
             \x20      |         straight         |     through hearken      |\n\
             \x20      |      p50     p99     max |      p50     p99     max |    added  paired  promised",
            self.pairs,
            cores(),
        )?;
        for (name, compared) in [("first", &self.first), ("chunk", &self.other)] {
            let Compared { straight, through, paired, promised } = compared;
            writeln!(
                f,
                "{name:>6} | {:>8.3}{:>8.3}{:>8.3} | {:>8.3}{:>8.3}{:>8.3} | {:>8.3}{paired:>8.3}{promised:>10.1}  {}",
                straight.p50,
                straight.p99,
                straight.max,
                through.p50,
                through.p99,
                through.max,
                compared.added(),
                if compared.is_kept() { "kept" } else { "NOT KEPT" },
            )?;
        }
        writeln!(
            f,
            "\nfirst: from the request's first byte to the first text. chunk: from when another text was made until it came.\n\
             added: between the p50s. paired: the median of the differences within pairs. The upstream was {:.1} ms late\n\
             (p99); the client was busy for {:.0} % of the time.",
            self.late,
            self.generator * 100.0
        )
    }
}
