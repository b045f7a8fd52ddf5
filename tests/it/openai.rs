//! The openai channel: its requests, and how it reads every kind of answer.

use std::io::Write;

use serde_json::{Value, json};

use crate::kit::openai::{chunk, usage_chunk};
use crate::support::hearken::{Hearken, UPSTREAM_KEY};
use crate::support::host::Host;
use crate::support::outcome::{choice_of, error_of, read_as_it_comes, task_of};
use crate::support::subscriber::content;
use crate::support::upstream::{FakeUpstream, Script};
use crate::support::{MODEL, WAV, base64, closed_port, fixture};

fn openai_error(code: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": "some_error", "param": null, "code": code}})
}

#[test]
fn a_minimal_request_has_model_prompt_and_audio_and_is_streamed() {
    let upstream = FakeUpstream::openai().say("x").start();
    let hearken = Hearken::start(&upstream);
    let audio = base64(&fixture("audio/speech.mp3"));
    hearken.wait(&hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")})));
    let request = upstream.request(0);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("accept-encoding").is_none_or(|coding| coding == "identity"));
    assert_eq!(
        request.json(),
        json!({"model": MODEL, "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": [
                {"type": "text", "text": "Please transcribe this audio file"},
                {"type": "input_audio", "input_audio": {"data": audio, "format": "mp3"}}]}]})
    );
}

#[test]
fn every_field_goes_where_openai_wants_it() {
    let upstream = FakeUpstream::openai().say("x").start();
    let hearken = Hearken::start(&upstream);
    hearken
        .wait(&hearken.submit(json!({"model": "gemini-x/y?z\"", "prompt": "What is \"said\"?\n\u{1F600}",
        "system_prompt": "Be brief.", "max_tokens": 77, "temperature": 1.25, "reasoning": true})));
    let mut body = upstream.request(0).json();
    let messages = body.as_object_mut().unwrap().remove("messages").unwrap();
    assert_eq!(messages[0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(messages[1]["content"][0], json!({"type": "text", "text": "What is \"said\"?\n\u{1F600}"}));
    assert_eq!(messages[1]["content"][1]["input_audio"], json!({"data": WAV, "format": "wav"}));
    assert_eq!(
        body,
        json!({"model": "gemini-x/y?z\"", "stream": true, "stream_options": {"include_usage": true},
            "max_tokens": 77, "temperature": 1.25})
    );
}

#[test]
fn the_channels_settings_change_the_request() {
    let upstream = FakeUpstream::openai().say("x").start();
    let base_url = format!("{}/?api-version=7", upstream.base_url());
    let hearken = Hearken::builder()
        .upstream("fake", "openai", &base_url)
        .channel("max_tokens_field = \"max_completion_tokens\"\nstream_options = false\naudio_part = \"audio_url\"")
        .channel("audio_formats = [\"flac\", \"m4a\"]")
        .start();
    let audio = base64(&fixture("audio/speech.m4a"));
    let uri = format!("data:audio/mp4;base64,{audio}");
    hearken.wait(&hearken.submit(json!({"audio_url": uri, "max_tokens": 5})));
    let request = upstream.request(0);
    assert_eq!(request.target, "/v1/chat/completions?api-version=7");
    assert_eq!(
        request.json(),
        json!({"model": MODEL, "stream": true, "max_completion_tokens": 5, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "Please transcribe this audio file"},
            {"type": "audio_url", "audio_url": {"url": uri}}]}]})
    );
}

