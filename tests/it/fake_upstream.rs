//! `hearken fake-upstream`: every dialect and every fault, byte by byte, and what hearken makes of them.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;

use hearken::fake_upstream::text;
use serde_json::{Value, json};

use crate::kit::chunked::Chunked;
use crate::kit::request::Request;
use crate::support::fake_command::{ANY_KEY, FakeCommand};
use crate::support::hearken::{Hearken, run};
use crate::support::http::Reply;
use crate::support::subscriber::content;
use crate::support::{MODEL, WAV, fixture};
use crate::tidy::root;

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The response ended as HTTP requires.
    Clean,
    /// The connection closed before the end of the response.
    Closed,
}

/// A response as it was received, with its body taken out of the HTTP chunks.
#[derive(Debug)]
struct Wire {
    head: Reply,
    body: Vec<u8>,
    pieces: Vec<usize>,
    end: End,
}

impl Wire {
    /// Reads until the fake closes the connection, as each [`request`] asks it to.
    fn read(mut socket: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        (!bytes.is_empty()).then(|| Self::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        let head = Reply::parse(bytes);
        if let Some(length) = head.header("content-length") {
            let end = if length.parse() == Ok(head.body.len()) { End::Clean } else { End::Closed };
            return Self { body: head.body.clone(), pieces: Vec::new(), end, head };
        }
        assert_eq!(head.header("transfer-encoding"), Some("chunked"), "{head}");
        let (mut body, mut pieces, mut chunked) = (Vec::new(), Vec::new(), Chunked::new());
        let taken = chunked.take(&head.body, |data| {
            body.extend_from_slice(data);
            pieces.push(data.len());
        });
        taken.unwrap();
        assert!(chunked.is_over() || chunked == Chunked::new(), "{head} ends within a chunk");
        let end = if chunked.is_over() { End::Clean } else { End::Closed };
        Self { head, body, pieces, end }
    }

    fn status(&self) -> u16 {
        self.head.status
    }

    fn content_type(&self) -> &str {
        self.head.header("content-type").unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|err| panic!("{err}: {}", self.text()))
    }

    /// Returns the data of its events. Each event must be complete and end with two of these line ends.
    fn events(&self, line_end: &str) -> Vec<Value> {
        let separator = line_end.repeat(2);
        let events = self.text().strip_suffix(&separator).unwrap_or_else(|| panic!("{:?}", self.text()));
        let data = events.split(&separator).map(|event| event.lines().last().unwrap());
        let data = data.map(|line| line.strip_prefix("data: ").unwrap_or_else(|| panic!("{line:?}")));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// Returns the bytes of a request that asks the server to close the connection afterwards.
fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    Request::new("POST", path, "fake").headers(headers).header("connection", "close").body(body).bytes()
}

fn gemini_body() -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": "?"},
        {"inlineData": {"mimeType": "audio/wav", "data": WAV}}]}]})
}

fn gemini_request(call: &str) -> Vec<u8> {
    let headers = [("x-goog-api-key", ANY_KEY), ("content-type", "application/json")];
    request(&format!("/v1beta/models/{call}"), &headers, gemini_body().to_string().as_bytes())
}

fn chat_body(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": "?"},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}]}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {ANY_KEY}"))
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--split\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let file = b"--split\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
        content-type: audio/mpeg\r\n\r\n";
    [body, file.to_vec(), fixture("audio/speech.mp3"), b"\r\n--split--\r\n".to_vec()].concat()
}

impl FakeCommand {
    fn try_gemini(&self, call: &str) -> Option<Wire> {
        Wire::read(self.client().send_raw(&gemini_request(call)))
    }

    /// Returns the Gemini event stream that a model answers with.
    fn events(&self, model: &str) -> Wire {
        self.try_gemini(&format!("{model}:streamGenerateContent?alt=sse")).unwrap()
    }

    fn chat(&self, model: &str, more: &Value) -> Wire {
        let (name, key) = bearer();
        let body = chat_body(model, more).to_string();
        let bytes = request("/v1/chat/completions", &[(name, &key)], body.as_bytes());
        Wire::read(self.client().send_raw(&bytes)).unwrap()
    }

