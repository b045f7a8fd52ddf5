//! Request heads: `HEAD`, `Expect` and `Authorization`.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::body;
use crate::support::certificate::Pair;
use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::http::{Client, Reply};
use crate::support::http2::Http2;
use crate::support::upstream::FakeUpstream;

/// Returns a reply's headers, without those that differ each time.
fn headers(reply: &Reply) -> Vec<(String, String)> {
    let differs = ["date", "x-request-id"];
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| !differs.contains(&name.as_str()));
    headers.sort();
    headers
}

/// Sends a request on a connection of its own, and returns the reply.
fn once(client: &Client, method: &str, path: &str) -> Reply {
    client.raw(client.head(method, path, &[("connection", "close")]).as_bytes())
}

#[test]
fn head_is_served_wherever_get_is_with_the_same_headers_and_no_body() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let hearken = Hearken::before(&upstream).set("[metrics]\nlisten = \"main\"").start();
    let id = hearken.submit(json!({"stream": true}));
    hearken.wait(&id);
    let client = hearken.client();
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 200),
        ("/page/page.js", 200),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/v1/models", 200),
        ("/v1/configs/llm_generations_models", 200),
        ("/v1/tasks", 200),
        (&format!("/v1/tasks/{id}"), 200),
        (&format!("/v1/tasks/{id}?wait=1&include=request,timeline"), 200),
        (&format!("/v1/llm/generations/{id}/stream"), 200),
        (&format!("/v1/llm/generations/{id}/stream?offset=x"), 422),
        ("/v1/tasks/unknown", 404),
        ("/nothing", 404),
    ] {
        let (get, head) = (once(&client, "GET", path), once(&client, "HEAD", path));
        assert_eq!((get.status, head.status), (status, status), "{path}");
        assert_eq!(headers(&get), headers(&head), "{path}");
        assert!(!get.body.is_empty() && head.body.is_empty(), "{path}: {head}");
    }
    // Its content differs each time, and so does its length.
    let head = once(&client, "HEAD", "/metrics");
    assert!(head.status == 200 && head.body.is_empty() && head.header("content-length").is_some(), "{head}");
    let refused = client.call("PUT", "/v1/models", &[], None);
    refused.error(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    once(&client.without_key(), "HEAD", "/v1/tasks").expect(401);
}

#[test]
fn a_head_request_for_a_stream_is_no_subscription() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let pair = Pair::new();
    for secure in [false, true] {
        let builder = Hearken::before(&upstream);
        let hearken = if secure { builder.tls(&pair).start() } else { builder.start() };
        if secure {
            let mut client = Http2::connect(hearken.client().address, &pair);
            let id = client.submit(json!({"stream": true}));
            let asked = client.ask("HEAD", &format!("/v1/llm/generations/{id}/stream"), None);
            let answer = client.head(asked);
            assert_eq!(answer.head.headers()["content-type"], "text/event-stream");
            assert_eq!(client.rest(answer), "");
        } else {
            let id = hearken.submit(json!({"stream": true}));
            let head = once(&hearken.client(), "HEAD", &format!("/v1/llm/generations/{id}/stream"));
            assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
            assert_eq!((head.header("connection"), head.body.len()), (Some("close"), 0), "{head}");
        }
        assert!(!hearken.log().contains("stream ended"));
    }
}

/// Returns a submit that waits for `100 Continue`, up to its body.
fn expecting(client: &Client, length: usize, content_type: &str) -> String {
    let length = length.to_string();
    let headers = [("content-type", content_type), ("content-length", &length), ("expect", "100-continue")];
    client.head("POST", "/v1/llm/generations", &headers)
}

#[test]
fn a_client_gets_100_continue_only_if_its_body_is_wanted() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let hearken = Hearken::before(&upstream).set("[limits]\nmax_body_bytes = 10000").start();
    let client = hearken.client();
    let json = "application/json";
    client
        .without_key()
        .raw(expecting(&client.without_key(), 100, json).as_bytes())
        .error(401, "invalid_api_key");
    client.raw(expecting(&client, 10_001, json).as_bytes()).error(413, "request_too_large");
    client.raw(expecting(&client, 100, "audio/wav").as_bytes()).error(415, "unsupported_media_type");
    let head = client.head("GET", "/healthz", &[("expect", "100-continue"), ("connection", "close")]);
    client.raw(head.as_bytes()).expect(200);

    let submit = body(json!({"sync": true})).to_string();
    let mut socket = client.send_raw(expecting(&client, submit.len(), json).as_bytes());
    let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    socket.read_exact(&mut interim).unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(submit.as_bytes()).unwrap();
    let mut status = [0; b"HTTP/1.1 200".len()];
    socket.read_exact(&mut status).unwrap();
    assert_eq!(status, *b"HTTP/1.1 200");
}

#[test]
fn an_http_2_client_gets_100_continue_only_if_its_body_is_wanted() {
    let upstream = FakeUpstream::gemini().say("a").start();
    let pair = Pair::new();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let mut client = Http2::connect(hearken.client().address, &pair);
    for (content_type, status) in [("audio/wav", 415), ("application/json", 200)] {
        let headers = [("content-type", content_type), ("expect", "100-continue")];
        let mut asked = client.begin("POST", "/v1/llm/generations", &headers, false).unwrap();
        assert_eq!(client.is_told_to_continue(&mut asked), status == 200, "{content_type}");
        if status == 200 {
            asked.send(body(json!({"sync": true})).to_string(), true);
        }
        assert_eq!(client.head(asked).head.status(), status);
    }
}

#[test]
fn two_different_keys_are_refused_and_one_sent_twice_is_accepted() {
    let hearken = Hearken::builder().local().start();
    let client = hearken.client();
    let with = |other: &str| {
        let headers = [("authorization", other), ("connection", "close")];
        client.raw(client.head("GET", "/v1/models", &headers).as_bytes())
    };
    let same = format!("Bearer {}", client.key.as_ref().unwrap());
    with(&same).expect(200);
    let error = with(&format!("Bearer {OTHER_KEY}")).error(401, "invalid_api_key");
    assert!(error["message"].as_str().unwrap().contains("two different Authorization headers"), "{error}");
    with("Basic eDp5").error(401, "invalid_api_key");
}
