//! What every benchmark does around its measuring: says what it found, writes it as JSON, or says why it found
//! nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;

/// What a benchmark found; its text is a readable table.
pub(crate) trait Findings: fmt::Display {
    /// The benchmark's name, and that of its JSON file.
    const NAME: &str;

    /// Is there a figure in each row?
    fn is_whole(&self) -> bool;

    /// The same for programs.
    fn json(&self) -> Value;
}

/// Measures, unless the options are `None`: then it was `cargo test` who started this.
pub(crate) fn run<O, F: Findings>(
    options: Outcome<Option<O>>,
    measure: impl FnOnce(&O) -> Outcome<F>,
) -> ExitCode {
    let found = match options {
        Ok(Some(options)) => measure(&options),
        Ok(None) => {
            println!("{}: nothing is measured without `cargo bench`", F::NAME);
            return ExitCode::SUCCESS;
        }
        Err(err) => Err(err),
    };
    let written = found.and_then(|found| {
        println!("{found}");
        Ok((write(&found)?, found.is_whole()))
    });
    match written {
        Ok((path, is_whole)) => {
            println!("The same as JSON: {}", path.display());
            if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(err) => {
            eprintln!("{}: {err}; no figures", F::NAME);
            ExitCode::FAILURE
        }
    }
}

/// Writes the JSON beside the directory for temporary files that belongs to the build.
fn write<F: Findings>(found: &F) -> Outcome<PathBuf> {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = temporary.parent().unwrap_or(temporary).join("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{}.json", F::NAME));
    fs::write(&path, format!("{:#}\n", found.json()))?;
    Ok(path)
}

/// Cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