    fn chat_stream(&self, model: &str) -> Wire {
        self.chat(model, &json!({"stream": true, "stream_options": {"include_usage": true}}))
    }

    fn transcription(&self, fields: &[(&str, &str)]) -> Wire {
        let (name, key) = bearer();
        let headers = [(name, key.as_str()), ("content-type", "multipart/form-data; boundary=split")];
        let bytes = request("/v1/audio/transcriptions", &headers, &form(fields));
        Wire::read(self.client().send_raw(&bytes)).unwrap()
    }
}

/// Returns the joined texts of Gemini's events: the thoughts, or all other texts.
fn gemini_texts(events: &[Value], thoughts: bool) -> String {
    let parts =
        events.iter().flat_map(|event| event["candidates"][0]["content"]["parts"].as_array()).flatten();
    let parts = parts.filter(|part| part["thought"].as_bool().unwrap_or(false) == thoughts);
    parts.map(|part| part["text"].as_str().unwrap()).collect()
}

fn chat_texts(events: &[Value], member: &str) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"][member].as_str()).collect()
}

#[test]
fn the_command_prints_its_addresses_and_stops_at_once() {
    for signal in ["TERM", "INT"] {
        let mut fake = FakeCommand::start();
        assert!(fake.said().starts_with("hearken fake-upstream listening on http://127.0.0.1:"));
        for line in [fake.gemini_url(), fake.openai_url()] {
            crate::support::until("the addresses", || fake.said().contains(&line).then_some(()));
        }
        // Endless calls do not delay the stop.
        let _silent = fake.client().send_raw(&gemini_request("x+silent:generateContent"));
        fake.counted("the call", |stats| stats["open"] == 1);
        assert_eq!(fake.end(signal).code(), Some(0));
    }
}

