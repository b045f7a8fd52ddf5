//! Tests of submit bodies: which are accepted, and how others are refused.

use serde_json::{Value, json};

use super::*;

const WAV: &str =
    "data:audio/wav;base64,UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

fn parse(changes: Value) -> Result<Submission, Failure> {
    let mut body = json!({"model": "m", "audio_url": WAV});
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    Submission::parse(BytesMut::from(body.to_string().as_str()), &Gate::default())
}

#[test]
fn absent_and_null_fields_take_their_defaults() {
    let nulls = json!({"prompt": null, "sync": null, "stream": null, "max_tokens": null, "temperature": null,
        "system_prompt": null, "reasoning": null, "unknown": {"is": "ignored"}});
    for changes in [json!({}), nulls] {
        let submission = parse(changes).unwrap();
        assert_eq!(submission.question.as_short(), Some((DEFAULT_PROMPT, None)));
        assert_eq!(submission.question.max_tokens, None);
        assert_eq!(submission.question.temperature, None);
        assert_eq!(submission.delivery, Delivery::Asynchronous);
        assert!(submission.stream.is_none() && !submission.question.reasoning);
    }
}

#[test]
fn values_at_the_boundaries_pass() {
    for changes in [
        json!({"model": "é".repeat(256)}),
        json!({"prompt": "x"}),
        json!({"prompt": "\u{1F600}".repeat(100_000)}),
        json!({"system_prompt": ""}),
        json!({"system_prompt": "é".repeat(10_000)}),
        json!({"max_tokens": 1}),
        json!({"max_tokens": 256.0}),
        json!({"temperature": 0}),
        json!({"temperature": 2}),
        json!({"temperature": 2.0}),
    ] {
        assert!(parse(changes.clone()).is_ok(), "{changes:.60}");
    }
}

#[test]
fn values_beyond_the_boundaries_are_refused_by_name() {
    for (name, value) in [
        ("model", json!("")),
        ("model", json!("é".repeat(257))),
        ("model", json!(1)),
        ("audio_url", json!("")),
        ("audio_url", json!(["x"])),
        ("prompt", json!("")),
        ("prompt", json!("x".repeat(100_001))),
        ("prompt", json!(false)),
        ("sync", json!("true")),
        ("sync", json!(1)),
        ("stream", json!(0)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!("1")),
        ("temperature", json!(-0.01)),
        ("temperature", json!(2.01)),
        ("temperature", json!("1")),
        ("system_prompt", json!("x".repeat(10_001))),
        ("system_prompt", json!({})),
        ("reasoning", json!("no")),
    ] {
        let failure = parse(json!({name: value.clone()})).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidParam, "{name} {value:.60}");
        assert_eq!(failure.param.as_deref(), Some(name));
    }
}

