//! The gemini channel: its requests, and how it reads every kind of answer.

use serde_json::{Value, json};

use crate::kit::gemini::{finish_event, text_event};
use crate::support::hearken::{Hearken, UPSTREAM_KEY};
use crate::support::outcome::{choice_of, error_of, read_as_it_comes, task_of};
use crate::support::subscriber::content;
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, base64, closed_port, fixture};

fn google_error(code: u16, status: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "status": status}})
}

#[test]
fn a_minimal_request_has_path_key_prompt_and_audio() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let audio = base64(&fixture("audio/speech.mp3"));
    hearken.wait(&hearken.submit(json!({"audio_url": format!("data:audio/mpeg;base64,{audio}")})));
    let request = upstream.request(0);
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"));
    assert_eq!(request.header("x-goog-api-key"), Some(UPSTREAM_KEY));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    assert!(request.header("accept-encoding").is_none_or(|coding| coding == "identity"));
    assert_eq!(
        request.json(),
        json!({"contents": [{"role": "user", "parts": [
            {"text": "Please transcribe this audio file"},
            {"inlineData": {"mimeType": "audio/mp3", "data": audio}}]}]})
    );
}

#[test]
fn every_field_goes_where_gemini_wants_it() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    hearken
        .wait(&hearken.submit(json!({"model": "gemini-2.5/x?y", "prompt": "What is \"said\"?\n\u{1F600}",
        "system_prompt": "Be brief.", "max_tokens": 77, "temperature": 0.25, "reasoning": true})));
    let request = upstream.request(0);
    assert_eq!(request.target, "/v1beta/models/gemini-2.5%2Fx%3Fy:streamGenerateContent?alt=sse");
    let mut body = request.json();
    assert_eq!(body["contents"][0]["parts"][0], json!({"text": "What is \"said\"?\n\u{1F600}"}));
    assert_eq!(body.as_object_mut().unwrap().remove("contents").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(
        body,
        json!({"systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {"maxOutputTokens": 77, "temperature": 0.25,
                "thinkingConfig": {"includeThoughts": true}}})
    );
}

#[test]
fn the_bytes_decide_the_media_type_and_arrive_unchanged() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    for (number, (file, mime)) in [
        ("speech.wav", "audio/wav"),
        ("speech.mp3", "audio/mp3"),
        ("speech.aiff", "audio/aiff"),
        ("speech.aac", "audio/aac"),
        ("speech.ogg", "audio/ogg"),
        ("speech.opus", "audio/ogg"),
        ("speech.flac", "audio/flac"),
        ("speech.m4a", "audio/m4a"),
    ]
    .into_iter()
    .enumerate()
    {
        let audio = base64(&fixture(&format!("audio/{file}")));
        // The same in base64url, without padding, with line breaks and under a wrong label.
        let mut written = audio.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
        written.insert_str(76, "\r\n");
        let id = hearken.submit(json!({"audio_url": format!("data:audio/x-unheard-of;base64,{written}")}));
        assert_eq!(hearken.wait(&id)["status"], "completed");
        let part = upstream.request(number).json()["contents"][0]["parts"][1]["inlineData"].clone();
        assert_eq!(part["mimeType"], mime, "{file}");
        assert!(part["data"] == audio, "{file}: other bytes");
    }
}

