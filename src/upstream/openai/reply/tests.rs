//! Tests of chat completions as each server writes them. The outcome must not depend on how the body is cut.

use std::time::Duration;

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::secret::Secret;
use crate::upstream::Fault;
use crate::upstream::objects::ObjectEvents;
use crate::upstream::reading::{EventBody, events};
use crate::upstream::testing::{Outcome, outcome, read_body, read_cut_body};
use crate::wire::completion::Usage;

fn reader() -> EventBody<ObjectEvents<Reply>> {
    EventBody::new(ObjectEvents::new(Reply::default(), Secret::new("hush".into())))
}

/// Returns the outcome of a body, which must not depend on how the body is cut.
fn read(body: &str) -> Outcome {
    let whole = read_body(reader(), body.as_bytes(), usize::MAX);
    for piece in [1, 5, 4096] {
        assert_eq!(read_body(reader(), body.as_bytes(), piece), whole, "{body:?} in pieces of {piece}");
    }
    whole
}

fn event(json: &Value) -> String {
    format!("data: {json}\n\n")
}

fn choice(delta: Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "other",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]})
}

fn say(text: &str) -> String {
    event(&choice(json!({"content": text}), None))
}

fn stop(word: &str) -> String {
    event(&choice(json!({}), Some(word)))
}

const DONE: &str = "data: [DONE]\n\n";

fn usage(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt + completion,
        ..Usage::default()
    }
}

fn ok(text: &str, reason: FinishReason) -> Outcome {
    (text.to_owned(), Ok((reason, Usage::default())))
}

fn invalid(text: &str, why: &str) -> Outcome {
    (text.to_owned(), Err(UpstreamError::Invalid(why.to_owned())))
}

fn cut_off(text: &str) -> Outcome {
    (text.to_owned(), Err(UpstreamError::Disconnected))
}

fn refused(text: &str, fault: Fault, status: Option<u16>, message: &str) -> Outcome {
    let message = message.to_owned();
    (text.to_owned(), Err(UpstreamError::Refused { fault, status, message, retry_after: None }))
}

#[test]
fn openai_sends_a_role_then_texts_an_end_and_the_usage() {
    let body = event(&choice(json!({"role": "assistant", "content": "", "refusal": null}), None))
        + &say("The ")
        + &say("end.")
        + &stop("stop")
        + &event(
            &json!({"choices": [], "usage": {"prompt_tokens": 14, "completion_tokens": 8, "total_tokens": 22}}),
        )
        + DONE;
    assert_eq!(read(&body), ("The end.".into(), Ok((FinishReason::Stop, usage(14, 8)))));
}