#[test]
fn a_missing_required_field_is_named() {
    for (body, param) in [("{}", "model"), (r#"{"model":"m"}"#, "audio_url"), (r#"{"model":null}"#, "model")]
    {
        let failure = Submission::parse(BytesMut::from(body), &Gate::default()).unwrap_err();
        assert_eq!(
            (failure.code, failure.param.as_deref()),
            (ErrorCode::InvalidParam, Some(param)),
            "{body}"
        );
    }
}

#[test]
fn invalid_json_is_distinguished_from_json_that_is_not_an_object() {
    for (body, code) in [
        ("", ErrorCode::InvalidJson),
        ("{", ErrorCode::InvalidJson),
        ("{\"model\":\"m\",}", ErrorCode::InvalidJson),
        ("\u{0}", ErrorCode::InvalidJson),
        ("[]", ErrorCode::InvalidParam),
        ("7", ErrorCode::InvalidParam),
        (r#"["m",1,2,3,4,5,6,7,8]"#, ErrorCode::InvalidParam),
    ] {
        assert_eq!(
            Submission::parse(BytesMut::from(body), &Gate::default()).unwrap_err().code,
            code,
            "{body:?}"
        );
    }
}

#[test]
fn the_error_of_an_unreadable_body_tells_what_to_do() {
    let object = "The body must be a JSON object";
    for (body, message, advice) in [
        ("", "The body is empty", "send a JSON object with model and audio_url"),
        (" \r\n", "The body is empty", "send a JSON object with model and audio_url"),
        ("{", "The body is not valid JSON: EOF", "send all of it"),
        (r#"{"model":}"#, "The body is not valid JSON: expected value at line 1", "a JSON library"),
        (
            r#"{"model":"m","model":"m"}"#,
            "The body is not valid JSON: duplicate field",
            "send each field once",
        ),
        (r#""\ud800""#, object, ""),
        (r#" "\ud800\u0041""#, object, ""),
        (r#"{"\ud800":1}"#, "The name of a field holds half a character", "send whole characters"),
    ] {
        let failure = Submission::parse(BytesMut::from(body), &Gate::default()).unwrap_err();
        assert!(
            failure.message.starts_with(message) && failure.message.contains(advice),
            "{body:?}: {failure}"
        );
        assert!(!failure.message.contains("hex escape"), "{body:?}: {failure}");
    }
}

#[test]
fn a_token_limit_may_be_any_64_bit_integer_in_any_notation() {
    let parse = |limit: &str| {
        let body = json!({"model": "m", "audio_url": WAV, "max_tokens": 77}).to_string().replace("77", limit);
        Submission::parse(BytesMut::from(body.as_str()), &Gate::default())
    };
    for (limit, number) in
        [("1e18", 1_000_000_000_000_000_000), ("256.0", 256), ("18446744073709551615", u64::MAX)]
    {
        assert_eq!(parse(limit).unwrap().question.max_tokens, Some(number), "{limit}");
    }
    for limit in ["18446744073709551616", "1e20", "0", "-1", "1.5", "\"5\""] {
        let failure = parse(limit).unwrap_err();
        assert_eq!(
            failure.message, "max_tokens must be an integer from 1 to 18446744073709551615",
            "{limit}"
        );
    }
}

#[test]
fn inline_audio_is_decoded_in_place() {
    let json = json!({"model": "m", "audio_url": WAV}).to_string();
    for json in [json.replace('/', "\\/"), json.replace("gAAA", "gAA\\n\\u0041").replace('=', ""), json] {
        let body = BytesMut::from(json.as_str());
        let range = body.as_ptr_range();
        let submission = Submission::parse(body, &Gate::default()).unwrap();
        let [AudioSource::Inline(audio)] = submission.audio.as_slice() else { panic!("not inline") };
        assert!(audio.bytes.starts_with(b"RIFF"), "{json}");
        assert!(range.contains(&audio.bytes.as_ptr()), "{json}");
    }
}

#[test]
fn half_a_character_is_reported_with_its_field() {
    for name in ["model", "audio_url", "prompt", "system_prompt"] {
        let whole = json!({"model": "m", "audio_url": WAV, "prompt": "p", "system_prompt": "s"});
        let mut whole = whole.to_string();
        let at = whole.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        for half in [r"\uD83D", r"\uDE00", r"\ud83d\u0041"] {
            let mut body = whole.clone();
            body.insert_str(at, half);
            let failure = Submission::parse(BytesMut::from(body.as_str()), &Gate::default()).unwrap_err();
            assert_eq!((failure.code, failure.param), (ErrorCode::InvalidParam, Some(name.into())), "{body}");
            let escape = format!("{name} holds half a character: the escape {}", half[..6].to_lowercase());
            assert!(failure.message.starts_with(&escape), "{}", failure.message);
        }
        if name == "prompt" {
            whole.insert_str(at, r"\ud83d\ude00");
            assert!(Submission::parse(BytesMut::from(whole.as_str()), &Gate::default()).is_ok());
        }
    }
    let ignored = json!({"model": "m", "audio_url": WAV, "x": 1}).to_string();
    let value = ignored.replace(":1}", r#":["\ud800"]}"#);
    assert!(Submission::parse(BytesMut::from(value.as_str()), &Gate::default()).is_ok());
    let name = ignored.replace("\"x\"", r#""\ud800""#);
    let failure = Submission::parse(BytesMut::from(name.as_str()), &Gate::default()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidJson);
    assert!(failure.message.contains("name of a field holds half a character"), "{}", failure.message);
}

#[test]
fn a_body_that_is_not_utf8_is_refused_with_the_place_of_the_byte() {
    for field in ["prompt", "ignored"] {
        let mut body = json!({"model": "m", "audio_url": WAV, field: "caf~"}).to_string().into_bytes();
        let at = body.iter().position(|byte| *byte == b'~').unwrap();
        body[at] = 0xe9;
        let failure = Submission::parse(BytesMut::from(&body[..]), &Gate::default()).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidJson);
        assert!(failure.message.contains(&format!("not UTF-8: byte {}", at + 1)), "{}", failure.message);
    }
}
