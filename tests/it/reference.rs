//! `/openapi.json` and `/docs`, as tools and browsers get them. Schemathesis tests the document against the server, in
//! `tests/clients.rs`.

use std::io::Read;

use flate2::read::GzDecoder;
use hearken::error::ErrorCode;
use serde_json::{Value, json};

use crate::support::hearken::Hearken;
use crate::support::http::{Client, Reply};
use crate::support::subscriber::Subscriber;
use crate::support::upstream::FakeUpstream;

fn start() -> (Hearken, Client) {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    (hearken, anonymous)
}

#[test]
fn the_document_needs_no_key_and_can_be_cached() {
    let (_hearken, anonymous) = start();
    let reply = anonymous.get("/openapi.json").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["openapi"], "3.1.0");
    assert_eq!(reply.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    let tag = reply.header("etag").unwrap();

    let head = anonymous.call("HEAD", "/openapi.json", &[], None).expect(200);
    assert_eq!((head.header("etag"), head.body.len()), (Some(tag), 0));
    for known in [tag, "*", &format!("\"other\", {tag}")] {
        let again = anonymous.call("GET", "/openapi.json", &[("if-none-match", known)], None).expect(304);
        assert_eq!((again.header("etag"), again.body.len()), (Some(tag), 0), "{known}");
    }
    anonymous.call("GET", "/openapi.json", &[("if-none-match", "\"other\"")], None).expect(200);
}

#[test]
fn the_document_lists_every_error_of_every_operation() {
    let (_hearken, anonymous) = start();
    let document = anonymous.get("/openapi.json").expect(200).json();
    let mut told = Vec::new();
    for operation in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let examples = response["content"]["application/json"]["examples"].as_object();
            for example in examples.into_iter().flatten().filter(|_| status.as_str() >= "400") {
                let code = example.1["value"]["error"]["code"].clone();
                let known: ErrorCode = serde_json::from_value(code).unwrap();
                assert_eq!(*status, known.status().to_string(), "{known:?}");
                told.push(known);
            }
        }
    }
    let guide = document["info"]["description"].as_str().unwrap();
    for code in ErrorCode::ALL {
        assert!(
            guide.contains(&format!("| {} | `{}` | `{}` |", code.status(), code.kind(), code.as_str())),
            "{code:?}"
        );
        // This error is for methods that no operation has.
        assert!(*code == ErrorCode::MethodNotAllowed || told.contains(code), "{code:?}");
    }
}

#[test]
fn every_operation_and_every_body_is_described() {
    let (_hearken, anonymous) = start();
    let document = anonymous.get("/openapi.json").expect(200).json();
    let mut names = Vec::new();
    for operation in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(!names.contains(&name), "{name} twice");
        names.push(name);
        assert!(operation["summary"].is_string() && operation["description"].is_string(), "{name}");
        let is_open = operation["tags"][0] == "Service";
        assert_eq!(operation["security"].is_array(), is_open, "{name}");
        assert_eq!(operation["responses"]["401"].is_object(), !is_open, "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["headers"]["X-Request-Id"].is_object(), "{name} {status}");
            for (kind, content) in response["content"].as_object().into_iter().flatten() {
                let is_file = ["getOpenApi", "getPage", "getReference"].contains(&name) && status == "200";
                let example = content["example"].is_object() || content["examples"].is_object();
                assert!(example || is_file, "{name} {status} {kind}");
            }
        }
    }
    assert!(names.contains(&"submitGeneration") && names.len() > 10, "{names:?}");
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

#[test]
fn the_examples_use_a_model_that_is_served() {
    let upstream = FakeUpstream::gemini().say("x").start();
    for hearken in [Hearken::builder().local().start(), Hearken::start(&upstream)] {
        let document = hearken.get("/openapi.json").expect(200);
        assert!(!document.text().contains("{model}") && !document.text().contains("{channel}"));
        let models = hearken.get("/v1/models").expect(200).json();
        let submit = &document.json()["paths"]["/v1/llm/generations"]["post"]["requestBody"]["content"];
        let examples = &submit["application/json"]["examples"];
        for name in ["url", "inline"] {
            assert_eq!(examples[name]["value"]["model"], models["data"][0]["id"], "{name}");
        }
        hearken.post("/v1/llm/generations", &examples["inline"]["value"]).expect(200);
    }
}

/// Headers that belong to HTTP itself.
const OF_HTTP: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "date", "transfer-encoding", "vary"];

/// The document, and which of its responses were seen.
struct Witness {
    document: Value,
    seen: Vec<(String, u16)>,
}

