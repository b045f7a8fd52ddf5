//! Says in a user's words that a value is of a wrong type: what is needed, what was found, and what to write.

use serde::de::{Expected, Unexpected};

use super::environment::{is_list, name_of};
use super::problem::Problem;

/// A value of a wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Text in the file.
    Text(String),
    /// The value of a variable, which has no type.
    Variable(String),
    /// A number, as it is written.
    Number(String),
    /// True or false.
    Choice(bool),
    /// A date or a time, as it is written.
    Date(String),
    /// A list.
    List,
    /// A section.
    Section,
}

/// What is needed instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A whole number within these bounds.
    Whole(i64, i64),
    /// Any number.
    Number,
    /// True or false.
    Choice,
    /// A list.
    List,
    /// A section.
    Section,
    /// Text.
    Text,
}

impl Found {
    /// Returns what serde calls a value that it found.
    pub(super) fn of(found: &Unexpected<'_>) -> Self {
        match *found {
            Unexpected::Bool(choice) => Self::Choice(choice),
            Unexpected::Signed(number) => Self::Number(number.to_string()),
            Unexpected::Unsigned(number) => Self::Number(number.to_string()),
            Unexpected::Float(number) => Self::Number(format!("{number:?}")),
            Unexpected::Seq => Self::List,
            Unexpected::Map => Self::Section,
            Unexpected::Other(date) => Self::Date(date.to_owned()),
            Unexpected::Str(text) => Self::Text(text.to_owned()),
            _ => Self::Text(String::new()),
        }
    }

    /// Shows the value; a secret only by its kind.
    fn shown(&self, is_secret: bool) -> String {
        match self {
            Self::List => "a list".to_owned(),
            Self::Section => "a section".to_owned(),
            Self::Variable(text) if text.trim().is_empty() => "empty".to_owned(),
            Self::Text(_) | Self::Variable(_) if is_secret => "other text".to_owned(),
            Self::Number(_) if is_secret => "a number".to_owned(),
            Self::Text(text) | Self::Variable(text) => format!("{text:?}"),
            Self::Number(text) | Self::Date(text) => text.clone(),
            Self::Choice(choice) => choice.to_string(),
        }
    }
}

impl Wanted {
    /// Returns what serde calls an expected type.
    pub(super) fn of(expected: &dyn Expected) -> Self {
        // TOML has no numbers beyond 64 bits with a sign.
        match expected.to_string().as_str() {
            "u16" => Self::Whole(0, u16::MAX.into()),
            "u32" => Self::Whole(0, u32::MAX.into()),
            "u64" | "usize" => Self::Whole(0, i64::MAX),
            "i64" => Self::Whole(i64::MIN, i64::MAX),
            "f32" | "f64" => Self::Number,
            "a boolean" => Self::Choice,
            "a sequence" => Self::List,
            other if other.starts_with("struct ") => Self::Section,
            _ => Self::Text,
        }
    }