#[test]
fn large_audio_arrives_whole() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let mut audio = fixture("audio/speech.wav");
    audio.extend((0..6_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    let audio = base64(&audio);
    let id = hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert!(upstream.request(0).json()["contents"][0]["parts"][1]["inlineData"]["data"] == audio);
}

#[test]
fn thoughts_are_published_only_on_request() {
    let script = || FakeUpstream::gemini().think("Hm, ").think("well.").say("Hello");
    let message = |task: Value| task["results"][0]["choices"][0]["message"].clone();
    assert_eq!(
        message(task_of(script(), json!({"reasoning": true}))),
        json!({"role": "assistant", "content": "Hello", "reasoning_content": "Hm, well.", "refusal": null})
    );
    assert_eq!(
        message(task_of(script(), json!({"reasoning": false}))),
        json!({"role": "assistant", "content": "Hello", "refusal": null})
    );
}

#[test]
fn a_signature_is_no_thought_and_unknown_parts_are_ignored() {
    let event = json!({"candidates": [{"content": {"parts": [
        {"text": "a", "thoughtSignature": "c2ln"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
        {"functionCall": {"name": "f"}}, {"text": ""}, {"text": "b", "thought": false}]}}]});
    let script = FakeUpstream::gemini()
        .event(&json!({"usageMetadata": {"promptTokenCount": 3}}))
        .event(&json!({"candidates": [{"content": {"role": "model"}}]}))
        .event(&json!({"candidates": []}))
        .event(&event);
    assert_eq!(choice_of(script)["message"]["content"], "ab");
}

#[test]
fn the_usage_is_the_last_snapshot_in_openais_terms() {
    let mut first = text_event("a");
    first["usageMetadata"] =
        json!({"promptTokenCount": 15, "toolUsePromptTokenCount": 4, "totalTokenCount": 19});
    let mut last = finish_event("STOP");
    last["usageMetadata"] = json!({"promptTokenCount": 13, "candidatesTokenCount": 34, "thoughtsTokenCount": 9,
        "cachedContentTokenCount": 2, "totalTokenCount": 1,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}, {"modality": "TEXT", "tokenCount": 5},
            {"modality": "AUDIO", "tokenCount": 1}]});
    let task = task_of(FakeUpstream::gemini().event(&first).event(&last).ends(), json!({}));
    assert_eq!(
        task["results"][0]["usage"],
        json!({"prompt_tokens": 17, "completion_tokens": 43, "total_tokens": 60,
            "prompt_tokens_details": {"audio_tokens": 9, "cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 9}})
    );
}

#[test]
fn finish_reasons_are_translated() {
    for (reasons, expected) in [
        (&["STOP"][..], "stop"),
        (&["MAX_TOKENS"], "length"),
        (
            &[
                "SAFETY",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "RECITATION",
                "MODEL_ARMOR",
                "IMAGE_SAFETY",
                "IMAGE_OTHER",
                "NO_IMAGE",
            ],
            "content_filter",
        ),
        (
            &["LANGUAGE", "OTHER", "FINISH_REASON_UNSPECIFIED", "MALFORMED_FUNCTION_CALL", "SOMETHING_NEW"],
            "stop",
        ),
    ] {
        let mut script = FakeUpstream::gemini();
        for (number, reason) in reasons.iter().enumerate() {
            script = if number == 0 { script } else { script.then() }.say("some text").finish(reason);
        }
        let upstream = script.start();
        let hearken = Hearken::start(&upstream);
        for reason in reasons {
            let task = hearken.wait(&hearken.submit(json!({})));
            let choice = &task["results"][0]["choices"][0];
            assert_eq!(choice["finish_reason"], expected, "{reason}: {task}");
            assert_eq!(choice["message"]["content"], "some text");
        }
    }
}

#[test]
fn a_stop_on_every_chunk_does_not_end_the_answer() {
    let chunk = |text: &str| {
        let mut event = text_event(text);
        event["candidates"][0]["finishReason"] = json!("STOP");
        event
    };
    let script = FakeUpstream::gemini().event(&chunk("a")).event(&chunk("b")).event(&chunk("c")).ends();
    assert_eq!(choice_of(script)["message"]["content"], "abc");
}

#[test]
fn the_finish_reason_decides_about_an_answer_without_text() {
    for (reason, expected) in [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter")] {
        let choice = choice_of(FakeUpstream::gemini().finish(reason));
        assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!(expected), &json!("")));
    }
    for reason in ["OTHER", "LANGUAGE", "MALFORMED_RESPONSE"] {
        let error = error_of(FakeUpstream::gemini().finish(reason), "upstream_invalid_response");
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
    }
}

#[test]
fn a_blocked_prompt_fails_the_task() {
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}});
    let error = error_of(FakeUpstream::gemini().event(&blocked).ends(), "content_policy_violation");
    assert_eq!((&error["type"], &error["retryable"]), (&json!("content_policy_error"), &json!(false)));
    assert!(error["message"].as_str().unwrap().contains("PROHIBITED_CONTENT"));
    let upstream = FakeUpstream::gemini().event(&blocked).ends().start();
    let hearken = Hearken::start(&upstream);
    hearken.try_submit(json!({"sync": true})).error(422, "content_policy_violation");
    // Ratings alone do not block a prompt.
    let rated = json!({"promptFeedback": {"safetyRatings": [{"category": "X", "probability": "LOW"}]}});
    assert_eq!(choice_of(FakeUpstream::gemini().event(&rated).say("a"))["message"]["content"], "a");
}

#[test]
fn refusals_get_the_error_codes_of_the_contract() {
    for (status, code, retryable) in [
        (400, "upstream_rejected", false),
        (413, "upstream_rejected", false),
        (401, "upstream_auth_error", false),
        (403, "upstream_auth_error", false),
        (404, "upstream_error", true),
        (429, "upstream_rate_limited", true),
        (500, "upstream_error", true),
        (503, "upstream_error", true),
        (504, "upstream_error", true),
    ] {
        let error = error_of(FakeUpstream::error(status, &google_error(status, "X", "its own words")), code);
        assert_eq!(error["upstream_status"], status, "{error}");
        if status != 404 {
            assert_eq!(error["retryable"], retryable, "{error}");
        }
        let told = error["message"].as_str().unwrap().contains("its own words");
        assert_eq!(told, code != "upstream_auth_error", "{error}");
    }
}

