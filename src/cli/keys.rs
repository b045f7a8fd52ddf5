//! `hearken keys`: the API keys in the data directory.

use std::fmt::Display;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{FAILED, USAGE, complain, number, output, print, serve, unwritten};
use crate::config::{Config, Flags};
use crate::keys::{self, KeyLimits, KeyRecord};
use crate::secret::KeyHash;
use crate::store::{self, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Configuration file (TOML) that names the data directory [default: no file, only the built-in defaults]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Data directory [env: HEARKEN_DATA_DIR] [default: ./hearken-data]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a key and print it; only this command ever shows it
    Create {
        /// Name of the key in logs and lists
        name: String,
        /// Names and globs (*, ?) of the models that the key may use
        #[arg(long, value_name = "M1,M2", value_delimiter = ',', value_parser = model, default_value = "*")]
        models: Vec<String>,
        /// Most submits per minute; 0: no limit
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::small, allow_negative_numbers = true)]
        requests_per_minute: u32,
        /// Most tasks that run at the same time, further tasks wait; 0: no limit
        #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::small, allow_negative_numbers = true)]
        max_running_tasks: u32,
    },
    /// List the keys with their models and limits
    ///
    /// List the keys, one per line: name, models and limits, separated by tabs. A key of the configuration file is
    /// followed by the name of the file.
    List,
    /// Revoke a key, so that it can no longer be used
    Revoke {
        /// Name of the key
        name: String,
    },
}

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{0}")]
    Message(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("standard output cannot be written to: {0}")]
    Unwritten(#[from] io::Error),
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { action, config: file, data_dir } = arguments;
    let config = match Config::load(&Flags { config: file.clone(), data_dir, listen: None }) {
        Ok(config) => config,
        Err(err) => return complain(err, USAGE),
    };
    let done = async {
        check_data_dir(&config)?;
        match action {
            Action::Create { name, models, requests_per_minute, max_running_tasks } => {
                let limits = KeyLimits::new(requests_per_minute, max_running_tasks);
                create(&config, file.as_deref(), name, models, limits).await
            }
            Action::List => list(&config, file.as_deref()).await,
            Action::Revoke { name } => revoke(&config, file.as_deref(), &name).await,
        }
    };
    match actix_rt::System::new().block_on(done) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Unwritten(err)) => unwritten(&err),
        Err(CommandError::Store(err)) => {
            let serve::StartRefusal { problem, status } =
                serve::StartRefusal::of_store(&config.places.data_dir, err);
            complain(problem, status)
        }
        Err(refusal) => complain(refusal, FAILED),
    }
}

/// Refuses a data directory that a server would refuse, with the server's message, before anything is written to it.
/// Opening its database would also save the readable part of a damaged write-ahead log, and remove the log.
fn check_data_dir(config: &Config) -> Result<(), CommandError> {
    match store::check_start(&config.data_dir)?.lost {
        Some(lost) => Err(CommandError::Message(lost.to_string())),
        None => Ok(()),
    }
}

async fn create(
    config: &Config,
    file: Option<&Path>,
    name: String,
    models: Vec<String>,
    limits: KeyLimits,
) -> Result<(), CommandError> {
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(CommandError::Message(
            "a name has 1 to 128 bytes and no control characters; choose another name".to_owned(),
        ));
    }
    if let Some(file) = file_with_key(config, file, &name) {
        return Err(CommandError::Message(format!(
            "{file} already has a key named {name:?}; choose another name"
        )));
    }
    // Checked before a data directory is created for the key.
    if output::is_discarded() {
        return Err(not_printed(&"standard output is closed, or is /dev/null"));
    }
    // A key in a directory that no server uses is useless: most often the user meant another directory.
    let found = store::find_keys(&config.data_dir)?;
    let is_new = found.is_none();
    let stored = found.map_or_else(|| store::make_keys(&config.data_dir), Ok)?;
    let key = keys::generate();
    let record = KeyRecord { name: name.clone(), hash: KeyHash::of(&key), models, limits };
    if !stored.create(record).await? {
        return Err(CommandError::Message(format!(
            "there is already a key named {name:?}; revoke it first, or choose another name"
        )));
    }
    if let Err(err) = print(key) {
        // The user has not seen the key, and it cannot be shown later.
        stored.revoke(name).await?;
        return Err(not_printed(&err));
    }
    if is_new {
        // Standard output is for the key only.
        complain(created_notice(config), 0);
    }
    Ok(())
}

