//! `hearken keys`: made, listed and revoked beside a running server, which follows.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::hearken::{Hearken, KEY, run};
use crate::support::until;

fn keys(hearken: &Hearken, arguments: &[&str]) -> Output {
    let config = hearken.config_file();
    let tail = ["--config", config.to_str().unwrap()];
    run(&[&["keys"], arguments, &tail].concat())
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_key_counts_within_a_second_of_being_made_and_of_being_revoked() {
    let hearken = Hearken::builder().local().start();
    let printed = stdout(&keys(&hearken, &["create", "colleague"]));
    let key = printed.strip_suffix('\n').unwrap();
    assert!(key.starts_with("sk-") && key.len() > 30 && !key.contains(char::is_whitespace), "{printed:?}");
    let colleague = hearken.with_key(key);
    // A second is the promise; the rest is for a machine that has much else to do.
    let within = |status: u16| {
        let started = Instant::now();
        until("the key's state is noticed", || (colleague.get("/v1/models").status == status).then_some(()));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    };
    within(200);
    let mine = colleague.submit(json!({"model": "local-inspect"}));
    hearken.get(&format!("/v1/tasks/{mine}")).error(404, "task_not_found");

    let list = stdout(&keys(&hearken, &["list"]));
    assert!(list.contains("colleague"), "{list:?}");
    assert!(!list.contains(key), "a key is shown once");
    assert!(!hearken.data().contains(key), "only its hash is kept");
    assert_eq!(keys(&hearken, &["revoke", "colleague"]).status.code(), Some(0));
    within(401);
    assert!(!stdout(&keys(&hearken, &["list"])).contains("colleague"));
    hearken.get("/v1/models").expect(200);
    assert!(!hearken.log().contains(key));
}

#[test]
fn names_that_are_taken_or_unknown_end_with_status_one() {
    let hearken = Hearken::builder().local().start();
    stdout(&keys(&hearken, &["create", "twice"]));
    for arguments in [&["create", "twice"][..], &["create", "main"], &["revoke", "nobody"], &["create", ""]] {
        let output = keys(&hearken, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(keys(&hearken, &["frobnicate"]).status.code(), Some(2));
}

#[test]
fn keys_are_made_before_there_is_a_server() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("new/data");
    let data = data.to_str().unwrap();
    let made = stdout(&run(&["keys", "create", "first", "--data-dir", data]));
    assert!(made.starts_with("sk-"));
    let list = stdout(&run(&["keys", "list", "--data-dir", data]));
    assert!(list.starts_with("first"), "{list}");
}

#[test]
fn a_second_server_on_the_same_data_does_not_start() {
    let hearken = Hearken::builder().local().start();
    let config = hearken.config_file();
    let output = run(&["serve", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let data = hearken.data_dir();
    assert!(said.lines().last().unwrap().contains(data.to_str().unwrap()), "{said}");
    assert!(!said.contains(KEY));
    hearken.get("/v1/models").expect(200);
}