#[test]
fn the_first_chunk_of_azure_has_no_choice() {
    let first = json!({"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []});
    let mut filtered = choice(json!({"content": "Why"}), None);
    filtered["choices"][0]["content_filter_results"] = json!({"hate": {"filtered": false}});
    let body = event(&first) + &event(&filtered) + &stop("content_filter") + DONE;
    assert_eq!(read(&body), ok("Why", FinishReason::ContentFilter));
}

#[test]
fn openrouter_sends_comments_and_a_usage_beside_a_choice() {
    let thought = json!({"role": "assistant", "content": "", "reasoning": "Hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]});
    let mut last = choice(
        json!({"role": "assistant", "content": "", "reasoning": null, "reasoning_details": []}),
        Some("length"),
    );
    last["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0});
    let body = ": OPENROUTER PROCESSING\n\n".repeat(3)
        + &event(&choice(thought, None))
        + &event(&choice(json!({"role": "assistant", "content": "Hi"}), Some("length")))
        + &event(&last)
        + DONE;
    assert_eq!(read(&body), ("(Hm)Hi".into(), Ok((FinishReason::Length, usage(3, 2)))));

    let mut error = choice(json!({"role": "assistant", "content": ""}), None);
    error["error"] = json!({"code": 400, "message": "Token limit reached"});
    let body = say("Hi") + &stop("length") + &event(&error) + DONE;
    assert_eq!(read(&body), refused("Hi", Fault::Request, Some(400), "Token limit reached"));
}

#[test]
fn groq_names_its_error_event_and_has_its_own_usage_field() {
    let body = event(&choice(json!({"reasoning": "We", "channel": "analysis"}), None))
        + "event: error\ndata: {\"error\":{\"message\":\"no tool\",\"type\":\"invalid_request_error\",\"status_code\":400}}\n\n";
    assert_eq!(read(&body), refused("(We)", Fault::Request, Some(400), "no tool"));

    let mut last = choice(json!({}), Some("stop"));
    last["x_groq"] =
        json!({"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
    assert_eq!(read(&(say("a") + &event(&last))), ("a".into(), Ok((FinishReason::Stop, usage(1, 2)))));
}

#[test]
fn vllm_ends_with_a_text_and_sends_done_after_an_error() {
    let body = event(&choice(json!({"role": "assistant"}), None))
        + &event(&choice(json!({"content": "<"}), Some("length")))
        + DONE;
    assert_eq!(read(&body), ok("<", FinishReason::Length));
    let error =
        json!({"error": {"message": "broke", "type": "InternalServerError", "param": null, "code": 500}});
    assert_eq!(read(&(say("a") + &event(&error) + DONE)), refused("a", Fault::Upstream, Some(500), "broke"));
}

#[test]
fn deepseek_sends_keep_alives_and_reasoning() {
    let body = ": keep-alive\n\n".to_owned()
        + &event(&choice(json!({"reasoning_content": "Hm"}), None))
        + ": keep-alive\n\n"
        + &event(&choice(json!({"reasoning_content": null, "content": "4"}), None))
        + &stop("stop")
        + DONE;
    assert_eq!(read(&body), ok("(Hm)4", FinishReason::Stop));
    let whole = json!({"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "reasoning_content": "Hm", "content": "4"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}});
    let expected = ("(Hm)4".into(), Ok((FinishReason::Stop, usage(1, 1))));
    assert_eq!(read(&format!("\n\n\n{whole}")), expected);
    assert_eq!(read(&format!("\r\n\n{whole:#}\n")), expected);
    assert_eq!(read(&cut(&format!("{whole:#}"), 9)), cut_off(""));
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.len() - bytes].to_owned()
}

#[test]
fn mistral_sends_thinking_in_lists_and_counts_audio_separately() {
    let thinking = json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "So 14"}], "closed": true},
        {"type": "text", "text": "1"}]});
    let mut last = choice(json!({"content": "44"}), Some("stop"));
    last["usage"] =
        json!({"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 385, "prompt_audio_seconds": 3});
    let (text, end) = read(&(event(&choice(thinking, None)) + &event(&last) + DONE));
    let usage = end.unwrap().1;
    assert_eq!((text.as_str(), usage.prompt_tokens, usage.completion_tokens), ("(So 14)144", 379, 6));
    assert_eq!((usage.total_tokens, usage.prompt_tokens_details.audio_tokens), (385, 375));
}

#[test]
fn ollama_has_another_reasoning_field_and_a_separate_usage() {
    let body = event(&choice(json!({"role": "assistant", "content": "", "reasoning": "r"}), None))
        + &say("a")
        + &stop("stop")
        + &event(
            &json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
        )
        + DONE;
    assert_eq!(read(&body), ("(r)a".into(), Ok((FinishReason::Stop, usage(1, 1)))));
}

#[test]
fn gpustack_has_no_end_mark_and_sends_errors_as_a_field() {
    assert_eq!(read(&(say("a") + &stop("stop"))), ok("a", FinishReason::Stop));
    let body = say("a") + "error: {\"detail\":{\"x\":1},\"error\":{\"message\":\"gone\",\"code\":503}}\n\n";
    assert_eq!(read(&body), refused("a", Fault::Upstream, Some(503), "gone"));
    assert_eq!(read(&(say("a") + "error: it broke\n")), refused("a", Fault::Upstream, None, "it broke"));
}

#[test]
fn perplexity_repeats_the_message_in_every_chunk() {
    let chunk = |delta: &str, so_far: &str, finish: Option<&str>| {
        let mut chunk = choice(json!({"role": "assistant", "content": delta}), finish);
        chunk["choices"][0]["message"] = json!({"role": "assistant", "content": so_far});
        chunk["usage"] =
            json!({"prompt_tokens": 2, "completion_tokens": so_far.len(), "total_tokens": 2 + so_far.len()});
        format!("data: {chunk}\r\n\r\n")
    };
    let body = ": ping - 2026-01-01\r\n\r\n".to_owned()
        + &chunk("a", "a", None)
        + &chunk("b", "ab", None)
        + &chunk("", "ab", Some("stop"));
    assert_eq!(read(&body), ("ab".into(), Ok((FinishReason::Stop, usage(2, 2)))));
}

#[test]
fn snowflake_sends_no_finish_reason() {
    let body =
        event(&json!({"id": "", "created": 0, "choices": [{"delta": {"content": "a", "refusal": ""}}]}))
            + DONE;
    assert_eq!(read(&body), ok("a", FinishReason::Stop));
    assert_eq!(
        read(&(event(&choice(json!({"reasoning": "r"}), None)) + DONE)),
        ok("(r)", FinishReason::Stop)
    );
}

#[test]
fn each_way_to_end_a_reply_has_its_outcome() {
    for (body, expected) in [
        (stop("stop"), ok("", FinishReason::Stop)),
        (stop("length") + DONE, ok("", FinishReason::Length)),
        (say("a") + &stop("eos"), ok("a", FinishReason::Stop)),
        (say("a") + &stop("stop") + &stop("length"), ok("a", FinishReason::Length)),
        (say("a") + "data: [DONE] \n\n", ok("a", FinishReason::Stop)),
        (say("a") + "data: [DONE]", ok("a", FinishReason::Stop)),
        (say("a") + DONE + &say("b") + "data: nonsense\n\n", ok("a", FinishReason::Stop)),
        (say("a"), cut_off("a")),
        (event(&choice(json!({"role": "assistant", "content": ""}), None)), cut_off("")),
        (say("a") + "data: {\"choices\":[{\"del", cut_off("a")),
        (say("a") + &stop("stop") + "{\n  \"error\": {", cut_off("a")),
        (DONE.into(), invalid("", "an empty response")),
        (event(&choice(json!({"role": "assistant"}), None)) + DONE, invalid("", "an empty response")),
        (String::new(), invalid("", "an empty response")),
        ("\n\n: ping\n\n".into(), invalid("", "an empty response")),
        ("data:\n\ndata: {}\n\n".into(), invalid("", "an empty response")),
        ("<html>\n<body>busy</body></html>".into(), invalid("", "a body that is not an event stream")),
        ("{\"choices\": nonsense}".into(), invalid("", "a body that is not an event stream")),
        ("data: nonsense\n\n".into(), invalid("", "events that are not JSON objects")),
        ("data: 7\n\ndata: [DONE]\n\n".into(), invalid("", "events that are not JSON objects")),
        ("data: {7\n\n".into(), invalid("", "an event with damaged JSON")),
        (
            say("a") + "data: {\"choices\": <<<\n\n" + &stop("stop"),
            invalid("a", "an event with damaged JSON"),
        ),
        (say("a") + "event: ping\ndata: {}\n\nx-field: 7\n" + &stop("stop"), ok("a", FinishReason::Stop)),
    ] {
        assert_eq!(read(&body), expected, "{body:?}");
    }
    let (text, end) = read(&(say("a") + &stop("abort") + DONE));
    assert_eq!(text, "a");
    assert!(matches!(end, Err(UpstreamError::Refused { fault: Fault::Upstream, .. })), "{end:?}");
}

#[test]
fn an_error_in_any_place_fails_the_reply_even_after_the_end() {
    let error = json!({"error": {"message": "m", "code": 503}});
    let pretty = format!("{error:#}\n");
    for body in [
        event(&error),
        event(&error) + DONE,
        format!("event: error\n{}", event(&error)),
        error.to_string(),
        pretty.clone(),
        format!("\n\n{pretty}"),
        format!("[{error}]"),
        format!("[\n{pretty}]\n"),
        stop("stop") + &pretty,
        stop("stop") + &event(&error),
        stop("stop") + &format!("error: {error}\n"),
        format!("{{\n{}\n  }}\n\n{DONE}", "\"error\": {\"message\": \"m\", \"code\": 503}"),
        event(&json!({"object": "error", "message": "m", "code": 503})),
    ] {
        assert_eq!(read(&body), refused("", Fault::Upstream, Some(503), "m"), "{body:?}");
    }
    assert_eq!(read(&event(&json!({"error": "m"}))), refused("", Fault::Upstream, None, "m"));
    assert_eq!(read(&event(&json!({"detail": "m"}))), refused("", Fault::Upstream, None, "m"));
    let blocked = json!({"error": {"message": "m", "code": "content_filter"}});
    assert_eq!(read(&event(&blocked)), (String::new(), Err(UpstreamError::Blocked("m".into()))));
}

proptest! {
    #[test]
    fn the_outcome_of_a_body_does_not_depend_on_how_it_is_cut(
        lines in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..24),
                prop::sample::select(vec![
                    "data: {\"choices\":[{\"delta\":{\"content\":\"é\"}}]}", "data: [DONE]", "", "", "event: error",
                    "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}", "{\"error\":", "{\"message\":\"m\"}}", "}", "[", "]",
                    "data: {\"usage\":{}}", "error: x", ":", "data: {\"choices\":[{\"message\":{\"content\":[{\"text\":\"x\"}]}}]}",
                ]).prop_map(|line| line.as_bytes().to_vec()),
            ],
            0..16,
        ),
        answer_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let body = lines.join(answer_end.as_bytes());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(read_cut_body(reader(), &body, &cuts), read_body(reader(), &body, usize::MAX));
    }
}

#[test]
fn a_refusal_is_reported_as_a_refusal_and_not_as_an_empty_answer() {
    let no = |delta: Value| event(&choice(delta, None));
    let body = no(json!({"role": "assistant", "content": null, "refusal": ""}))
        + &no(json!({"refusal": "I will"}))
        + &no(json!({"refusal": " not."}))
        + &stop("stop")
        + DONE;
    assert_eq!(read(&body), ok("<I will not.>", FinishReason::Stop));
    let whole = json!({"choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": null, "refusal": "No."}}]});
    assert_eq!(read(&whole.to_string()), ok("<No.>", FinishReason::Stop));
}

