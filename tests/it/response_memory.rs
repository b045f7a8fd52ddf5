//! Memory cost of responses that clients do not read: constant files cost nothing, and all others together no more than
//! is configured.

use std::net::TcpStream;

use h2::client::Builder;
use serde_json::{Value, json};

use crate::memory::memory;
use crate::support::certificate::Pair;
use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::http2::Http2;
use crate::support::until;
use crate::support::upstream::FakeUpstream;

const BUNDLE: &str = "/docs/swagger-ui-bundle.js";
const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:0\"\n";

/// Connects over HTTP/2 and reads nothing of any body.
fn closed_window(hearken: &Hearken, pair: &Pair) -> Http2 {
    Http2::granting(hearken.client().address, pair, Builder::new().initial_window_size(0))
}

/// Starts an upstream that answers each call with this many thousand bytes, in chunks of 10,000.
fn verbose(thousands: usize) -> FakeUpstream {
    FakeUpstream::gemini().say_often(thousands / 10, &"x".repeat(10_000)).start()
}

/// Waits until the program has received what this client has sent.
fn arrived(client: &mut Http2) {
    let last = client.ask("GET", "/healthz", None);
    client.head(last);
}

fn grown(hearken: &Hearken, before: usize) -> usize {
    memory(hearken, "VmRSS").saturating_sub(before)
}

#[test]
fn clients_that_do_not_read_a_constant_file_need_no_memory_for_it() {
    let pair = Pair::new();
    let plain = Hearken::builder().local().start();
    let secure = Hearken::builder().local().tls(&pair).start();
    let whole = plain.client().without_key().get(BUNDLE).expect(200).body.len();
    assert!(whole > 1_000_000);
    let before = memory(&plain, "VmRSS");
    let client = plain.client().without_key();
    let connections: Vec<TcpStream> =
        (0..100).map(|_| client.send_raw(client.head("GET", BUNDLE, &[]).as_bytes())).collect();
    // A later connection that is answered shows that the others were answered, too.
    for connection in &connections {
        let mut first = [0];
        connection.peek(&mut first).unwrap();
    }
    client.get("/healthz").expect(200);
    let held = grown(&plain, before);
    println!("HTTP/1: {held} bytes for 100 connections");
    assert!(held < 100 * whole / 8, "{held}");
    drop(connections);

    let mut clients: Vec<Http2> = (0..4).map(|_| closed_window(&secure, &pair)).collect();
    let first = clients[0].ask("GET", BUNDLE, None);
    let mut answers = vec![clients[0].head(first)];
    let before = memory(&secure, "VmRSS");
    for client in &mut clients {
        for _ in 0..100 {
            let asked = client.ask("GET", BUNDLE, None);
            answers.push(client.head(asked));
        }
    }
    let held = grown(&secure, before);
    println!("HTTP/2: {held} bytes for 400 streams");
    assert!(held < 400 * whole / 16, "{held}");
}

