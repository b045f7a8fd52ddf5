//! `HEARKEN_A__B` sets `a.b`: the environment overrides the file, one variable at a time.
//!
//! A variable has no type, but the key that it sets has one. So the text is tried as a string first. If the key does
//! not accept a string, the text is read as a TOML value.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::file::{File, known_keys};
use crate::setting::{FoundValue, Mistake, NotText, Problem, Subject, Variables, nearest};

const PREFIX: &str = "HEARKEN_";

/// Variables that begin with the prefix but set no key. Clients of hearken use them, or the log reads them.
const NOT_KEYS: &[&str] = &["HEARKEN_URL", "HEARKEN_API_KEY", "HEARKEN_LOG", "HEARKEN_LOG_FORMAT"];

/// Returns the variable that sets a key, as in `tls.key` and `channels[0].name`.
pub(super) fn name_of(key: &str) -> String {
    PREFIX.to_owned() + &key.replace(['.', '['], "__").replace(']', "").to_ascii_uppercase()
}

/// Applies the variables to a configuration. Returns the result with warnings about variables that set nothing. `names`
/// receives the variables that set keys, until one of them is wrong.
pub(super) fn overlay(
    mut table: Table,
    mut file: File,
    variables: &Variables,
    names: &mut BTreeSet<String>,
) -> Result<(File, Vec<String>), Problem> {
    let (mut settings, mut warnings) = (Vec::new(), Vec::new());
    for (name, value) in variables.iter() {
        let shown = name.to_string_lossy();
        match name.to_str().map(Meaning::of) {
            Some(Meaning::Nothing) => {}
            Some(Meaning::Key(path)) => settings.push((path, shown, value)),
            Some(Meaning::Mistaken(reason)) => {
                warnings.push(format!("{shown} (environment): it sets nothing: {reason}"));
            }
            None if may_be_for_hearken(&shown) => {
                let reason =
                    "it sets nothing: the name is not valid UTF-8; correct the name, or unset the variable";
                warnings.push(format!("{shown} (environment): {reason}"));
            }
            None => {}
        }
    }
    warnings.sort();
    // Sets the entries of a list in the order of their numbers, however many digits they have.
    settings.sort_by_cached_key(|(path, ..)| {
        path.iter().map(|part| (part.parse::<usize>().ok(), part.clone())).collect::<Vec<_>>()
    });
    for (path, name, value) in settings {
        names.insert(name.clone().into_owned());
        let text = value.to_str().ok_or_else(|| NotText::new(&name))?;
        (table, file) = set(&table, &path, text)?;
    }
    Ok((file, warnings))
}

/// Returns true for names of variables that may be meant for hearken.
fn may_be_for_hearken(name: &str) -> bool {
    name.get(..PREFIX.len() - 1).is_some_and(|start| PREFIX.starts_with(&start.to_ascii_uppercase()))
}

/// The meaning of a variable, by its name.
enum Meaning {
    /// The variable is not meant for hearken, or is not a key of a server.
    Nothing,
    /// The variable sets the key at this path.
    Key(Vec<String>),
    /// The variable sets nothing, but may be meant to. The text gives the reason.
    Mistaken(String),
}

impl Meaning {
    fn of(name: &str) -> Self {
        if !may_be_for_hearken(name) || NOT_KEYS.contains(&name) {
            return Self::Nothing;
        }
        let known = known_keys();
        if let Some(rest) = name.strip_prefix(PREFIX) {
            let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
            let key = pattern(&path);
            let is_key = known.contains(&key) || is_list(key.trim_end_matches("[0]"));
            // A name in small letters would be a second name of the same key.
            if is_key && name_of(&key_of(&path)) == name {
                return Self::Key(path);
            }
        }
        let index = name.split("__").find(|part| part.parse::<usize>().is_ok()).unwrap_or("0");
        let named = |key: &String| name_of(&key.replace("[0]", &format!("[{index}]")));
        let meant = simplified(name);
        if let Some(section) = known.iter().find_map(|key| {
            let (section, _) = key.split_once('.')?;
            (simplified(&name_of(section)) == meant).then_some((section, named(key)))
        }) {
            let (section, first) = section;
            return Self::Mistaken(format!(
                "{section} is a section: set its keys one by one, for example {first}"
            ));
        }
        let names: Vec<String> =
            known.iter().map(named).chain(NOT_KEYS.iter().map(|name| (*name).to_owned())).collect();
        let exact = names.iter().find(|known| simplified(known) == meant);
        let known_names = names.iter().map(|name| name.trim_start_matches(PREFIX));
        let near = exact.cloned().or_else(|| {
            let rest = name.get(PREFIX.len() - 1..).unwrap_or_default().trim_start_matches('_');
            nearest(rest, known_names).map(|rest| format!("{PREFIX}{rest}"))
        });
        match near {
            Some(near) => Self::Mistaken(format!("unknown key; did you mean {near}?")),
            None if meant == "CONFIG" => {
                Self::Mistaken("unknown key; the configuration file is named with --config".to_owned())
            }
            // An unknown name may belong to another program: Kubernetes sets HEARKEN_PORT and similar names for a
            // service called hearken. A name without the prefix certainly belongs to another program.
            None if name.starts_with(PREFIX) => Self::Mistaken(
                "unknown key; correct the name, or ignore this if another program uses the variable"
                    .to_owned(),
            ),
            None => Self::Nothing,
        }
    }
}

