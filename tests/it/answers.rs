//! Answers in unusual forms and with unusual ends, on every kind of channel: hearken never discards an answer that was
//! paid for.

use serde_json::{Value, json};

use crate::kit::gemini::{finish_event, text_event};
use crate::kit::openai::chunk;
use crate::support::hearken::Hearken;
use crate::support::outcome::{choice_of, choice_with, error_of, task_of};
use crate::support::upstream::{FakeUpstream, Script};

const TEXT_ASKED: &str = "response_format = \"text\"";

/// Returns a script that answers with one JSON document instead of a stream.
fn whole(kind: fn() -> Script, body: impl Into<Vec<u8>>) -> Script {
    kind().content_type("application/json").raw(body).ends().with_length()
}

/// Returns a Gemini answer with one candidate of this content. It serves as a whole answer and as an event.
fn candidate(content: &Value, more: &Value) -> Value {
    let mut candidate = json!({"index": 0, "content": content});
    candidate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"candidates": [candidate]})
}

/// Returns a whole OpenAI answer with one choice of this message.
fn completion(message: &Value, more: &Value) -> Value {
    let mut choice = json!({"index": 0, "message": message});
    choice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"choices": [choice]})
}

/// Returns the text of the completion. The channels of tests do not retry.
fn text_of(script: Script) -> Value {
    let choice = choice_of(script);
    assert_eq!(choice["finish_reason"], "stop", "{choice}");
    choice["message"]["content"].clone()
}

#[test]
fn a_whole_answer_needs_no_finish_reason() {
    let message = json!({"role": "assistant", "content": "Hi"});
    for more in [json!({}), json!({"finish_reason": null}), json!({"finish_reason": ""})] {
        let body = completion(&message, &more).to_string();
        assert_eq!(text_of(whole(FakeUpstream::openai, body)), "Hi", "{more}");
    }
    let body = candidate(&json!({"parts": [{"text": "Hi"}]}), &json!({})).to_string();
    assert_eq!(text_of(whole(FakeUpstream::gemini, body.clone())), "Hi");
    // A stream needs an explicit end.
    for script in [
        FakeUpstream::gemini().raw(format!("data: {body}\r\n\r\n")).ends(),
        FakeUpstream::openai().event(&completion(&message, &json!({}))).ends(),
        FakeUpstream::openai().event(&chunk(&message, None)).ends(),
    ] {
        error_of(script, "upstream_disconnected");
    }
}

#[test]
fn a_finished_answer_survives_a_broken_connection() {
    let stop = || finish_event("STOP");
    let at_once = json!({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]});
    let done = json!({"type": "transcript.text.done", "text": "Hi"});
    let ended = chunk(&json!({}), Some("stop"));
    for script in [
        FakeUpstream::gemini().say("Hi").event(&stop()).cut(),
        FakeUpstream::gemini().say("Hi").event(&stop()).with_length().cut(),
        FakeUpstream::gemini().event(&at_once).cut(),
        FakeUpstream::gemini().raw(at_once.to_string()).cut(),
        FakeUpstream::openai().say("Hi").event(&ended).cut(),
        FakeUpstream::openai().say("Hi").event(&ended).raw("data: {\"choices\":[],\"usa").cut(),
        FakeUpstream::transcription().say("Hi").event(&done).cut(),
        whole(FakeUpstream::transcription, "{\"text\":\"Hi\"}").cut(),
    ] {
        assert_eq!(text_of(script), "Hi");
    }
}

#[test]
fn a_cut_after_a_stop_that_was_not_the_last_fails_the_task() {
    let stop = |text: &str| {
        let mut event = text_event(text);
        event["candidates"][0]["finishReason"] = json!("STOP");
        event
    };
    let half = "data: {\"candidates\": [{\"con";
    for script in [
        FakeUpstream::gemini().event(&stop("a")).event(&stop("b")).cut(),
        FakeUpstream::gemini().event(&stop("a")).raw(half).cut(),
    ] {
        error_of(script, "upstream_disconnected");
    }
}

#[test]
fn silence_after_the_end_of_an_answer_is_no_timeout() {
    let ended = chunk(&json!({}), Some("stop"));
    let done = json!({"type": "transcript.text.done", "text": "Hi"});
    let run = |script: Script| {
        let upstream = script.hold().ends().start();
        let hearken = Hearken::before(&upstream).channel("idle_timeout_ms = 1500").start();
        let task = hearken.wait(&hearken.submit(json!({})));
        assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "Hi", "{task}");
    };
    let scripts = [
        FakeUpstream::gemini().say("Hi").event(&finish_event("STOP")),
        FakeUpstream::gemini()
            .event(&candidate(&json!({"parts": [{"text": "Hi"}]}), &json!({"finishReason": "STOP"}))),
        FakeUpstream::openai().say("Hi").event(&ended),
        FakeUpstream::transcription().say("Hi").event(&done),
    ];
    std::thread::scope(|scope| {
        for script in scripts {
            scope.spawn(|| run(script));
        }
    });
}

