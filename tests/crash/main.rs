//! The crash simulation: the real program is killed again and again while many clients use it. An oracle outside of the
//! program checks that nothing that was promised is lost, doubled or changed.
//!
//! ```text
//! cargo test --release --test crash -- --rounds 1000 --seed 7
//! ```
//!
//! A round starts the program, lets many clients use it for less than a second, and kills it. Rounds share a data
//! directory. After some rounds all tasks may end, everything is checked and forgotten, and a new directory is used.
//! What the clients and the upstream do is a function of the seed and the round's number ([`plan`]). The exact time of
//! a kill depends on the machine, so a round that failed may have to be repeated (`--first-round N --rounds 1`) several
//! times until it fails again. `--calm` leaves out the kills.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a simulation that cannot continue has failed, and its output helps its reader"
)]

mod batch;
mod clients;
mod http;
mod oracle;
mod plan;
mod record;
mod script;
mod server;
mod shelf;
mod summary;
mod upstream;
mod verdict;

/// The code that all tests and benchmarks share.
#[path = ".."]
mod shared {
    pub(crate) mod kit;
}
use shared::kit;

use std::process::ExitCode;
use std::time::Instant;

use batch::{Batch, Failure, SLOTS};
use plan::Plan;
use record::Breach;
use summary::Tally;
use upstream::Upstream;

/// Rounds on one data directory: this limits memory and disk, not the length of a run.
const BATCH_ROUNDS: u32 = 25;

/// The command line.
#[derive(Debug, Clone, Copy)]
struct Options {
    rounds: u32,
    seed: u32,
    first_round: u32,
    calm: bool,
}

impl Options {
    /// Reads the options that it knows, and ignores what `cargo test` passes to every test binary.
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self { rounds: 12, seed: 1, first_round: 0, calm: false };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                value.unwrap_or_else(|| {
                    println!("{argument} takes a number");
                    std::process::exit(2)
                })
            };
            match argument.as_str() {
                "--rounds" => options.rounds = number(),
                "--seed" => options.seed = number(),
                "--first-round" => options.first_round = number(),
                "--calm" => options.calm = true,
                _ => {}
            }
        }
        options
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let options = Options::read(std::env::args().skip(1));
    println!("crash simulation: {options:?}");
    let began = Instant::now();
    let mut tally = Tally::default();
    let result = simulate(options, began, &mut tally).await;
    tally.time = began.elapsed();
    if let Err((round, failure)) = &result {
        match failure.violation.breach {
            Breach::Lost => tally.lost += 1,
            Breach::TwoOutcomes => tally.two_outcomes += 1,
            Breach::AudioLeft | Breach::SlotHeld | Breach::Other => {}
        }
        println!("--- the server's log\n{}\n---", failure.log);
        println!("{:?}, in or before round {round} of seed {}", failure.violation.breach, options.seed);
        println!("{}", failure.violation.text);
        println!(
            "repeat: cargo test --test crash -- --seed {} --first-round {round} --rounds 1",
            options.seed
        );
    }
    println!("{tally}");
    println!("{}", if result.is_ok() { "ok" } else { "FAILED" });
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all rounds. A failure names the round in which it was found.
async fn simulate(options: Options, began: Instant, tally: &mut Tally) -> Result<(), (u32, Failure)> {
    let upstream = Upstream::start(SLOTS);
    shelf::open();
    let mut epochs = 0;
    let end = options.first_round.saturating_add(options.rounds);
    let mut first = options.first_round;
    while first < end {
        let next = end.min(first.saturating_add(BATCH_ROUNDS));
        let plans = (first..next).map(|round| Plan::new(options.seed.into(), round));
        let plans = plans.map(|plan| if options.calm { plan.calm() } else { plan });
        let (brief, long): (Vec<Plan>, Vec<Plan>) = plans.partition(|plan| plan.brief);
        // A brief round has a directory of its own.
        for plans in std::iter::once(&long[..]).chain(brief.chunks(1)).filter(|plans| !plans.is_empty()) {
            let mut batch = Batch::new(&upstream, tally, &mut epochs, began, plans[0].brief);
            for plan in plans {
                batch.round(plan).await.map_err(|failure| (plan.round, failure))?;
            }
            let last = plans[plans.len() - 1].round;
            batch.settle().await.map_err(|failure| (last, failure))?;
        }
        println!("rounds {first} to {}: {:.1} s", next - 1, began.elapsed().as_secs_f64());
        first = next;
    }
    Ok(())
}