#[test]
fn large_audio_and_audio_from_a_url_arrive_whole() {
    let upstream = FakeUpstream::openai().say("x").start();
    let mut audio = fixture("audio/speech.wav");
    audio.extend((0..6_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    let file = audio.clone();
    let host = Host::of_file("audio/wav", file);
    let hearken = Hearken::before(&upstream).set("[fetch]\nallow_private_networks = true").start();
    let audio = base64(&audio);
    for (number, url) in
        [format!("data:audio/wav;base64,{audio}"), host.url("/a.wav")].into_iter().enumerate()
    {
        let task = hearken.wait(&hearken.submit(json!({"audio_url": url})));
        assert_eq!(task["status"], "completed", "{task}");
        let part = upstream.request(number).json()["messages"][0]["content"][1]["input_audio"].clone();
        assert!(part["data"] == audio && part["format"] == "wav", "other bytes");
    }
}

#[test]
fn formats_the_upstream_does_not_take_are_refused_before_the_call() {
    let upstream = FakeUpstream::openai().say("x").start();
    let hearken = Hearken::start(&upstream);
    for file in ["speech.flac", "speech.ogg", "speech.m4a", "speech.aac", "speech.aiff"] {
        let audio = base64(&fixture(&format!("audio/{file}")));
        let reply = hearken.try_submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}));
        let error = reply.error(422, "unsupported_audio_format");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&file[7..]) && message.contains("wav, mp3"), "{error}");
        assert_eq!(error["param"], "audio_url");
    }
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn a_channel_that_takes_the_format_is_called_instead_of_another() {
    let (narrow, wide) =
        (FakeUpstream::openai().say("narrow").start(), FakeUpstream::openai().say("wide").start());
    let hearken = Hearken::builder()
        .upstream("narrow", "openai", &narrow.base_url())
        .channel("priority = 1")
        .upstream("wide", "openai", &wide.base_url())
        .channel("audio_formats = [\"flac\"]")
        .start();
    let answer = |file: &str| {
        let audio = base64(&fixture(&format!("audio/{file}")));
        let id = hearken.submit(json!({"audio_url": format!("data:audio/wav;base64,{audio}")}));
        hearken.wait(&id)["results"][0]["choices"][0]["message"]["content"].clone()
    };
    assert_eq!((answer("speech.flac"), answer("speech.wav")), (json!("wide"), json!("narrow")));
}

#[test]
fn an_answer_has_hearkens_head_and_the_upstreams_texts_and_usage() {
    let script = || {
        FakeUpstream::openai()
            .event(&chunk(&json!({"role": "assistant", "content": ""}), None))
            .think("Hm, ")
            .think("well.")
            .say("Hel")
            .say("lo")
    };
    let upstream = script().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true, "reasoning": true}));
    let frames = hearken.stream(&id).rest();
    assert_eq!(content(&frames), "Hello");
    assert_eq!(frames.len(), 1 + 4 + 1 + 1, "role, texts, finish, done");
    let task = hearken.wait(&id);
    let completion = &task["results"][0];
    assert_eq!(
        completion["choices"][0],
        json!({"index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "Hello", "reasoning_content": "Hm, well.", "refusal": null}})
    );
    assert_eq!(
        completion["usage"],
        json!({"prompt_tokens": 11, "completion_tokens": 8, "total_tokens": 19,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3}})
    );
    assert_eq!((&completion["model"], &completion["created"]), (&json!(MODEL), &task["created"]));
    assert!(!task.to_string().contains("their") && !format!("{frames:?}").contains("their"), "{task}");

    let message = task_of(script(), json!({}))["results"][0]["choices"][0]["message"].clone();
    assert_eq!(message, json!({"role": "assistant", "content": "Hello", "refusal": null}));
}

