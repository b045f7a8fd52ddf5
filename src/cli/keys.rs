//! `hearken keys`: the data directory's API keys.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{FAILED, USAGE, complain, say};
use crate::config::{Config, Flags};
use crate::keys::{self, KeyHash, KeyRecord};
use crate::store::{KeyTable, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Configuration file that names the data directory
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The data directory [env: HEARKEN_DATA_DIR] [default: ./hearken-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it, this once, alone on standard output
    Create {
        /// What logs and lists call it
        name: String,
    },
    /// List the keys: name and what they may use
    List,
    /// Make a key unusable
    Revoke {
        /// The name it was created with
        name: String,
    },
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { action, config, data_dir } = arguments;
    let config = match Config::load(&Flags { config, data_dir, listen: None }) {
        Ok(config) => config,
        Err(err) => return complain(err, USAGE),
    };
    match act(&config, action) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(refusal)) => complain(refusal, FAILED),
        Err(err) => complain(err, FAILED),
    }
}

fn act(config: &Config, action: Action) -> Result<Result<(), String>, StoreError> {
    let mut table = KeyTable::open(&config.data_dir)?;
    match action {
        Action::Create { name } => {
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                return Ok(Err("a name has 1 to 128 bytes and no control characters".to_owned()));
            }
            let key = keys::generate();
            let record =
                KeyRecord { name: name.clone(), hash: KeyHash::of(&key), models: vec!["*".to_owned()] };
            let configured = config.keys.iter().any(|known| known.name == name);
            if configured || !table.create(&record)? {
                return Ok(Err(format!(
                    "there is a key named {name:?} already; revoke it first, or take another name"
                )));
            }
            say(key);
        }
        Action::List => {
            for key in table.list()? {
                say(format_args!("{}\t{}", key.name, key.models.join(" ")));
            }
        }
        Action::Revoke { name } => {
            if !table.revoke(&name)? {
                return Ok(Err(format!("there is no key named {name:?} in {}", config.data_dir.display())));
            }
        }
    }
    Ok(Ok(()))
}