#[test]
fn a_wrong_command_line_is_refused_in_a_line() {
    for (options, word) in [
        (&["--script", "stal"][..], "`stal`"),
        (&["--script", "stall", "--rate", "2"], "`rate=2`"),
        (&["--script", "chunks=3", "--rate", "0.5"], "`rate=0.5`"),
    ] {
        let output = run(&[&["fake-upstream"], options].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.lines().count() == 1 && said.contains(word), "{said}");
    }
    assert_eq!(run(&["fake-upstream", "--rate", "0.5"]).status.code(), Some(2));
    let output = run(&["fake-upstream", "--listen", "203.0.113.1:1"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn only_its_own_help_shows_the_command_and_is_complete() {
    let help = |arguments: &[&str]| String::from_utf8(run(arguments).stdout).unwrap();
    let help = help(&["fake-upstream", "--help"]);
    for word in [
        "chunks=",
        "size=",
        "pause=",
        "delay=",
        "think",
        "split",
        "usage=",
        "style=",
        "plain",
        "daily",
        "badkey",
        "blocked",
        "slam",
        "silent",
        "empty",
        "garbage",
        "stall",
        "endless",
        "cut=",
        "half",
        "torn",
        "error",
        "unfinished",
        "late-error",
        "filtered",
        "length",
        "after=",
        "first=",
        "rate=",
        "/stats",
        "--seed",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn gemini_answers_in_three_forms() {
    let fake = FakeCommand::start();
    let wire = fake.events("gemini-x+think");
    assert_eq!((wire.status(), wire.content_type(), wire.end), (200, "text/event-stream", End::Clean));
    let events = wire.events("\r\n");
    let array = fake.try_gemini("gemini-x+think:streamGenerateContent").unwrap();
    assert_eq!(array.content_type(), "application/json; charset=UTF-8");
    assert!(array.text().contains("\n,\r\n"));
    for events in [&events, array.json().as_array().unwrap()] {
        assert_eq!(events.len(), 2 + 5 + 1);
        assert_eq!(gemini_texts(events, true), text::thoughts(2));
        assert_eq!(gemini_texts(events, false), text::whole(5, None));
        assert!(events.iter().all(|event| event["modelVersion"] == "gemini-x"));
        assert_eq!(events[0]["usageMetadata"]["totalTokenCount"], 125 + 5);
        let last = events.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        let usage = &last["usageMetadata"];
        assert_eq!((&usage["candidatesTokenCount"], &usage["thoughtsTokenCount"]), (&json!(35), &json!(10)));
        assert_eq!(usage["totalTokenCount"], 125 + 35 + 10);
    }
    let whole = fake.try_gemini("gemini-x+think:generateContent").unwrap().json();
    assert_eq!(gemini_texts(std::slice::from_ref(&whole), true), text::thoughts(2));
    assert_eq!(gemini_texts(std::slice::from_ref(&whole), false), text::whole(5, None));
    assert_eq!(whole["usageMetadata"], events.last().unwrap()["usageMetadata"]);
    assert_eq!(whole["candidates"][0]["finishReason"], "STOP");
}

#[test]
fn the_script_sets_the_shape_of_an_answer() {
    let fake = FakeCommand::start();
    let wire = fake.events("x+chunks=7+size=40");
    assert_eq!(gemini_texts(&wire.events("\r\n"), false), text::whole(7, Some(40)));
    let wire = fake.events("x+chunks=0");
    assert_eq!(gemini_texts(&wire.events("\r\n"), false), "");
    // An escaped plus counts as a plus.
    let wire = fake.events("x%2Bchunks=1");
    assert_eq!(gemini_texts(&wire.events("\r\n"), false), text::whole(1, None));
    let wire = fake.events("x+split");
    assert!(wire.pieces.len() > 1000 && wire.pieces.iter().all(|size| *size == 1));
    assert_eq!(gemini_texts(&wire.events("\r\n"), false), text::whole(5, None));
    let started = std::time::Instant::now();
    fake.events("x+chunks=3+delay=100+pause=100");
    assert!(started.elapsed().as_millis() >= 300);
}

#[test]
fn chat_answers_as_a_stream_and_whole() {
    let fake = FakeCommand::start();
    let wire = fake.chat_stream("m+think");
    assert_eq!(wire.content_type(), "text/event-stream; charset=utf-8");
    assert!(wire.text().ends_with("}\n\ndata: [DONE]\n\n"));
    let events = wire.events("\n");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chat_texts(&events, "content"), text::whole(5, None));
    assert_eq!(chat_texts(&events, "reasoning_content"), text::thoughts(2));
    let [.., finish, apart] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&finish["choices"][0]["finish_reason"], &finish["usage"]), (&json!("stop"), &Value::Null));
    assert_eq!((&apart["choices"], &apart["usage"]["total_tokens"]), (&json!([]), &json!(125 + 35 + 10)));
    assert!(events.iter().all(|event| event["model"] == "m" && event["id"] == events[0]["id"]));

    let beside = fake.chat_stream("m+usage=beside").events("\n");
    assert_eq!(beside.last().unwrap()["usage"]["prompt_tokens"], 125);
    assert_eq!(beside.last().unwrap()["choices"][0]["finish_reason"], "stop");
    let without = fake.chat("m", &json!({"stream": true})).events("\n");
    assert!(without.iter().all(|event| event.get("usage").is_none()));

    let whole = fake.chat("m+think", &json!({}));
    assert_eq!(whole.content_type(), "application/json");
    let whole = whole.json();
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["content"], text::whole(5, None));
    assert_eq!(message["reasoning_content"], text::thoughts(2));
    assert_eq!(whole["usage"], apart["usage"]);
}

#[test]
fn transcriptions_stream_in_five_styles() {
    let fake = FakeCommand::start();
    let whole = text::whole(5, None);
    let stream = |model: &str, more: &[(&str, &str)]| {
        fake.transcription(&[&[("model", model), ("stream", "true")], more].concat())
    };
    let joined = |events: &[Value], member: &str| -> String {
        events.iter().filter_map(|event| event[member].as_str()).collect()
    };
    for (model, line_end, done) in [("m", "\r\n", true), ("m+style=speaches", "\n", false)] {
        let wire = stream(model, &[]);
        assert_eq!(wire.content_type(), "text/event-stream; charset=utf-8");
        assert_eq!(wire.text().contains("[DONE]"), done, "{model}");
        let events = wire.events(line_end);
        assert_eq!(joined(&events, "delta"), whole);
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["text"]), (&json!("transcript.text.done"), &json!(whole)));
        assert_eq!(last["usage"]["total_tokens"], 119 + 35);
    }
    for (model, format) in [("m+style=diarize", "json"), ("m", "diarized_json")] {
        let events = stream(model, &[("response_format", format)]).events("\r\n");
        assert_eq!(events.len(), 6);
        assert!(events[..5].iter().all(|event| event["type"] == "transcript.text.segment"));
        assert_eq!(joined(&events[..5], "text"), whole);
        assert_eq!((&events[0]["speaker"], &events[4]["end"]), (&json!("A"), &json!(4.0)));
    }
    let wire = stream("m+style=mistral", &[]);
    assert!(wire.text().contains("event: transcription.text.delta\ndata: {"));
    let events = wire.events("\n");
    assert_eq!(joined(&events[1..6], "text"), whole);
    assert_eq!((&events[6]["type"], &events[6]["text"]), (&json!("transcription.done"), &json!(whole)));
    let wire = stream("m+style=vllm", &[("stream_include_usage", "true")]);
    assert!(wire.text().ends_with("data: [DONE]\n\n"));
    let events = wire.events("\n");
    assert_eq!(events[0]["object"], "transcription.chunk");
    assert_eq!(chat_texts(&events, "content"), whole);
    assert_eq!(events.last().unwrap()["usage"]["completion_tokens"], 35);
}