#[test]
fn finish_reasons_are_translated() {
    let words = [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
        ("something_new", "stop"),
    ];
    let script = words.iter().fold(None, |script: Option<Script>, (word, _)| {
        Some(script.map_or_else(FakeUpstream::openai, Script::then).say("text").finish(word))
    });
    let upstream = script.unwrap().start();
    let hearken = Hearken::start(&upstream);
    for (word, expected) in words {
        let task = hearken.wait(&hearken.submit(json!({})));
        assert_eq!(task["results"][0]["choices"][0]["finish_reason"], expected, "{word}: {task}");
    }
    for word in ["error", "abort", "insufficient_system_resource"] {
        let error = error_of(FakeUpstream::openai().say("text").finish(word), "upstream_error");
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
}

#[test]
fn an_answer_ends_with_its_end_mark_or_its_finish_reason() {
    let finish = || chunk(&json!({}), Some("stop"));
    for script in [
        FakeUpstream::openai().say("Hi").raw("data: [DONE]\n\n").ends(),
        FakeUpstream::openai().say("Hi").event(&finish()).ends(),
        FakeUpstream::openai().say("Hi").event(&finish()).event(&usage_chunk()).ends().until_close(),
        FakeUpstream::openai().event(&chunk(&json!({"content": "Hi"}), Some("stop"))).ends(),
        FakeUpstream::openai().raw(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n").say("Hi"),
        FakeUpstream::openai().event(&json!({"choices": [], "id": ""})).say("Hi"),
    ] {
        assert_eq!(choice_of(script)["message"]["content"], "Hi");
    }
    assert_eq!(choice_of(FakeUpstream::openai().finish("length"))["finish_reason"], "length");
}

#[test]
fn nothing_is_waited_for_after_the_end_mark() {
    let upstream = FakeUpstream::openai().say("Hi").raw("data: [DONE]\n\n").hold().ends().start();
    let hearken = Hearken::start(&upstream);
    let task = hearken.wait(&hearken.submit(json!({})));
    assert_eq!(task["status"], "completed", "{task}");
    upstream.closed(0);
}

#[test]
fn an_upstream_that_ignores_streaming_answers_in_one_piece() {
    let whole = json!({"id": "c", "object": "chat.completion", "created": 7, "model": "their-model", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}});
    for text in [whole.to_string(), format!("\n\n\n{whole:#}\n")] {
        let script = FakeUpstream::openai().content_type("application/json").raw(text).ends().with_length();
        let task = task_of(script.in_pieces_of(7), json!({"reasoning": true}));
        let message = &task["results"][0]["choices"][0]["message"];
        assert_eq!(
            (&message["content"], &message["reasoning_content"]),
            (&json!("Hi"), &json!("Hm")),
            "{task}"
        );
        assert_eq!(task["results"][0]["usage"]["total_tokens"], 3);
    }
}

#[test]
fn a_connection_that_breaks_after_the_finish_reason_loses_nothing() {
    let stop = chunk(&json!({}), Some("stop"));
    for script in [FakeUpstream::openai(), FakeUpstream::openai().with_length()] {
        let choice = choice_of(script.say("Hello.").event(&stop).cut());
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!("Hello."), &json!("stop"))
        );
    }
}

#[test]
fn a_tool_call_is_reported_as_an_error() {
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]});
    let script =
        FakeUpstream::openai().event(&chunk(&call, None)).event(&chunk(&json!({}), Some("tool_calls")));
    let error = error_of(script.ends(), "upstream_invalid_response");
    assert!(error["message"].as_str().unwrap().contains("the model called a tool"), "{error}");
}

#[test]
fn the_transcript_of_a_spoken_answer_is_the_answer() {
    let spoken = |text: &str| chunk(&json!({"content": null, "audio": {"transcript": text}}), None);
    let stop = chunk(&json!({}), Some("stop"));
    let script = FakeUpstream::openai().event(&spoken("Hel")).event(&spoken("lo.")).event(&stop).ends();
    assert_eq!(choice_of(script)["message"]["content"], "Hello.");
}

#[test]
fn an_unfinished_answer_is_never_a_success() {
    for script in [
        FakeUpstream::openai().say("Hel").ends(),
        FakeUpstream::openai().say("Hel").ends().until_close(),
        FakeUpstream::openai().say("Hel").ends().until_close_in_http_1_0(),
        FakeUpstream::openai().say("Hel").cut(),
        FakeUpstream::openai().cut().with_length(),
        FakeUpstream::openai().slam(),
        FakeUpstream::openai().say("Hel").raw("data: {\"choices\": [{\"del").ends(),
    ] {
        let error = error_of(script, "upstream_disconnected");
        assert_eq!(error["retryable"], true);
    }
}

