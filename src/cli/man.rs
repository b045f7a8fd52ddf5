//! `hearken man`: the man pages of the program and of its commands.

use std::io;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::{FAILED, USAGE, complain, print_bytes};

/// The text below the options in `--help`.
const HELP: &str = "\
To install the pages for the current user:
  mkdir -p ~/.local/share/man/man1
  hearken man > ~/.local/share/man/man1/hearken.1
  hearken man submit > ~/.local/share/man/man1/hearken-submit.1

To read a page without installing it:  hearken man | man -l -";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Command that the page describes, as in `submit` or `keys create` [default: the program]
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

/// Prints the man page of the program, or of one of its commands.
pub(super) fn run(arguments: &Arguments, mut program: Command) -> ExitCode {
    program.build();
    let mut command = &program;
    for name in &arguments.path {
        let Some(found) = command.find_subcommand(name) else {
            let problem =
                format_args!("{} has no command `{name}`; see `hearken --help`", command.get_name());
            return complain(problem, USAGE);
        };
        command = found;
    }
    match page(command) {
        Ok(page) => print_bytes(&page),
        Err(err) => complain(format_args!("the man page could not be made: {err}"), FAILED),
    }
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // A subcommand has no version of its own, so its page would have none.
    Man::new(command.clone()).source(concat!("hearken ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    Ok(page)
}