#[test]
fn transcriptions_come_whole_in_four_formats() {
    let fake = FakeCommand::start();
    let whole = text::whole(5, None);
    let answer = |fields: &[(&str, &str)]| fake.transcription(fields);
    let json = answer(&[("model", "m")]).json();
    assert_eq!((&json["text"], &json["usage"]["type"]), (&json!(whole), &json!("tokens")));
    let plain = answer(&[("model", "m+plain"), ("stream", "true"), ("language", "en"), ("prompt", "x")]);
    assert_eq!(plain.content_type(), "application/json");
    assert_eq!(plain.json()["usage"], json!({"type": "duration", "seconds": 4}));
    let text = answer(&[("model", "m"), ("response_format", "text"), ("temperature", "0.5")]);
    assert_eq!(
        (text.content_type(), text.text()),
        ("text/plain; charset=utf-8", format!("{whole}\n").as_str())
    );
    for (format, member) in [("verbose_json", "avg_logprob"), ("diarized_json", "speaker")] {
        let json = answer(&[("model", "m"), ("response_format", format)]).json();
        assert_eq!(json["text"], whole);
        let segments = json["segments"].as_array().unwrap();
        assert_eq!(segments.len(), 5);
        assert!(segments.iter().all(|segment| segment.get(member).is_some()), "{json}");
    }
    let bytes = fixture("audio/speech.mp3").len();
    assert_eq!(fake.stats()["audio_bytes"], 5 * bytes);
}

