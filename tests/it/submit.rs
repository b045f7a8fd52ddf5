//! `POST /v1/llm/generations`: what is accepted, what is refused, and with which message.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, KEY, NARROW_KEY, OTHER_KEY};
use crate::support::http::Reply;
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, WAV, base64, body, fixture, wav};

const PATH: &str = "/v1/llm/generations";

fn idle_upstream() -> FakeUpstream {
    FakeUpstream::gemini().never().start()
}

#[test]
fn an_accepted_task_reads_as_the_contract_shows_it() {
    let upstream = idle_upstream();
    let hearken = Hearken::start(&upstream);
    for stream in [true, false] {
        let reply = hearken.try_submit(json!({"stream": stream})).expect(200);
        let task = reply.json();
        let (id, created) = (task["id"].as_str().unwrap(), task["created"].as_u64().unwrap());
        let suffix = id.strip_prefix(&format!("task-llm-{created}-")).unwrap();
        assert!(
            suffix.len() == 8 && suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
            "{id}"
        );
        let link = if stream {
            format!("{{\"url\":\"/v1/llm/generations/{id}/stream\"}}")
        } else {
            "null".to_owned()
        };
        assert_eq!(
            reply.text(),
            format!(
                "{{\"id\":\"{id}\",\"object\":\"llm.generation.task\",\"type\":\"llm\",\"model\":\"{MODEL}\",\
                 \"status\":\"pending\",\"progress\":0,\"created\":{created},\"stream\":{link},\
                 \"results\":null,\"error\":null}}"
            )
        );
        assert_eq!(reply.header("location"), Some(format!("/v1/tasks/{id}").as_str()));
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
}

#[test]
fn every_response_has_a_request_id_the_clients_own_if_usable() {
    let hearken = Hearken::builder().local().start();
    let ask = |id: &str| hearken.call("GET", "/v1/models", &[("x-request-id", id)], None);
    let longest = "x".repeat(128);
    for id in ["a", "Req-1._x", longest.as_str()] {
        assert_eq!(ask(id).header("x-request-id"), Some(id));
    }
    let too_long = "x".repeat(129);
    for id in ["a b", "a/b", too_long.as_str()] {
        let reply = ask(id);
        let made = reply.header("x-request-id").unwrap();
        assert!(made != id && !made.is_empty(), "{made}");
    }
    for (method, path) in [("GET", "/healthz"), ("GET", "/nowhere"), ("PUT", "/v1/models")] {
        let reply = hearken.call(method, path, &[("x-request-id", "mine")], None);
        assert_eq!(reply.header("x-request-id"), Some("mine"), "{path}");
    }
    let generated = |_| hearken.get("/healthz").header("x-request-id").unwrap().to_owned();
    let ids: std::collections::HashSet<String> = (0..5).map(generated).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn the_rules_of_the_fields_hold_at_their_boundaries() {
    let upstream = idle_upstream();
    let hearken = Hearken::start(&upstream);
    let accepted = [
        json!({"model": format!("gemini-{}", "m".repeat(249))}),
        json!({"prompt": "x"}),
        json!({"prompt": "\u{1F600}".repeat(100_000)}),
        json!({"max_tokens": 1}),
        json!({"max_tokens": 1_000_000}),
        json!({"temperature": 0}),
        json!({"temperature": 2}),
        json!({"temperature": 2.0}),
        json!({"temperature": 0.3}),
        json!({"system_prompt": ""}),
        json!({"system_prompt": "é".repeat(10_000)}),
        json!({"reasoning": true}),
        json!({"reasoning": false, "stream": false, "sync": false}),
    ];
    for changes in accepted {
        let reply = hearken.try_submit(changes.clone());
        assert_eq!(
            reply.status,
            200,
            "{}: {reply}",
            &changes.to_string()[..changes.to_string().len().min(80)]
        );
    }
    let refused = [
        ("model", json!("")),
        ("model", json!("m".repeat(257))),
        ("model", json!(7)),
        ("model", json!(["m"])),
        ("model", Value::Null),
        ("audio_url", json!("")),
        ("audio_url", json!(1)),
        ("audio_url", json!({"url": "x"})),
        ("audio_url", Value::Null),
        ("prompt", json!("")),
        ("prompt", json!("é".repeat(100_001))),
        ("prompt", json!(["x"])),
        ("sync", json!("true")),
        ("sync", json!(1)),
        ("stream", json!("false")),
        ("stream", json!(0)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1.5)),
        ("max_tokens", json!("5")),
        ("temperature", json!(-0.01)),
        ("temperature", json!(2.01)),
        ("temperature", json!("1")),
        ("system_prompt", json!("\u{1F600}".repeat(10_001))),
        ("system_prompt", json!(1)),
        ("reasoning", json!("yes")),
        ("reasoning", json!(1)),
    ];
    for (field, value) in refused {
        let error = hearken.try_submit(json!({field: value})).error(422, "invalid_param");
        assert_eq!(error["param"], field, "{error}");
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
}

#[test]
fn a_missing_field_is_named() {
    let hearken = Hearken::builder().local().start();
    let reply = hearken.post(PATH, &json!({"audio_url": wav()}));
    assert_eq!(reply.error(422, "invalid_param")["param"], "model");
    let reply = hearken.post(PATH, &json!({"model": "local-inspect"}));
    assert_eq!(reply.error(422, "invalid_param")["param"], "audio_url");
    assert_eq!(
        reply.text(),
        "{\"error\":{\"code\":\"invalid_param\",\
         \"message\":\"audio_url is required: send it as a string\",\
         \"type\":\"invalid_request_error\",\"param\":\"audio_url\"}}"
    );
}

#[test]
fn unknown_fields_are_ignored_and_null_means_absent() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"prompt": null, "sync": null, "stream": null, "max_tokens": null,
        "temperature": null, "system_prompt": null, "reasoning": null,
        "messages": [{"role": "user"}], "image_url": 7, "x": null}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(
        upstream.request(0).json(),
        json!({"contents": [{"role": "user", "parts": [
            {"text": "Please transcribe this audio file"},
            {"inlineData": {"mimeType": "audio/wav", "data": WAV}}]}]})
    );
}