#[test]
fn a_body_that_is_no_answer_is_an_invalid_response() {
    for script in [
        FakeUpstream::openai().content_type("text/html").raw("<html><body>Busy</body></html>").ends(),
        FakeUpstream::openai().ends(),
        FakeUpstream::openai().ends().with_length(),
        FakeUpstream::openai().raw("data: [DONE]\n\n").ends(),
        FakeUpstream::openai().event(&json!({})).ends(),
        FakeUpstream::openai().raw("data: nonsense\n\n").ends(),
    ] {
        error_of(script, "upstream_invalid_response");
    }
}

#[test]
fn an_error_in_mid_stream_fails_the_task_in_every_form() {
    let error = json!({"error": {"message": "overloaded just now", "type": "server_error", "param": null, "code": 503}});
    let mut beside = chunk(&json!({"content": ""}), None);
    beside["error"] = error["error"].clone();
    for script in [
        FakeUpstream::openai().say("some").event(&error).ends(),
        FakeUpstream::openai().say("some").event(&beside).raw("data: [DONE]\n\n").ends(),
        FakeUpstream::openai().say("some").raw(format!("event: error\ndata: {error}\n\n")).ends(),
        FakeUpstream::openai().say("some").raw(format!("error: {error}\n\n")).ends(),
        FakeUpstream::openai().say("some").raw(format!("{error:#}\n")).ends(),
        FakeUpstream::openai().say("some").event(&chunk(&json!({}), Some("stop"))).event(&error).ends(),
        FakeUpstream::openai().raw(format!("[{error}]")).ends(),
    ] {
        let error = error_of(script, "upstream_error");
        assert_eq!(error["upstream_status"], 503, "{error}");
        assert!(error["message"].as_str().unwrap().contains("overloaded just now"));
    }
    let error =
        error_of(FakeUpstream::openai().event(&json!({"error": "it broke"})).ends(), "upstream_error");
    assert_eq!(error["upstream_status"], Value::Null);
}

#[test]
fn refusals_get_the_error_codes_of_the_contract() {
    let own = "its own words";
    for (status, body, code) in [
        (400, openai_error("unsupported_parameter", own), "upstream_rejected"),
        (400, openai_error("content_filter", own), "content_policy_violation"),
        (400, openai_error("context_length_exceeded", own), "upstream_rejected"),
        (401, openai_error("invalid_api_key", own), "upstream_auth_error"),
        (401, json!({"detail": own}), "upstream_auth_error"),
        (402, json!({"error": {"message": own, "code": 402}, "user_id": "user_x"}), "upstream_rate_limited"),
        (403, json!({"error": own}), "upstream_auth_error"),
        (404, openai_error("model_not_found", own), "upstream_error"),
        (413, json!({"detail": [{"msg": own}]}), "upstream_rejected"),
        (429, openai_error("rate_limit_exceeded", own), "upstream_rate_limited"),
        (429, openai_error("insufficient_quota", own), "upstream_rate_limited"),
        (500, json!({"object": "error", "message": own, "code": 500}), "upstream_error"),
        (503, json!([{"error": {"message": own, "code": 503}}]), "upstream_error"),
    ] {
        let error = error_of(FakeUpstream::openai().refuses(status, &body), code);
        if code != "content_policy_violation" {
            assert_eq!(error["upstream_status"], status, "{error}");
        }
        let told = error["message"].as_str().unwrap().contains(own);
        assert_eq!(told, code != "upstream_auth_error", "{body}: {error}");
        let passes = status == 500 || status == 503 || body["error"]["code"] == "rate_limit_exceeded";
        assert_eq!(error["retryable"], passes, "{body}: {error}");
    }
    let html = FakeUpstream::openai()
        .status(502)
        .content_type("text/html")
        .raw("<html><body>Bad Gateway</body></html>")
        .ends();
    let error = error_of(html, "upstream_error");
    assert!(error["message"].as_str().unwrap().ends_with("Bad Gateway"), "{error}");
}