#[test]
fn errors_have_the_bodies_and_hints_of_their_dialect() {
    let fake = FakeCommand::start();
    for (step, status, name) in [
        ("400", 400, "INVALID_ARGUMENT"),
        ("403", 403, "PERMISSION_DENIED"),
        ("404", 404, "NOT_FOUND"),
        ("429", 429, "RESOURCE_EXHAUSTED"),
        ("429=7.5", 429, "RESOURCE_EXHAUSTED"),
        ("daily", 429, "RESOURCE_EXHAUSTED"),
        ("badkey", 400, "INVALID_ARGUMENT"),
        ("500", 500, "INTERNAL"),
        ("503", 503, "UNAVAILABLE"),
        ("504", 504, "DEADLINE_EXCEEDED"),
    ] {
        // Only the content type says that it is an event stream.
        let wire = fake.events(&format!("x+{step}"));
        assert_eq!((wire.status(), wire.content_type()), (status, "text/event-stream"), "{step}");
        assert_eq!(wire.head.header("retry-after"), None);
        let error = wire.json()["error"].clone();
        assert_eq!((&error["code"], &error["status"]), (&json!(status), &json!(name)), "{step}");
        let details = error["details"].to_string();
        assert_eq!(details.contains("\"retryDelay\":\"7.5s\""), step == "429=7.5", "{step}: {details}");
        assert_eq!(details.contains("PerDay"), step == "daily", "{step}: {details}");
        assert_eq!(details.contains("API_KEY_INVALID"), step == "badkey", "{step}: {details}");
        let array = fake.try_gemini(&format!("x+{step}:streamGenerateContent")).unwrap();
        assert_eq!(array.json()[0]["error"], error);
    }
    for (step, status, code) in [
        ("400", 400, Value::Null),
        ("401", 401, json!("invalid_api_key")),
        ("badkey", 401, json!("invalid_api_key")),
        ("404", 404, json!("model_not_found")),
        ("429", 429, json!("rate_limit_exceeded")),
        ("429=7", 429, json!("rate_limit_exceeded")),
        ("daily", 429, json!("insufficient_quota")),
        ("blocked", 400, json!("content_filter")),
        ("500", 500, Value::Null),
        ("503=0.25", 503, json!("server_is_overloaded")),
    ] {
        let model = format!("m+{step}");
        for wire in [fake.chat_stream(&model), fake.transcription(&[("model", &model)])] {
            assert_eq!((wire.status(), wire.content_type()), (status, "application/json"), "{step}");
            assert_eq!(wire.json()["error"]["code"], code, "{step}");
            let hint = match step {
                "429=7" => (Some("7"), None),
                "503=0.25" => (Some("1"), Some("250")),
                _ => (None, None),
            };
            assert_eq!((wire.head.header("retry-after"), wire.head.header("retry-after-ms")), hint, "{step}");
        }
    }
}

#[test]
fn a_connection_is_closed_exactly_where_the_script_says() {
    let fake = FakeCommand::start();
    assert!(fake.try_gemini("x+slam:generateContent").is_none(), "the fake answered");
    let good = fake.events("x").body;
    let frame = fake.events("x+chunks=1").pieces[0];
    for cut in [0, 1, 100, frame, 1000] {
        let wire = fake.events(&format!("x+cut={cut}"));
        assert_eq!((wire.end, wire.body.len()), (End::Closed, cut));
        assert_eq!(wire.status(), 200);
    }
    let wire = fake.events("x+cut=7+after=1");
    assert_eq!((wire.end, wire.body.len()), (End::Closed, frame + 7));
    // An answer that is shorter than the cut still lacks its end.
    let wire = fake.events("x+cut=100000");
    assert_eq!((wire.end, wire.body.len()), (End::Closed, good.len()));
    for (step, end) in [("half", End::Closed), ("torn", End::Clean)] {
        let wire = fake.events(&format!("x+{step}+after=1"));
        assert_eq!(wire.end, end);
        assert!(wire.body.len() > frame && !wire.text().ends_with('\n'), "{step}");
    }
    // More than the system's buffers hold arrives before the cut.
    let wire = fake.events("x+chunks=1000+size=65536+cut=9000000");
    assert_eq!((wire.end, wire.body.len()), (End::Closed, 9_000_000));
    let wire = fake.chat("m+cut=50", &json!({}));
    assert_eq!((wire.end, wire.body.len()), (End::Closed, 50));
}