#[test]
fn a_finish_reason_of_any_type_ends_an_answer() {
    let parts = json!({"parts": [{"text": "Hi"}]});
    for reason in [json!({}), json!(["STOP"]), json!(true), json!(1)] {
        let body = candidate(&parts, &json!({"finishReason": reason}));
        assert_eq!(text_of(FakeUpstream::gemini().event(&body).ends()), "Hi", "{body}");
        let mut last = chunk(&json!({"content": "Hi"}), None);
        last["choices"][0]["finish_reason"] = reason;
        assert_eq!(text_of(FakeUpstream::openai().event(&last).ends()), "Hi", "{last}");
    }
    let whole = whole(
        FakeUpstream::openai,
        completion(&json!({"content": "Hi"}), &json!({"finish_reason": {"type": "length"}})).to_string(),
    );
    assert_eq!(choice_of(whole)["finish_reason"], "length");
}

#[test]
fn a_text_of_an_unexpected_json_type_is_read() {
    for (content, text) in [
        (json!({"parts": [{"text": 42}]}), "42"),
        (json!({"parts": {"text": "Hi"}}), "Hi"),
        (json!({"parts": ["Hi"]}), "Hi"),
        (json!("Hi"), "Hi"),
    ] {
        let script = || FakeUpstream::gemini();
        assert_eq!(text_of(script().event(&candidate(&content, &json!({})))), text, "{content}");
        let between = script().say("a").event(&candidate(&content, &json!({}))).say("b");
        assert_eq!(text_of(between), format!("a{text}b"), "{content}");
    }
    for (content, text) in [(json!(42), "42"), (json!({"type": "text", "text": "X"}), "X")] {
        let event = chunk(&json!({ "content": content }), None);
        assert_eq!(text_of(FakeUpstream::openai().event(&event)), text, "{content}");
        assert_eq!(text_of(FakeUpstream::openai().say("a").event(&event).say("b")), format!("a{text}b"));
    }
    assert_eq!(text_of(FakeUpstream::openai().event(&chunk(&json!("ok"), None))), "ok");
    assert_eq!(text_of(whole(FakeUpstream::transcription, "{\"text\":42}")), "42");
    // An unreadable text is an error, not an empty answer.
    let unclear = json!({"parts": [{"text": {"x": 1}}]});
    error_of(FakeUpstream::gemini().event(&candidate(&unclear, &json!({}))), "upstream_invalid_response");
    error_of(whole(FakeUpstream::transcription, "{\"text\":{\"x\":1}}"), "upstream_invalid_response");
}

#[test]
fn a_refusal_is_reported_in_every_form() {
    let part = json!({"content": [{"type": "refusal", "refusal": "I cannot"}]});
    for script in [
        FakeUpstream::openai().event(&chunk(&part, None)),
        FakeUpstream::openai().event(&chunk(&json!({"refusal": {"text": "I cannot"}}), None)),
        whole(FakeUpstream::openai, completion(&part, &json!({"finish_reason": "stop"})).to_string()),
    ] {
        let choice = choice_of(script);
        assert_eq!(choice["message"]["refusal"], "I cannot", "{choice}");
    }
}

#[test]
fn a_single_choice_is_the_answer_whatever_its_index() {
    let mut second = completion(&json!({"content": "Hi"}), &json!({"finish_reason": "stop"}));
    second["choices"][0]["index"] = json!(1);
    assert_eq!(text_of(whole(FakeUpstream::openai, second.to_string())), "Hi");
    let numbered = |index: u64, text: &str, more: &Value| {
        let mut event = candidate(&json!({"parts": [{"text": text}]}), more);
        event["candidates"][0]["index"] = json!(index);
        event
    };
    let script = FakeUpstream::gemini()
        .event(&numbered(1, "H", &json!({})))
        .event(&numbered(0, "other", &json!({"finishReason": "SAFETY"})))
        .event(&numbered(1, "i", &json!({"finishReason": "STOP"})))
        .ends();
    assert_eq!(text_of(script), "Hi");
}