impl Witness {
    /// Asserts that a response has the documented headers, and no others.
    fn sees(&mut self, name: &str, reply: &Reply) {
        let operation =
            operations(&self.document).find(|operation| operation["operationId"] == name).unwrap();
        let told = operation["responses"][reply.status.to_string()]["headers"].as_object();
        let told = told.unwrap_or_else(|| panic!("{name} documents no {}: {reply}", reply.status));
        for (header, _) in reply.headers.iter().filter(|(header, _)| !OF_HTTP.contains(&header.as_str())) {
            assert!(told.keys().any(|known| known.eq_ignore_ascii_case(header)), "{name}: {header}: {reply}");
        }
        for (header, shared) in told {
            let component = shared["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
            let is_always_there = self.document.pointer(component).unwrap()["required"] == true;
            let is_there = reply.header(&header.to_ascii_lowercase()).is_some();
            assert!(is_there || !is_always_there, "{name}: no {header}: {reply}");
        }
        self.seen.push((name.to_owned(), reply.status));
    }
}

#[test]
fn responses_have_the_documented_headers() {
    let upstream = FakeUpstream::gemini().say("x").then().say("x").then().say("x").then();
    let upstream = upstream.refuses(400, &json!({"error": {"code": 400, "message": "m"}})).then();
    let busy = json!({"error": {"code": 503, "message": "m"}});
    let upstream = upstream.refuses(503, &busy).header("retry-after", "7").then();
    let upstream = upstream.refuses(429, &busy).header("retry-after", "7").then().hold().start();
    let hearken = Hearken::before(&upstream).set("[metrics]\nlisten = \"main\"").start();
    let anonymous = hearken.without_key();
    let document = hearken.get("/openapi.json").expect(200).json();
    let mut witness = Witness { document, seen: Vec::new() };

    let submitted = hearken.try_submit(json!({"stream": true})).expect(200);
    witness.sees("submitGeneration", &submitted);
    let id = submitted.json()["id"].as_str().unwrap().to_owned();
    let stream = hearken.stream(&id);
    witness.sees("streamGeneration", &stream.head);
    stream.rest();
    let path = format!("/v1/llm/generations/{id}/stream");
    witness
        .sees("streamGeneration", &hearken.call("GET", &path, &[("last-event-id", "999")], None).expect(204));
    witness.sees("submitGeneration", &hearken.submit_under("a", json!({"sync": true})).expect(200));
    witness.sees("submitGeneration", &hearken.submit_under("a", json!({"sync": true})).expect(200));
    let request = hearken.submit_bytes(json!({"sync": true, "stream": true}));
    let stream = Subscriber::open(hearken.address, &request);
    witness.sees("submitGeneration", &stream.head);
    stream.rest();
    for (key, status) in [("b", 422), ("c", 502), ("d", 503)] {
        let submit = || hearken.submit_under(key, json!({"sync": true})).expect(status);
        let (first, again) = (submit(), submit());
        assert!(first.header("x-task-id").is_some() && again.header("idempotent-replayed").is_some());
        assert_eq!(first.header("retry-after").is_some(), status > 500, "{first}");
        witness.sees("submitGeneration", &first);
        witness.sees("submitGeneration", &again);
    }
    std::thread::scope(|scope| {
        let call = scope.spawn(|| hearken.try_submit(json!({"sync": true})));
        upstream.held(1);
        let path = format!("/v1/tasks/{}/cancel", hearken.running());
        witness.sees("cancelTask", &hearken.call("POST", &path, &[], Some(b"")).expect(200));
        witness.sees("submitGeneration", &call.join().unwrap().expect(409));
    });
    witness.sees("submitGeneration", &hearken.try_submit(json!({"model": ""})).expect(422));
    witness.sees("submitGeneration", &hearken.post("/v1/llm/generations", &json!([])));

    let task = format!("/v1/tasks/{id}");
    for (name, path) in [
        ("getTask", task.as_str()),
        ("listTasks", "/v1/tasks"),
        ("streamGeneration", path.as_str()),
        ("listModels", "/v1/models"),
        ("listModelCapabilities", "/v1/configs/llm_generations_models"),
    ] {
        if name != "streamGeneration" {
            witness.sees(name, &hearken.get(path).expect(200));
        }
        witness.sees(name, &anonymous.get(path).expect(401));
    }
    witness.sees("getTask", &hearken.get(&format!("{task}?wait=x")).expect(422));
    for (name, path) in [
        ("getPage", "/"),
        ("getReference", "/docs"),
        ("getOpenApi", "/openapi.json"),
        ("checkHealth", "/healthz"),
        ("checkReadiness", "/readyz"),
        ("getMetrics", "/metrics"),
    ] {
        let reply = anonymous.get(path).expect(200);
        witness.sees(name, &reply);
        witness.sees(name, &anonymous.call("HEAD", path, &[], None).expect(200));
        if let Some(tag) = reply.header("etag") {
            witness.sees(name, &anonymous.call("GET", path, &[("if-none-match", tag)], None).expect(304));
        }
    }
    for operation in operations(&witness.document) {
        let name = operation["operationId"].as_str().unwrap();
        for status in
            operation["responses"].as_object().unwrap().keys().filter(|status| *status < &"400".to_owned())
        {
            let seen = witness.seen.iter().any(|(known, seen)| known == name && seen.to_string() == *status);
            assert!(seen, "{name} {status} was not tested");
        }
    }
}

#[test]
fn the_reference_page_loads_everything_from_this_server() {
    let (_hearken, anonymous) = start();
    let page = anonymous.get("/docs").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    guarded(&page);
    let html = page.text();
    assert!(!html.contains("//"), "{html}");
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("onload"), "{html}");

    let (mut scripts, mut styles) = (0, 0);
    for address in html.split(['"', '\'']).filter(|text| text.starts_with("docs/")) {
        let path = format!("/{address}");
        let file = anonymous.get(&path).expect(200);
        let expected = if address.ends_with(".js") {
            scripts += 1;
            "text/javascript; charset=utf-8"
        } else {
            styles += 1;
            "text/css; charset=utf-8"
        };
        assert_eq!(file.header("content-type"), Some(expected), "{path}");
        assert_eq!(file.header("content-encoding"), None, "{path}");
        guarded(&file);

        let packed = anonymous.call("GET", &path, &[("accept-encoding", "br, gzip")], None).expect(200);
        let mut unpacked = packed.body.clone();
        if packed.header("content-encoding") == Some("gzip") {
            unpacked.clear();
            GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
            assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        }
        assert!(unpacked == file.body && !unpacked.is_empty(), "{path}");
    }
    assert_eq!((scripts, styles), (2, 2), "{html}");
    anonymous.get("/docs/index.html").error(404, "not_found");
    anonymous.get("/docs/..%2fopenapi.json").error(404, "not_found");
}

fn guarded(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
}