#[test]
fn a_fault_within_an_answer_comes_after_its_texts() {
    let fake = FakeCommand::start();
    let first = text::text(1, None);

    let wire = fake.events("x+unfinished+after=1");
    let events = wire.events("\r\n");
    assert_eq!((wire.end, gemini_texts(&events, false)), (End::Clean, first.clone()));
    assert!(events[0]["candidates"][0].get("finishReason").is_none());

    let events = fake.events("x+error+after=1").events("\r\n");
    assert_eq!((events.len(), &events[1]["error"]["code"]), (2, &json!(503)));
    let wire = fake.events("x+late-error=bare+after=1");
    assert!(wire.text().contains("\"finishReason\":\"STOP\""));
    assert!(wire.text().ends_with(
        "\n{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \
        \"The model is overloaded. Please try again later.\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n"
    ));

    let events = fake.events("x+filtered+after=1").events("\r\n");
    assert_eq!(events[1]["candidates"][0]["finishReason"], "SAFETY");
    let events = fake.events("x+length").events("\r\n");
    assert_eq!(events[5]["candidates"][0]["finishReason"], "MAX_TOKENS");
    let events = fake.events("x+blocked").events("\r\n");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    assert!(events[0].get("candidates").is_none());

    let wire = fake.events("x+garbage");
    assert!(wire.content_type().starts_with("text/html") && wire.text().contains("502 Bad Gateway"));
    let wire = fake.events("x+garbage+after=1");
    assert!(wire.text().contains("<<<<<<<") && wire.text().contains("3: ") && !wire.text().contains("2: "));
    let wire = fake.events("x+empty");
    assert_eq!((wire.status(), wire.body.len(), wire.end), (200, 0, End::Clean));

    for (step, frame, done) in [
        ("error", "data: {\"error\":{", true),
        ("error=event", "event: error\ndata: {\"error\":{", false),
        ("error=field", "error: {\"detail\":", false),
        ("late-error=beside", "\"error\":{\"code\":502,", true),
    ] {
        let wire = fake.chat_stream(&format!("m+{step}+after=2"));
        assert!(wire.text().contains(frame), "{step}: {}", wire.text());
        assert_eq!(wire.text().contains("[DONE]"), done, "{step}");
        assert_eq!(wire.text().contains("\"finish_reason\":\"stop\""), step.starts_with("late"), "{step}");
    }
    let whole = fake.chat("m+error", &json!({}));
    assert_eq!((whole.status(), &whole.json()["error"]["code"]), (200, &json!(502)));
    let whole = fake.chat("m+late-error+chunks=1", &json!({})).json();
    assert_eq!(whole["choices"][0]["message"]["content"], first);
    assert!(whole["error"].is_object());
}

#[test]
fn an_endless_answer_continues_until_its_client_disconnects() {
    let fake = FakeCommand::start();
    let client = fake.client();
    let silent = client.send_raw(&gemini_request("x+silent:generateContent"));
    let mut stalled: Vec<TcpStream> = (0..100)
        .map(|_| client.send_raw(&gemini_request("x+stall+after=2:streamGenerateContent?alt=sse")))
        .collect();
    let mut endless = client.send_raw(&gemini_request("x+endless:streamGenerateContent?alt=sse"));
    let wire = fake.events("x+after=2+cut=0");
    for socket in &mut stalled {
        let mut bytes = vec![0; wire.body.len()];
        socket.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK"));
    }
    // Far more than a normal answer has.
    endless.read_exact(&mut vec![0; 3_000_000]).unwrap();
    let stats = fake.counted("all answers continue", |stats| stats["open"] == 102);
    assert_eq!(stats["faults"], json!({"silent": 1, "stall": 100, "endless": 1, "cut": 1}));
    drop((silent, stalled, endless));
    let stats = fake.counted("all calls are closed", |stats| stats["open"] == 0);
    assert_eq!((&stats["closed_early"], &stats["answered_well"]), (&json!(102), &json!(0)));
}

#[test]
fn faults_apply_to_the_first_calls_or_to_a_share_of_calls() {
    let fake = FakeCommand::with(&["--script", "503", "--rate", "0.5", "--seed", "3"]);
    let statuses =
        |model: &str, calls: usize| -> Vec<u16> { (0..calls).map(|_| fake.events(model).status()).collect() };
    assert_eq!(statuses("x+429+first=2", 4), [429, 429, 200, 200]);
    assert_eq!(statuses("y+429+first=1", 2), [429, 200]);
    let shared = statuses("plain", 40);
    assert!(shared.contains(&503) && shared.contains(&200), "{shared:?}");
    let again = FakeCommand::with(&["--script", "503", "--rate", "0.5", "--seed", "3"]);
    let repeated: Vec<u16> = (0..40).map(|_| again.events("plain").status()).collect();
    assert_eq!(repeated, shared);
}

