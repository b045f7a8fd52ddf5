//! The place where a value was set: a flag, a variable or a line of the file.

use std::collections::BTreeSet;
use std::path::Path;

use toml::de::DeTable;

use super::environment::name_of;
use super::{Flags, example};

/// The sources of a configuration.
#[derive(Debug)]
pub(super) struct Origins<'a> {
    pub(super) flags: &'a Flags,
    /// The file, with its text.
    pub(super) file: Option<(&'a Path, &'a str)>,
    /// The names of the variables that set keys.
    pub(super) variables: BTreeSet<String>,
}

/// The place where a value was set, or where a missing value should be set.
#[derive(Debug)]
pub(super) struct Origin {
    /// The place with the key, for the beginning of a message.
    pub(super) place: String,
    form: Form,
}

/// The form in which a place states a value.
#[derive(Debug)]
enum Form {
    Flag(&'static str),
    Variable(String),
    File,
}

impl Origins<'_> {
    /// Finds where a key was set. For a missing key, finds where the rest of its section was set.
    pub(super) fn of(&self, key: &str) -> Origin {
        let flag = match key {
            "listen" if self.flags.listen.is_some() => Some("--listen"),
            "data_dir" if self.flags.data_dir.is_some() => Some("--data-dir"),
            _ => None,
        };
        if let Some(flag) = flag {
            return Origin { place: flag.to_owned(), form: Form::Flag(flag) };
        }
        let by_variable = std::iter::successors(Some(key), |key| outer(key))
            .find(|key| self.variables.contains(&name_of(key)));
        if let Some(set) = by_variable {
            let name = name_of(set);
            let is_all = key == set;
            let place =
                if is_all { format!("{name} (environment)") } else { format!("{name} (environment): {key}") };
            let is_item = outer(key) == Some(set) && key.ends_with(']');
            let form = if is_all || is_item { Form::Variable(name) } else { Form::File };
            return Origin { place, form };
        }
        let found = self.file.map(|(path, text)| (path, text, position(text, key)));
        let is_there = matches!(found, Some((_, _, Some(Position { is_exact: true, .. }))));
        let section = outer(key).map(|section| format!("{}__", name_of(section)));
        let is_beside_variables =
            section.is_some_and(|section| self.variables.iter().any(|name| name.starts_with(&section)));
        if is_beside_variables && !is_there {
            let name = name_of(key);
            return Origin { place: format!("{name} (environment)"), form: Form::Variable(name) };
        }
        let place = match found {
            Some((path, text, Some(Position { offset, .. }))) => {
                format!("{}:{}: {key}", path.display(), line_of(text, offset))
            }
            Some((path, _, None)) => format!("{}: {key}", path.display()),
            None => key.to_owned(),
        };
        Origin { place, form: Form::File }
    }
}

impl Origin {
    /// Returns an example of a value of this key, in the form of this place.
    pub(super) fn example(&self, key: &str) -> Option<String> {
        let value = example::of(key)?;
        let bare = value.trim_matches('"');
        Some(match &self.form {
            Form::Flag(flag) => format!("{flag} {bare}"),
            // A shell would interpret brackets and quotes.
            Form::Variable(name) if value.starts_with('[') => format!("{name}='{value}'"),
            Form::Variable(name) => format!("{name}={bare}"),
            Form::File => {
                let list = key.rsplit_once('[').filter(|(_, rest)| rest.ends_with(']'));
                let key = list.map_or(key, |(list, _)| list);
                format!("{} = {value}", key.rsplit('.').next().unwrap_or(key))
            }
        })
    }
}

/// Returns the key that contains a key: `channels[0]` for `channels[0].name`, `channels` for `channels[0]`.
fn outer(key: &str) -> Option<&str> {
    key.rfind(['.', '[']).and_then(|end| key.get(..end))
}

/// Returns the number of the line that holds the byte at `offset`. The first line is 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

struct Position {
    offset: usize,
    /// True for the position of the key itself, false for that of a section or list that contains it.
    is_exact: bool,
}

/// Finds the position of a key's value in the file, or of the nearest section or list that contains the key.
fn position(text: &str, key: &str) -> Option<Position> {
    let table = DeTable::parse(text).ok()?;
    let mut table = Some(table.get_ref());
    let mut found: Option<Position> = None;
    for part in key.split('.') {
        let is_missing = |found: Option<Position>| found.map(|found| Position { is_exact: false, ..found });
        let (name, index) = part
            .split_once('[')
            .map_or((part, None), |(name, rest)| (name, rest.trim_end_matches(']').parse::<usize>().ok()));
        let Some(mut value) = table.and_then(|table| table.get(name)) else { return is_missing(found) };
        if let Some(index) = index {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else {
                return is_missing(found);
            };
            value = item;
        }
        found = Some(Position { offset: value.span().start, is_exact: true });
        table = value.get_ref().as_table();
    }
    found
}
