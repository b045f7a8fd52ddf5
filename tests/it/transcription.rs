//! The transcription channel: the form that it sends, and how it reads every dialect of answer.

use serde_json::{Value, json};

use crate::kit::openai::chunk;
use crate::support::form::{fields, parts};
use crate::support::hearken::{Hearken, UPSTREAM_KEY};
use crate::support::host::Host;
use crate::support::outcome::{choice_with, error_of, read_as_it_comes};
use crate::support::subscriber::content;
use crate::support::upstream::{FakeUpstream, Script};
use crate::support::{MODEL, base64, fixture};

/// Returns the completion's text after an answer on a channel with these lines.
fn text_with(script: Script, lines: &str) -> Value {
    let choice = choice_with(script, lines);
    assert_eq!(choice["finish_reason"], "stop", "{choice}");
    choice["message"]["content"].clone()
}

fn text_of(script: Script) -> Value {
    text_with(script, "")
}

/// Returns a script that answers in one piece.
fn whole(content_type: &str, body: impl Into<Vec<u8>>) -> Script {
    FakeUpstream::transcription().content_type(content_type).raw(body).ends().with_length()
}

fn uri(file: &str) -> String {
    format!("data:audio/wav;base64,{}", base64(&fixture(&format!("audio/{file}"))))
}