#[test]
fn a_refused_key_is_a_logged_auth_error_whatever_its_status() {
    let mut body = google_error(400, "INVALID_ARGUMENT", &format!("API key not valid: {UPSTREAM_KEY}"));
    body["error"]["details"] =
        json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
    // The content type is wrong, as in the recording.
    let upstream = FakeUpstream::error(400, &body).content_type("text/event-stream").start();
    let hearken = Hearken::start(&upstream);
    let reply = hearken.try_submit(json!({"sync": true}));
    assert_eq!(reply.error(502, "upstream_auth_error")["upstream_status"], 400);
    // The operator has to know.
    hearken.log_line("credentials");
}

#[test]
fn a_rate_limit_reports_when_to_retry() {
    let mut body = google_error(429, "RESOURCE_EXHAUSTED", "Please retry in 34.4s.");
    body["error"]["details"] =
        json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]);
    let upstream = FakeUpstream::error(429, &body).start();
    let hearken = Hearken::start(&upstream);
    let reply = hearken.try_submit(json!({"sync": true}));
    assert_eq!(reply.error(503, "upstream_rate_limited")["upstream_status"], 429);
    assert_eq!(reply.header("retry-after"), Some("35"));
    let array = Value::Array(vec![body]);
    let upstream = FakeUpstream::error(429, &array).start();
    let hearken = Hearken::start(&upstream);
    assert_eq!(hearken.try_submit(json!({"sync": true})).header("retry-after"), Some("35"));
}

