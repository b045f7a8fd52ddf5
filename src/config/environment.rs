//! `HEARKEN_A__B` sets `a.b`: the environment laid over the file, one variable at a time.
//!
//! A variable has no type; the key it sets has one. So the text is tried as a string, and where the key does
//! not want a string as whatever TOML reads in it.

use serde::Deserialize;
use toml::{Table, Value};

use super::file::FileConfig;

const PREFIX: &str = "HEARKEN_";

/// Set for other programs or other commands, or read elsewhere: no keys of a server.
const NOT_KEYS: &[&str] = &["HEARKEN_URL", "HEARKEN_API_KEY", "HEARKEN_LOG", "HEARKEN_LOG_FORMAT"];

/// The variable that sets a key, as in `tls.key`.
pub(super) fn name_of(key: &str) -> String {
    PREFIX.to_owned() + &key.replace('.', "__").to_ascii_uppercase()
}

/// The configuration with the variables laid over it, and warnings about variables that set nothing; or the
/// variable that is wrong, with the reason.
pub(super) fn overlay(
    text: &str,
    parsed: FileConfig,
    variables: &[(String, String)],
) -> Result<(FileConfig, Vec<String>), (String, String)> {
    let mut ours: Vec<_> = variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_KEYS.contains(&name.as_str()))
        .collect();
    ours.sort();
    let mut table: Table = toml::from_str(text).unwrap_or_default();
    let mut config = parsed;
    let mut warnings = Vec::new();
    for (name, value) in ours {
        let path: Vec<String> =
            name.trim_start_matches(PREFIX).split("__").map(str::to_ascii_lowercase).collect();
        match set(&table, &path, value) {
            Ok((changed, reread)) => {
                table = changed;
                config = reread;
            }
            // A name that nobody knows may be somebody else's: Kubernetes sets HEARKEN_PORT and the like for
            // a service called hearken. A known name with a wrong value is a mistake.
            Err(reason) if reason.starts_with("unknown field") || reason.starts_with("invalid type: map") => {
                warnings.push(format!("{name} in the environment sets nothing: {reason}"));
            }
            Err(reason) => return Err((name.clone(), reason)),
        }
    }
    Ok((config, warnings))
}

fn set(table: &Table, path: &[String], text: &str) -> Result<(Table, FileConfig), String> {
    let literal =
        toml::from_str::<Table>(&format!("x = {text}")).ok().and_then(|mut table| table.remove("x"));
    let mut reason = String::new();
    for value in [Some(Value::String(text.to_owned())), literal].into_iter().flatten() {
        let mut root = Value::Table(table.clone());
        if let Some(slot) = slot(&mut root, path) {
            *slot = value;
        }
        let Value::Table(changed) = root else { continue };
        match FileConfig::deserialize(changed.clone()) {
            Ok(config) => return Ok((changed, config)),
            Err(err) => reason = err.message().replace('\n', " "),
        }
    }
    Err(reason)
}

/// The place that a path names; tables and the next item of an array are made on the way.
fn slot<'a>(root: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |value, part| match value {
        Value::Array(items) => {
            let index = part.parse::<usize>().ok()?;
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            items.get_mut(index)
        }
        Value::Table(table) => {
            let fresh = if matches!(part.as_str(), "keys" | "channels") {
                Value::Array(Vec::new())
            } else {
                Value::Table(Table::new())
            };
            Some(table.entry(part.clone()).or_insert(fresh))
        }
        _ => None,
    })
}
