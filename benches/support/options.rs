//! The command line.

use std::time::Duration;

use super::Outcome;

/// What may be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How long one round is measured.
    pub(crate) length: Duration,
    /// Rounds of each server in each row.
    pub(crate) rounds: usize,
    /// For small bodies; fewer for larger ones.
    pub(crate) connections: usize,
}

impl Options {
    /// `None` where nothing is to be measured: it was not `cargo bench` who started this, but `cargo test`.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self { length: Duration::from_secs(3), rounds: 5, connections: 64 };
        let mut is_bench = false;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<u16>().ok());
                value.filter(|value| *value > 0).ok_or(format!("{argument} needs a number from 1 to 65535"))
            };
            match argument.as_str() {
                "--seconds" => options.length = Duration::from_secs(number()?.into()),
                "--rounds" => options.rounds = number()?.into(),
                "--connections" => options.connections = number()?.into(),
                "--bench" => is_bench = true,
                // Cargo passes on what is meant for the harness that this benchmark does not have.
                _ => {}
            }
        }
        Ok(is_bench.then_some(options))
    }
}