/// Reports that no key was created, because the user would not have seen it.
fn not_printed(why: &dyn Display) -> CommandError {
    CommandError::Message(format!(
        "no key was created, because it could not be printed, and a key is shown only once: {why}"
    ))
}

async fn list(config: &Config, file: Option<&Path>) -> Result<(), CommandError> {
    match store::find_keys(&config.data_dir)? {
        Some(stored) => {
            for key in stored.list().await?.1 {
                print(line(&key))?;
            }
        }
        // No keys is a valid list; but the user may have meant another directory.
        None => {
            complain(missing_directory(config), 0);
        }
    }
    for key in &config.keys {
        let file = file_with_key(config, file, &key.name).unwrap_or_default();
        print(format_args!("{}\tin {file}", line(key)))?;
    }
    Ok(())
}

async fn revoke(config: &Config, file: Option<&Path>, name: &str) -> Result<(), CommandError> {
    let revoked = match store::find_keys(&config.data_dir)? {
        Some(stored) => Some(stored.revoke(name.to_owned()).await?),
        None => None,
    };
    match (revoked, file_with_key(config, file, name)) {
        (Some(true), _) => Ok(()),
        (_, Some(file)) => Err(CommandError::Message(format!(
            "the key named {name:?} is in {file}; remove it there, and restart the server"
        ))),
        (Some(false), None) => {
            let directory = config.data_dir.display();
            Err(CommandError::Message(format!(
                "there is no key named {name:?} in {directory}; `hearken keys list` lists the keys"
            )))
        }
        (None, None) => Err(missing_directory(config)),
    }
}

/// Reports that the data directory was created, and how to use it.
fn created_notice(config: &Config) -> String {
    let directory = &config.data_dir;
    let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
    format!(
        "the data directory {} did not exist, so it was created; the key is valid for a server that uses this \
         directory. If you meant another directory, name it with --data-dir, --config or HEARKEN_DATA_DIR",
        directory.display()
    )
}

/// Reports a missing data directory. It is an error, because a list or a revocation is most often meant for a directory
/// that exists.
fn missing_directory(config: &Config) -> CommandError {
    CommandError::Message(format!(
        "there is no data directory {}; name another with --data-dir or --config, or create its first key with \
         `hearken keys create`",
        config.data_dir.display()
    ))
}

/// Returns the configuration file, if it has a key of this name.
fn file_with_key(config: &Config, file: Option<&Path>, name: &str) -> Option<String> {
    let known = config.keys.iter().any(|known| known.name == name);
    known.then(|| file.unwrap_or(Path::new("the configuration")).display().to_string())
}

/// Returns a key's line in the list.
fn line(key: &KeyRecord) -> String {
    // A comma always separates two models: --models does not allow one inside a model's name.
    format!(
        "{}\t{}\trequests_per_minute={}\tmax_running_tasks={}",
        key.name,
        key.models.join(","),
        or_zero(key.limits.requests_per_minute),
        or_zero(key.limits.max_running_tasks),
    )
}

/// Returns a limit as it is written: 0 means no limit.
fn or_zero(limit: Option<NonZeroU32>) -> u32 {
    limit.map_or(0, NonZeroU32::get)
}

fn model(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("write names or globs separated by commas; none of them may be empty");
    }
    Ok(text.to_owned())
}
