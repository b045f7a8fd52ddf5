//! Tests of transcriptions in every form and dialect. The outcome must not depend on how the body is cut.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::upstream::Fault;
use crate::upstream::testing::{Outcome, read_body, read_cut_body};
use crate::wire::completion::{FinishReason, PromptTokensDetails, Usage};

const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

fn reader(content_type: &str, text: bool, speakers: bool) -> Transcript {
    let expected = Expected { content_type: content_type.to_owned(), text, speakers };
    Transcript::new(expected, Secret::new("hush".into()))
}

/// Returns the outcome of a body, which must not depend on how the body is cut.
fn read_as(content_type: &str, text: bool, speakers: bool, body: &str) -> Outcome {
    let bytes = body.as_bytes();
    let whole = read_body(reader(content_type, text, speakers), bytes, usize::MAX);
    for piece in [1, 5, 4096] {
        let cut = read_body(reader(content_type, text, speakers), bytes, piece);
        assert_eq!(cut, whole, "{body:?} in pieces of {piece}");
    }
    whole
}

fn read(content_type: &str, body: &str) -> Outcome {
    read_as(content_type, false, false, body)
}

fn by_speaker(content_type: &str, body: &str) -> Outcome {
    read_as(content_type, false, true, body)
}

fn event(json: &Value) -> String {
    format!("data: {json}\n\n")
}

const DONE: &str = "data: [DONE]\n\n";

fn ok(text: &str) -> Outcome {
    (text.to_owned(), Ok((FinishReason::Stop, Usage::default())))
}

fn counted(text: &str, prompt: u64, completion: u64, audio: u64) -> Outcome {
    let usage = Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt + completion,
        prompt_tokens_details: PromptTokensDetails { audio_tokens: audio, cached_tokens: 0 },
        ..Usage::default()
    };
    (text.to_owned(), Ok((FinishReason::Stop, usage)))
}

fn failed(text: &str, err: UpstreamError) -> Outcome {
    (text.to_owned(), Err(err))
}

fn invalid(why: &str) -> Outcome {
    failed("", UpstreamError::Invalid(why.to_owned()))
}

fn segment(speaker: &str, text: &str) -> Value {
    json!({"type": "transcript.text.segment", "id": "s", "speaker": speaker, "start": 0.0, "end": 1.0, "text": text})
}

fn tokens() -> Value {
    json!({"type": "tokens", "input_tokens": 37, "output_tokens": 12, "total_tokens": 49,
        "input_token_details": {"audio_tokens": 37, "text_tokens": 0}})
}

