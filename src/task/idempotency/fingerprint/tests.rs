//! Tests with bodies of the same meaning in different notations, and with bodies of different meanings.

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::audio::Gate;
use crate::task::submission::Submission;

fn of(text: &str) -> Fingerprint {
    Fingerprint::of(text.as_bytes()).unwrap_or_else(|err| panic!("{err}: {text:.200}"))
}

#[test]
fn the_notation_of_a_value_makes_no_difference() {
    for (one, other) in [
        (r#"{"a":1,"b":2}"#, " { \"b\" :\t2 ,\r\n\"a\": 1 } "),
        (r#"{"a":[{"x":1,"y":2}]}"#, r#"{"a":[{"y":2,"x":1}]}"#),
        (r#""/A""#, r#""\/\u0041""#),
        (r#""\ud83d\ude00""#, "\"\u{1F600}\""),
        (r#"{"a":1}"#, r#"{"\u0061":1}"#),
        (r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"c":[1,2]},"\u0061":{"b":1}}"#),
        ("[ ]", "[]"),
        ("{ }", "{}"),
    ] {
        assert_eq!(of(one), of(other), "{one} {other}");
    }
}

#[test]
fn the_pieces_in_which_a_long_string_is_read_make_no_difference() {
    let text = "a/\u{e9}\u{1F600}\"\\\n".repeat(3000);
    let plain = serde_json::to_string(&text).unwrap();
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    // With each start the pieces end at other places.
    for start in 0..13 {
        let start = "x".repeat(start);
        let written = format!("\"{start}{units}\"");
        let mut whole = Sha256::new();
        put(&mut whole, b's', format!("{start}{text}").as_bytes());
        assert_eq!(of(&written), Fingerprint(whole.finalize().into()));
        assert_eq!(of(&written), of(&format!("\"{start}{}", &plain[1..])));
    }
}

#[test]
fn numbers_are_equal_by_value() {
    for (one, other) in [
        ("256", "256.0"),
        ("256", "2.56e2"),
        ("256", "25600E-2"),
        ("256", "0.0256e+04"),
        ("0", "-0"),
        ("0", "-0.00e99999999999999999999999999999"),
        ("-1.50", "-15e-1"),
        ("1e400", "10e399"),
        ("0.1", "0.10000"),
        ("100000000000000000000", "1e20"),
    ] {
        assert_eq!(of(one), of(other), "{one} {other}");
    }
}

#[test]
fn different_values_have_different_fingerprints() {
    let words = ["null", "true", "false", "[null]", "{}", "[]", "[[]]", "[[],[]]", "[{}]", "[{},{}]"];
    let numbers = ["0", "1", "-1", "10", "11", "0.1", "1.01", "1e400", "1e401"];
    // Rounded to 64 bits, these would be pairs of equal numbers.
    let long_numbers = [
        "18446744073709551616",
        "18446744073709551617",
        "9007199254740992.0",
        "9007199254740993.0",
        "0.30000000000000004",
        "0.300000000000000044",
    ];
    let strings = [r#""""#, r#""0""#, r#""1""#, r#""null""#, r#""a""#, r#""A""#, r#""a ""#, r#""\\u0061""#];
    let arrays = ["[0]", "[0,0]", "[1,2]", "[2,1]", "[12]", "[[1],2]", "[1,[2]]", "[[1,2]]"];
    let string_arrays = [r#"["a","b"]"#, r#"["ab"]"#, r#"["a,b"]"#, r#"["a",1]"#, r#"[{"a":1}]"#];
    let objects = [
        r#"{"":null}"#,
        r#"{"a":null}"#,
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":1,"b":2}"#,
        r#"{"a":2,"b":1}"#,
        r#"{"ab":1}"#,
        r#"{"a":{"b":1}}"#,
        r#"{"a":{},"b":1}"#,
    ];
    let groups: [&[&str]; 7] = [&words, &numbers, &long_numbers, &strings, &arrays, &string_arrays, &objects];
    let texts = groups.concat();
    for (index, one) in texts.iter().enumerate() {
        for other in &texts[index + 1..] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
}

#[test]
fn a_text_that_is_not_json_has_no_fingerprint() {
    for text in ["", " ", "{", "[1,]", r#"{"a":1,}"#, "nul", "01", "1 2", "[1 2]", "\"a", r#""\x""#, "'a'"] {
        assert!(Fingerprint::of(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Fingerprint::of(b"\"\xff\"").is_err());
}

#[test]
fn a_lone_surrogate_equals_only_itself() {
    assert_eq!(of(r#""a\ud800""#), of(r#""\u0061\uD800""#));
    assert_eq!(of(r#"{"\ud800":1}"#), of(r#"{"\ud800":2,"\uD800":1}"#));
    let texts = [
        r#""\ud800""#,
        r#""\ud801""#,
        r#""\udc00""#,
        r#""\udc00\ud800""#,
        r#""\ud800\udc00""#,
        r#""\ufffd""#,
        r#""""#,
        r#"{"\ud800":1}"#,
        r#"{"\ud801":1}"#,
        r#"{"\ufffd":1}"#,
    ];
    for (at, one) in texts.iter().enumerate() {
        for other in &texts[at + 1..] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }
}

#[test]
fn nesting_beyond_the_limit_of_serde_is_compared_as_written() {
    let arrays = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(of(&arrays(126, "[1]")), of(&arrays(126, " [1.0]")));
    for depth in [127, 128, 1000, 100_000] {
        assert_eq!(of(&arrays(depth, "1")), of(&arrays(depth, "1")));
        assert_ne!(of(&arrays(depth, "1")), of(&arrays(depth, "2")));
        assert_ne!(of(&arrays(depth, "1")), of(&arrays(depth + 1, "1")));
        assert_ne!(of(&objects(depth)), of(&objects(depth + 1)));
    }
}

#[test]
fn numbers_of_any_size_have_their_own_fingerprints() {
    let long = |digit: &str| format!("1e{}{digit}", "9".repeat(400));
    let numbers = [
        "1e9223372036854775807".to_owned(),
        "1e9223372036854775808".to_owned(),
        "1e-9223372036854775808".to_owned(),
        "1e-99999999999999999999".to_owned(),
        long("1"),
        long("2"),
        format!("-{}", long("1")),
    ];
    for (at, one) in numbers.iter().enumerate() {
        assert_eq!(of(one), of(&format!(" {one} ")));
        for other in &numbers[at + 1..] {
            assert_ne!(of(one), of(other), "{one:.40} {other:.40}");
        }
    }
    assert_eq!(of("10e9223372036854775807"), of("1e9223372036854775808"));
}

#[test]
fn a_stored_fingerprint_stays_valid_in_later_versions() {
    let text = r#"{"model":"m","audio_url":"data:audio/wav;base64,UklGRg==","stream":true,"temperature":0.5,"x":[null,-2]}"#;
    let fingerprint = of(text);
    let hex: String = fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "3a930f2b11032a47b932a2d7c54e911f8f8221b48cb8ac819de0072b0da63e00");
    assert_eq!(Fingerprint::from_bytes(fingerprint.as_bytes()), Some(fingerprint));
    assert_eq!(Fingerprint::from_bytes(&[0; 31]), None);
}

proptest! {
    #[test]
    fn any_notation_of_a_value_has_the_same_fingerprint(
        value in any_value(),
        choices in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut hand = NotationWriter { choices: choices.iter().cycle(), text: String::new() };
        hand.write(&value);
        let compact = value.to_string();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(of(&hand.text), of(&compact), "{} {}", hand.text, compact);
        prop_assert_eq!(of(&pretty), of(&compact));
    }

    #[test]
    fn any_change_of_a_value_changes_the_fingerprint(value in any_value()) {
        for changed in changes(&value) {
            prop_assert_ne!(of(&changed.to_string()), of(&value.to_string()), "{} {}", changed, value);
        }
    }

    #[test]
    fn values_have_the_same_fingerprint_only_if_they_are_equal(
        one in small_value(),
        other in small_value(),
    ) {
        prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
    }
}

/// Generates any value.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1000i32..1000).prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a/\\\\\"\u{1F600}]{0,3}".prop_map(Value::from),
    ];
    nested(leaf.boxed(), "[a/\\\\\"\u{1F600}]{0,2}")
}

/// Generates values of so few kinds that equal and nearly equal ones are common.
fn small_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (-1i64..2).prop_map(Value::from),
        prop_oneof![Just(""), Just("1"), Just("]")].prop_map(Value::from)
    ];
    nested(leaf.boxed(), "[a]{0,1}")
}

fn nested(leaf: BoxedStrategy<Value>, name: &'static str) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Returns copies of the value, each with one change.
fn changes(value: &Value) -> Vec<Value> {
    let mut changed = vec![json!([value]), json!({ "": value })];
    match value {
        Value::Null => changed.push(json!(false)),
        Value::Bool(flag) => changed.push(json!(!flag)),
        Value::Number(number) => {
            changed.push(json!(number.to_string()));
            changed.push(match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => json!(integer ^ 1),
                (None, Some(0.0)) => json!(1),
                (None, other) => json!(-other.unwrap()),
            });
        }
        Value::String(text) => changed.extend([json!(format!("{text} ")), json!(format!("\u{0}{text}"))]),
        Value::Array(values) => {
            changed.push(Value::from([values.as_slice(), &[Value::Null]].concat()));
            for (index, inner) in values.iter().enumerate() {
                let with =
                    |new: &[Value]| Value::from([&values[..index], new, &values[index + 1..]].concat());
                changed.push(with(&[]));
                changed.extend(changes(inner).iter().map(|new| with(std::slice::from_ref(new))));
            }
        }
        Value::Object(members) => {
            let with = |name: &str, new: Value| {
                let mut members = members.clone();
                members.insert(name.to_owned(), new);
                Value::Object(members)
            };
            changed.push(with("a new one", Value::Null));
            for (name, inner) in members {
                let mut fewer = members.clone();
                fewer.remove(name);
                changed.push(Value::Object(fewer.clone()));
                fewer.insert(format!("{name}{name}+"), inner.clone());
                changed.push(Value::Object(fewer));
                changed.extend(changes(inner).into_iter().map(|new| with(name, new)));
            }
        }
    }
    changed
}

/// Writes values in unusual notations, which proptest chooses.
struct NotationWriter<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    text: String,
}

impl NotationWriter<'_> {
    fn choose(&mut self, from: usize) -> usize {
        usize::from(*self.choices.next().unwrap()) % from
    }

    fn gap(&mut self) {
        let gap = ["", "", " ", "\t", "\r\n  "][self.choose(5)];
        self.text += gap;
    }

    fn write(&mut self, value: &Value) {
        self.gap();
        match value {
            Value::Number(number) => self.number(&number.to_string()),
            Value::String(text) => self.string(text),
            Value::Array(values) => {
                self.text += "[";
                for (index, value) in values.iter().enumerate() {
                    self.text += if index > 0 { "," } else { "" };
                    self.write(value);
                }
                self.text += "]";
            }
            Value::Object(members) => self.object(members),
            word => self.text += &word.to_string(),
        }
        self.gap();
    }

    fn number(&mut self, number: &str) {
        let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i64 = exponent.parse().unwrap();
        let written = match self.choose(3) {
            0 => number.to_owned(),
            1 => format!("{whole}.{fraction}00E{exponent:+03}"),
            _ => {
                let sign = if whole.starts_with('-') { "-" } else { "" };
                let digits = format!("{whole}{fraction}");
                let digits = digits.trim_start_matches(['-', '0']);
                let digits = if digits.is_empty() { "0" } else { digits };
                format!("{sign}{digits}e{}", exponent - fraction.len() as i64)
            }
        };
        self.text += &written;
    }

    fn string(&mut self, text: &str) {
        self.text += "\"";
        for character in text.chars() {
            match self.choose(3) {
                0 => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        self.text += &format!("\\u{unit:04x}");
                    }
                }
                1 if character == '/' => self.text += "\\/",
                _ => {
                    let plain = serde_json::to_string(&character).unwrap();
                    self.text += &plain[1..plain.len() - 1];
                }
            }
        }
        self.text += "\"";
    }

    fn object(&mut self, members: &Map<String, Value>) {
        let mut members: Vec<_> = members.iter().collect();
        for index in (1..members.len()).rev() {
            let other = self.choose(index + 1);
            members.swap(index, other);
        }
        self.text += "{";
        for (index, (name, value)) in members.into_iter().enumerate() {
            self.text += if index > 0 { "," } else { "" };
            if self.choose(4) == 0 {
                self.string(name);
                self.text += r#":[{"not":"the last"}],"#;
            }
            self.gap();
            self.string(name);
            self.gap();
            self.text += ":";
            self.write(value);
        }
        self.text += "}";
    }
}

/// Generates valid and invalid JSON.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(vec![
        "null",
        "1",
        "-0",
        "1e400",
        "1e99999999999999999999",
        "01",
        "NaN",
        r#""x""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\u12""#,
        r#""\x""#,
        "\"\t\"",
        "\"\u{e9}\"",
        "\"",
        "",
        "true",
        "tru",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 30, 4, |inner| {
        let name = proptest::sample::select(vec!["a", "b", r"\u0061", r"\ud800", "prompt"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", "))),
            proptest::collection::vec((name, inner.clone()), 0..4).prop_map(|all| {
                let members: Vec<_> =
                    all.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            (inner.clone(), 0_usize..200)
                .prop_map(|(inner, depth)| { format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth)) }),
            (inner, ".{0,2}").prop_map(|(inner, more)| format!("{inner}{more}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_body_that_is_accepted_has_a_fingerprint(
        name in proptest::sample::select(vec!["x", "prompt", "model", "stream", r"\ud800", "max_tokens"]),
        value in any_json(),
        damage in proptest::option::weighted(0.2, (any::<proptest::sample::Index>(), any::<u8>())),
    ) {
        const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";
        let text = format!(r#"{{"model": "m", "audio_url": "data:audio/wav;base64,{WAV}", "{name}": {value}}}"#);
        let mut body = text.into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let accepted = Submission::parse(BytesMut::from(&body[..]), &Gate::default()).is_ok();
        prop_assert!(!accepted || Fingerprint::of(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
    }
}
