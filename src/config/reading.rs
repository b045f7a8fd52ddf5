//! Reads the values of the configuration into their types, and says what is wrong in a user's words.
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

use super::environment::is_list;
use super::file::FileConfig;
use super::near::nearest;

/// Stands for the name of a list of sections until it is known.
const SECTIONS: &str = "[[...]]";

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
    pub(super) fn reason(&self) -> String {
        match &self.what {
            What::Value(reason) if reason.contains(SECTIONS) && is_list(&self.key) => {
                reason.replace(SECTIONS, &format!("[[{}]]", self.key))
            }
            What::Value(reason) => match unit(&self.key) {
                Some(unit) => reason.replacen("a whole number", &format!("a whole number of {unit}"), 1),
                None => reason.clone(),
            },
            What::UnknownKey(names) => {
                let (section, name) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
                if let Some(near) = nearest(name, names.iter().copied()) {
                    return format!("unknown key; did you mean {near}?");
                }
                let elsewhere = known_keys().into_iter().find(|key| {
                    key.rsplit_once('.').is_some_and(|(other, last)| last == name && other != section)
                });
                if let Some(key) = elsewhere {
                    return format!("unknown key here; it is known as {key}");
                }
                format!("unknown key; known here are {}", names.join(", "))
            }
        }
    }
}

/// What a number is counted in, where its key says so.
fn unit(key: &str) -> Option<&'static str> {
    let units = [("_bytes", "bytes"), ("_ms", "milliseconds"), ("_seconds", "seconds")];
    units.into_iter().find(|(end, _)| key.ends_with(end)).map(|(_, unit)| unit)
}

/// What serde calls an expected type, in words.
struct Words(String);

impl Words {
    fn of(expected: &dyn Expected) -> Self {
        Self(match expected.to_string().as_str() {
            "u16" => "a whole number from 0 to 65535".to_owned(),
            "u32" => format!("a whole number from 0 to {}", u32::MAX),
            "u64" | "usize" => "a whole number of 0 or more".to_owned(),
            "i64" => "a whole number".to_owned(),
            "f32" | "f64" => "a number".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list".to_owned(),
            other if other.starts_with("struct ") => "a section".to_owned(),
            _ => "text".to_owned(),
        })
    }
}

impl de::Error for Wrong {
    fn custom<T: Display>(reason: T) -> Self {
        Self::value(reason.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let Words(wanted) = Words::of(expected);
        let is_number = wanted.starts_with("a whole") || wanted == "a number";
        let rest = match (found, wanted.as_str()) {
            (Unexpected::Str(text), _) if is_number && text.trim().parse::<f64>().is_ok() => {
                "write it without quotes".to_owned()
            }
            (Unexpected::Str(_), "true or false") => "write it without quotes".to_owned(),
            (Unexpected::Str(_), "a list") => "put the value in brackets, as in [\"...\"]".to_owned(),
            (Unexpected::Str(_), _) if is_number => "this is text".to_owned(),
            (Unexpected::Float(_), _) if is_number => "this one has a decimal point".to_owned(),
            (
                Unexpected::Bool(_) | Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_),
                "text",
            )
            | (Unexpected::Other(_), "text") => "put the value in quotes".to_owned(),
            (Unexpected::Map, "a list") => {
                format!("there can be several: write {SECTIONS} with two brackets, where this has one")
            }
            (Unexpected::Map, _) => {
                "this is a section: write the value behind the key, as in key = value".to_owned()
            }
            (_, "a section") => {
                "write its name in brackets on a line of its own, and its keys below".to_owned()
            }
            (_, "a list") => "put the value in brackets, as in [1, 2]".to_owned(),
            (Unexpected::Seq, _) => "this is a list: write one value, without brackets".to_owned(),
            (found, _) => format!("this is {}", kind(&found)),
        };
        Self::value(format!("{wanted} is needed: {rest}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let Words(wanted) = Words::of(expected);
        let number = match found {
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            found => return Self::invalid_type(found, expected),
        };
        Self::value(format!("{wanted} is needed, and this is {number}"))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let hint = nearest(word, known.iter().copied())
            .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        Self::value(format!("{word:?} is unknown{hint}: use one of {}", known.join(", ")))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self { key: String::new(), what: What::UnknownKey(known) }
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => "a number",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a section",
        Unexpected::Other(_) => "a date",
        _ => "text",
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason())
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
            Value::Datetime(_) => Err(de::Error::invalid_type(Unexpected::Other("date"), &visitor)),
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
            Value::Table(_) => self.deserialize_any(visitor),
            // The values of a list would be taken for those of the keys, in their order.
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