#[test]
fn a_body_of_another_type_is_refused() {
    let hearken = Hearken::builder().local().start();
    let json = body(json!({"model": "local-inspect"})).to_string();
    let post = |headers: &[(&str, &str)]| hearken.call("POST", PATH, headers, Some(json.as_bytes()));
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        post(headers).error(415, "unsupported_media_type");
    }
    for value in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        post(&[("content-type", value)]).expect(200);
    }
}

#[test]
fn a_body_that_is_announced_as_too_large_is_refused_without_being_read() {
    let hearken = Hearken::builder().local().start();
    let headers = [("content-type", "application/json"), ("content-length", "29360129")];
    // Not a byte of the body is sent.
    let reply = hearken.raw(hearken.head("POST", PATH, &headers).as_bytes());
    reply.error(413, "request_too_large");
    assert_eq!(reply.header("connection"), Some("close"));
}

#[test]
fn a_body_that_turns_out_too_large_is_refused_with_the_reason() {
    let hearken = Hearken::builder().local().set("[limits]\nmax_body_bytes = 100000").start();
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let mut bytes = hearken.head("POST", PATH, &headers).into_bytes();
    for _ in 0..300 {
        bytes.extend(b"10000\r\n");
        bytes.extend(vec![b'x'; 0x10000]);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    hearken.raw(&bytes).error(413, "request_too_large");
    // The largest allowed body is not refused for its size.
    let padded = |size: usize| {
        let text = body(json!({"model": "local-inspect"})).to_string();
        text.clone() + &" ".repeat(size - text.len())
    };
    let post = |size| {
        let text = padded(size);
        hearken.call("POST", PATH, &[("content-type", "application/json")], Some(text.as_bytes()))
    };
    post(100_000).expect(200);
    post(100_001).error(413, "request_too_large");
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let hearken = Hearken::builder().local().start();
    let post = |text: &str| {
        hearken.call("POST", PATH, &[("content-type", "application/json")], Some(text.as_bytes()))
    };
    for text in ["", "{", "{\"model\": }", "{\"model\":\"m\"} x", "nonsense"] {
        let error = post(text).error(400, "invalid_json");
        assert_eq!(error["param"], Value::Null, "{text}");
    }
    for text in ["[]", "7", "null", "\"text\""] {
        post(text).error(422, "invalid_param");
    }
}

#[test]
fn unknown_paths_and_methods_are_answered_in_json() {
    let hearken = Hearken::builder().local().start();
    for path in ["/nowhere", "/v1", "/v1/llm", "/v1/tasks/", "/v1/llm/generations/", "/metrics"] {
        hearken.get(path).error(404, "not_found");
    }
    let task = "/v1/tasks/task-llm-1776874565-yq3szvcu";
    for (method, path, allow) in [
        ("GET", PATH.to_owned(), "POST"),
        ("DELETE", task.to_owned(), "GET, HEAD"),
        ("GET", format!("{task}/cancel"), "POST"),
        ("PUT", format!("{PATH}/task-llm-1776874565-yq3szvcu/stream"), "GET, HEAD"),
        ("DELETE", "/v1/models".to_owned(), "GET, HEAD"),
        ("DELETE", "/v1/configs/llm_generations_models".to_owned(), "GET, HEAD"),
    ] {
        let body = (method == "PUT").then_some(&b""[..]);
        let reply = hearken.call(method, &path, &[], body);
        reply.error(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn every_endpoint_requires_a_key_and_says_only_missing_or_invalid() {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    let task = "/v1/tasks/task-llm-1776874565-yq3szvcu";
    let stream = format!("{PATH}/task-llm-1776874565-yq3szvcu/stream");
    let cancel = format!("{task}/cancel");
    for (method, path) in [
        ("POST", PATH),
        ("GET", task),
        ("POST", &cancel),
        ("GET", &stream),
        ("GET", "/v1/models"),
        ("GET", "/v1/configs/llm_generations_models"),
    ] {
        let with = |authorization: Option<&str>| {
            let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
            let body = (method == "POST").then_some(&b"{}"[..]);
            let reply = anonymous.call(method, path, &headers, body);
            reply.error(401, "invalid_api_key");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            reply.text()
        };
        let (missing, unknown) = (with(None), with(Some("Bearer sk-unknown")));
        assert_ne!(missing, unknown);
        for malformed in [KEY, "Basic c2s6", "Bearer", "Bearer ", "Bearersk-x", &format!("Bearer {KEY}x")] {
            assert_eq!(with(Some(malformed)), unknown, "{malformed}");
        }
    }
    let reply = anonymous.call("GET", "/v1/models", &[("authorization", &format!("bearer {KEY}"))], None);
    assert_eq!(reply.status, 200, "the scheme may be in upper or lower case");
}

#[test]
fn a_key_may_use_only_its_models() {
    let upstream = idle_upstream();
    let hearken = Hearken::start(&upstream);
    let narrow = hearken.with_key(NARROW_KEY);
    narrow.try_submit(json!({"model": "gemini-other"})).expect(200);
    for model in [MODEL, "no-channel-serves-this"] {
        let error = narrow.try_submit(json!({"model": model})).error(403, "model_not_allowed");
        assert_eq!(error["param"], "model");
    }
    let error =
        hearken.try_submit(json!({"model": "no-channel-serves-this"})).error(422, "no_available_model");
    assert_eq!(error["param"], "model");
    assert!(!error.to_string().contains("fake"), "the channel is not shown: {error}");
}

#[test]
fn a_model_without_audio_input_is_refused() {
    let upstream = idle_upstream();
    let hearken = Hearken::before(&upstream).channel("capabilities = [\"text\"]").start();
    let error = hearken.try_submit(json!({})).error(422, "model_not_support_capability");
    assert_eq!(error["param"], "model");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn data_uris_are_taken_as_clients_write_them() {
    let upstream = idle_upstream();
    let hearken = Hearken::start(&upstream);
    let unpadded = WAV.trim_end_matches('=');
    for uri in [
        format!("data:audio/wav;base64,{WAV}"),
        format!("DATA:AUDIO/X-WAV;BASE64,{WAV}"),
        format!("data:audio/vnd.wave;base64,{unpadded}"),
        format!("data:audio/ogg;codecs=opus;base64,{WAV}"),
        format!("data:application/ogg;base64,{WAV}"),
        format!("data:audio/wave;base64,{}\n{}", &WAV[..20], &WAV[20..]),
        format!("data:audio/mpeg;base64, {WAV} "),
        format!("data:audio/wav;base64,{}", WAV.replace('/', "_").replace('+', "-")),
    ] {
        let reply = hearken.try_submit(json!({"audio_url": uri}));
        assert_eq!(reply.status, 200, "{uri}: {reply}");
    }
}

fn refusal(reply: &Reply, code: &str) {
    let error = reply.error(422, code);
    assert_eq!(error["param"], "audio_url", "{error}");
}

#[test]
fn an_unusable_audio_url_is_refused() {
    let hearken = Hearken::builder().local().start();
    let submit = |uri: &str| hearken.try_submit(json!({"model": "local-inspect", "audio_url": uri}));
    for uri in [
        &format!("data:audio/wav,{WAV}"),
        &format!("data:audio/wav;base64{WAV}"),
        &format!("data:text/plain;base64,{WAV}"),
        &format!("data:;base64,{WAV}"),
        "data:audio/wav;base64,UklG%52g==",
        "data:audio/wav;base64,U",
        "data:audio/wav;base64,****",
        "ftp://example.com/a.wav",
        "file:///etc/passwd",
        "blob:https://example.com/1",
        "example.com/a.wav",
        "//example.com/a.wav",
        "http://",
        "https:///a.wav",
        "http://exa mple.com/a.wav",
        "http://localhost/a.wav",
        "http://a.localhost./a.wav",
        "http://127.0.0.1/a.wav",
        "http://127.1/a.wav",
        "http://2130706433/a.wav",
        "http://0.0.0.0/a.wav",
        "http://10.1.2.3/a.wav",
        "http://172.16.0.1/a.wav",
        "http://192.168.0.1/a.wav",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.wav",
        "http://[fd00::1]/a.wav",
        "http://[fe80::1]/a.wav",
        "http://[::ffff:10.0.0.1]/a.wav",
        "http://metadata.google.internal/a.wav",
    ] {
        refusal(&submit(uri), "invalid_audio_url");
    }
    for payload in ["", "  ", &base64(b"this is no audio at all"), &base64(b"%PDF-1.7"), &base64(&[0; 4000])]
    {
        refusal(&submit(&format!("data:audio/wav;base64,{payload}")), "unsupported_audio_format");
    }
}

#[test]
fn audio_that_is_too_large_is_refused_before_the_upstream_is_called() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let speech = base64(&fixture("audio/speech.opus"));
    let exactly = speech.len() + "ask".len() + "be".len();
    let hearken = Hearken::before(&upstream).channel(&format!("max_request_bytes = {exactly}")).start();
    let submit = |prompt: &str| {
        hearken.try_submit(json!({"audio_url": format!("data:audio/ogg;base64,{speech}"), "prompt": prompt,
            "system_prompt": "be"}))
    };
    refusal(&submit("more"), "audio_too_large");
    assert_eq!(upstream.requests(), 0);
    let id = submit("ask").expect(200).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn too_many_waiting_tasks_are_refused() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::before(&upstream)
        .channel("max_running_tasks = 1")
        .set("[limits]\nmax_pending_tasks = 1")
        .start();
    let running = hearken.submit(json!({}));
    upstream.held(1);
    let waiting = hearken.submit(json!({}));
    let reply = hearken.try_submit(json!({}));
    reply.error(429, "queue_full");
    assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    upstream.release();
    assert_eq!(hearken.wait(&running)["status"], "completed");
    upstream.held(2);
    upstream.release();
    assert_eq!(hearken.wait(&waiting)["status"], "completed");
}

#[test]
fn a_submit_that_arrives_in_small_pieces_is_accepted() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let bytes = hearken.submit_bytes(json!({}));
    let mut socket = hearken.send_raw(b"");
    for piece in bytes.as_bytes().chunks(11) {
        socket.write_all(piece).unwrap();
    }
    upstream.request(0);
}

#[test]
fn the_same_submit_of_another_caller_is_another_task() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let mine = hearken.submit(json!({}));
    let theirs = hearken.with_key(OTHER_KEY).submit(json!({}));
    assert_ne!(mine, theirs);
    hearken.get(&format!("/v1/tasks/{theirs}")).error(404, "task_not_found");
    hearken.with_key(OTHER_KEY).get(&format!("/v1/tasks/{mine}")).error(404, "task_not_found");
}

#[test]
fn a_body_in_another_encoding_is_refused_by_the_encodings_name() {
    let upstream = FakeUpstream::gemini().start();
    let hearken = Hearken::start(&upstream);
    let text = body(json!({"prompt": "h\u{f6}r zu"})).to_string();
    let marked = format!("\u{feff}{text}");
    let wide = |text: &str| -> [Vec<u8>; 4] {
        let units: Vec<u16> = text.encode_utf16().collect();
        let characters: Vec<u32> = text.chars().map(u32::from).collect();
        [
            units.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            characters.iter().flat_map(|character| character.to_le_bytes()).collect(),
            characters.iter().flat_map(|character| character.to_be_bytes()).collect(),
        ]
    };
    let latin: Vec<u8> = text.chars().map(|character| character as u8).collect();
    let names = ["UTF-16", "UTF-16", "UTF-32", "UTF-32"];
    let cases = wide(&text).into_iter().zip(names).chain(wide(&marked).into_iter().zip(names));
    for (bytes, name) in cases.chain([(latin, "not UTF-8")]) {
        let json = [("content-type", "application/json")];
        let reply = hearken.call("POST", "/v1/llm/generations", &json, Some(&bytes));
        let error = reply.error(400, "invalid_json");
        assert!(error["message"].as_str().unwrap().contains(name), "{name}: {error}");
    }
    assert_eq!(upstream.requests(), 0);
}