/// Returns a name without its prefix and underscores, in capital letters. Two names that differ only in these are
/// easily mistaken for each other.
fn simplified(name: &str) -> String {
    let name = name.replace('_', "").to_ascii_uppercase();
    name.strip_prefix("HEARKEN").map_or(name.clone(), str::to_owned)
}

/// Writes a path as a key: `channels[1].name`.
fn key_of(path: &[String]) -> String {
    let mut key = String::new();
    for part in path {
        if is_list(&key) && part.parse::<usize>().is_ok() {
            key += &format!("[{part}]");
        } else {
            key += if key.is_empty() { "" } else { "." };
            key += part;
        }
    }
    key
}

/// Writes a path as it appears among the known keys: `channels[0].name`.
fn pattern(path: &[String]) -> String {
    match path {
        [list, index, rest @ ..] if is_list(list) && index.parse::<usize>().is_ok() => {
            key_of(&[&[list.clone(), "0".to_owned()], rest].concat())
        }
        path => key_of(path),
    }
}

/// Sets one key. Returns the new table, and its keys split by owner.
fn set(table: &Table, path: &[String], text: &str) -> Result<(Table, File), Problem> {
    let key = key_of(path);
    // An env file of Docker keeps the quotes, and they would become part of the data directory's name.
    if let [quote @ (b'"' | b'\''), .., last] = text.trim().as_bytes()
        && quote == last
    {
        return Err(Problem::value(key, "the quotes around the value are a part of it").advise("remove them"));
    }
    let literal =
        toml::from_str::<Table>(&format!("x = {text}")).ok().and_then(|mut table| table.remove("x"));
    let try_with = |value: Value| {
        let mut root = table.clone();
        *slot(&mut root, path)? = value;
        File::read(&root).map(|file| (root, file)).map_err(|mut problem| {
            if problem.subject == Subject::Key(key.clone())
                && let Mistake::Mismatch(_, found) = &mut problem.mistake
            {
                *found = FoundValue::Variable(text.to_owned());
            }
            problem
        })
    };
    match (try_with(Value::String(text.to_owned())), literal) {
        (Err(_), Some(literal)) => try_with(literal),
        (result, _) => result,
    }
}

/// Returns the value at a path. Makes the sections that are missing on the way, and the next entry of a list.
fn slot<'a>(table: &'a mut Table, path: &[String]) -> Result<&'a mut Value, Problem> {
    let (name, rest) = path.split_first().ok_or_else(|| Problem::new("", "the name is empty"))?;
    let fresh = if is_list(name) { Value::Array(Vec::new()) } else { Value::Table(Table::new()) };
    let mut value = table.entry(name.clone()).or_insert(fresh);
    for part in rest {
        value = match value {
            Value::Array(entries) => {
                let (index, next) = (part.parse::<usize>().ok(), entries.len());
                if index == Some(next) {
                    entries.push(Value::Table(Table::new()));
                }
                index.and_then(|index| entries.get_mut(index)).ok_or_else(|| {
                    Problem::new(
                        key_of(path),
                        format!("{name} has {next} entries: the next entry must have the number {next}"),
                    )
                })?
            }
            Value::Table(table) => table.entry(part.clone()).or_insert(Value::Table(Table::new())),
            _ => return Err(Problem::new(key_of(path), "it is not a section, so it has no keys")),
        };
    }
    Ok(value)
}

/// Returns true for the keys that hold a list of sections.
pub(super) fn is_list(key: &str) -> bool {
    matches!(key, "keys" | "channels")
}