#[test]
fn answers_in_one_piece_are_read_in_every_form() {
    let duration = json!({"type": "duration", "seconds": 4});
    for (body, expected) in [
        (json!({"text": "Hello.", "usage": duration}), ok("Hello.")),
        (json!({"text": "Hello.", "usage": tokens()}), counted("Hello.", 37, 12, 37)),
        (
            json!({"task": "transcribe", "language": "english", "duration": 4.0, "text": "Hello.",
                "segments": [{"id": 0, "text": " Hel", "tokens": [1]}, {"id": 1, "text": "lo.", "tokens": [2]}],
                "words": [{"word": "Hello", "start": 0.0, "end": 1.0}], "usage": duration}),
            ok("Hello."),
        ),
        (
            json!({"model": "voxtral", "text": "Hello.", "language": null, "segments": [], "finish_reason": null,
                "usage": {"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 409}}),
            counted("Hello.", 379, 30, 375),
        ),
        (
            json!({"text": "Hello.", "usage": {"seconds": 9.2, "input_tokens": 83, "output_tokens": 30,
                "total_tokens": 113, "cost": 0.01}}),
            counted("Hello.", 83, 30, 0),
        ),
        (
            json!({"segments": [{"text": "Hel"}, {"text": " lo."}, {"text": ""}, {"text": "Yes."}]}),
            ok("Hel lo. Yes."),
        ),
        (json!({"text": ""}), ok("")),
    ] {
        // As one line and as many lines, under its own type, none, and a wrong one.
        for text in [body.to_string(), format!("\n\n{body:#}\n"), format!("\u{feff}{body}")] {
            for content_type in [JSON, "", TEXT, SSE] {
                assert_eq!(read(content_type, &text), expected, "{content_type}: {text}");
            }
        }
    }
}

#[test]
fn a_plain_text_is_the_answer_without_its_last_line_break() {
    for (content_type, asked, body, text) in [
        (TEXT, true, "Hello there.\n", "Hello there."),
        (TEXT, false, "One.\nTwo.\r\n\n", "One.\nTwo."),
        (TEXT, true, "\n", ""),
        (TEXT, true, "42", "42"),
        (TEXT, true, "[1, 2]", "[1, 2]"),
        (TEXT, true, "\"Quoted,\" she said.", "\"Quoted,\" she said."),
        (TEXT, true, "data: yes, that is what I said", "data: yes, that is what I said"),
        (TEXT, true, "{curly", "{curly"),
        ("", true, "Hello.", "Hello."),
        ("text/html", true, "Hello.", "Hello."),
        (JSON, true, "\"Hello.\\n\"", "Hello."),
    ] {
        assert_eq!(read_as(content_type, asked, false, body), ok(text), "{content_type}: {body:?}");
    }
}

#[test]
fn a_body_that_is_not_a_transcription_is_invalid() {
    for (content_type, body, why) in [
        (JSON, "", "an empty response"),
        (JSON, " \n", "an empty response"),
        (JSON, "Hello.", "a body that is not a transcription"),
        (JSON, "7", "a body that is not a transcription"),
        (JSON, "null", "a body that is not a transcription"),
        (JSON, "{}", "an answer without a text"),
        (JSON, "{\"task\":\"transcribe\"}", "an answer without a text"),
        (JSON, "{\"text\":null}", "an answer without a text"),
        ("text/html", "<html>busy</html>", "a body that is not a transcription"),
        ("", "Hello.", "a body that is not a transcription"),
        (SSE, "", "an empty response"),
        (SSE, ": ping\n\n", "an empty response"),
        (SSE, "<html>busy</html>", "a body that is not an event stream"),
        (SSE, "data: nonsense\n\n", "events that are not JSON objects"),
    ] {
        assert_eq!(read(content_type, body), invalid(why), "{content_type}: {body:?}");
    }
    assert_eq!(read_as("text/html", true, false, "<html>"), invalid("a body that is not a transcription"));
    assert_eq!(read(JSON, "{\"text\":\"Hel"), failed("", UpstreamError::Disconnected));
}

#[test]
fn openais_deltas_end_with_done() {
    let delta = |text: &str| json!({"type": "transcript.text.delta", "delta": text, "logprobs": []});
    let done = json!({"type": "transcript.text.done", "text": "Ruby is.", "usage": tokens()});
    let deltas = event(&delta("Ruby")) + &event(&delta(" is."));
    let expected = counted("Ruby is.", 37, 12, 37);
    // OpenAI's framing, the framing of speaches (no end mark), and both under wrong types.
    let crlf = (deltas.clone() + &event(&done) + DONE).replace('\n', "\r\n");
    for content_type in [SSE, JSON, TEXT, ""] {
        assert_eq!(read(content_type, &crlf), expected, "{content_type}");
        assert_eq!(read(content_type, &(deltas.clone() + &event(&done))), expected, "{content_type}");
    }
    assert_eq!(read(SSE, &event(&done)), expected, "without a delta its text is the answer");
    assert_eq!(read(SSE, &(deltas.clone() + DONE)), ok("Ruby is."));
    assert_eq!(read(SSE, &deltas), failed("Ruby is.", UpstreamError::Disconnected));
    let silence = json!({"type": "transcript.text.done", "text": ""});
    assert_eq!(read(SSE, &event(&silence)), ok(""));
    // An empty body is not silence.
    for (content_type, body) in [(SSE, DONE), (SSE, ""), (TEXT, "")] {
        let empty = UpstreamError::Invalid("an empty response".into());
        assert_eq!(read(content_type, body), failed("", empty), "{content_type}: {body:?}");
    }
}

#[test]
fn segments_are_joined_or_written_after_their_speakers() {
    let done = json!({"type": "transcript.text.done", "text": "Hi. Hello there.", "usage": tokens()});
    let body = event(&segment("A", "Hi."))
        + &event(&segment("B", " Hello"))
        + &event(&segment("B", "there."))
        + &event(&segment("A", " "))
        + &event(&done)
        + DONE;
    assert_eq!(read(SSE, &body), counted("Hi. Hello there.", 37, 12, 37));
    assert_eq!(by_speaker(SSE, &body), counted("A: Hi.\nB: Hello\nB: there.", 37, 12, 37));

    // A server that sends the text twice is read once: speakers are in the segments only.
    let delta = |text: &str, id: Value| {
        event(&json!({"type": "transcript.text.delta", "delta": text, "segment_id": id}))
    };
    let body = delta("Hi.", json!("s"))
        + &event(&segment("A", "Hi."))
        + &delta(" Hello", json!("t"))
        + &event(&segment("B", "Hello"))
        + &event(&done);
    assert_eq!(read(SSE, &body).0, "Hi. Hello there.");
    assert_eq!(by_speaker(SSE, &body).0, "A: Hi.\nB: Hello");
    assert_eq!(by_speaker(SSE, &(delta("Hi.", Value::Null) + DONE)).0, "Hi.");
    assert_eq!(by_speaker(SSE, &(delta("Hi.", json!("s")) + &event(&done))).0, "Hi. Hello there.");
    assert_eq!(by_speaker(SSE, &event(&segment("A", "Hi."))), failed("A: Hi.", UpstreamError::Disconnected));

    let whole = json!({"task": "transcribe", "duration": 3, "text": "Hi. Hello.",
        "segments": [segment("A", "Hi."), segment("", "Hello.")]});
    assert_eq!(by_speaker(JSON, &whole.to_string()), ok("A: Hi.\nHello."));
    assert_eq!(read(JSON, &whole.to_string()), ok("Hi. Hello."));
    assert_eq!(
        by_speaker(JSON, &json!({"text": "Hi.", "segments": [{"text": "Hi."}]}).to_string()),
        ok("Hi.")
    );
}

#[test]
fn mistral_names_its_events() {
    let named = |name: &str, mut json: Value| {
        json["type"] = json!(name);
        format!("event: {name}\n{}", event(&json))
    };
    let usage =
        json!({"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 409});
    let done = named(
        "transcription.done",
        json!({"model": "voxtral", "text": "Hi you.", "usage": usage,
        "segments": [{"text": "Hi you.", "speaker_id": 1}]}),
    );
    let body = named("transcription.language", json!({"audio_language": "en"}))
        + &named("transcription.text.delta", json!({"text": "Hi"}))
        + &named("transcription.text.delta", json!({"text": " you."}))
        + &named("transcription.segment", json!({"text": "Hi you.", "start": 0, "end": 1, "speaker_id": 1}))
        + &done;
    for content_type in [SSE, JSON, TEXT] {
        assert_eq!(read(content_type, &body), counted("Hi you.", 379, 30, 375), "{content_type}");
    }
    assert_eq!(by_speaker(SSE, &done).0, "1: Hi you.");
    // An object without a type has the type in the name of its event.
    let body = "event: transcription.text.delta\ndata: {\"text\":\"Hi\"}\n\nevent: transcription.done\ndata: {\"text\":\"Hi\"}\n\n";
    assert_eq!(read(SSE, body), ok("Hi"));
}

#[test]
fn texts_without_a_type_are_joined() {
    let body = event(&json!({"text": "Hi"}))
        + &event(&json!({"text": " there."}))
        + &event(&json!({"text": "Yes."}));
    assert_eq!(read(SSE, &body), ok("Hi there. Yes."));
}

#[test]
fn vllm_sends_chunks_of_a_chat() {
    let chunk = |text: &str, finish: Option<&str>| {
        event(&json!({"id": "trsc-1", "object": "transcription.chunk", "created": 1, "model": "m",
            "choices": [{"delta": {"content": text}, "finish_reason": finish, "stop_reason": null}]}))
    };
    let usage = event(&json!({"object": "transcription.chunk", "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}));
    let body = chunk("Hi", None) + &chunk(" you.", Some("stop")) + &usage + DONE;
    assert_eq!(read(SSE, &body), counted("Hi you.", 3, 2, 0));
    assert_eq!(read(SSE, &(chunk("Hi", Some("length")) + DONE)).1.unwrap().0, FinishReason::Length);
    assert_eq!(read(SSE, &(chunk("Hi", None) + DONE)), ok("Hi"));
    assert_eq!(read(SSE, &chunk("Hi", Some("stop"))), ok("Hi"));
    assert_eq!(read(SSE, &chunk("Hi", None)), failed("Hi", UpstreamError::Disconnected));
    assert_eq!(read(SSE, &(chunk("", Some("stop")) + DONE)), ok(""));
    assert!(read(SSE, &(chunk("Hi", Some("error")) + DONE)).1.is_err());
}

#[test]
fn errors_are_recognised_in_every_form() {
    let error = json!({"error": {"message": "too short", "type": "invalid_request_error", "code": "audio_too_short"}});
    let refused = |text: &str, message: &str| {
        let message = message.to_owned();
        failed(
            text,
            UpstreamError::Refused { fault: Fault::Request, status: None, message, retry_after: None },
        )
    };
    for content_type in [JSON, SSE, TEXT, ""] {
        assert_eq!(read(content_type, &error.to_string()), refused("", "too short"), "{content_type}");
        assert_eq!(read(content_type, &format!("{error:#}\n")), refused("", "too short"), "{content_type}");
        assert_eq!(read(content_type, &event(&error)), refused("", "too short"), "{content_type}");
    }
    let said = event(&json!({"type": "transcript.text.delta", "delta": "Hi"}));
    assert_eq!(read(SSE, &(said.clone() + &event(&error) + DONE)), refused("Hi", "too short"));
    assert_eq!(read(SSE, &format!("{said}event: error\n{}", event(&error))), refused("Hi", "too short"));
    assert_eq!(read(SSE, &format!("{said}error: {error}\n")), refused("Hi", "too short"));
    let done = event(&json!({"type": "transcript.text.done", "text": "Hi"}));
    assert_eq!(read(SSE, &(said + &done + &event(&error))), refused("Hi", "too short"));
}

#[test]
fn the_rest_of_a_whole_text_follows_its_deltas() {
    let delta = |text: &str| event(&json!({"type": "transcript.text.delta", "delta": text}));
    let done = |text: &str| event(&json!({"type": "transcript.text.done", "text": text, "usage": tokens()}));
    for (deltas, whole, expected) in [
        (&["Hi", " you"][..], "Hi you and me.", "Hi you and me."),
        (&[" Hi"], "Hi you.", " Hi you."),
        (&["Hi you."], "Hi you.", "Hi you."),
        (&["Hi you."], "Hi", "Hi you."),
        (&["Hi you."], "", "Hi you."),
        (&["Hi you."], "Something else that is longer.", "Hi you."),
        (&["Hi you."], "Hi you. \n", "Hi you."),
        (&["hi ", "you"], "Hi, you. And me.", "hi you. And me."),
        (&["caf\u{e9}"], "Cafe\u{301} and more", "caf\u{e9} and more"),
    ] {
        let body = deltas.iter().map(|text| delta(text)).collect::<String>() + &done(whole) + DONE;
        assert_eq!(read(SSE, &body), counted(expected, 37, 12, 37), "{whole}");
    }
    let halves = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\\ud83d\"}\n\n\
                  data: {\"type\":\"transcript.text.delta\",\"delta\":\"\\ude00\"}\n\n";
    assert_eq!(read(SSE, &(halves.to_owned() + &done("a😀 b"))).0, "a😀 b");
    let first_half = halves.split_inclusive("\n\n").next().unwrap().to_owned();
    assert_eq!(read(SSE, &(first_half + &done("a😀 b"))).0, "a😀 b");
}

#[test]
fn a_stream_of_plain_words_is_read_if_text_was_requested() {
    let plain = |content_type: &str, body: &str| read_as(content_type, true, false, body);
    let segments = "data:  Hello there.\n\ndata: Yes.\n\ndata: 1984\n\n: ping\n\ndata: \"quoted\"\n\n";
    assert_eq!(plain(SSE, segments), ok(" Hello there. Yes. 1984 quoted"));
    assert_eq!(plain(SSE, &(segments.to_owned() + DONE)), ok(" Hello there. Yes. 1984 quoted"));
    assert_eq!(plain(SSE, "Hello there, all of you.\n"), ok("Hello there, all of you."));
    assert_eq!(plain(TEXT, "[music] data: x\n\nYes.\n"), ok("[music] data: x\n\nYes."));
    let events = event(&json!({"type": "transcript.text.delta", "delta": "Hi"}))
        + &event(&json!({"type": "transcript.text.done", "text": "Hi"}));
    assert_eq!(plain(SSE, &events), ok("Hi"));
    assert_eq!(plain(SSE, "data: {\"type\": <<<<\n\n").1, invalid("an event with damaged JSON").1);
    assert!(matches!(plain(SSE, "data: {\"error\":\"too long\"}\n\n").1, Err(UpstreamError::Refused { .. })));
    assert!(matches!(plain(SSE, "error: {\"error\":\"too long\"}\n").1, Err(UpstreamError::Refused { .. })));
    // If JSON was requested, words are not an answer.
    assert_eq!(read(SSE, "data: Hello there.\n\n"), invalid("events that are not JSON objects"));
}

#[test]
fn values_of_the_wrong_type_do_not_fail_the_transcript() {
    for odd in ["null", "1", "-2.5", "true", "\"x\"", "[1]", "{\"a\":[]}", "NaN", "-Infinity", "1e999"] {
        let whole = format!(
            r#"{{"text":"a","id":{odd},"language":{odd},"duration":{odd},"model":{odd},"usage":{odd},"words":{odd},"segments":[
            {{"id":{odd},"avg_logprob":{odd},"no_speech_prob":{odd},"temperature":{odd},"text":"a"}}]}}"#
        ).replace('\n', "");
        assert_eq!(read(JSON, &whole), ok("a"), "{odd}");
        let stream = format!(
            "data: {{\"type\":\"transcript.text.delta\",\"delta\":\"a\",\"logprobs\":{odd}}}\n\n\
             data: {{\"type\":\"transcript.text.done\",\"text\":\"a\",\"logprobs\":{odd},\"usage\":{odd}}}\n\n"
        );
        assert_eq!(read(SSE, &stream), ok("a"), "{odd}");
    }
}

proptest! {
    #[test]
    fn the_outcome_of_a_body_does_not_depend_on_how_it_is_cut(
        content_type in prop::sample::select(vec![SSE, JSON, TEXT, ""]),
        (text, speakers) in any::<(bool, bool)>(),
        lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..24),
                prop::sample::select(vec![
                    "data: {\"type\":\"transcript.text.delta\",\"delta\":\"é\"}", "data: [DONE]", "", "", "event: error",
                    "data: {\"type\":\"transcript.text.segment\",\"text\":\"é\",\"speaker\":\"A\"}", "{\"text\":\"é\"}",
                    "data: {\"type\":\"transcript.text.done\",\"text\":\"é\"}", "{\"error\":\"x\"}", "}", "[", "{",
                    "event: transcription.text.delta", "data: {\"text\":\"é\"}", "plain text", "\u{feff}",
                    "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}",
                ]).prop_map(|line| line.as_bytes().to_vec()),
            ],
            0..12,
        ),
        answer_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let body = lines.join(answer_end.as_bytes());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let transcript = || reader(content_type, text, speakers);
        prop_assert_eq!(read_cut_body(transcript(), &body, &cuts), read_body(transcript(), &body, usize::MAX));
    }
}

#[test]
fn events_that_are_not_objects_do_not_fail_the_answer() {
    let delta = |text: &str| event(&json!({"type": "transcript.text.delta", "delta": text}));
    let done = event(&json!({"type": "transcript.text.done", "text": "ab"}));
    for odd in ["\"x\"", "1", "true", "null", "[]", "{}", "[7, \"x\"]", "still busy", "[heartbeat]", "12:30"]
    {
        let odd = format!("data: {odd}\n\n");
        let body = odd.clone() + &delta("a") + &odd + &odd + &delta("b") + &odd + &done;
        assert_eq!(read(SSE, &body), ok("ab"), "{odd}");
        let unfinished = delta("a") + &odd;
        assert_eq!(read(SSE, &unfinished), failed("a", UpstreamError::Disconnected), "{odd}");
    }
    let damaged = delta("a") + "data: {\"type\": <<<\n\n" + &done;
    let why = UpstreamError::Invalid("an event with damaged JSON".into());
    assert_eq!(read(SSE, &damaged), failed("a", why));
}

#[test]
fn a_text_of_another_json_type_is_shown_or_is_an_error() {
    assert_eq!(read(JSON, r#"{"text":42}"#), ok("42"));
    assert_eq!(read(JSON, r#"{"text":{"value":"Hi"}}"#), ok("Hi"));
    let unknown = invalid("a text in an unknown form");
    assert_eq!(read(JSON, r#"{"text":{"x":1}}"#), unknown);
    assert_eq!(read(JSON, r#"{"text":false}"#), unknown);
    let number = event(&json!({"type": "transcript.text.delta", "delta": 5}));
    assert_eq!(read(SSE, &(number + DONE)), ok("5"));
    let done = event(&json!({"type": "transcript.text.done", "text": {"x": 1}}));
    assert_eq!(read(SSE, &done), unknown);
}

#[test]
fn silence_is_an_empty_answer_if_a_plain_text_was_requested() {
    assert_eq!(read_as(TEXT, true, false, ""), ok(""));
    assert_eq!(read_as(SSE, true, false, DONE), ok(""));
    for (content_type, body) in [(JSON, ""), (SSE, ""), ("", "")] {
        assert_eq!(read_as(content_type, true, false, body), invalid("an empty response"), "{content_type}");
    }
}

#[test]
fn a_whole_transcript_counts_although_its_connection_broke() {
    let cut = |content_type: &str, body: &str| {
        let mut batch = Batch::new();
        let mut reader = reader(content_type, false, false);
        reader.take(body.as_bytes(), &mut batch).unwrap();
        reader.cut(&mut batch)
    };
    for content_type in [JSON, SSE, ""] {
        assert_eq!(cut(content_type, r#"{"text":"Hello, all of you."}"#), Ok(()), "{content_type}");
    }
    for (content_type, body) in [(JSON, "{\"text\":\"Hello, all"), (TEXT, "Hello, all of you."), (JSON, "")] {
        assert_eq!(cut(content_type, body), Err(UpstreamError::Disconnected), "{content_type} {body}");
    }
}