#[test]
fn a_finish_reason_that_is_not_a_word_ends_a_whole_answer() {
    let odd = event(&json!({"choices": [{"delta": {}, "finish_reason": 1}]}));
    assert_eq!(read(&(say("a") + &odd)), ok("a", FinishReason::Stop));
    assert_eq!(read(&(say("a") + &odd + DONE)), ok("a", FinishReason::Stop));
    let none = event(&json!({"choices": [{"delta": {}, "finish_reason": 0}]}));
    assert_eq!(read(&(say("a") + &none)), cut_off("a"));
}

#[test]
fn old_completions_are_read_and_unreadable_content_is_an_error() {
    let legacy = event(&json!({"choices": [{"text": "legacy", "finish_reason": "stop"}]})) + DONE;
    assert_eq!(read(&legacy), ok("legacy", FinishReason::Stop));
    let unreadable = say("").replace(r#""content":"""#, r#""content":{"x":5}"#) + &stop("stop") + DONE;
    let unknown = UpstreamError::Invalid("content in an unknown form".into());
    assert_eq!(read(&unreadable), (String::new(), Err(unknown)));
    for other in [json!({"foo": "bar"}), json!({"choices": []})] {
        let none = UpstreamError::Invalid("an answer without choices".into());
        assert_eq!(read(&other.to_string()), (String::new(), Err(none)), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_although_its_connection_stays_open() {
    let body = Bytes::from(say("a") + &stop("stop"));
    let open = stream::iter([Ok(body)]).chain(stream::pending()).boxed_local();
    let batches: Vec<_> = events(open, reader(), Duration::from_secs(60)).collect().await;
    assert!(
        matches!(batches.last(), Some(Ok(batch)) if matches!(batch.last(), Some(UpstreamEvent::Finished { .. })))
    );
}

#[test]
fn events_that_are_not_objects_do_not_fail_the_answer() {
    for odd in
        ["\"x\"", "1", "true", "null", "[]", "{}", "[7, \"x\"]", "still busy", "[heartbeat]", "12:30", "tru"]
    {
        let odd = format!("data: {odd}\n\n");
        let body = odd.clone() + &say("a") + &odd + &odd + &say("b") + &odd + &stop("stop") + &odd + DONE;
        assert_eq!(read(&body), ok("ab", FinishReason::Stop), "{odd}");
        // A stream without a sign that it is finished is still a failure.
        assert_eq!(read(&(say("a") + &odd)), cut_off("a"), "{odd}");
    }
    let lines = "busy\n[busy]\n".to_owned() + &say("a") + "{busy}\n" + &say("b") + &stop("stop");
    assert_eq!(read(&lines), ok("ab", FinishReason::Stop));
}

#[test]
fn spoken_words_are_the_answer_if_the_model_wrote_nothing() {
    let spoken = |content: Value, transcript: &str| {
        event(&choice(json!({"content": content, "audio": {"id": "a", "transcript": transcript}}), None))
    };
    let data = event(&choice(json!({"audio": {"data": "UklGRg=="}}), None));
    let null = Value::Null;
    let body = spoken(null.clone(), "It ") + &data + &spoken(null.clone(), "rains.") + &stop("stop") + DONE;
    assert_eq!(read(&body), ok("It rains.", FinishReason::Stop));
    let whole = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant",
        "content": null, "refusal": null, "audio": {"id": "a", "data": "UklGRg==", "transcript": "It rains."}}}]});
    assert_eq!(read(&whole.to_string()), ok("It rains.", FinishReason::Stop));
    // If a server sends the same text in both places, only one of them is used.
    let both = spoken(json!("It "), "It ") + &spoken(json!("rains."), "rains.") + &stop("stop");
    assert_eq!(read(&both), ok("It rains.", FinishReason::Stop));
    let late = spoken(null.clone(), "It rains.") + &say("It rains.") + &stop("stop");
    assert_eq!(read(&late), ok("It rains.", FinishReason::Stop));
    let blank = spoken(json!("\n"), "It rains.") + &stop("stop");
    assert_eq!(read(&blank), ok("\nIt rains.", FinishReason::Stop));
}

