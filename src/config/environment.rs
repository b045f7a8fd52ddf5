//! `HEARKEN_A__B` sets `a.b`: the environment laid over the file, one variable at a time.
//!
//! A variable has no type; the key it sets has one. So the text is tried as a string, and where the key does
//! not want a string as whatever TOML reads in it.

use toml::{Table, Value};

use super::file::FileConfig;
use super::near::nearest;
use super::reading::{What, Wrong, known_keys, read};

const PREFIX: &str = "HEARKEN_";

/// Set for other programs or other commands, or read elsewhere: no keys of a server.
const NOT_KEYS: &[&str] = &["HEARKEN_URL", "HEARKEN_API_KEY", "HEARKEN_LOG", "HEARKEN_LOG_FORMAT"];

/// The variable that sets a key, as in `tls.key`.
pub(super) fn name_of(key: &str) -> String {
    PREFIX.to_owned() + &key.replace('.', "__").to_ascii_uppercase()
}

/// Returns the configuration with the variables laid over it, and warnings about variables that set nothing; or the
/// variable that is wrong, with the reason.
pub(super) fn overlay(
    mut table: Table,
    parsed: FileConfig,
    variables: &[(String, String)],
) -> Result<(FileConfig, Vec<String>), (String, String)> {
    let mut ours: Vec<_> = variables
        .iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !NOT_KEYS.contains(&name.as_str()))
        .collect();
    ours.sort();
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
            // A name that is not known may be another program's: Kubernetes sets HEARKEN_PORT and the like for
            // a service called hearken. A known name with a wrong value is a mistake.
            Err(wrong) if sets_nothing(&wrong, &path) => {
                warnings.push(format!("{name} (environment): {}; it sets nothing", unknown(name, &path)));
            }
            Err(wrong) => return Err((name.clone(), wrong.reason())),
        }
    }
    Ok((config, warnings))
}

/// True for a variable whose name is no key's: there is no such key, or it is a section.
fn sets_nothing(wrong: &Wrong, path: &[String]) -> bool {
    let is_section = || {
        let name = path.join(".");
        known_keys()
            .iter()
            .any(|key| key.starts_with(&format!("{name}.")) || key.starts_with(&format!("{name}[")))
            && !matches!(path, [list] if is_list(list))
    };
    let goes_on_behind_a_value = || {
        let outer = path.split_last().map(|(_, outer)| outer.join(".")).unwrap_or_default();
        known_keys().contains(&outer)
    };
    matches!(wrong.what, What::UnknownKey(_)) || is_section() || goes_on_behind_a_value()
}

/// Says that there is no such variable, in the words in which the same is said of a key of the file.
fn unknown(name: &str, path: &[String]) -> String {
    let index = path.iter().find(|part| part.parse::<usize>().is_ok());
    let index = index.map_or("0", String::as_str);
    let known: Vec<String> =
        known_keys().iter().map(|key| name_of(&key.replace("[0]", &format!(".{index}")))).collect();
    match nearest(name, known.iter().map(String::as_str).chain(NOT_KEYS.iter().copied())) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => "unknown key".to_owned(),
    }
}

fn set(table: &Table, path: &[String], text: &str) -> Result<(Table, FileConfig), Wrong> {
    let literal =
        toml::from_str::<Table>(&format!("x = {text}")).ok().and_then(|mut table| table.remove("x"));
    let try_with = |value: Value| {
        let mut root = Value::Table(table.clone());
        if let Some(slot) = slot(&mut root, path) {
            *slot = value;
        }
        let Value::Table(changed) = root else { return Ok((table.clone(), FileConfig::default())) };
        read(&changed).map(|config| (changed, config))
    };
    match (try_with(Value::String(text.to_owned())), literal) {
        (Err(_), Some(literal)) => try_with(literal),
        (result, _) => result,
    }
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
            let fresh = if is_list(part) { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
            Some(table.entry(part.clone()).or_insert(fresh))
        }
        _ => None,
    })
}

/// True for the keys that hold a list of sections.
pub(super) fn is_list(key: &str) -> bool {
    matches!(key, "keys" | "channels")
}
