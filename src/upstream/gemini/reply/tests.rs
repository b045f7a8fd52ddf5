//! Tests of Gemini's answers and their outcomes.

use std::time::Duration;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::*;
use crate::upstream::exchange::ErrorResponse;
use crate::upstream::objects::ObjectEvents;
use crate::upstream::reading::{EventBody, events};
use crate::upstream::testing::{Outcome, outcome, read_body};
use crate::upstream::{Fault, complaint};
use crate::wire::completion::{PromptTokensDetails, Usage};

fn reader() -> EventBody<ObjectEvents<Reply>> {
    let secret = Secret::new("hush".into());
    EventBody::new(ObjectEvents::new(Reply::new(secret.clone()), secret))
}

/// Returns the texts and the end of a body that is read in pieces of the given size.
fn read(body: &str, piece: usize) -> Outcome {
    read_body(reader(), body.as_bytes(), piece)
}

fn event(json: &str) -> String {
    format!("data: {json}\r\n\r\n")
}

fn text(text: &str, reason: &str) -> String {
    event(&format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}{reason}}}]}}"#))
}

const STOP: &str = r#","finishReason":"STOP""#;

#[test]
fn each_field_of_the_latest_usage_replaces_the_earlier_one() {
    let body = event(
        r#"{"usageMetadata":{"promptTokenCount":15,"thoughtsTokenCount":5,"toolUsePromptTokenCount":2}}"#,
    ) + &text("a", STOP)
        + &event(
            r#"{"usageMetadata":{"promptTokenCount":13,"candidatesTokenCount":4,"cachedContentTokenCount":1,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9},{"modality":"TEXT","tokenCount":4}]}}"#,
        );
    let (_, end) = read(&body, 7);
    let usage = end.unwrap().1;
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (15, 9, 24));
    assert_eq!(usage.prompt_tokens_details, PromptTokensDetails { audio_tokens: 9, cached_tokens: 1 });
    assert_eq!(usage.completion_tokens_details.reasoning_tokens, 5);
}