#[test]
fn invalid_token_counts_do_not_replace_valid_ones() {
    let mut good = chunk(&json!({"content": "Hi"}), Some("stop"));
    good["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    for odd in ["{}", "{\"prompt_tokens\":NaN,\"completion_tokens\":-1}"] {
        let last = format!("data: {{\"choices\":[],\"usage\":{odd}}}\n\ndata: [DONE]\n\n");
        let task = task_of(FakeUpstream::openai().event(&good).raw(last).ends(), json!({}));
        assert_eq!(task["results"][0]["usage"]["total_tokens"], 15, "{odd}: {task}");
    }
}

#[test]
fn an_empty_plain_text_completes_with_an_empty_answer() {
    let plain = |kind: &str| FakeUpstream::transcription().content_type(kind).ends().with_length();
    for script in [
        plain("text/plain; charset=utf-8").raw(""),
        FakeUpstream::transcription().raw("data: [DONE]\n\n").ends(),
    ] {
        let upstream = script.start();
        let hearken = Hearken::before(&upstream).channel(TEXT_ASKED).start();
        let task = hearken.wait(&hearken.submit(json!({})));
        assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "", "{task}");
        assert_eq!(upstream.requests(), 1);
    }
    error_of(plain("application/json").raw(""), "upstream_invalid_response");
}

#[test]
fn a_declared_charset_is_decoded() {
    let utf16: Vec<u8> = "Gr\u{fc}\u{df}e \u{1f600}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (charset, body, text) in [
        ("iso-8859-1", b"Gr\xfc\xdfe".to_vec(), "Gr\u{fc}\u{df}e"),
        ("utf-16", utf16, "Gr\u{fc}\u{df}e \u{1f600}"),
    ] {
        let script = FakeUpstream::transcription().content_type(&format!("text/plain; charset={charset}"));
        let choice = choice_with(script.raw(body).ends().in_pieces_of(3), TEXT_ASKED);
        assert_eq!(choice["message"]["content"], text, "{charset}");
    }
    let refused = FakeUpstream::openai().status(400).content_type("text/plain; charset=iso-8859-1");
    let error = error_of(refused.raw(&b"Gr\xfc\xdfe"[..]).ends(), "upstream_rejected");
    assert!(error["message"].as_str().unwrap().contains("Gr\u{fc}\u{df}e"), "{error}");
}

#[test]
fn the_rest_of_a_final_transcript_in_another_spelling_is_published() {
    let done = |text: &str| json!({"type": "transcript.text.done", "text": text});
    for (deltas, whole, text) in [
        (["hello ", "world"], "Hello, world. And more.", "hello world. And more."),
        (["ca", "f\u{e9}"], "Cafe\u{301} and more", "caf\u{e9} and more"),
        (["hello ", "world"], "Something else", "hello world"),
    ] {
        let script = FakeUpstream::transcription().say(deltas[0]).say(deltas[1]).event(&done(whole)).ends();
        assert_eq!(text_of(script), text);
    }
}

#[test]
fn an_upstreams_error_text_is_kept_in_every_form() {
    for body in [
        json!({"errors": [{"message": "its own words"}]}),
        json!({"error": ["its own words"]}),
        json!(["its own words"]),
        json!({"error": {"error": {"message": "its own words"}}}),
        json!({"error": {"message": {"text": "its own words"}}}),
        json!({"error_message": "its own words"}),
        json!({"error": "invalid", "error_description": "its own words"}),
    ] {
        let error = error_of(FakeUpstream::openai().refuses(400, &body), "upstream_rejected");
        assert!(error["message"].as_str().unwrap().contains("its own words"), "{body}: {error}");
    }
    let page = "<html><head><title>Bad</title></head><body><p>its own words</p></body></html>";
    let page = FakeUpstream::gemini().status(400).content_type("text/html").raw(page).ends();
    let error = error_of(page, "upstream_rejected");
    assert!(error["message"].as_str().unwrap().ends_with("Bad: its own words"), "{error}");
}

#[test]
fn a_rate_limit_reports_the_wait_in_all_three_places() {
    let body = json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}});
    let upstream = FakeUpstream::error(429, &body).header("retry-after", "40").start();
    let hearken = Hearken::before(&upstream).channel("max_retry_wait_ms = 500").start();
    let told = hearken.try_submit(json!({"sync": true})).error(503, "upstream_rate_limited");
    let id = hearken.submit(json!({"stream": true}));
    let frame = hearken.stream(&id).rest().pop().unwrap().json();
    let task = hearken.wait(&id);
    for error in [&told, &frame["error"], &task["error"]] {
        assert!(
            error["message"].as_str().unwrap().ends_with("slow down; try again in 40 seconds"),
            "{error}"
        );
    }
}