#[test]
fn secrets_are_removed_from_an_upstreams_error_text() {
    let said = format!(
        "Project projects/12345 with key {UPSTREAM_KEY} or AIzaSyA1234 at https://generativelanguage.googleapis.com/v1beta/x?key=1"
    );
    let error = error_of(FakeUpstream::error(500, &google_error(500, "INTERNAL", &said)), "upstream_error");
    for secret in ["12345", "AIza", "googleapis"] {
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[test]
fn an_error_in_mid_stream_fails_the_task_in_either_form() {
    let error = google_error(503, "UNAVAILABLE", "overloaded");
    let pretty = serde_json::to_string_pretty(&error).unwrap() + "\n";
    for script in [
        FakeUpstream::gemini().say("some").event(&error).ends(),
        FakeUpstream::gemini().say("some").raw(pretty.clone()).ends(),
        FakeUpstream::gemini().say("some").event(&finish_event("STOP")).raw(pretty.clone()).ends(),
        FakeUpstream::gemini().raw(format!("[{error}]")).ends(),
    ] {
        let error = error_of(script, "upstream_error");
        assert_eq!(error["upstream_status"], 503);
        assert!(error["message"].as_str().unwrap().contains("overloaded"));
    }
}

#[test]
fn a_body_that_is_no_answer_is_an_invalid_response() {
    for script in [
        FakeUpstream::gemini().content_type("text/html").raw("<html><body>Busy</body></html>").ends(),
        FakeUpstream::gemini().ends(),
        FakeUpstream::gemini().with_length().ends(),
        FakeUpstream::gemini().event(&json!({})).ends(),
        FakeUpstream::gemini().raw("data: nonsense\r\n\r\n").ends(),
        FakeUpstream::gemini().raw("data: {\"candidates\": 7}\r\n\r\n").ends(),
        FakeUpstream::gemini().event(&json!({"candidates": []})).ends(),
    ] {
        error_of(script, "upstream_invalid_response");
    }
}

#[test]
fn an_unfinished_answer_is_never_a_success() {
    for script in [
        FakeUpstream::gemini().say("Hel").ends(),
        FakeUpstream::gemini().say("Hel").ends().until_close(),
        FakeUpstream::gemini().say("Hel").ends().until_close_in_http_1_0(),
        FakeUpstream::gemini().cut(),
        FakeUpstream::gemini().say("Hel").cut(),
        FakeUpstream::gemini().slam(),
        FakeUpstream::gemini().say("Hel").raw("data: {\"candidates\": [{\"con").cut(),
    ] {
        let error = error_of(script, "upstream_disconnected");
        assert_eq!(error["retryable"], true);
    }
}

#[test]
fn bodies_of_any_framing_and_line_ending_are_read() {
    let event = |text: &str, end: &str| format!("data: {}{end}{end}", text_event(text));
    let finish = |end: &str| format!("data: {}{end}{end}", finish_event("STOP"));
    let both = |end: &str| event("Grü", end) + &event("ße\u{1F600}", end) + &finish(end);
    for script in [
        FakeUpstream::gemini().raw(both("\r\n")).ends(),
        FakeUpstream::gemini().raw(both("\n")).ends().with_length(),
        FakeUpstream::gemini().raw(both("\r")).ends().until_close(),
        FakeUpstream::gemini().raw(both("\n")).ends().until_close_in_http_1_0(),
        FakeUpstream::gemini().raw(both("\n")).ends().until_close().in_pieces_of(1),
        FakeUpstream::gemini().raw(both("\r\n")).ends().in_pieces_of(1),
        FakeUpstream::gemini().raw(both("\r\n").trim_end()).ends().in_pieces_of(3),
        FakeUpstream::gemini().raw(": ping\r\n\r\n".to_owned() + &both("\n") + "data: [DONE]\n\n").ends(),
        // The form of an answer when `alt=sse` was lost.
        FakeUpstream::gemini()
            .content_type("application/json")
            .raw(format!(
                "[{}\r\n,\r\n{}\r\n,\r\n{}]",
                text_event("Grü"),
                text_event("ße\u{1F600}"),
                finish_event("STOP")
            ))
            .ends(),
    ] {
        assert_eq!(choice_of(script)["message"]["content"], "Grüße\u{1F600}");
    }
}

#[test]
fn a_chunk_is_published_as_soon_as_it_comes() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").hold().start();
    assert_eq!(read_as_it_comes(&upstream).0, "ab");
}

#[test]
fn nothing_is_published_before_the_upstreams_first_event() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::before(&upstream).set("[stream]\nkeep_alive_seconds = 1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let mut stream = hearken.stream(&id);
    // The upstream has sent its head. After a keep-alive there is still no chunk.
    for _ in 0..2 {
        stream.comment();
    }
    upstream.release();
    assert_eq!(stream.rest().len(), 4);
}

#[test]
fn a_refused_connection_is_an_upstream_error() {
    let (_port, address) = closed_port();
    let hearken = Hearken::builder().gemini(&format!("http://{address}/v1beta")).start();
    let error = hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    assert_eq!((&error["retryable"], &error["upstream_status"]), (&json!(true), &Value::Null));
}

#[test]
fn a_redirect_is_not_followed_because_it_would_leak_the_key() {
    let elsewhere = FakeUpstream::gemini().say("stolen").start();
    for status in [301, 302, 307, 308] {
        let location = format!("{}/models/x", elsewhere.base_url());
        let upstream = FakeUpstream::gemini().status(status).header("location", &location).ends().start();
        let hearken = Hearken::start(&upstream);
        let task = hearken.wait(&hearken.submit(json!({})));
        assert_eq!(task["status"], "failed", "{task}");
        assert_eq!(task["error"]["code"], "upstream_error", "{task}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[test]
fn many_tasks_at_once_are_kept_apart() {
    let upstream = FakeUpstream::gemini().say("same").start();
    let hearken = Hearken::start(&upstream);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = hearken.client();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let id = client.submit(json!({"stream": true}));
                    assert_eq!(content(&client.stream(&id).rest()), "same");
                    assert_eq!(client.wait(&id)["status"], "completed");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(upstream.requests(), 80);
}

#[test]
fn a_block_after_text_ends_the_answer_as_its_filter_would() {
    let block = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}});
    let choice = choice_of(FakeUpstream::gemini().say("half").event(&block).ends());
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("half"), &json!("content_filter"))
    );
    error_of(FakeUpstream::gemini().event(&block).ends(), "content_policy_violation");
}

#[test]
fn a_second_candidate_and_odd_values_are_ignored() {
    let say = |text: &str, more: &str| {
        format!(
            "data: {{\"candidates\":[{{\"index\":1,\"content\":{{\"parts\":[{{\"text\":\"other\"}}]}}}},\
            {{\"index\":0,\"avgLogprobs\":NaN,\"content\":{{\"role\":7,\"parts\":[{{\"text\":\"{text}\"}}]}}{more}}}],\
            \"usageMetadata\":{{\"promptTokenCount\":\"11\",\"candidatesTokenCount\":5.0,\"thoughtsTokenCount\":-1}}}}\r\n\r\n"
        )
    };
    let body = say("a\\ud83d", "") + &say("\\ude00", ",\"finishReason\":\"STOP\"");
    let task = task_of(FakeUpstream::gemini().raw(body).ends(), json!({}));
    assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "a\u{1F600}", "{task}");
    let usage = &task["results"][0]["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(11), &json!(5)));
}