#[test]
fn a_minimal_form_has_model_format_stream_and_file() {
    let upstream = FakeUpstream::transcription().say("x").start();
    let hearken = Hearken::start(&upstream);
    for (number, (file, name, content_type)) in [
        ("speech.mp3", "audio.mp3", "audio/mpeg"),
        ("speech.wav", "audio.wav", "audio/wav"),
        ("speech.flac", "audio.flac", "audio/flac"),
        ("speech.m4a", "audio.m4a", "audio/mp4"),
        ("speech.ogg", "audio.ogg", "audio/ogg"),
    ]
    .into_iter()
    .enumerate()
    {
        // Fields without a counterpart in a transcription are left out.
        let fields_of_none =
            json!({"audio_url": uri(file), "system_prompt": "Be brief.", "max_tokens": 7, "reasoning": true});
        let task = hearken.wait(&hearken.submit(fields_of_none));
        assert_eq!(task["status"], "completed", "{task}");
        let request = upstream.request(number);
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/audio/transcriptions"));
        assert_eq!(request.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
        let parts = parts(&request);
        let expected = [("model", MODEL), ("response_format", "json"), ("stream", "true")];
        assert_eq!(fields(&parts), expected.map(|(name, value)| (name, value.to_owned())));
        let sent = parts.last().unwrap();
        assert_eq!((sent.name.as_str(), sent.file_name.as_deref()), ("file", Some(name)));
        assert_eq!(sent.content_type.as_deref(), Some(content_type));
        assert!(sent.value == fixture(&format!("audio/{file}")), "{file}: other bytes");
    }
}

#[test]
fn hints_and_settings_have_fields_of_their_own() {
    let upstream = FakeUpstream::transcription().say("x").then().say("x").start();
    let hearken = Hearken::before(&upstream).channel("language = \"de\"\nstream_options = true").start();
    // No value can break out of its field.
    let hint = "Namen: Ü\r\n--hearken-\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nother";
    hearken.wait(
        &hearken.submit(json!({"prompt": hint, "temperature": 0.25, "model": "gemini-\r\n--x--\r\n\""})),
    );
    let found = parts(&upstream.request(0));
    let expected = [
        ("model", "gemini-\r\n--x--\r\n\""),
        ("response_format", "json"),
        ("prompt", hint),
        ("language", "de"),
        ("temperature", "0.25"),
        ("stream", "true"),
        ("stream_include_usage", "true"),
    ];
    assert_eq!(fields(&found), expected.map(|(name, value)| (name, value.to_owned())));
    hearken.wait(&hearken.submit(json!({})));
    let boundary = |number| upstream.request(number).header("content-type").unwrap().to_owned();
    assert_ne!(boundary(0), boundary(1));
}

#[test]
fn each_form_of_answer_is_requested_in_its_way() {
    for (lines, expected) in [
        ("response_format = \"text\"\nstream = false", &[("response_format", "text")][..]),
        (
            "response_format = \"verbose_json\"\nstream = false\nstream_options = true",
            &[("response_format", "verbose_json")],
        ),
        (
            "response_format = \"diarized_json\"",
            &[("response_format", "diarized_json"), ("stream", "true"), ("chunking_strategy", "auto")],
        ),
    ] {
        let upstream = FakeUpstream::transcription().say("x").start();
        let hearken = Hearken::before(&upstream).channel(lines).start();
        hearken.wait(&hearken.submit(json!({})));
        let found = parts(&upstream.request(0));
        let expected = expected.iter().map(|(name, value)| (*name, (*value).to_owned()));
        assert_eq!(fields(&found)[1..], expected.collect::<Vec<_>>(), "{lines}");
    }
}

#[test]
fn large_audio_and_audio_from_a_url_arrive_whole() {
    let upstream = FakeUpstream::transcription().say("x").start();
    let host = Host::serve(|asked| {
        let more = usize::from(asked.target.contains("odd"));
        asked.file("audio/wav", &large(more));
    });
    let hearken = Hearken::before(&upstream).set("[fetch]\nallow_private_networks = true").start();
    // The lengths cover every remainder of base64.
    let inline = |more| (format!("data:audio/wav;base64,{}", base64(&large(more))), more);
    let sources = [inline(0), inline(1), inline(2), (host.url("/even.wav"), 0), (host.url("/odd.wav"), 1)];
    for (number, (url, more)) in sources.into_iter().enumerate() {
        let task = hearken.wait(&hearken.submit(json!({"audio_url": url})));
        assert_eq!(task["status"], "completed", "{task}");
        let found = parts(&upstream.request(number));
        assert!(found.last().unwrap().value == large(more), "other bytes");
    }
}

/// Returns three megabytes that begin like speech.
fn large(more: usize) -> Vec<u8> {
    let mut audio = fixture("audio/speech.wav");
    let random = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    audio.extend(random);
    audio.truncate(2_999_997 + more);
    audio
}

#[test]
fn unsupported_audio_and_parameters_are_refused_before_the_call() {
    let upstream = FakeUpstream::transcription().say("x").start();
    let hearken = Hearken::start(&upstream);
    let error = hearken.try_submit(json!({"temperature": 1.5})).error(422, "model_rule_violation");
    assert_eq!(error["param"], "temperature");
    assert!(error["message"].as_str().unwrap().contains("0 to 1"), "{error}");
    for file in ["speech.aac", "speech.aiff"] {
        let error =
            hearken.try_submit(json!({"audio_url": uri(file)})).error(422, "unsupported_audio_format");
        assert!(error["message"].as_str().unwrap().contains("wav, mp3, ogg, flac, m4a"), "{error}");
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(hearken.wait(&hearken.submit(json!({"temperature": 1})))["status"], "completed");
}

#[test]
fn a_channel_that_takes_the_temperature_is_called_instead_of_another() {
    let (cool, warm) =
        (FakeUpstream::transcription().say("cool").start(), FakeUpstream::openai().say("warm").start());
    let hearken = Hearken::builder()
        .upstream("cool", "transcription", &cool.base_url())
        .channel("priority = 1")
        .upstream("warm", "openai", &warm.base_url())
        .start();
    let answer = |temperature: f64| {
        let id = hearken.submit(json!({"temperature": temperature}));
        hearken.wait(&id)["results"][0]["choices"][0]["message"]["content"].clone()
    };
    assert_eq!((answer(1.5), answer(0.5)), (json!("warm"), json!("cool")));
}

#[test]
fn a_stream_is_published_as_it_comes_with_its_usage_at_the_end() {
    let upstream = FakeUpstream::transcription().say("Ruby").hold().say(" is.").hold().start();
    let (text, task) = read_as_it_comes(&upstream);
    assert_eq!(text, "Ruby is.");
    assert_eq!(
        task["results"][0]["usage"],
        json!({"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0}})
    );
}

#[test]
fn answers_in_one_piece_are_read_whatever_was_requested() {
    let json = json!({"text": "Hello.", "usage": {"type": "duration", "seconds": 4}});
    let verbose = json!({"task": "transcribe", "language": "english", "duration": 4.1, "text": "Hello.",
        "segments": [{"id": 0, "text": " Hello.", "tokens": [1]}], "words": []});
    let diarized = json!({"task": "transcribe", "duration": 4.1, "text": "Hello. Yes.", "segments": [
        {"type": "transcript.text.segment", "id": "a", "speaker": "A", "start": 0, "end": 1, "text": "Hello."},
        {"type": "transcript.text.segment", "id": "b", "speaker": "B", "start": 1, "end": 2, "text": "Yes."}]});
    for (script, lines, text) in [
        (whole("application/json", json.to_string()), "", "Hello."),
        (whole("application/json", verbose.to_string()), "response_format = \"verbose_json\"", "Hello."),
        (whole("text/plain; charset=utf-8", "Hello.\n"), "response_format = \"text\"", "Hello."),
        (whole("application/json", "\"Hello.\""), "response_format = \"text\"", "Hello."),
        (whole("text/event-stream", json.to_string()), "", "Hello."),
        (
            whole("application/json", diarized.to_string()),
            "response_format = \"diarized_json\"",
            "A: Hello.\nB: Yes.",
        ),
        (whole("application/json", diarized.to_string()), "", "Hello. Yes."),
        (whole("application/json", "{\"text\":\"\"}"), "", ""),
        (whole("text/plain", "\n"), "response_format = \"text\"", ""),
    ] {
        assert_eq!(text_with(script.in_pieces_of(5), lines), text, "{lines}");
    }
}

#[test]
fn every_dialect_of_stream_is_understood() {
    let mistral = |kind: &str, mut json: Value| {
        json["type"] = json!(kind);
        format!("event: {kind}\ndata: {json}\n\n")
    };
    let segment = |speaker: &str, text: &str| json!({"type": "transcript.text.segment", "speaker": speaker, "text": text});
    let done = json!({"type": "transcript.text.done", "text": "Hi you."});
    let vllm = |text: &str, finish: Option<&str>| {
        let mut chunk = chunk(&json!({"content": text}), finish);
        chunk["object"] = json!("transcription.chunk");
        chunk
    };
    let script = FakeUpstream::transcription;
    for (script, text) in [
        (script().say("Hi").say(" you."), "Hi you."),
        (script().say("Hi").say(" you.").event(&done).ends(), "Hi you."),
        (script().event(&done).ends(), "Hi you."),
        (script().say("Hi").say(" you.").content_type("text/plain"), "Hi you."),
        (script().event(&segment("A", "Hi")).event(&segment("B", "you.")).event(&done).ends(), "Hi you."),
        (
            script()
                .raw(mistral("transcription.language", json!({"audio_language": "en"})))
                .raw(mistral("transcription.text.delta", json!({"text": "Hi"})))
                .raw(mistral("transcription.text.delta", json!({"text": " you."})))
                .raw(mistral("transcription.done", json!({"text": "Hi you.", "segments": []})))
                .ends(),
            "Hi you.",
        ),
        (
            script()
                .event(&vllm("Hi", None))
                .event(&vllm(" you.", Some("stop")))
                .raw("data: [DONE]\n\n")
                .ends(),
            "Hi you.",
        ),
        (script().event(&json!({"type": "transcript.text.done", "text": ""})).ends(), ""),
    ] {
        assert_eq!(text_of(script.in_pieces_of(3)), text);
    }
    let speakers = script().event(&segment("A", "Hi")).event(&segment("B", "you.")).event(&done).ends();
    assert_eq!(text_with(speakers, "response_format = \"diarized_json\""), "A: Hi\nB: you.");
}

#[test]
fn a_transcription_that_stops_unfinished_is_never_a_success() {
    let script = FakeUpstream::transcription;
    for script in [
        script().say("Hel").ends(),
        script().say("Hel").ends().until_close(),
        script().say("Hel").cut(),
        script().say("Hel").raw("data: {\"type\":\"transcript.text.done\",").ends(),
        script().slam(),
        whole("application/json", "{\"text\":\"Hel"),
        whole("text/plain", "Hello.").cut(),
    ] {
        error_of(script, "upstream_disconnected");
    }
}

#[test]
fn errors_and_invalid_bodies_get_the_codes_of_the_contract() {
    let error = json!({"error": {"message": "its own words", "type": "invalid_request_error", "code": null}});
    let script = FakeUpstream::transcription;
    for (script, code, status) in [
        (script().refuses(400, &error), "upstream_rejected", json!(400)),
        (
            script().refuses(422, &json!({"detail": [{"loc": ["body"], "msg": "its own words"}]})),
            "upstream_rejected",
            json!(422),
        ),
        (script().refuses(413, &json!({"error": "its own words"})), "upstream_rejected", json!(413)),
        (script().refuses(404, &json!({"message": "its own words"})), "upstream_error", json!(404)),
        (script().refuses(429, &error), "upstream_rate_limited", json!(429)),
        (script().refuses(503, &json!({"detail": "its own words"})), "upstream_error", json!(503)),
        (script().say("x").event(&error).ends(), "upstream_rejected", Value::Null),
        (
            script().say("x").raw(format!("event: error\ndata: {error}\n\n")).ends(),
            "upstream_rejected",
            Value::Null,
        ),
        (whole("application/json", error.to_string()), "upstream_rejected", Value::Null),
    ] {
        let found = error_of(script, code);
        assert_eq!(found["upstream_status"], status, "{found}");
        assert!(found["message"].as_str().unwrap().contains("its own words"), "{found}");
    }
    error_of(script().refuses(401, &error), "upstream_auth_error");
    for script in [
        whole("text/html", "<html>Busy</html>"),
        whole("application/json", ""),
        whole("application/json", "{}"),
        script().ends(),
        script().raw("data: nonsense\n\n").ends(),
    ] {
        error_of(script, "upstream_invalid_response");
    }
}

#[test]
fn the_rest_of_a_final_text_that_exceeds_its_deltas_is_published() {
    let done = |text: &str| json!({"type": "transcript.text.done", "text": text});
    let script = || FakeUpstream::transcription().say("Hi").say(" you");
    assert_eq!(text_of(script().event(&done("Hi you and me.")).ends()), "Hi you and me.");
    assert_eq!(text_of(script().event(&done("Something else entirely.")).ends()), "Hi you");
}

#[test]
fn a_plain_text_is_published_as_it_comes_in_either_form() {
    let asked = "response_format = \"text\"";
    for (content_type, first, second, text) in [
        ("text/plain; charset=utf-8", "Hello there, you", " and me.\n", "Hello there, you and me."),
        ("text/event-stream", "data:  Hello there.\n\n", "data: Yes.\n\n", " Hello there. Yes."),
    ] {
        let script = FakeUpstream::transcription().content_type(content_type);
        let upstream = script.raw(first).hold().raw(second).ends().start();
        let hearken = Hearken::before(&upstream).channel(asked).start();
        let id = hearken.submit(json!({"stream": true}));
        let mut stream = hearken.stream(&id);
        let mut frames = vec![stream.frame(), stream.frame()];
        upstream.release();
        frames.extend(stream.rest());
        assert_eq!(content(&frames), text, "{content_type}");
    }
}

#[test]
fn odd_values_beside_a_transcript_do_not_change_it() {
    let odd = "{\"text\":\"Hi \\ud83d\\ude00\",\"usage\":{\"input_tokens\":\"11\",\"output_tokens\":5.0,\"total_tokens\":null},\
        \"segments\":[{\"text\":\"Hi\",\"avg_logprob\":-Infinity,\"no_speech_prob\":NaN}],\"language\":7}";
    for content_type in ["application/json", "text/event-stream", "text/plain"] {
        assert_eq!(text_of(whole(content_type, odd)), "Hi \u{1F600}", "{content_type}");
    }
}

/// Returns the segments that are kept of an answer on a channel with this format.
fn segments_of(script: Script, format: &str) -> Value {
    let upstream = script.start();
    let hearken = Hearken::before(&upstream).channel(&format!("response_format = \"{format}\"")).start();
    let id = hearken.submit(json!({}));
    let query = format!("/v1/tasks/{id}?include=segments");
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(hearken.task(&id).get("segments"), None, "only on request");
    hearken.get(&query).json()["segments"].clone()
}

#[test]
fn segments_are_kept_with_the_times_of_the_upstream() {
    let mistral = |kind: &str, mut json: Value| {
        json["type"] = json!(kind);
        format!("event: {kind}\ndata: {json}\n\n")
    };
    let recorded = |file: &str| fixture(&format!("openai/{file}"));
    let spoken = json!([
        {"start": 0.0, "end": 1.0, "text": "Nothing", "speaker": "A"},
        {"start": 1.0, "end": 2.0, "text": "is lost.", "speaker": "B"},
    ]);
    let named = json!([{"start": 0.1, "end": 0.95, "text": "Hi", "speaker": "1"}]);
    for (script, format, segments) in [
        (
            whole("application/json", recorded("transcription-verbose.json")),
            "verbose_json",
            json!([{"start": 0.0, "end": 2.2, "text": "Nothing is lost."}]),
        ),
        (whole("text/event-stream", recorded("transcription-segments.sse")), "diarized_json", spoken.clone()),
        // Measured times are kept whatever format was requested.
        (whole("text/event-stream", recorded("transcription-segments.sse")), "json", spoken),
        (
            FakeUpstream::transcription()
                .raw(mistral("transcription.text.delta", json!({"text": "Hi"})))
                .raw(mistral(
                    "transcription.segment",
                    json!({"text": "Hi", "start": 0.1, "end": 0.95, "speaker_id": 1}),
                ))
                .raw(mistral(
                    "transcription.done",
                    json!({"text": "Hi", "segments": [{"text": "Hi", "start": 0.1, "end": 0.95}]}),
                ))
                .ends(),
            "json",
            named,
        ),
        // Times are never made up.
        (whole("application/json", json!({"text": "Hello."}).to_string()), "json", Value::Null),
        (
            whole("application/json", json!({"text": "Hi.", "segments": [{"text": "Hi."}]}).to_string()),
            "verbose_json",
            Value::Null,
        ),
    ] {
        assert_eq!(segments_of(script, format), segments, "{format}");
    }
}

#[test]
fn segments_are_there_after_a_restart_and_not_before_the_end() {
    let upstream = FakeUpstream::transcription()
        .event(&json!({"type": "transcript.text.segment", "start": 0, "end": 1.5, "text": "Hi."}))
        .hold()
        .event(&json!({"type": "transcript.text.done", "text": "Hi."}))
        .ends()
        .start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    let query = format!("/v1/tasks/{id}?include=segments,timeline");
    upstream.held(1);
    assert_eq!(hearken.get(&query).json().get("segments"), Some(&Value::Null));
    upstream.release();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    let expected = json!([{"start": 0.0, "end": 1.5, "text": "Hi."}]);
    assert_eq!(hearken.get(&query).json()["segments"], expected);
    hearken.crash();
    let task = hearken.get(&query).json();
    assert_eq!(task["segments"], expected);
    assert!(task["timeline"].is_object(), "{task}");
}

#[test]
fn segments_count_in_the_limit_of_an_answer() {
    let segments: Vec<Value> =
        (0..100).map(|at| json!({"start": at, "end": at + 1, "text": "Hi."})).collect();
    let answer = json!({"text": "Hi.", "segments": segments}).to_string();
    let upstream = whole("application/json", answer).start();
    let hearken = Hearken::before(&upstream).set("[limits]\nmax_answer_bytes = 2000\n").start();
    let task = hearken.wait(&hearken.submit(json!({})));
    assert_eq!(task["error"]["code"], "upstream_invalid_response", "{task}");
    assert!(task["error"]["message"].as_str().unwrap().contains("more than 2000 bytes"), "{task}");
}