#[test]
fn a_rate_limit_reports_when_to_retry() {
    let script = FakeUpstream::openai().refuses(429, &openai_error("rate_limit_exceeded", "slow down"));
    let upstream = script.header("retry-after", "3").header("retry-after-ms", "12500").start();
    let hearken = Hearken::start(&upstream);
    let reply = hearken.try_submit(json!({"sync": true}));
    assert_eq!(reply.error(503, "upstream_rate_limited")["upstream_status"], 429);
    assert_eq!(reply.header("retry-after"), Some("13"));
}

#[test]
fn secrets_are_removed_from_an_upstreams_error_text() {
    let said = "Rate limit for gpt-audio in organization org-AbCdEf123 (project 123456789012) on input tokens \
                at api.openai.com: request 4f39f3af-3267-4ac1-a0cf-6aa7451877dc, key sk-***1234, see https://platform.openai.com/x";
    let error = error_of(FakeUpstream::openai().refuses(500, &openai_error("x", said)), "upstream_error");
    for secret in ["AbCdEf", "123456789012", "4f39f3af", "1234", "openai.com"] {
        assert!(!error.to_string().contains(secret), "{secret}: {error}");
    }
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("Rate limit for gpt-audio in organization [removed]"), "{message}");
}

#[test]
fn bodies_of_any_framing_and_line_ending_are_read() {
    let event =
        |delta: Value, finish: Option<&str>, end: &str| format!("data: {}{end}{end}", chunk(&delta, finish));
    let all = |end: &str| {
        event(json!({"role": "assistant"}), None, end)
            + &event(json!({"content": "Grü"}), None, end)
            + &event(json!({"content": "ße\u{1F600}"}), None, end)
            + &event(json!({}), Some("stop"), end)
            + &format!("data: [DONE]{end}{end}")
    };
    for script in [
        FakeUpstream::openai().raw(all("\r\n")).ends(),
        FakeUpstream::openai().raw(all("\n")).ends().with_length(),
        FakeUpstream::openai().raw(all("\r")).ends().until_close(),
        FakeUpstream::openai().raw(all("\n")).ends().until_close_in_http_1_0().in_pieces_of(1),
        FakeUpstream::openai().raw(all("\r\n")).ends().in_pieces_of(1),
        FakeUpstream::openai().raw(all("\n").trim_end()).ends().in_pieces_of(3),
        FakeUpstream::openai().content_type("application/json").raw(all("\n")).ends(),
    ] {
        assert_eq!(choice_of(script)["message"]["content"], "Grüße\u{1F600}");
    }
}

#[test]
fn a_chunk_is_published_as_soon_as_it_comes() {
    let upstream = FakeUpstream::openai().raw(": keep-alive\n\n").say("a").hold().say("b").hold().start();
    assert_eq!(read_as_it_comes(&upstream).0, "ab");
}

#[test]
fn a_refused_connection_and_a_redirect_are_upstream_errors() {
    let (_port, address) = closed_port();
    let hearken = Hearken::builder().upstream("fake", "openai", &format!("http://{address}/v1")).start();
    let error = hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    assert_eq!((&error["retryable"], &error["upstream_status"]), (&json!(true), &Value::Null));

    let elsewhere = FakeUpstream::openai().say("stolen").start();
    let location = format!("{}/chat/completions", elsewhere.base_url());
    error_of(FakeUpstream::openai().status(307).header("location", &location).ends(), "upstream_error");
    assert_eq!(elsewhere.requests(), 0);
}

#[test]
fn halves_of_a_character_in_two_chunks_are_joined() {
    let say =
        |escaped: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{escaped}\"}}}}]}}\n\n");
    let script =
        FakeUpstream::openai().raw(say("a\\ud83d")).raw(say("\\ude00b")).raw(say("\\ud83d")).say("c");
    assert_eq!(choice_of(script)["message"]["content"], "a\u{1F600}b\u{FFFD}c");
}

