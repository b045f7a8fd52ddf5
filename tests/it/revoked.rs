//! A key that is revoked while it is in use: its subscriptions and waiting requests end.

use std::io::{BufRead, BufReader, Write};

use serde_json::json;

use crate::support::certificate::Pair;
use crate::support::hearken::{Hearken, run};
use crate::support::http::Client;
use crate::support::http2::Http2;
use crate::support::upstream::FakeUpstream;
use crate::support::{body, secure, until};

fn keys(hearken: &Hearken, action: &str) -> String {
    let config = hearken.config_file();
    let output = run(&["keys", action, "guest", "--config", config.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Returns a client with a key that can be revoked.
fn guest(hearken: &Hearken) -> Client {
    let guest = hearken.with_key(&keys(hearken, "create"));
    until("the key is noticed", || (guest.get("/v1/models").status == 200).then_some(()));
    guest
}

/// Starts an upstream that sends a text, and then waits.
fn upstream() -> FakeUpstream {
    FakeUpstream::gemini().say("a").hold().say("b").start()
}

#[test]
fn only_subscribers_of_a_revoked_key_are_disconnected() {
    for lines in ["[stream]\nhand_over = true", "[stream]\nhand_over = false"] {
        let upstream = upstream();
        let metrics = "[metrics]\nlisten = \"127.0.0.1:0\"";
        let hearken = Hearken::before(&upstream).set(lines).set(metrics).start();
        let guest = guest(&hearken);
        let id = guest.submit(json!({"stream": true}));
        let mine = hearken.submit(json!({"stream": true}));
        let mut broken = [guest.stream(&id), guest.stream(&id)];
        let mut kept = hearken.stream(&mine);
        for stream in broken.iter_mut().chain([&mut kept]) {
            stream.frame();
            stream.frame();
        }
        keys(&hearken, "revoke");
        broken.into_iter().for_each(crate::support::subscriber::Subscriber::breaks_off);
        guest.get(&format!("/v1/llm/generations/{id}/stream?offset=2")).error(401, "invalid_api_key");
        hearken.metrics_say("hearken_subscriptions_ended_total{reason=\"revoked\"}", 2.0);
        upstream.release();
        upstream.release();
        assert_eq!(kept.rest().last().unwrap().event, "done");
    }
}

#[test]
fn a_subscriber_of_a_revoked_key_over_tls_is_disconnected() {
    let (upstream, pair) = (upstream(), Pair::new());
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    let guest = hearken.with_key(&keys(&hearken, "create"));
    let address = hearken.client().address;
    let mut submitted = Http2::connect(address, &pair);
    let key = guest.key.clone().unwrap();
    until("the key is noticed", || {
        let asked = submitted.begin_as(&key, "GET", "/v1/models", &[], true).unwrap();
        (submitted.head(asked).head.status() == 200).then_some(())
    });
    let json = [("content-type", "application/json")];
    let mut asked = submitted.begin_as(&key, "POST", "/v1/llm/generations", &json, false).unwrap();
    asked.send(body(json!({"stream": true})).to_string(), true);
    let answer = submitted.head(asked);
    let task: serde_json::Value = serde_json::from_str(&submitted.rest(answer)).unwrap();
    let path = format!("/v1/llm/generations/{}/stream", task["id"].as_str().unwrap());

    let asked = submitted.begin_as(&key, "GET", &path, &[], true).unwrap();
    let mut second = submitted.head(asked);
    submitted.read_to(&mut second, "\"a\"");
    let mut first = secure::connect(address, &pair);
    first.write_all(guest.head("GET", &path, &[]).as_bytes()).unwrap();
    let mut first = BufReader::new(first);
    let mut line = String::new();
    while !line.contains("\"a\"") {
        line.clear();
        assert!(first.read_line(&mut line).unwrap() > 0);
    }
    keys(&hearken, "revoke");
    let mut rest = Vec::new();
    // The stream may end in any way, but without the last chunk.
    while !matches!(first.read_until(b'\n', &mut rest), Ok(0) | Err(_)) {}
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("\n0\r\n") && !rest.contains("event: "), "{rest:?}");
    assert_eq!(submitted.breaks_off(second), h2::Reason::INTERNAL_ERROR);
    until("both ends are logged", || (hearken.log().matches("end=revoked").count() == 2).then_some(()));
    let asked = submitted.begin_as(&key, "GET", &path, &[], true).unwrap();
    assert_eq!(submitted.head(asked).head.status(), 401);
    submitted.ping();
}

#[test]
fn requests_that_wait_with_a_revoked_key_are_answered_with_401() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::start(&upstream);
    let guest = guest(&hearken);
    let id = guest.submit(json!({}));
    upstream.held(1);
    let (mine, theirs) = std::thread::scope(|scope| {
        let calls = [
            guest.head("GET", &format!("/v1/tasks/{id}?wait=60"), &[]),
            guest.submit_bytes(json!({"sync": true})),
            guest.submit_bytes(json!({"sync": true, "stream": true})),
            guest.head(
                "POST",
                "/v1/llm/generations",
                &[("content-type", "application/json"), ("content-length", "99")],
            ),
        ];
        let theirs = calls
            .map(|call| guest.send_raw(call.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()));
        upstream.held(3);
        let mine = scope.spawn(|| hearken.wait(&hearken.submit(json!({}))));
        upstream.held(4);
        keys(&hearken, "revoke");
        let theirs = theirs.map(|mut socket| {
            let mut reply = Vec::new();
            std::io::Read::read_to_end(&mut socket, &mut reply).unwrap();
            crate::support::http::Reply::parse(&reply)
        });
        // A client that stops waiting for a blocking call has cancelled it.
        hearken.log_line("code=\"task_cancelled\"");
        (0..3).for_each(|_| upstream.release());
        (mine.join().unwrap(), theirs)
    });
    assert_eq!(mine["status"], "completed");
    for reply in theirs {
        let error = reply.error(401, "invalid_api_key");
        assert!(error["message"].as_str().unwrap().contains("revoked"), "{error}");
    }
}
