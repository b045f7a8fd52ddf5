//! Tasks that wait for a slot: their order, and the refusal when the queue is full.

use serde_json::json;

use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::upstream::FakeUpstream;

#[test]
fn a_key_with_many_tasks_does_not_starve_one_with_a_single_task() {
    let upstream = FakeUpstream::gemini().hold().say("x").then().say("x").start();
    let hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let held = hearken.submit(json!({"prompt": "held"}));
    upstream.held(1);
    let many: Vec<String> = (0..5).map(|n| hearken.submit(json!({"prompt": format!("many {n}")}))).collect();
    let other = hearken.with_key(OTHER_KEY);
    let single = other.submit(json!({"prompt": "single"}));
    upstream.release();
    other.wait(&single);
    for id in many.iter().chain([&held]) {
        hearken.wait(id);
    }
    let asked: Vec<String> = (0..7)
        .map(|n| upstream.request(n).json()["contents"][0]["parts"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(asked, ["held", "many 0", "single", "many 1", "many 2", "many 3", "many 4"]);
}

#[test]
fn a_submit_to_a_full_queue_is_refused_with_an_estimated_wait() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::before(&upstream)
        .channel("max_running_tasks = 1")
        .set("[limits]\nmax_pending_tasks = 1")
        .start();
    let ids = [hearken.submit(json!({})), hearken.submit(json!({}))];
    let refused = hearken.try_submit(json!({}));
    refused.error(429, "queue_full");
    // The pace is not known yet.
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&after), "{after}");
    for (number, id) in ids.iter().enumerate() {
        upstream.held(number + 1);
        upstream.release();
        hearken.wait(id);
    }
    hearken.submit(json!({}));
}