#[test]
fn a_refusal_has_a_field_of_its_own() {
    let refuse = |text: &str| chunk(&json!({"content": null, "refusal": text}), None);
    let upstream = FakeUpstream::openai().event(&refuse("I will")).event(&refuse(" not.")).start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let frames = hearken.stream(&id).rest();
    assert_eq!(
        (frames[1].delta(), frames[2].delta()),
        (json!({"refusal": "I will"}), json!({"refusal": " not."}))
    );
    let message = hearken.wait(&id)["results"][0]["choices"][0]["message"].clone();
    assert_eq!(message, json!({"role": "assistant", "content": "", "refusal": "I will not."}));
}

#[test]
fn values_beside_the_answer_may_be_of_any_type() {
    let odd = "data: {\"id\":7,\"model\":null,\"created\":\"now\",\"choices\":[\
        {\"index\":1,\"delta\":{\"content\":\"other\"},\"finish_reason\":\"length\"},\
        {\"index\":0,\"delta\":{\"role\":[],\"content\":\"a\"},\"logprobs\":{\"content\":[{\"logprob\":-Infinity}]},\"finish_reason\":1}],\
        \"usage\":{\"prompt_tokens\":\"11\",\"completion_tokens\":8.0,\"total_tokens\":-1,\"cost\":NaN}}\n\n";
    let task = task_of(FakeUpstream::openai().raw(odd).raw("data: [DONE]\n\n").ends(), json!({}));
    assert_eq!(task["status"], "completed", "{task}");
    let (choice, usage) = (&task["results"][0]["choices"][0], &task["results"][0]["usage"]);
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("a"), &json!("stop")));
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(11), &json!(8)));
}

