//! `hearken keys`: the data directory's API keys.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{FAILED, USAGE, complain, say};
use crate::config::{Config, Flags};
use crate::keys::{self, KeyHash, KeyLimits, KeyRecord};
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
        /// Names and globs (*, ?) of the models that it may use
        #[arg(long, value_name = "M1,M2", value_delimiter = ',', value_parser = model, default_value = "*")]
        models: Vec<String>,
        /// Most submits in a minute; 0: no limit
        #[arg(long, value_name = "N", default_value_t = 0)]
        requests_per_minute: u32,
        /// Most tasks that run at once, more wait; 0: no limit
        #[arg(long, value_name = "N", default_value_t = 0)]
        max_running_tasks: u32,
    },
    /// List the keys, a line each: name, models and limits, with tabs between them
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
        Action::Create { name, models, requests_per_minute, max_running_tasks } => {
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                return Ok(Err("a name has 1 to 128 bytes and no control characters".to_owned()));
            }
            let key = keys::generate();
            let limits = KeyLimits::new(requests_per_minute, max_running_tasks);
            let record = KeyRecord { name, hash: KeyHash::of(&key), models, limits };
            let configured = config.keys.iter().any(|known| known.name == record.name);
            if configured || !table.create(&record)? {
                return Ok(Err(format!(
                    "there is a key named {:?} already; revoke it first, or take another name",
                    record.name
                )));
            }
            say(key);
        }
        Action::List => {
            for key in table.list()? {
                // No model that was given with --models has a comma in it.
                say(format_args!(
                    "{}\t{}\trequests_per_minute={}\tmax_running_tasks={}",
                    key.name,
                    key.models.join(","),
                    or_zero(key.limits.requests_per_minute),
                    or_zero(key.limits.max_running_tasks),
                ));
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

/// A limit as it is written: 0 is none.
fn or_zero(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

fn model(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("write names or globs with commas between them, none of them empty");
    }
    Ok(text.to_owned())
}
