//! `/openapi.json` and `/docs`, as tools and browsers get them. What the document says is tested against the server by
//! schemathesis, in `tests/clients.rs`.

use std::io::Read;

use flate2::read::GzDecoder;
use hearken::error::ErrorCode;
use serde_json::Value;

use crate::support::hearken::Hearken;
use crate::support::http::{Client, Reply};

fn start() -> (Hearken, Client) {
    let hearken = Hearken::builder().local().start();
    let nobody = hearken.without_key();
    (hearken, nobody)
}

#[test]
fn the_document_needs_no_key_and_is_sent_to_nobody_twice() {
    let (_hearken, nobody) = start();
    let reply = nobody.get("/openapi.json").expect(200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json()["openapi"], "3.1.0");
    assert_eq!(reply.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    let tag = reply.header("etag").unwrap();

    let head = nobody.call("HEAD", "/openapi.json", &[], None).expect(200);
    assert_eq!((head.header("etag"), head.body.len()), (Some(tag), 0));
    for known in [tag, "*", &format!("\"other\", {tag}")] {
        let again = nobody.call("GET", "/openapi.json", &[("if-none-match", known)], None).expect(304);
        assert_eq!((again.header("etag"), again.body.len()), (Some(tag), 0), "{known}");
    }
    nobody.call("GET", "/openapi.json", &[("if-none-match", "\"other\"")], None).expect(200);
}

#[test]
fn the_document_tells_of_every_error_where_it_may_come() {
    let (_hearken, nobody) = start();
    let document = nobody.get("/openapi.json").expect(200).json();
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
        // No operation answers for a method that is none.
        assert!(*code == ErrorCode::MethodNotAllowed || told.contains(code), "{code:?}");
    }
}

#[test]
fn every_operation_and_every_body_has_what_readers_look_for() {
    let (_hearken, nobody) = start();
    let document = nobody.get("/openapi.json").expect(200).json();
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
fn the_reference_page_loads_everything_from_this_server() {
    let (_hearken, nobody) = start();
    let page = nobody.get("/docs").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    guarded(&page);
    let html = page.text();
    assert!(!html.contains("//"), "{html}");
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("onload"), "{html}");

    let (mut scripts, mut styles) = (0, 0);
    for address in html.split(['"', '\'']).filter(|text| text.starts_with("docs/")) {
        let path = format!("/{address}");
        let file = nobody.get(&path).expect(200);
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

        let packed = nobody.call("GET", &path, &[("accept-encoding", "br, gzip")], None).expect(200);
        let mut unpacked = packed.body.clone();
        if packed.header("content-encoding") == Some("gzip") {
            unpacked.clear();
            GzDecoder::new(packed.body.as_slice()).read_to_end(&mut unpacked).unwrap();
            assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
        }
        assert!(unpacked == file.body && !unpacked.is_empty(), "{path}");
    }
    assert_eq!((scripts, styles), (2, 2), "{html}");
    nobody.get("/docs/index.html").error(404, "not_found");
    nobody.get("/docs/..%2fopenapi.json").error(404, "not_found");
}

fn guarded(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
}