#[test]
fn calls_are_counted() {
    let fake = FakeCommand::start();
    fake.events("x");
    fake.events("x+500");
    fake.events("x+no-such-step");
    fake.chat_stream("m");
    fake.chat("m", &json!({"temperature": 9}));
    fake.transcription(&[("model", "m+slow")]);
    let stats = fake.counted("all calls have ended", |stats| stats["open"] == 0);
    assert_eq!(stats["calls"], json!({"gemini": 3, "chat": 2, "transcription": 1}));
    assert_eq!((&stats["answered_well"], &stats["refused"]), (&json!(2), &json!(3)));
    assert_eq!(stats["faults"], json!({"500": 1}));
    assert_eq!(stats["calls_by_model"], json!({"x": 1, "x+500": 1, "m": 1}));
    let nothing = fake.client().call("POST", "/stats/reset", &[], Some(b"")).expect(204);
    assert!(nothing.body.is_empty());
    assert_eq!(fake.stats()["calls"], json!({"gemini": 0, "chat": 0, "transcription": 0}));
}

#[test]
fn invalid_requests_are_refused_as_the_real_providers_do() {
    let fake = FakeCommand::with(&["--api-key", "right"]);
    let send = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        Wire::read(fake.client().send_raw(&request(path, headers, body))).unwrap()
    };
    let body = gemini_body().to_string();
    let path = "/v1beta/models/x:generateContent";
    let right = [("x-goog-api-key", "right")];
    assert_eq!(send(path, &right, body.as_bytes()).status(), 200);
    assert_eq!(send(&format!("{path}?key=right"), &[], body.as_bytes()).status(), 200);
    for (headers, status, word) in [
        (&[][..], 403, "unregistered callers"),
        (&[("x-goog-api-key", "wrong")], 400, "API_KEY_INVALID"),
        (&[("authorization", "Bearer right")], 401, "UNAUTHENTICATED"),
    ] {
        let wire = send(path, headers, body.as_bytes());
        assert!(wire.status() == status && wire.text().contains(word), "{}", wire.text());
    }
    let mut unknown = gemini_body();
    unknown["generationConfig"] = json!({"max_tokens": 5});
    let wire = send(path, &right, unknown.to_string().as_bytes());
    assert!(wire.status() == 400 && wire.text().contains("Cannot find field"), "{}", wire.text());
    let wire = send("/v1beta/models/x:countTokens", &right, body.as_bytes());
    assert_eq!(wire.json()["error"]["status"], "NOT_FOUND");
    let wire = send("/v1beta/models/x+fast:generateContent", &right, body.as_bytes());
    assert!(wire.status() == 400 && wire.text().contains("`fast`"), "{}", wire.text());

    let bearer = ("authorization", "Bearer right");
    let multipart = ("content-type", "multipart/form-data; boundary=split");
    let chat = chat_body("m", &json!({})).to_string();
    for (path, body) in [
        ("/v1/chat/completions", chat.as_bytes()),
        ("/v1/audio/transcriptions", form(&[("model", "m")]).as_slice()),
    ] {
        assert_eq!(send(path, &[bearer, multipart], body).status(), 200, "{path}");
        let wire = send(path, &[multipart], body);
        assert!(wire.status() == 401 && wire.text().contains("didn't provide"), "{}", wire.text());
        let wire = send(path, &[("authorization", "Bearer wrong"), multipart], body);
        assert!(wire.status() == 401 && wire.text().contains("invalid_api_key"), "{}", wire.text());
    }
    let wire =
        send("/v1/chat/completions", &[bearer], chat_body("m+style=vllm", &json!({})).to_string().as_bytes());
    assert!(wire.status() == 400 && wire.text().contains("`style`"), "{}", wire.text());
    for (fields, word) in [
        (&[][..], "'model'"),
        (&[("model", "m"), ("response_format", "srt")], "srt"),
        (&[("model", "m"), ("stream", "yes")], "'stream'"),
        (&[("model", "m"), ("temperature", "2")], "temperature"),
        (&[("model", "m"), ("language", "English")], "language"),
        (&[("model", "m"), ("voice", "x")], "'voice'"),
        (&[("model", "m+think")], "`think`"),
    ] {
        let wire = send("/v1/audio/transcriptions", &[bearer, multipart], &form(fields));
        assert!(wire.status() == 400 && wire.text().contains(word), "{}", wire.text());
    }
    let wire = send("/v1/audio/transcriptions", &[bearer], b"{}");
    assert_eq!(wire.status(), 400);
    let mut large = gemini_body();
    large["contents"][0]["parts"][1]["inlineData"]["data"] = "AAAA".repeat(5_000_000).into();
    let wire = send(path, &right, large.to_string().as_bytes());
    assert_eq!(wire.status(), 200, "{}", wire.text());
}

