//! Reads the values of the configuration into their types, and finds out what is wrong.
//!
//! serde has the errors as values (what was found, what was expected, which names there are); toml makes sentences of
//! Rust's type names of them. So the values are handed to serde here.

use std::fmt::{self, Display};

use serde::Deserialize as _;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::file::FileConfig;
use super::near::nearest;
use super::problem::Problem;
use super::words::{Found, Wanted, mismatch};

/// What is wrong with a value, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The key, as in `channels[0].api_key`.
    pub(super) key: String,
    pub(super) what: What,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// There is no such key; these are there.
    UnknownKey(&'static [&'static str]),
    /// The value is of another type than is needed.
    Mismatch(Wanted, Found),
    /// The value is of no use; the reason with what to do.
    Value(String),
}

/// Reads a configuration.
pub(super) fn read(table: &Table) -> Result<FileConfig, Wrong> {
    read_value(&Value::Table(table.clone()))
}

/// Returns every key that can be set, as in `stream.keep_alive_seconds` and `channels[0].models`.
pub(super) fn known_keys() -> Vec<String> {
    // An empty key is unknown everywhere; the error says which there are.
    let probe = || Value::Table(Table::from_iter([(String::new(), Value::Boolean(true))]));
    let names = |table: &Value| match read_value(table) {
        Err(Wrong { what: What::UnknownKey(names), .. }) => names,
        _ => &[],
    };
    let within = |name: &str, value: Value| Value::Table(Table::from_iter([(name.to_owned(), value)]));
    let mut keys = Vec::new();
    for name in names(&probe()) {
        let section = names(&within(name, probe())).iter().map(|key| format!("{name}.{key}"));
        let list =
            names(&within(name, Value::Array(vec![probe()]))).iter().map(|key| format!("{name}[0].{key}"));
        let before = keys.len();
        keys.extend(section.chain(list));
        if keys.len() == before {
            keys.push((*name).to_owned());
        }
    }
    keys
}

fn read_value(value: &Value) -> Result<FileConfig, Wrong> {
    FileConfig::deserialize(Node(value))
}

impl Wrong {
    fn value(reason: impl Into<String>) -> Self {
        Self { key: String::new(), what: What::Value(reason.into()) }
    }

    /// The same, seen from around this key.
    fn within(mut self, outer: &str) -> Self {
        let dot = if self.key.is_empty() || self.key.starts_with('[') { "" } else { "." };
        self.key = format!("{outer}{dot}{}", self.key);
        self
    }

    /// Says what is wrong and what to do.
    pub(super) fn problem(&self) -> Problem {
        match &self.what {
            What::Mismatch(wanted, found) => mismatch(&self.key, *wanted, found),
            What::Value(reason) => Problem::new(&self.key, reason),
            What::UnknownKey(names) => Problem::new(&self.key, self.unknown(names)),
        }
    }

    /// Says that there is no such key, and which may be meant.
    fn unknown(&self, names: &[&str]) -> String {
        let (section, name) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        if let Some(near) = nearest(name, names.iter().copied()) {
            return format!("unknown key; did you mean {near}?");
        }
        let elsewhere = known_keys()
            .into_iter()
            .find(|key| key.rsplit_once('.').is_some_and(|(other, last)| last == name && other != section));
        match elsewhere {
            Some(key) => format!("unknown key here; it is known as {key}"),
            None => format!("unknown key; known here are {}", names.join(", ")),
        }
    }
}

impl de::Error for Wrong {
    fn custom<T: Display>(reason: T) -> Self {
        Self::value(reason.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self { key: String::new(), what: What::Mismatch(Wanted::of(expected), Found::of(&found)) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let hint = nearest(word, known.iter().copied())
            .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
        let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        Self::value(format!("{word:?} is unknown{hint}: use one of {}", known.join(", ")))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self { key: String::new(), what: What::UnknownKey(known) }
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.key, self.what)
    }
}

impl std::error::Error for Wrong {}

/// A value that serde reads.
struct Node<'a>(&'a Value);

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(choice) => visitor.visit_bool(*choice),
            Value::Datetime(date) => {
                Err(de::Error::invalid_type(Unexpected::Other(&date.to_string()), &visitor))
            }
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Table(table) => visitor.visit_map(Entries { entries: table.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            // Its values would be taken for those of the keys, in their order.
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(Word(word)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Value>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Wrong> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Node(item)).map(Some).map_err(|err| err.within(&format!("[{index}]")))
    }
}

struct Entries<'a> {
    entries: toml::map::Iter<'a, String, Value>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        let Some((name, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((name, value));
        let name_of_key: StrDeserializer<'_, Wrong> = String::as_str(name).into_deserializer();
        seed.deserialize(name_of_key).map(Some).map_err(|err| err.within(name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.value.take().ok_or_else(|| Wrong::value("there is no value"))?;
        seed.deserialize(Node(value)).map_err(|err| err.within(name))
    }
}

/// One of several words.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Wrong;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Wrong> {
        let word: StrDeserializer<'_, Wrong> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Wrong;

    fn unit_variant(self) -> Result<(), Wrong> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Wrong> {
        Err(Wrong::value("a section is needed"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::value("a list is needed"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Wrong> {
        Err(Wrong::value("a section is needed"))
    }
}