#[test]
fn a_tool_call_is_not_an_empty_answer() {
    let called = UpstreamError::NoText(
        "the model called a tool instead of answering, although no tool was offered".into(),
    );
    let calls =
        json!([{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let call = event(&choice(json!({"content": null, "tool_calls": calls}), None));
    let legacy = event(&choice(json!({"function_call": {"name": "f"}}), Some("function_call")));
    for body in [
        call.clone() + &stop("tool_calls") + DONE,
        call.clone() + &stop("stop"),
        call.clone() + DONE,
        stop("tool_use"),
        legacy,
    ] {
        assert_eq!(read(&body), (String::new(), Err(called.clone())), "{body}");
    }
    assert_eq!(read(&(say("a") + &call + &stop("tool_calls"))), ok("a", FinishReason::Stop));
    let none = event(&choice(json!({"content": "a", "tool_calls": [], "function_call": null}), Some("stop")));
    assert_eq!(read(&none), ok("a", FinishReason::Stop));
}

#[test]
fn content_in_an_unknown_form_is_not_an_empty_answer() {
    let of = |content: Value| event(&choice(json!({ "content": content }), Some("stop"))) + DONE;
    let unknown = UpstreamError::Invalid("content in an unknown form".into());
    for content in [json!({"body": "x"}), json!([{"type": "audio", "id": 1}]), json!(false)] {
        assert_eq!(read(&of(content.clone())), (String::new(), Err(unknown.clone())), "{content}");
    }
    for content in [json!([]), json!([{"type": "text", "text": ""}]), json!([null]), json!("")] {
        assert_eq!(read(&of(content.clone())), ok("", FinishReason::Stop), "{content}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_after_the_end_loses_no_text() {
    for (text, expected) in [
        (say("a") + &stop("stop"), ok("a", FinishReason::Stop)),
        (say("a") + &stop("stop") + "data: {\"error\": {\"mess", cut_off("a")),
        (say("a") + &stop("stop") + "data: {\"choices\":[],\"usa", ok("a", FinishReason::Stop)),
        (
            json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).to_string(),
            ok("a", FinishReason::Stop),
        ),
        (json!({"choices": [{"message": {"content": "a"}}]}).to_string(), ok("a", FinishReason::Stop)),
        (json!({"choices": [{"delta": {"content": "a"}}]}).to_string(), cut_off("a")),
        (say("a"), cut_off("a")),
    ] {
        let broken = [Ok(Bytes::from(text.clone())), Err(PayloadError::Incomplete(None))];
        let batches =
            events(stream::iter(broken).boxed_local(), reader(), Duration::from_secs(60)).collect().await;
        assert_eq!(outcome(batches), expected, "{text}");
    }
}

#[test]
fn a_whole_answer_needs_no_finish_reason() {
    for finish in [json!({}), json!({"finish_reason": null}), json!({"finish_reason": ""})] {
        let mut choice = json!({"index": 0, "message": {"role": "assistant", "content": "a"}});
        choice.as_object_mut().unwrap().extend(finish.as_object().unwrap().clone());
        let whole = json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
        let expected = ("a".to_owned(), Ok((FinishReason::Stop, usage(1, 2))));
        assert_eq!(read(&whole.to_string()), expected, "{whole}");
        assert_eq!(read(&format!("\n{whole:#}\n")), expected, "{whole}");
        // In an event it is a piece of a stream, and a stream must report that it is finished.
        assert_eq!(read(&event(&whole)), cut_off("a"), "{whole}");
    }
    let silent = json!({"choices": [{"message": {"content": ""}}]}).to_string();
    assert_eq!(read(&silent), invalid("", "an empty response"));
}

#[test]
fn a_finish_reason_of_any_type_counts() {
    for (reason, expected) in [
        (json!({"type": "length"}), FinishReason::Length),
        (json!(["stop"]), FinishReason::Stop),
        (json!({}), FinishReason::Stop),
    ] {
        let mut last = choice(json!({"content": "a"}), None);
        last["choices"][0]["finish_reason"] = reason.clone();
        assert_eq!(read(&event(&last)), ok("a", expected), "{reason}");
    }
}

#[test]
fn a_text_of_another_json_type_is_part_of_the_answer() {
    for (odd, said) in [(json!(42), "42"), (json!({"type": "text", "text": "X"}), "X"), (json!(true), "true")]
    {
        let odd = event(&choice(json!({ "content": odd }), None));
        assert_eq!(read(&(odd.clone() + &stop("stop") + DONE)), ok(said, FinishReason::Stop));
        let body = say("a") + &odd + &say("b") + &stop("stop") + DONE;
        assert_eq!(read(&body), ok(&format!("a{said}b"), FinishReason::Stop));
    }
    let words = event(&json!({"choices": [{"delta": "ok", "finish_reason": null}]}));
    assert_eq!(read(&(words + DONE)), ok("ok", FinishReason::Stop));
}

#[test]
fn a_single_choice_is_the_answer_whatever_its_index() {
    let of =
        |index: u64, text: &str| event(&json!({"choices": [{"index": index, "delta": {"content": text}}]}));
    assert_eq!(read(&(of(1, "a") + &of(0, "x") + &of(1, "b") + DONE)), ok("ab", FinishReason::Stop));
    let whole = json!({"choices": [{"index": 1, "message": {"content": "a"}, "finish_reason": "stop"}]});
    assert_eq!(read(&whole.to_string()), ok("a", FinishReason::Stop));
    // An error of another choice does not fail the answer.
    let failed =
        event(&json!({"choices": [{"index": 1, "finish_reason": "error", "error": {"message": "x"}}]}));
    assert_eq!(read(&(of(0, "a") + &failed + DONE)), ok("a", FinishReason::Stop));
}

#[test]
fn invalid_counts_do_not_change_valid_counts() {
    let mut good = choice(json!({"content": "a"}), None);
    good["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    for odd in ["{}", "null", "{\"prompt_tokens\":NaN,\"completion_tokens\":-1}"] {
        let last = format!("data: {{\"choices\":[],\"usage\":{odd}}}\n\n");
        let body = event(&good) + &stop("stop") + &last + DONE;
        assert_eq!(read(&body), ("a".into(), Ok((FinishReason::Stop, usage(10, 5)))), "{odd}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_declared_end_is_sent_before_a_short_idle_limit_passes() {
    let idle = Duration::from_millis(900);
    let open =
        stream::iter([Ok(Bytes::from(say("a") + &stop("stop")))]).chain(stream::pending()).boxed_local();
    let batches = tokio::time::timeout(idle, events(open, reader(), idle).collect()).await.unwrap();
    assert_eq!(outcome(batches), ok("a", FinishReason::Stop));
}
