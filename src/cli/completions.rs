//! `hearken completions`: the scripts with which a shell completes hearken's command line.

use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

/// The text below the options in `--help`.
const HELP: &str = "\
To install them (first make the folder with mkdir -p, if it does not exist):
  bash   hearken completions bash > ~/.local/share/bash-completion/completions/hearken
  zsh    hearken completions zsh > \"${fpath[1]}/_hearken\"
  fish   hearken completions fish > ~/.config/fish/completions/hearken.fish

They work in shells that start after that.";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Shell for which the script is made
    shell: Shell,
}

/// Prints the completions of a shell for this command line.
pub(super) fn run(arguments: &Arguments, mut program: Command) -> ExitCode {
    let mut script = Vec::new();
    generate(arguments.shell, &mut program, "hearken", &mut script);
    super::print_bytes(&script)
}