#[test]
fn a_page_of_large_results_ends_early_and_the_next_one_goes_on() {
    let upstream = verbose(1500);
    let hearken = Hearken::before(&upstream).start();
    let submitted: Vec<String> = (0..5)
        .map(|_| {
            let id = hearken.submit(json!({}));
            assert_eq!(hearken.wait(&id)["status"], "completed");
            id
        })
        .collect();
    let mut listed: Vec<String> = Vec::new();
    let mut sizes = Vec::new();
    loop {
        let after = listed.last().map(|id| format!("&after={id}")).unwrap_or_default();
        let page = hearken.get(&format!("/v1/tasks?limit=100{after}")).expect(200).json();
        let tasks = page["data"].as_array().unwrap();
        assert!(tasks.iter().all(|task| {
            task["results"][0]["choices"][0]["message"]["content"]
                .as_str()
                .is_some_and(|text| text.len() == 1_500_000)
        }));
        sizes.push(tasks.len());
        listed.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
        if page["has_more"] == Value::Bool(false) {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert!(listed.iter().rev().eq(&submitted));
}

#[test]
fn a_result_larger_than_a_page_is_a_page_of_its_own() {
    let upstream = FakeUpstream::gemini()
        .say("small")
        .then()
        .say_often(500, &"x".repeat(10_000))
        .then()
        .say("small")
        .start();
    let hearken = Hearken::before(&upstream).start();
    for _ in 0..3 {
        hearken.wait(&hearken.submit(json!({})));
    }
    let page = |after: &str| hearken.get(&format!("/v1/tasks?limit=3{after}")).expect(200).json();
    let mut sizes = Vec::new();
    let mut after = String::new();
    for has_more in [true, true, false] {
        let page = page(&after);
        assert_eq!(page["has_more"], has_more);
        let tasks = page["data"].as_array().unwrap();
        sizes.push(tasks.len());
        after = format!("&after={}", tasks[0]["id"].as_str().unwrap());
    }
    assert_eq!(sizes, [1, 1, 1]);
}

#[test]
fn clients_that_do_not_read_large_results_share_a_bounded_memory() {
    let pair = Pair::new();
    let upstream = verbose(2000);
    let limits = "[limits]\nmax_response_memory_bytes = 32000000\n";
    let hearken = Hearken::before(&upstream).tls(&pair).set(limits).set(METRICS).start();
    let mut reader = Http2::connect(hearken.client().address, &pair);
    let large = reader.submit(json!({}));
    let task = format!("/v1/tasks/{large}");
    assert!(reader.get(&format!("{task}?wait=20")).1.contains("\"completed\""));
    let before = memory(&hearken, "VmRSS");
    let mut client = closed_window(&hearken, &pair);
    // All endpoints that show a result.
    let asked: Vec<_> = (0..40)
        .map(|turn| match turn % 3 {
            0 => client.ask("GET", &task, None),
            1 => client.ask("GET", "/v1/tasks", None),
            _ => client.ask("POST", &format!("{task}/cancel"), None),
        })
        .collect();
    arrived(&mut client);
    until("responses wait for memory", || {
        let said = hearken.metrics();
        let is_full = said.value("hearken_responses_waiting") >= 30.0;
        (is_full && said.value("hearken_response_memory_bytes") > 4e6).then_some(())
    });
    let said = hearken.metrics();
    let taken = said.value("hearken_response_memory_bytes");
    let limit = said.value("hearken_response_memory_limit_bytes");
    assert!(taken <= limit && limit <= 32.1e6, "{taken} of {limit}");
    let held = grown(&hearken, before);
    println!("{held} bytes for 40 responses of 2 MB");
    assert!(held < 40_000_000, "{held}");
    // Small responses are still sent.
    let small = reader.submit(json!({}));
    assert_eq!(reader.get(&format!("/v1/tasks/{small}")).0, 200);
    // Abandoned requests release their memory.
    for asked in asked {
        client.give_up(asked);
    }
    arrived(&mut client);
    let (status, text) = reader.get(&task);
    assert!(status == 200 && text.len() > 2_000_000);
    hearken.metrics_say("hearken_response_memory_bytes", 0.0);
}

#[test]
fn clients_of_one_key_that_do_not_read_leave_memory_to_others() {
    let pair = Pair::new();
    let upstream = verbose(2000);
    let limits = "[limits]\nmax_response_memory_bytes = 24000000\n";
    let hearken = Hearken::before(&upstream).tls(&pair).set(limits).set(METRICS).start();
    let address = hearken.client().address;
    let mut reader = Http2::connect(address, &pair);
    let task = format!("/v1/tasks/{}", reader.submit(json!({})));
    assert!(reader.get(&format!("{task}?wait=20")).1.contains("\"completed\""));
    let mut silent = closed_window(&hearken, &pair);
    let asked: Vec<_> = (0..200).map(|_| silent.ask("GET", &task, None)).collect();
    // As many requests wait as may wait, and the others are refused at once. Some of those that wait may get memory
    // later.
    let refused = "hearken_http_requests_refused_total{code=\"queue_full\",route=\"/v1/tasks/{task_id}\"}";
    let said = until("some wait for memory, and the others are refused", || {
        silent.flush();
        let said = hearken.metrics();
        (said.value("hearken_responses_waiting") >= 1.0 && said.find(refused)? >= 100.0).then_some(said)
    });
    let taken = said.value("hearken_response_memory_bytes");
    assert!(taken <= said.value("hearken_response_memory_limit_bytes") / 2.0, "{taken}");
    // Another key gets a large answer of its own.
    let mut ask = |method: &str, path: &str, ends: bool| {
        let headers = [("content-type", "application/json")];
        reader.begin_as(OTHER_KEY, method, path, &headers, ends).unwrap()
    };
    let mut submit = ask("POST", "/v1/llm/generations", false);
    submit.send(crate::support::body(json!({"sync": true})).to_string(), true);
    let answer = reader.head(submit);
    assert_eq!(answer.head.status(), 200);
    assert!(reader.rest(answer).len() > 2_000_000);
    drop(asked);
}
