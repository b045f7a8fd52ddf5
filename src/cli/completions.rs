//! `hearken completions`: what a shell completes after `hearken`.

use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

/// What `--help` says below the options.
const HELP: &str = "\
To install them:
  bash   hearken completions bash > ~/.local/share/bash-completion/completions/hearken
  zsh    hearken completions zsh > \"${fpath[1]}/_hearken\"
  fish   hearken completions fish > ~/.config/fish/completions/hearken.fish

A new shell has them.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The shell that reads them
    shell: Shell,
}

/// Prints the completions of a shell for this command line.
pub(super) fn run(arguments: &Arguments, mut program: Command) -> ExitCode {
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, "hearken", &mut script);
    super::print_bytes(&script)
}
