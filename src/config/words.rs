//! Puts problems into a user's words. For a value of a wrong type: what is needed, what was found, and what to write.

use super::environment::{is_list, name_of};
use super::file::known_keys;
use crate::setting::{FoundValue, Mistake, NeededType, Problem, Subject, nearest, whole_number};

/// A problem in words: the reason, what to do, and whether an example follows.
pub(super) type Worded = (String, Option<String>, bool);

/// Puts a problem into words.
pub(super) fn worded(problem: &Problem) -> Worded {
    let key = match &problem.subject {
        Subject::Key(key) => key.as_str(),
        Subject::Variable(_) => "",
    };
    match &problem.mistake {
        Mistake::Reason(reason) => (reason.clone(), problem.advice.clone(), problem.wants_example),
        Mistake::UnknownKey(names) => (unknown(key, names), None, false),
        Mistake::Mismatch(wanted, found) => mismatch(key, *wanted, found),
    }
}

/// Explains that there is no such key, and which key may be meant.
fn unknown(key: &str, names: &[&str]) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    if let Some(near) = nearest(name, names.iter().copied()) {
        return format!("unknown key; did you mean {near}?");
    }
    let elsewhere = known_keys()
        .into_iter()
        .find(|key| key.rsplit_once('.').is_some_and(|(other, last)| last == name && other != section));
    match elsewhere {
        Some(key) => format!("unknown key here; its full name is {key}"),
        None => format!("unknown key; the keys here are {}", names.join(", ")),
    }
}

/// Shows the value; for a secret, only its kind.
fn shown(found: &FoundValue, is_secret: bool) -> String {
    match found {
        FoundValue::List => "a list".to_owned(),
        FoundValue::Section => "a section".to_owned(),
        FoundValue::Variable(text) if text.trim().is_empty() => "empty".to_owned(),
        FoundValue::Text(_) | FoundValue::Variable(_) if is_secret => "other text".to_owned(),
        FoundValue::Number(_) if is_secret => "a number".to_owned(),
        FoundValue::Text(text) | FoundValue::Variable(text) => format!("{text:?}"),
        FoundValue::Number(text) | FoundValue::Date(text) => text.clone(),
        FoundValue::Bool(choice) => choice.to_string(),
    }
}

/// Describes the value that is needed.
fn needed(wanted: NeededType, key: &str, with_bounds: bool) -> String {
    match wanted {
        NeededType::Whole(least, most) if with_bounds => {
            format!("{} from {least} to {most}", whole_number(key))
        }
        NeededType::Whole(..) => whole_number(key),
        NeededType::Number => "a number".to_owned(),
        NeededType::Bool => "true or false".to_owned(),
        NeededType::List if is_list(key) => "a list of sections".to_owned(),
        NeededType::List => "a list".to_owned(),
        NeededType::Section => "a section".to_owned(),
        NeededType::Text => "text".to_owned(),
    }
}

/// Explains that the value of a key has a wrong type.
fn mismatch(key: &str, wanted: NeededType, found: &FoundValue) -> Worded {
    let number = match found {
        FoundValue::Text(text) | FoundValue::Variable(text) | FoundValue::Number(text) => {
            Number::read(text.trim())
        }
        _ => Number::None,
    };
    let is_beyond = matches!((wanted, &number), (NeededType::Whole(least, most), Number::Whole(value))
        if !(i128::from(least)..=i128::from(most)).contains(value));
    let reason =
        format!("{} is needed, and this is {}", needed(wanted, key, is_beyond), shown(found, is_secret(key)));
    let advice = advice(key, wanted, found, &number, is_beyond);
    (reason, advice, !matches!(wanted, NeededType::Section))
}

/// Returns what to do about a value of a wrong type, as far as its example does not show it.
fn advice(
    key: &str,
    wanted: NeededType,
    found: &FoundValue,
    number: &Number,
    is_beyond: bool,
) -> Option<String> {
    let advice = match (wanted, found) {
        (_, FoundValue::Variable(text)) if text.trim().is_empty() => {
            "unset it, or give it a value".to_owned()
        }
        (NeededType::List, FoundValue::Variable(_)) if is_list(key) => {
            format!("set the keys of each of its sections, as in {}__0__NAME", name_of(key))
        }
        (NeededType::List, _) if is_list(key) && !matches!(found, FoundValue::Section) => {
            format!("write [[{key}]] on its own line, and the keys below")
        }
        (NeededType::List, FoundValue::Section) => {
            format!("write [[{key}]] with two brackets, because the list can have several sections")
        }
        (NeededType::Section, _) if is_list_entry(key) => {
            let list = key.split('[').next().unwrap_or(key);
            format!("write [[{list}]] on its own line, and the keys below")
        }
        (NeededType::Section, _) => format!("write [{key}] on its own line, and its keys below"),
        (_, FoundValue::Section) => "write the value after the key".to_owned(),
        (NeededType::List, _) => "put it in brackets".to_owned(),
        (_, FoundValue::List) => "write one value, without brackets".to_owned(),
        (NeededType::Text, _) => "put it in quotes".to_owned(),
        (NeededType::Whole(..), _) if is_beyond => return None,
        (NeededType::Whole(..) | NeededType::Number, FoundValue::Text(_)) if number.is_some() => {
            "write it without quotes".to_owned()
        }
        (NeededType::Bool, FoundValue::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            "write it without quotes".to_owned()
        }
        (NeededType::Whole(..), _) if *number == Number::Fraction => {
            "write it without a decimal point and without an exponent".to_owned()
        }
        (NeededType::Whole(..) | NeededType::Number, FoundValue::Text(text) | FoundValue::Variable(text))
            if text.trim().starts_with(|first: char| first.is_ascii_digit()) =>
        {
            "write only digits".to_owned()
        }
        _ => return None,
    };
    Some(advice)
}

/// Returns true for keys whose values may be secrets or contain some. Messages do not repeat such values.
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

fn is_list_entry(key: &str) -> bool {
    key.ends_with(']')
}

/// The number that a text represents.
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
            // The text has more digits than any accepted number.
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
