//! Explains in a user's words that a value has a wrong type: what is needed, what was found, and what to write.

use super::environment::{is_list, name_of};
use super::file::known_keys;
use crate::setting::{Found, Problem, Subject, Wanted, What, nearest, whole};

/// A problem in words: the reason, what to do, and whether an example follows.
pub(super) type Worded = (String, Option<String>, bool);

/// Puts a problem into words.
pub(super) fn worded(problem: &Problem) -> Worded {
    let key = match &problem.subject {
        Subject::Key(key) => key.as_str(),
        Subject::Variable(_) => "",
    };
    match &problem.what {
        What::Reason(reason) => (reason.clone(), problem.advice.clone(), problem.wants_example),
        What::UnknownKey(names) => (unknown(key, names), None, false),
        What::Mismatch(wanted, found) => mismatch(key, *wanted, found),
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
fn shown(found: &Found, is_secret: bool) -> String {
    match found {
        Found::List => "a list".to_owned(),
        Found::Section => "a section".to_owned(),
        Found::Variable(text) if text.trim().is_empty() => "empty".to_owned(),
        Found::Text(_) | Found::Variable(_) if is_secret => "other text".to_owned(),
        Found::Number(_) if is_secret => "a number".to_owned(),
        Found::Text(text) | Found::Variable(text) => format!("{text:?}"),
        Found::Number(text) | Found::Date(text) => text.clone(),
        Found::Choice(choice) => choice.to_string(),
    }
}

/// Describes the value that is needed.
fn needed(wanted: Wanted, key: &str, with_bounds: bool) -> String {
    match wanted {
        Wanted::Whole(least, most) if with_bounds => format!("{} from {least} to {most}", whole(key)),
        Wanted::Whole(..) => whole(key),
        Wanted::Number => "a number".to_owned(),
        Wanted::Choice => "true or false".to_owned(),
        Wanted::List if is_list(key) => "a list of sections".to_owned(),
        Wanted::List => "a list".to_owned(),
        Wanted::Section => "a section".to_owned(),
        Wanted::Text => "text".to_owned(),
    }
}

/// Explains that the value of a key has a wrong type.
fn mismatch(key: &str, wanted: Wanted, found: &Found) -> Worded {
    let number = match found {
        Found::Text(text) | Found::Variable(text) | Found::Number(text) => Number::read(text.trim()),
        _ => Number::None,
    };
    let is_beyond = matches!((wanted, &number), (Wanted::Whole(least, most), Number::Whole(value))
        if !(i128::from(least)..=i128::from(most)).contains(value));
    let reason =
        format!("{} is needed, and this is {}", needed(wanted, key, is_beyond), shown(found, is_secret(key)));
    let advice = advice(key, wanted, found, &number, is_beyond);
    (reason, advice, !matches!(wanted, Wanted::Section))
}

/// Returns what to do about a value of a wrong type, as far as its example does not show it.
fn advice(key: &str, wanted: Wanted, found: &Found, number: &Number, is_beyond: bool) -> Option<String> {
    Some(match (wanted, found) {
        (_, Found::Variable(text)) if text.trim().is_empty() => "unset it, or give it a value".to_owned(),
        (Wanted::List, Found::Variable(_)) if is_list(key) => {
            format!("set the keys of each of its sections, as in {}__0__NAME", name_of(key))
        }
        (Wanted::List, _) if is_list(key) && !matches!(found, Found::Section) => {
            format!("write [[{key}]] on its own line, and the keys below")
        }
        (Wanted::List, Found::Section) => {
            format!("write [[{key}]] with two brackets, since there can be several")
        }
        (Wanted::Section, _) if is_beside_others(key) => {
            let list = key.split('[').next().unwrap_or(key);
            format!("write [[{list}]] on its own line, and the keys below")
        }
        (Wanted::Section, _) => format!("write [{key}] on its own line, and its keys below"),
        (_, Found::Section) => "write the value after the key".to_owned(),
        (Wanted::List, _) => "put it in brackets".to_owned(),
        (_, Found::List) => "write one value, without brackets".to_owned(),
        (Wanted::Text, _) => "put it in quotes".to_owned(),
        (Wanted::Whole(..), _) if is_beyond => return None,
        (Wanted::Whole(..) | Wanted::Number, Found::Text(_)) if number.is_some() => {
            "write it without quotes".to_owned()
        }
        (Wanted::Choice, Found::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            "write it without quotes".to_owned()
        }
        (Wanted::Whole(..), _) if *number == Number::Fraction => {
            "write it without a decimal point and without an exponent".to_owned()
        }
        (Wanted::Whole(..) | Wanted::Number, Found::Text(text) | Found::Variable(text))
            if text.trim().starts_with(|first: char| first.is_ascii_digit()) =>
        {
            "write only digits".to_owned()
        }
        _ => return None,
    })
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

fn is_beside_others(key: &str) -> bool {
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
