//! A section of the configuration from which each owner of keys takes its own.

use toml::{Table, Value};

use super::reading::{Keys, names, read};
use super::{FoundValue, Mistake, NeededType, Problem};

/// A section of which some keys are still to be taken by their owners. It has its path, and the names of all keys that
/// the owners know.
#[derive(Debug, Clone)]
pub struct UnreadSection {
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

impl UnreadSection {
    /// Makes a section of the whole configuration.
    #[must_use]
    pub fn root(table: Table) -> Self {
        Self { path: String::new(), table, known: Vec::new() }
    }

    /// Takes the keys that one owner knows. The first of several owners gets the keys that they share.
    ///
    /// # Errors
    /// [`Problem`] if a value has a wrong type.
    pub fn take<K: Keys>(&mut self) -> Result<K, Problem> {
        let mut own = Table::new();
        for name in names::<K>() {
            own.extend(self.table.remove_entry(name));
            self.know(name);
        }
        read(&own).map_err(|problem| problem.within(&self.path))
    }

    /// Takes the keys of a section that has no other owner.
    ///
    /// # Errors
    /// [`Problem`] if a value has a wrong type, or a key is unknown.
    pub fn take_all<K: Keys>(mut self) -> Result<K, Problem> {
        let keys = self.take()?;
        self.finish()?;
        Ok(keys)
    }

    /// Takes a section of the top level. A section that is missing is empty.
    ///
    /// # Errors
    /// [`Problem`] if there is a value instead of a section.
    pub fn section(&mut self, name: &'static str) -> Result<Self, Problem> {
        self.know(name);
        let value = self.table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
        Self::at(name.to_owned(), value)
    }

    /// Takes a list of sections of the top level.
    ///
    /// # Errors
    /// [`Problem`] if there is anything else.
    pub fn list(&mut self, name: &'static str) -> Result<Vec<Self>, Problem> {
        self.know(name);
        match self.table.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(entries)) => {
                let entries = entries.into_iter().enumerate();
                entries.map(|(index, entry)| Self::at(format!("{name}[{index}]"), entry)).collect()
            }
            Some(other) => {
                Err(Problem::of(name, Mistake::Mismatch(NeededType::List, FoundValue::from(&other))))
            }
        }
    }

    /// Returns the keys that no owner has taken.
    #[must_use]
    pub fn rest(&self) -> &Table {
        &self.table
    }

    /// Refuses the keys that no owner has taken, since they are unknown.
    ///
    /// # Errors
    /// [`Problem`] with the first unknown key.
    pub fn finish(self) -> Result<(), Problem> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::of(name, Mistake::UnknownKey(self.known)).within(&self.path)),
        }
    }

    fn at(path: String, value: Value) -> Result<Self, Problem> {
        match value {
            Value::Table(table) => Ok(Self { path, table, known: Vec::new() }),
            other => Err(Problem::of(path, Mistake::Mismatch(NeededType::Section, FoundValue::from(&other)))),
        }
    }

    fn know(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
    }
}
