//! Reads JSON as servers write it, and values in unexpected forms. A mistake beside the text of an answer must not fail
//! the answer.
//!
//! [`parse`] accepts invalid JSON if its meaning is clear: halves of surrogate pairs, `NaN` and `Infinity` (Python's
//! servers write them), numbers beyond any range, control characters in strings, unknown escapes and endless nesting.
//! The functions that look into a value ([`text`], [`words`], [`reason`], [`count`]) accept each form that a server has
//! been seen to write, and ignore every other form.

mod rewrite;

use std::borrow::Cow;

use memchr::memchr_iter;
use serde_json::Value;

use super::surrogates;
use rewrite::rewritten;

/// The largest valid count: all JSON readers agree on numbers up to here.
const LARGEST_COUNT: f64 = 9_007_199_254_740_992.0;

/// Parses JSON. Halves of surrogate pairs in its strings become their [stand-ins](surrogates).
///
/// # Errors
/// The error of `serde_json`, if the text is not JSON even with leniency.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if surrogates::may_hold(text) || holds_surrogates(text.as_bytes()) {
        return serde_json::from_str(&rewritten(text));
    }
    match serde_json::from_str(text) {
        Err(err) if !err.is_eof() => serde_json::from_str(&rewritten(text)),
        parsed => parsed,
    }
}

/// Returns true if the text may hold the escape of half a surrogate pair, which begins with `\ud`.
fn holds_surrogates(text: &[u8]) -> bool {
    memchr_iter(b'\\', text).any(|at| matches!(text.get(at + 1..at + 3), Some([b'u', b'd' | b'D'])))
}

/// Returns a field's text, if it is a text and not empty.
#[must_use]
pub(super) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// Returns a field's count. Digits in a string are a count, and fractions (seconds have them) are rounded up. Values
/// that are negative, infinite or not a number are absent.
#[must_use]
pub(super) fn count(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(digits) => digits.trim().parse().ok()?,
        _ => return None,
    };
    (0.0..=LARGEST_COUNT).contains(&number).then(|| number.ceil() as u64)
}

/// The value of a field that should hold a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FieldText<'a> {
    /// A text, which may be empty.
    Text(Cow<'a, str>),
    /// The value cannot be read as a text.
    Unreadable,
}

/// Reads the value of a field that should hold a text. A number or `true` is read as its written form, an object as the
/// text in a field of its own, a list as the pieces of one text. `null`, `false` and empty values hold no text.
#[must_use]
pub(super) fn words(value: &Value) -> FieldText<'_> {
    match value {
        Value::String(text) => FieldText::Text(Cow::Borrowed(text)),
        Value::Null | Value::Bool(false) => FieldText::Text(Cow::Borrowed("")),
        Value::Number(_) | Value::Bool(true) => FieldText::Text(Cow::Owned(value.to_string())),
        Value::Array(pieces) => {
            let mut all = String::new();
            for piece in pieces {
                match words(piece) {
                    FieldText::Text(text) => all.push_str(&text),
                    FieldText::Unreadable => return FieldText::Unreadable,
                }
            }
            FieldText::Text(Cow::Owned(all))
        }
        Value::Object(fields) if fields.is_empty() => FieldText::Text(Cow::Borrowed("")),
        Value::Object(fields) => {
            match ["text", "value", "content"].into_iter().find_map(|name| fields.get(name)) {
                Some(inner) => words(inner),
                None => FieldText::Unreadable,
            }
        }
    }
}

/// The finish reason of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason<'a> {
    /// A word.
    Word(&'a str),
    /// A value that is not a word, but still means that the model stopped.
    Odd,
}

/// Reads a field that holds a finish reason of any type. `null`, `false`, `0` and an empty text are not finish reasons.
#[must_use]
pub(super) fn reason<'a>(object: &'a Value, field: &str) -> Option<Reason<'a>> {
    fn word(value: &Value) -> Option<&str> {
        match value {
            Value::String(word) => Some(word.as_str()).filter(|word| !word.is_empty()),
            Value::Array(items) => items.iter().find_map(word),
            Value::Object(fields) => fields.values().find_map(word),
            _ => None,
        }
    }
    let value = object.get(field)?;
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::String(_) => word(value).map(Reason::Word),
        Value::Number(number) => (number.as_f64() != Some(0.0)).then_some(Reason::Odd),
        _ => Some(word(value).map_or(Reason::Odd, Reason::Word)),
    }
}

/// Returns true if a field is `true` in any form; a number other than 0 also counts.
#[must_use]
pub(super) fn is_true(object: &Value, field: &str) -> bool {
    match object.get(field) {
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Bool(is_so)) => *is_so,
        Some(Value::String(word)) => word == "true",
        _ => false,
    }
}

/// Returns the candidate or choice of an event. [`Chosen`](super::chosen::Chosen) has left only one.
#[must_use]
pub(super) fn first_of<'a>(event: &'a Value, field: &str) -> Option<&'a Value> {
    event.get(field)?.as_array()?.iter().find(|item| item.is_object())
}

