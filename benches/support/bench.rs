//! Runs a benchmark: prints its findings and writes them as JSON, or prints why there are none.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use super::arguments::Arguments;

/// The findings of a benchmark; as text they are a readable table.
pub(crate) trait Findings: fmt::Display {
    /// Returns true if each row has figures.
    fn is_whole(&self) -> bool {
        true
    }

    /// Returns the findings as JSON.
    fn json(&self) -> Value;
}

/// Runs the measurement, if `cargo bench` started this. The benchmark's name is also that of its JSON file.
pub(crate) fn run<O, F: Findings>(
    name: &str,
    read: impl FnOnce(&Arguments) -> Outcome<O>,
    measure: impl FnOnce(&O) -> Outcome<F>,
) -> ExitCode {
    let arguments = Arguments::of(std::env::args().skip(1));
    let found = match read(&arguments) {
        Ok(_) if !arguments.is_bench() => {
            println!("{name}: nothing is measured without `cargo bench`");
            return ExitCode::SUCCESS;
        }
        Ok(options) => measure(&options),
        Err(err) => Err(err),
    };
    let written = found.and_then(|found| {
        println!("{found}");
        Ok((write(name, &found)?, found.is_whole()))
    });
    match written {
        Ok((path, is_whole)) => {
            println!("The same as JSON: {}", path.display());
            if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(err) => {
            eprintln!("{name}: {err}; no figures");
            ExitCode::FAILURE
        }
    }
}

/// Writes the JSON beside the directory for temporary files that belongs to the build.
fn write(name: &str, found: &impl Findings) -> Outcome<PathBuf> {
    let directory = place().parent().unwrap_or(place()).join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{name}.json"));
    fs::write(&path, format!("{:#}\n", found.json()))?;
    Ok(path)
}

/// Returns the folder for the servers' data: beside the build, on the developer's disk.
pub(crate) fn place() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns the number of cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
