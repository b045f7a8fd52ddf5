//! `GET /v1/tasks`: the caller's tasks, newest first, page by page.

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, OTHER_KEY};
use crate::support::upstream::FakeUpstream;

fn list(hearken: &Hearken, query: &str) -> Value {
    let list = hearken.get(&format!("/v1/tasks{query}")).expect(200).json();
    assert_eq!(list["object"], "list");
    assert_eq!(list.as_object().unwrap().len(), 3);
    list
}

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_shows_only_the_callers_tasks_newest_first() {
    let upstream = FakeUpstream::gemini().say("x").then().status(503).ends().then().never().start();
    let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 1").start();
    let mut expected = Vec::new();
    for stream in [false, true] {
        let id = hearken.submit(json!({"stream": stream}));
        hearken.wait(&id);
        expected.insert(0, id);
    }
    expected.insert(0, hearken.submit(json!({})));
    upstream.request(2);
    expected.insert(0, hearken.submit(json!({})));
    let all = list(&hearken, "");
    assert_eq!((ids(&all), &all["has_more"]), (expected.clone(), &json!(false)));
    for task in all["data"].as_array().unwrap() {
        assert_eq!(*task, hearken.task(task["id"].as_str().unwrap()));
    }
    let with_timelines = list(&hearken, "?include=timeline");
    for task in with_timelines["data"].as_array().unwrap() {
        assert!(task["timeline"]["queued_at_ms"].is_u64(), "{task}");
    }
    let statuses: Vec<_> = all["data"].as_array().unwrap().iter().map(|task| &task["status"]).collect();
    assert_eq!(statuses, ["pending", "processing", "failed", "completed"]);
    for (status, id) in ["pending", "processing", "failed", "completed"].iter().zip(&expected) {
        assert_eq!(ids(&list(&hearken, &format!("?status={status}"))), std::slice::from_ref(id), "{status}");
    }
    let theirs = hearken.with_key(OTHER_KEY);
    assert_eq!(theirs.get("/v1/tasks").expect(200).json()["data"], json!([]));
    theirs.get(&format!("/v1/tasks?after={}", expected[0])).error(422, "invalid_param");
    hearken.crash();
    assert_eq!(ids(&list(&hearken, "")), expected);
}

#[test]
fn pages_follow_each_other_without_a_gap_while_new_tasks_come() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let mut expected: Vec<String> = (0..7).map(|_| hearken.submit(json!({}))).collect();
    // Tasks of the same millisecond are in the order of their ids.
    let all = ids(&list(&hearken, "?limit=100"));
    let mut sorted = all.clone();
    sorted.sort();
    expected.sort();
    assert_eq!(sorted, expected);
    let mut paged = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = list(&hearken, &query);
        paged.extend(ids(&page));
        hearken.submit(json!({}));
        if page["has_more"] == false {
            break;
        }
        assert_eq!(ids(&page).len(), 3);
        query = format!("?limit=3&after={}", paged.last().unwrap());
    }
    assert_eq!(paged, all);
    assert_eq!(ids(&list(&hearken, "?limit=1")).len(), 1);
    let exact = list(&hearken, "?limit=10");
    assert_eq!((ids(&exact).len(), &exact["has_more"]), (10, &json!(false)));
}

#[test]
fn a_page_holds_twenty_tasks_by_default() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    for _ in 0..21 {
        hearken.submit(json!({}));
    }
    let page = list(&hearken, "");
    assert_eq!((ids(&page).len(), &page["has_more"]), (20, &json!(true)));
}

#[test]
fn unknown_values_are_refused_by_name() {
    let hearken = Hearken::builder().local().start();
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("status=done", "status"),
        ("status=", "status"),
        ("after=x", "after"),
        ("after=task-llm-1776874565-yq3szvcu", "after"),
    ] {
        let error = hearken.get(&format!("/v1/tasks?{query}")).error(422, "invalid_param");
        assert_eq!(error["param"], param, "{query}");
    }
    hearken.without_key().get("/v1/tasks").error(401, "invalid_api_key");
    hearken.post("/v1/tasks", &json!({})).error(405, "method_not_allowed");
    assert_eq!(list(&hearken, "?limit=100&unknown=1")["data"], json!([]));
}
