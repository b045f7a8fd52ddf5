//! Limits of one key: submits per minute, and tasks at once.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::upstream::FakeUpstream;

const LIMITED: &str = "sk-limited-90ab12cd34";

/// Starts a server with one more key, which has these limits.
fn limited(upstream: &FakeUpstream, limits: &str) -> Hearken {
    let key = format!("[[keys]]\nname = \"limited\"\nkey = \"{LIMITED}\"\n{limits}");
    Hearken::before(upstream).set(&key).start()
}

#[test]
fn submits_beyond_a_keys_rate_are_refused_with_a_wait() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = limited(&upstream, "requests_per_minute = 2");
    let client = hearken.with_key(LIMITED);
    client.try_submit(json!({"temperature": 9})).error(422, "invalid_param");
    client.try_submit(json!({"model": "unknown"})).error(422, "no_available_model");
    let first = client.submit_under("k", json!({})).expect(200);
    client.try_submit(json!({"sync": true})).expect(200);
    let refused = client.try_submit(json!({}));
    refused.error(429, "rate_limit_exceeded");
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&after), "{after}");
    // A repeat starts no task, so it does not count.
    assert_eq!(client.submit_under("k", json!({})).expect(200).json()["id"], first.json()["id"]);
    client.get("/v1/tasks").expect(200);
    hearken.wait(&hearken.submit(json!({})));
    client.wait(first.json()["id"].as_str().unwrap());
    assert_eq!(upstream.requests(), 3);
}

#[test]
fn tasks_beyond_a_keys_limit_wait_and_delay_no_other_key() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = limited(&upstream, "max_running_tasks = 1");
    let client = hearken.with_key(LIMITED);
    let ids: Vec<String> = (0..3).map(|_| client.submit(json!({}))).collect();
    upstream.held(1);
    let status = |id: &str| client.task(id)["status"].clone();
    assert_eq!(ids.iter().map(|id| status(id)).collect::<Vec<_>>(), ["processing", "pending", "pending"]);
    let other = hearken.submit(json!({}));
    upstream.held(2);
    assert_eq!(hearken.task(&other)["status"], "processing");
    // When a task ends, however it ends, the next one takes its place.
    client.cancel(&ids[0]);
    upstream.held(3);
    assert_eq!(status(&ids[1]), "processing");
    client.cancel(&ids[2]);
    upstream.release();
    upstream.release();
    assert_eq!(client.wait(&ids[1])["status"], "completed");
    hearken.wait(&other);
    assert_eq!(upstream.requests(), 3);
}

#[test]
fn a_keys_task_limit_still_holds_after_a_crash() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken = limited(&upstream, "max_running_tasks = 1");
    let client = hearken.with_key(LIMITED);
    let ids = [client.submit(json!({})), client.submit(json!({}))];
    upstream.held(1);
    hearken.crash();
    let client = hearken.with_key(LIMITED);
    upstream.held(2);
    let status = |id: &str| client.task(id)["status"].clone();
    assert_eq!((status(&ids[0]), status(&ids[1])), (json!("processing"), json!("pending")));
    upstream.release();
    upstream.release();
    for id in &ids {
        assert_eq!(client.wait(id)["status"], "completed");
    }
}
