//! The command line of benches that run many tasks.

use super::Outcome;

/// What may be chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many tasks are run.
    pub(crate) tasks: usize,
    /// From how many connections they are submitted.
    pub(crate) connections: usize,
}

impl Options {
    /// `None` where nothing is to be measured: it was not `cargo bench` who started this, but `cargo test`.
    pub(crate) fn read(tasks: usize, mut arguments: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut options = Self { tasks, connections: 64 };
        let mut is_bench = false;
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
                value.filter(|value| *value > 0).ok_or(format!("{argument} needs a number from 1"))
            };
            match argument.as_str() {
                "--tasks" => options.tasks = number()?,
                "--connections" => options.connections = number()?,
                "--bench" => is_bench = true,
                _ => {}
            }
        }
        Ok(is_bench.then_some(options))
    }
}