#[test]
fn hearken_distinguishes_each_fault_from_an_answer() {
    let fake = FakeCommand::start();
    let hearken = Hearken::builder()
        .gemini(&fake.gemini_url())
        .channel("first_chunk_timeout_ms = 5000\nidle_timeout_ms = 5000")
        .start();
    let model = |script: &str| if script.is_empty() { MODEL.to_owned() } else { format!("{MODEL}+{script}") };
    let submit =
        |script: &str| hearken.submit(json!({"model": model(script), "stream": true, "reasoning": true}));
    let good: BTreeMap<&str, (String, &str)> = [
        ("", (text::whole(5, None), "stop")),
        ("split+think", (text::whole(5, None), "stop")),
        ("chunks=40+size=300", (text::whole(40, Some(300)), "stop")),
        ("filtered+after=2", (text::whole(2, None), "content_filter")),
        ("length", (text::whole(5, None), "length")),
    ]
    .into();
    let ids: Vec<_> = good.keys().map(|script| (*script, submit(script))).collect();
    for (script, id) in ids {
        let frames = hearken.stream(&id).rest();
        let choice = hearken.wait(&id)["results"][0]["choices"][0].clone();
        let (text, reason) = &good[script];
        assert_eq!(&content(&frames), text, "{script}");
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(text), &json!(reason)));
        if script.contains("think") {
            assert_eq!(choice["message"]["reasoning_content"], text::thoughts(2));
        }
    }
    let faults = [
        ("429=7", "upstream_rate_limited"),
        ("500", "upstream_error"),
        ("503+delay=50", "upstream_error"),
        ("400", "upstream_rejected"),
        ("badkey", "upstream_auth_error"),
        ("403", "upstream_auth_error"),
        ("blocked", "content_policy_violation"),
        ("slam", "upstream_disconnected"),
        ("after=2+cut=0", "upstream_disconnected"),
        ("half+after=2", "upstream_disconnected"),
        ("garbage", "upstream_invalid_response"),
        ("garbage+after=2", "upstream_invalid_response"),
        ("torn+after=2", "upstream_disconnected"),
        ("empty", "upstream_invalid_response"),
        ("unfinished", "upstream_disconnected"),
        ("error+after=2", "upstream_error"),
        ("error=bare+after=2", "upstream_error"),
        ("late-error", "upstream_error"),
    ];
    let ids: Vec<_> = faults.iter().map(|(script, _)| submit(script)).collect();
    for ((script, code), id) in faults.iter().zip(ids) {
        let task = hearken.wait(&id);
        assert_eq!(task["error"]["code"], *code, "{script}: {task}");
    }
    let ids = ["silent", "stall+after=1"].map(submit);
    fake.counted("both answers continue", |stats| stats["open"] == 2);
    for id in &ids {
        hearken.cancel(id);
    }
    fake.counted("hearken closes calls for which no client waits", |stats| stats["open"] == 0);
}

#[test]
fn the_load_testing_page_lists_every_step_of_a_script() {
    let help = String::from_utf8(run(&["fake-upstream", "--help"]).stdout).unwrap();
    let (_, rest) = help.split_once("The shape (").expect("the help describes the shape of an answer");
    let (steps, _) = rest.split_once("A step that is unknown").expect("the help ends its list of steps");
    let steps: Vec<&str> = steps
        .lines()
        .filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split("  ").next())
        .collect();
    assert!(steps.len() > 25 && steps.contains(&"chunks=N") && steps.contains(&"rate=P"), "{steps:?}");
    let page = std::fs::read_to_string(root().join("docs/load-testing.md")).unwrap();
    let (_, table) = page.split_once("| step | effect |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let listed: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, steps);
}