    fn words(self, key: &str, with_bounds: bool) -> String {
        match self {
            Self::Whole(least, most) if with_bounds => format!("{} from {least} to {most}", whole(key)),
            Self::Whole(..) => whole(key),
            Self::Number => "a number".to_owned(),
            Self::Choice => "true or false".to_owned(),
            Self::List if is_list(key) => "a list of sections".to_owned(),
            Self::List => "a list".to_owned(),
            Self::Section => "a section".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

/// Tells that the value of a key is of a wrong type.
pub(super) fn mismatch(key: &str, wanted: Wanted, found: &Found) -> Problem {
    let number = match found {
        Found::Text(text) | Found::Variable(text) | Found::Number(text) => Number::read(text.trim()),
        _ => Number::None,
    };
    let is_beyond = matches!((wanted, &number), (Wanted::Whole(least, most), Number::Whole(value))
        if !(i128::from(least)..=i128::from(most)).contains(value));
    let needed = wanted.words(key, is_beyond);
    let reason = format!("{needed} is needed, and this is {}", found.shown(is_secret(key)));
    let problem = if matches!(wanted, Wanted::Section) {
        Problem::new(key, reason)
    } else {
        Problem::value(key, reason)
    };
    let advice = match (wanted, found) {
        (_, Found::Variable(text)) if text.trim().is_empty() => "unset it, or set it".to_owned(),
        (Wanted::List, Found::Variable(_)) if is_list(key) => {
            format!("set the keys of each of its sections, as in {}__0__NAME", name_of(key))
        }
        (Wanted::List, _) if is_list(key) && !matches!(found, Found::Section) => {
            format!("write [[{key}]] on a line of its own, and the keys below")
        }
        (Wanted::List, Found::Section) => {
            format!("there can be several, so write [[{key}]] with two brackets, where this has one")
        }
        (Wanted::Section, _) if is_beside_others(key) => {
            let list = key.split('[').next().unwrap_or(key);
            format!("write [[{list}]] on a line of its own, and the keys below")
        }
        (Wanted::Section, _) => format!("write [{key}] on a line of its own, and its keys below"),
        (_, Found::Section) => "write the value behind the key".to_owned(),
        (Wanted::List, _) => "put it in brackets".to_owned(),
        (_, Found::List) => "write one value, without brackets".to_owned(),
        (Wanted::Text, _) => "put it in quotes".to_owned(),
        (Wanted::Whole(..), _) if is_beyond => return problem,
        (Wanted::Whole(..) | Wanted::Number, Found::Text(_)) if number.is_some() => {
            "write it without quotes".to_owned()
        }
        (Wanted::Choice, Found::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            "write it without quotes".to_owned()
        }
        (Wanted::Whole(..), _) if number == Number::Fraction => {
            "write it without a decimal point and without an exponent".to_owned()
        }
        (Wanted::Whole(..) | Wanted::Number, Found::Text(text) | Found::Variable(text))
            if text.trim().starts_with(|first: char| first.is_ascii_digit()) =>
        {
            "write digits alone".to_owned()
        }
        _ => return problem,
    };
    problem.advise(advice)
}

/// Tells that a number is less than a key takes.
pub(super) fn too_small(key: &str, found: u64, least: u64) -> Problem {
    Problem::value(key, format!("{} of {least} or more is needed, and this is {found}", whole(key)))
}

/// A whole number, with what it is counted in where the key says so.
pub(super) fn whole(key: &str) -> String {
    let units = [("_bytes", "bytes"), ("_ms", "milliseconds"), ("_seconds", "seconds")];
    match units.into_iter().find(|(end, _)| key.ends_with(end)) {
        Some((_, unit)) => format!("a whole number of {unit}"),
        None => "a whole number".to_owned(),
    }
}

/// True for keys whose values may be secrets, or hold some: they are not repeated in messages.
pub(super) fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    let is_of_a_list = is_list(key.split('[').next().unwrap_or(key));
    let is_plain_item = is_of_a_list && key.contains('.');
    match last {
        "api_key" | "otlp_headers" | "key_sha256" | "url" => true,
        "key" => key != "tls.key",
        _ => is_of_a_list && !is_plain_item,
    }
}

fn is_beside_others(key: &str) -> bool {
    key.ends_with(']')
}

/// What a text is as a number.
#[derive(Debug, PartialEq)]
enum Number {
    None,
    Whole(i128),
    Fraction,
}

impl Number {
    fn read(text: &str) -> Self {
        match (text.replace('_', "").parse(), text.parse::<f64>()) {
            (Ok(whole), _) => Self::Whole(whole),
            // More digits than any number has that is taken.
            (Err(_), _) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::Whole(i128::MAX)
            }
            (Err(_), Ok(_)) => Self::Fraction,
            (Err(_), Err(_)) => Self::None,
        }
    }

    fn is_some(&self) -> bool {
        *self != Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_may_hold_secrets_are_not_shown() {
        for key in [
            "keys[0].key",
            "channels[2].api_key",
            "traces.otlp_headers",
            "keys",
            "channels[0]",
            "store.url",
            "api_key",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "tls.key",
            "listen",
            "keys[0].name",
            "channels[0].base_url",
            "keys[0].key_env",
            "fetch.allow_ports[1]",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