#[test]
fn stop_on_every_chunk_does_not_end_the_answer() {
    let body = text("a", STOP) + &text("b", STOP) + &text("c", r#","finishReason":"MAX_TOKENS""#);
    assert_eq!(read(&body, 3), ("abc".into(), Ok((FinishReason::Length, Usage::default()))));
}

#[test]
fn thoughts_are_separate_and_parts_of_one_event_are_joined() {
    let body = event(
        r#"{"candidates":[{"content":{"parts":[{"text":"h","thought":true},{"text":"m","thought":true},{"text":"a"},{"inlineData":{}},{"text":"b","thoughtSignature":"x"}]},"finishReason":"STOP"}]}"#,
    );
    assert_eq!(read(&body, 1000).0, "(hm)ab");
}

#[test]
fn each_way_to_end_a_reply_has_its_outcome() {
    let reason = |word: &str| {
        event(&format!(r#"{{"candidates":[{{"finishReason":"{word}","finishMessage":"why"}}]}}"#))
    };
    let ok = |reason| Ok((reason, Usage::default()));
    let invalid = |why: &str| Err(UpstreamError::Invalid(why.into()));
    for (body, expected) in [
        (reason("STOP"), ok(FinishReason::Stop)),
        (reason("MAX_TOKENS"), ok(FinishReason::Length)),
        (reason("SAFETY"), ok(FinishReason::ContentFilter)),
        (reason("OTHER"), Err(UpstreamError::NoText("finished with OTHER and without text: why".into()))),
        (text("a", "") + &reason("LANGUAGE"), ok(FinishReason::Stop)),
        (text("a", "") + &reason("NEW_REASON"), ok(FinishReason::Stop)),
        (text("a", ""), Err(UpstreamError::Disconnected)),
        (String::new(), invalid("an empty response")),
        (event("{}"), invalid("an empty response")),
        ("<html>busy</html>".into(), invalid("a body that is not an event stream")),
        (event("nonsense"), invalid("events that are not JSON objects")),
        (event("{nonsense"), invalid("an event with damaged JSON")),
        (text("a", "") + &event("{nonsense") + &text("b", STOP), invalid("an event with damaged JSON")),
        (
            event(
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}"#,
            ),
            Err(UpstreamError::NoText(
                "the model called a function instead of answering, although no function was offered".into(),
            )),
        ),
        (text("a", "") + r#"data: {"candidates":[{"con"#, Err(UpstreamError::Disconnected)),
        (
            event(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
            Err(UpstreamError::Blocked("SAFETY".into())),
        ),
        (event(r#"{"promptFeedback":{"safetyRatings":[]}}"#) + &text("a", STOP), ok(FinishReason::Stop)),
    ] {
        for piece in [1, 5, 4096] {
            assert_eq!(read(&body, piece).1, expected, "{body}");
        }
    }
}

#[test]
fn an_error_in_mid_stream_fails_the_reply_whatever_came_before() {
    let error = r#"{"error":{"code":503,"message":"overloaded hush","status":"UNAVAILABLE"}}"#;
    let pretty = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"overloaded hush\"\n  }\n}\n";
    for body in [text("a", STOP) + &event(error), text("a", STOP) + pretty, format!("[{error}]")] {
        let expected = UpstreamError::Refused {
            fault: Fault::Upstream,
            status: Some(503),
            message: "overloaded [removed]".into(),
            retry_after: None,
        };
        assert_eq!(read(&body, 6).1, Err(expected), "{body}");
    }
}

#[test]
fn a_whole_answer_without_event_stream_is_read() {
    let body = r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},
        {"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}]}]"#;
    assert_eq!(read(body, 9), ("ab".into(), Ok((FinishReason::Stop, Usage::default()))));
}

#[test]
fn refusals_have_their_fault_and_delay() {
    let fault = |status, body: &str| {
        let refused = ErrorResponse { status, retry_after: None, body: body.as_bytes().to_vec() };
        match complaint::refusal(&refused, "hush") {
            UpstreamError::Refused { fault, status, retry_after, .. } => {
                (fault, status, retry_after.map(|d| d.as_secs()))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        fault(400, r#"{"error":{"code":400,"message":"x","details":[{"reason":"API_KEY_INVALID"}]}}"#).0,
        Fault::Credentials
    );
    assert_eq!(fault(400, "{}"), (Fault::Request, Some(400), None));
    assert_eq!(fault(403, ""), (Fault::Credentials, Some(403), None));
    assert_eq!(fault(404, "<html>"), (Fault::NotServed, Some(404), None));
    assert_eq!(
        fault(429, r#"[{"error":{"details":[{"x":1},{"retryDelay":"34.4s"}]}}]"#),
        (Fault::RateLimit, Some(429), Some(34))
    );
    assert_eq!(fault(503, ""), (Fault::Upstream, Some(503), None));
}

#[test]
fn a_daily_quota_is_not_a_limit_that_passes_soon() {
    let quota = |id: &str| {
        let body = format!(
            r#"{{"error":{{"code":429,"details":[{{"violations":[{{"quotaId":"{id}"}}]}},{{"retryDelay":"48s"}}]}}}}"#
        );
        match complaint::refusal(&ErrorResponse { status: 429, retry_after: None, body: body.into() }, "hush")
        {
            UpstreamError::Refused { fault, .. } => fault,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), Fault::RateLimit);
    assert_eq!(quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), Fault::Quota);
}

#[test]
fn a_block_after_text_is_a_content_filter() {
    let block = event(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#);
    let filtered = Ok((FinishReason::ContentFilter, Usage::default()));
    assert_eq!(read(&(text("a", "") + &block), 5), ("a".into(), filtered.clone()));
    assert_eq!(read(&(text("a", STOP) + &block), 5), ("a".into(), filtered.clone()));
    assert_eq!(read(&(block.clone() + &text("a", STOP)), 5), ("a".into(), filtered));
    assert_eq!(read(&block, 5), (String::new(), Err(UpstreamError::Blocked("SAFETY".into()))));
    for none in
        [json!(null), json!(7), json!("BLOCK_REASON_UNSPECIFIED"), json!("BLOCKED_REASON_UNSPECIFIED")]
    {
        let feedback = event(&json!({"promptFeedback": {"blockReason": none}}).to_string());
        assert_eq!(
            read(&(feedback + &text("a", STOP)), 5).1,
            Ok((FinishReason::Stop, Usage::default())),
            "{none}"
        );
    }
}

#[test]
fn the_text_of_a_second_candidate_is_not_part_of_the_answer() {
    let candidate = |index: serde_json::Value, text: &str, reason: &str| {
        json!({"index": index, "finishReason": reason,
        "content": {"parts": [{"text": text}]}})
    };
    let both =
        json!({"candidates": [candidate(json!(1), "b", "MAX_TOKENS"), candidate(json!(0), "a", "STOP")]});
    let second = json!({"candidates": [candidate(json!("1"), "b", "SAFETY")]});
    let mut unnumbered =
        json!({"candidates": [candidate(json!(null), "a", "STOP"), candidate(json!(null), "b", "OTHER")]});
    unnumbered["candidates"][0].as_object_mut().unwrap().remove("index");
    let body = [&both, &second, &unnumbered].map(|json| event(&json.to_string())).concat();
    assert_eq!(read(&body, 4096), ("aa".into(), Ok((FinishReason::Stop, Usage::default()))));
}

#[test]
fn values_of_the_wrong_type_do_not_fail_the_answer() {
    for odd in ["null", "1", "-2.5", "true", "\"x\"", "[1]", "{\"a\":[]}", "NaN", "-Infinity", "1e999"] {
        let body = event(&format!(
            r#"{{"candidates":[{{"content":{{"role":{odd},"parts":[{{"a":{odd}}},{{"text":"a","thoughtSignature":{odd}}}]}},
            "finishReason":"STOP","finishMessage":{odd},"avgLogprobs":{odd},"safetyRatings":{odd},"logprobsResult":{odd}}}],
            "usageMetadata":{odd},"modelVersion":{odd},"responseId":{odd},"createTime":{odd},"promptFeedback":{odd}}}"#
        ).replace('\n', ""));
        assert_eq!(read(&body, 4096), ("a".into(), Ok((FinishReason::Stop, Usage::default()))), "{odd}");
        let after = text("a", STOP)
            + &event(&format!(r#"{{"candidates":[{odd}],"usageMetadata":{{"promptTokenCount":{odd}}}}}"#));
        assert_eq!(read(&after, 4096).0, "a", "{odd}");
        assert!(read(&after, 4096).1.is_ok(), "{odd}");
    }
    let numbered = text("a", r#","finishReason":1"#);
    assert_eq!(read(&numbered, 7), ("a".into(), Ok((FinishReason::Stop, Usage::default()))));
    let unfinished = text("a", r#","finishReason":0"#);
    assert_eq!(read(&unfinished, 7), ("a".into(), Err(UpstreamError::Disconnected)));
}

#[test]
fn named_heartbeats_are_ignored() {
    let body = "event: ping\ndata: 12:30\n\n".to_owned() + &text("a", STOP);
    assert_eq!(read(&body, 3), ("a".into(), Ok((FinishReason::Stop, Usage::default()))));
}

#[test]
fn events_that_are_not_objects_do_not_fail_the_answer() {
    for odd in
        ["\"x\"", "1", "true", "null", "[]", "{}", "[7, \"x\"]", "still busy", "[heartbeat]", "12:30", "tru"]
    {
        let odd = event(odd);
        let body = odd.clone() + &text("a", "") + &odd + &odd + &text("b", STOP) + &odd;
        assert_eq!(read(&body, 7), ("ab".into(), Ok((FinishReason::Stop, Usage::default()))), "{odd}");
        // A stream without a sign that it is finished is still a failure.
        assert_eq!(read(&(text("a", "") + &odd), 7), ("a".into(), Err(UpstreamError::Disconnected)), "{odd}");
    }
    let lines =
        "x-field: 7\nbusy\n[busy]\n".to_owned() + &text("a", "") + "busy\n{busy}\n" + &text("b", STOP);
    assert_eq!(read(&lines, 7), ("ab".into(), Ok((FinishReason::Stop, Usage::default()))));
}

#[test]
fn an_answer_with_one_object_per_line_is_read() {
    let line = |text: &str, reason: &str| {
        format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}{reason}}}]}}\n")
    };
    let body = line("a", "").repeat(20) + &line("b", STOP);
    assert_eq!(read(&body, 100), ("a".repeat(20) + "b", Ok((FinishReason::Stop, Usage::default()))));
}

#[test]
fn openais_end_mark_ends_a_finished_answer() {
    let done = event("[DONE]");
    assert_eq!(read(&(text("a", STOP) + &done + &text("b", "")), 9).0, "a");
    assert_eq!(read(&(text("a", "") + &done), 9), ("a".into(), Err(UpstreamError::Disconnected)));
}

/// Returns the outcome of these pieces of a body, on a connection that then breaks or stays silent.
async fn outcome_without_end(pieces: &[&str], is_cut: bool) -> Outcome {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from((*piece).to_owned()))).collect();
    let cut = stream::iter(is_cut.then_some(Err(PayloadError::Incomplete(None))));
    let body = stream::iter(pieces).chain(cut).chain(stream::pending()).boxed_local();
    let idle = Duration::from_secs(60);
    let batches = events(body, reader(), idle).collect::<Vec<_>>();
    match tokio::time::timeout(idle, batches).await {
        Ok(batches) => outcome(batches),
        Err(_) => ("".into(), Err(UpstreamError::Timeout(crate::upstream::CallStage::Idle, idle))),
    }
}

#[tokio::test(start_paused = true)]
async fn a_break_after_the_last_finish_reason_loses_no_text() {
    let (a, b) = (text("a", ""), text("b", STOP));
    let length = text("", r#","finishReason":"MAX_TOKENS""#);
    let usage = event(r#"{"usageMetadata":{"promptTokenCount":0}}"#);
    let ok = |text: &str, reason| (text.to_owned(), Ok((reason, Usage::default())));
    for is_cut in [true, false] {
        for (pieces, expected) in [
            (vec![&a, &b], ok("ab", FinishReason::Stop)),
            (vec![&b], ok("b", FinishReason::Stop)),
            (vec![&a, &b, &usage], ok("ab", FinishReason::Stop)),
            (vec![&length], ok("", FinishReason::Length)),
            (vec![&a, &length], ok("a", FinishReason::Length)),
        ] {
            let pieces: Vec<_> = pieces.into_iter().map(String::as_str).collect();
            assert_eq!(outcome_without_end(&pieces, is_cut).await, expected, "{is_cut} {pieces:?}");
        }
    }
    // The end of the answer, in a line without its line break.
    assert_eq!(outcome_without_end(&[&a, b.trim_end()], true).await, ok("ab", FinishReason::Stop));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_after_an_earlier_stop_is_cut() {
    // Some models put STOP on every piece, and some proxies on an empty first one.
    let texts = [text("a", STOP), text("b", STOP), text("", STOP), text("a", "")];
    let [a, b, empty, open] = texts.each_ref().map(String::as_str);
    let half = r#"data: {"candidates":[{"content":{"pa"#;
    for (pieces, said) in
        [(&[a, b][..], "ab"), (&[empty], ""), (&[empty, b], "b"), (&[a, half], "a"), (&[open], "a")]
    {
        let cut = Err(UpstreamError::Disconnected);
        assert_eq!(outcome_without_end(pieces, true).await, (said.to_owned(), cut), "{pieces:?}");
        let silent = outcome_without_end(pieces, false).await.1;
        assert!(silent.is_err(), "{pieces:?}: {silent:?}");
    }
}

#[test]
fn a_whole_answer_needs_no_finish_reason() {
    let whole = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;
    let ok = Ok((FinishReason::Stop, Usage::default()));
    for body in [whole.to_owned(), format!("[{whole}]\n"), whole.replace(":[", ":\n[")] {
        assert_eq!(read(&body, 5), ("a".into(), ok.clone()), "{body}");
    }
    // A stream needs a finish reason, in either form.
    for body in [event(whole), format!("{whole}\n{whole}\n")] {
        assert_eq!(read(&body, 5).1, Err(UpstreamError::Disconnected), "{body}");
    }
    let silent = r#"{"candidates":[{"content":{"parts":[]}}]}"#;
    assert!(read(silent, 5).1.is_err());
}

#[test]
fn a_finish_reason_of_any_type_counts() {
    for (reason, expected) in [
        ("{}", FinishReason::Stop),
        ("[]", FinishReason::Stop),
        (r#"["STOP"]"#, FinishReason::Stop),
        (r#"["MAX_TOKENS"]"#, FinishReason::Length),
        (r#"{"reason":"SAFETY"}"#, FinishReason::ContentFilter),
        ("true", FinishReason::Stop),
    ] {
        let body = text("a", &format!(r#","finishReason":{reason}"#));
        assert_eq!(read(&body, 9), ("a".into(), Ok((expected, Usage::default()))), "{reason}");
    }
}

#[test]
fn a_text_of_another_json_type_is_shown_if_its_meaning_is_clear() {
    let of = |content: &str| {
        let odd = event(&format!(r#"{{"candidates":[{{"content":{content}}}]}}"#));
        let end = event(r#"{"candidates":[{"finishReason":"STOP"}]}"#);
        (read(&(odd.clone() + &end), 9), read(&(text("a", "") + &odd + &text("b", STOP)), 9))
    };
    let ok = |text: &str| (text.to_owned(), Ok((FinishReason::Stop, Usage::default())));
    for (content, said) in [
        (r#"{"parts":[{"text":42}]}"#, "42"),
        (r#"{"parts":{"text":"ok"}}"#, "ok"),
        (r#"{"parts":["ok"]}"#, "ok"),
        (r#""ok""#, "ok"),
        (r#"[{"parts":[{"text":"o"}]},{"text":{"value":"k"}}]"#, "ok"),
    ] {
        assert_eq!(of(content), (ok(said), ok(&format!("a{said}b"))), "{content}");
    }
    let (alone, between) = of(r#"{"parts":[{"text":{"x":1}}]}"#);
    assert_eq!(alone.1, Err(UpstreamError::Invalid("a text in an unknown form".into())));
    assert_eq!(between, ok("ab"));
}

#[test]
fn a_single_candidate_is_the_answer_whatever_its_index() {
    let body = event(r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"a"}]}}]}"#)
        + &event(
            r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"b"}]},"finishReason":"SAFETY"}]}"#,
        )
        + &event(r#"{"candidates":[{"index":1,"finishReason":"STOP"}]}"#);
    assert_eq!(read(&body, 9), ("a".into(), Ok((FinishReason::Stop, Usage::default()))));
}