/// Returns the values of this field in all places of an event: beside the choices or instead of them, in the first
/// choice (Moonshot, OpenRouter), in Groq's own object. This runs for each chunk, and JSON pointers would allocate for
/// each step.
pub(super) fn all_values<'a>(event: &'a Value, field: &'static str) -> impl Iterator<Item = &'a Value> {
    let places = [Some(event), first_of(event, "choices"), event.get("x_groq")];
    places.into_iter().flatten().filter_map(move |place| place.get(field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Returns a value's text as it is published.
    fn settled(json: &str) -> String {
        surrogates::settled(parse(json).unwrap().as_str().unwrap()).into_owned()
    }

    #[test]
    fn halves_of_surrogate_pairs_lose_no_text() {
        assert_eq!(settled(r#""a\ud83d\ude00b""#), "a😀b");
        assert_eq!(settled(r#""a\uD83Db\uDE00""#), "a\u{fffd}b\u{fffd}");
        assert_eq!(settled(r#""\ud83d\n\u00e9\\ud83d\"""#), "\u{fffd}\né\\ud83d\"");
        assert_eq!(settled("\"\u{10FFFF}\""), "\u{10FFFF}");
        assert_eq!(settled(r#""\udbff\udfff""#), "\u{10FFFF}");
    }

    #[test]
    fn pythons_constants_and_numbers_beyond_range_are_null() {
        let odd = r#"{"a":NaN,"b":[Infinity,-Infinity,1e999,-1e999],"c":"NaN","d":1}"#;
        assert_eq!(
            parse(odd).unwrap(),
            json!({"a": null, "b": [null, null, null, null], "c": "NaN", "d": 1})
        );
    }

    #[test]
    fn odd_strings_and_deep_nesting_beside_a_text_are_accepted() {
        assert_eq!(parse("{\"a\":\"x\u{1}\ny\\x\\u12\"}").unwrap(), json!({"a": "x\u{1}\ny\\x\\u12"}));
        let deep = format!("{{\"deep\":{}1{},\"a\":\"x\"}}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(parse(&deep).unwrap()["a"], "x");
        let deep =
            format!("{{\"deep\":{}\"]}}\\\"\"{},\"a\":\"x\"}}", "{\"a\":[".repeat(500), "]}".repeat(500));
        assert_eq!(parse(&deep).unwrap()["a"], "x");
    }

    #[test]
    fn invalid_json_is_refused_and_a_cut_is_recognised() {
        for text in
            ["", "nonsense", "{\"a\": <<<", "{\"a\":NaN", "{\"a\":\"\\ud83d", "{'a': 1}", "{\"a\":1}}"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["{\"a\":", "{\"a\":NaN,", "{\"a\":\"\\ud83d"] {
            assert!(parse(text).unwrap_err().is_eof(), "{text}");
        }
    }

    #[test]
    fn counts_are_read_in_every_form() {
        for (value, expected) in [
            (json!(12), Some(12)),
            (json!("12"), Some(12)),
            (json!(12.0), Some(12)),
            (json!(" 12.0 "), Some(12)),
            (json!(9.2), Some(10)),
            (json!(-3), None),
            (json!("-3"), None),
            (json!(1e300), None),
            (json!("inf"), None),
            (json!("NaN"), None),
            (json!(null), None),
            (json!(true), None),
            (json!({"n": 1}), None),
            (json!([1]), None),
        ] {
            assert_eq!(count(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_text_is_read_in_every_clear_form() {
        for (value, text) in [
            (json!("a"), Some("a")),
            (json!(42), Some("42")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!({"type": "text", "text": "a"}), Some("a")),
            (json!({"text": {"value": "a", "annotations": []}}), Some("a")),
            (json!(["a", 1, null, {"text": "b"}]), Some("a1b")),
            (json!(null), Some("")),
            (json!(false), Some("")),
            (json!({}), Some("")),
            (json!([]), Some("")),
            (json!({"url": "x"}), None),
            (json!(["a", {"url": "x"}]), None),
        ] {
            let expected = text.map_or(FieldText::Unreadable, |text| FieldText::Text(text.into()));
            assert_eq!(words(&value), expected, "{value}");
        }
    }

    #[test]
    fn a_finish_reason_is_read_in_every_form() {
        for (value, expected) in [
            (json!("stop"), Some(Reason::Word("stop"))),
            (json!(["STOP"]), Some(Reason::Word("STOP"))),
            (json!({"type": "length"}), Some(Reason::Word("length"))),
            (json!({"a": [7, {"b": "stop"}]}), Some(Reason::Word("stop"))),
            (json!({}), Some(Reason::Odd)),
            (json!([]), Some(Reason::Odd)),
            (json!(1), Some(Reason::Odd)),
            (json!(true), Some(Reason::Odd)),
            (json!(0), None),
            (json!(false), None),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(reason(&json!({"r": value}), "r"), expected, "{value}");
        }
        assert_eq!(reason(&json!({}), "r"), None);
    }

    proptest! {
        #[test]
        fn valid_json_is_parsed_as_serde_parses_it(text: String, number: i64, ascii: bool) {
            let value = json!({"text": text, "list": [number, null, true, {"n": -1}]});
            let mut json = value.to_string();
            if ascii {
                json = json.encode_utf16().map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04x}"),
                }).collect();
            }
            let mut parsed = parse(&json).unwrap();
            let settled = surrogates::settled(parsed["text"].as_str().unwrap()).into_owned();
            parsed["text"] = settled.into();
            prop_assert_eq!(parsed, value);
        }

        #[test]
        fn no_text_causes_a_panic(text in "[\\[\\]{}\",:\\\\u0-9dDeE.+NaInfity -]{0,40}") {
            let _ = parse(&text);
            let _ = rewritten(&text);
        }
    }
}