#[test]
fn a_compressed_stream_is_read_as_it_comes() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut pack = |text: &str| {
        encoder
            .write_all(format!("data: {}\n\n", chunk(&json!({"content": text}), None)).as_bytes())
            .unwrap();
        encoder.flush().unwrap();
        std::mem::take(encoder.get_mut())
    };
    let (first, second) = (pack("a"), pack("b"));
    encoder
        .write_all(format!("data: {}\n\ndata: [DONE]\n\n", chunk(&json!({}), Some("stop"))).as_bytes())
        .unwrap();
    let last = encoder.finish().unwrap();
    let script = FakeUpstream::openai().header("content-encoding", "gzip");
    let upstream = script.raw(first).hold().raw(second).hold().raw(last).ends().start();
    assert_eq!(read_as_it_comes(&upstream).0, "ab");

    let whole = json!({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).to_string();
    for (coding, body) in [("gzip", gzip(&whole)), ("", gzip(&whole)), ("gzip", whole.clone().into_bytes())] {
        let script =
            FakeUpstream::openai().header("content-encoding", coding).content_type("application/json");
        assert_eq!(choice_of(script.raw(body).ends().with_length())["message"]["content"], "a", "{coding}");
    }
    let refused = FakeUpstream::openai().status(400).header("content-encoding", "gzip");
    let refused = refused.raw(gzip("{\"error\":{\"message\":\"too long\"}}")).ends();
    assert_eq!(
        error_of(refused, "upstream_rejected")["message"],
        "The upstream refuses this request: too long"
    );
    let unknown = FakeUpstream::openai().header("content-encoding", "br").raw("x").ends();
    let message = error_of(unknown, "upstream_invalid_response")["message"].clone();
    assert!(message.as_str().unwrap().contains("compressed with br"), "{message}");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn errors_keep_their_text_in_every_form() {
    for (content_type, body) in [
        ("application/json", "\"too long\""),
        ("text/plain", "too long"),
        ("application/json", "{\"error\":\"too long\"}"),
        ("application/json", "{\"detail\":\"too long\"}"),
        ("application/json", "{\"message\":\"too long\"}"),
        ("text/event-stream", "data: {\"error\":{\"message\":\"too long\"}}\n\ndata: [DONE]\n\n"),
        ("text/event-stream", "event: error\ndata: too long\n\n"),
    ] {
        for script in [FakeUpstream::openai(), FakeUpstream::gemini(), FakeUpstream::transcription()] {
            let error =
                error_of(script.status(400).content_type(content_type).raw(body).ends(), "upstream_rejected");
            assert_eq!(error["message"], "The upstream refuses this request: too long", "{body}");
        }
    }
    let secret = FakeUpstream::openai()
        .status(400)
        .content_type("text/plain")
        .raw(format!("no {UPSTREAM_KEY} here"))
        .ends();
    assert_eq!(
        error_of(secret, "upstream_rejected")["message"],
        "The upstream refuses this request: no [removed] here"
    );
}

#[test]
fn a_request_that_a_server_does_not_implement_is_not_retried() {
    let upstream =
        FakeUpstream::openai().refuses(501, &openai_error("server_error", "no audio here")).start();
    let base_url = upstream.base_url();
    let lines = format!(
        "[[channels]]\nkind = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"k\"\nmodels = [\"{MODEL}\"]\nmax_retries = 2"
    );
    let hearken = Hearken::builder().channel(&lines).start();
    let error = hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    assert_eq!((&error["retryable"], upstream.requests()), (&json!(false), 1), "{error}");
}

#[test]
fn responses_that_bend_the_rules_of_http_are_read_or_reported() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let (hex, length) = (format!("{:x}", stream.len()), stream.len());
    let cases = [
        (format!("Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{stream}"), None),
        (format!("X-Note: a\r\n b\r\nContent-Length:\r\n {length}\r\n\r\n{stream}"), None),
        (format!("Transfer-Encoding: gzip, chunked\r\n\r\n{hex}\r\n{stream}\r\n0\r\n\r\n"), None),
        (
            format!("Content-Length: {length}\r\nContent-Length: 7\r\n\r\n{stream}"),
            Some("two lengths that differ"),
        ),
        (format!("Content-Length: many\r\n\r\n{stream}"), Some("a length that is not a number")),
        (
            format!("Content-Length: 20\r\n\r\n{stream}"),
            Some("longer than the Content-Length that it states"),
        ),
        (
            "Transfer-Encoding: rot13, chunked\r\n\r\n".to_owned(),
            Some("a transfer coding that was not requested"),
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nlength\r\n".to_owned(),
            Some("chunks of its response break the rules"),
        ),
        ("X: y\r\n".repeat(200) + "\r\n", Some("the head of its response is too long")),
    ];
    let answers: Vec<String> = cases.iter().map(|(answer, _)| answer.clone()).collect();
    let host = Host::serve(move |mut asked| {
        let number: usize = asked.target.split('/').nth(1).unwrap().parse().unwrap();
        let head = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
        asked.write(format!("{head}{}", answers[number]));
        asked.end();
    });
    let channels = (0..cases.len()).fold(Hearken::builder(), |builder, number| {
        builder.channel(&format!(
            "[[channels]]\nname = \"{number}\"\nkind = \"openai\"\nbase_url = \"{}\"\napi_key = \"{UPSTREAM_KEY}\"\n\
             models = [\"m-{number}\"]\nmax_retries = 0\n",
            host.url(&format!("/{number}"))
        ))
    });
    let hearken = channels.start();
    for (number, (answer, why)) in cases.iter().enumerate() {
        let task = hearken.wait(&hearken.submit(json!({"model": format!("m-{number}")})));
        match why {
            None => {
                assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "Hi", "{answer}: {task}")
            }
            Some(why) => {
                assert_eq!(task["error"]["code"], "upstream_invalid_response", "{answer}: {task}");
                assert!(task["error"]["message"].as_str().unwrap().contains(why), "{answer}: {task}");
            }
        }
    }
}
