//! `hearken keys`: keys are created, listed and revoked while a server runs, and the server follows.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::support::hearken::{Hearken, KEY, command, run};
use crate::support::shell::with_output;
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

/// Returns the list of the keys that are not in the configuration file.
fn made(hearken: &Hearken) -> String {
    let all = stdout(&keys(hearken, &["list"]));
    all.lines().filter(|line| !line.ends_with("hearken.toml")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_new_or_revoked_key_takes_effect_within_a_second() {
    let hearken = Hearken::builder().local().start();
    let printed = stdout(&keys(&hearken, &["create", "colleague"]));
    let key = printed.strip_suffix('\n').unwrap();
    assert!(key.starts_with("sk-") && key.len() > 30 && !key.contains(char::is_whitespace), "{printed:?}");
    let colleague = hearken.with_key(key);
    // The promise is one second; the rest is for a busy machine.
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
fn a_key_that_cannot_be_printed_is_not_created() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().to_str().unwrap();
    let full = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.lines().count() == 1 && said.contains("No space left"), "{said}");
    };
    full(&["keys", "create", "unseen", "--data-dir", data]);
    assert_eq!(stdout(&run(&["keys", "list", "--data-dir", data])), "");
    // Other output that cannot be written is an error, too.
    stdout(&run(&["keys", "create", "seen", "--data-dir", data]));
    full(&["keys", "list", "--data-dir", data]);
    full(&["check"]);
}

#[test]
fn a_key_that_would_be_discarded_is_not_created() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let create = command(&["keys", "create", "unseen", "--data-dir", data.to_str().unwrap()]);
    let mut discarded = with_output(">/dev/null", &create);
    let mut closed = with_output(">&-", &create);
    for command in [&mut discarded, &mut closed] {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no key was created") && said.lines().count() == 1, "{said}");
        assert!(!data.exists(), "no data directory is created for it");
    }
}

#[test]
fn a_failure_to_write_help_or_version_is_reported() {
    for arguments in [&["--help"][..], &["--version"], &["help", "submit"], &["keys", "create", "--help"]] {
        let full = with_output(">/dev/full", &command(arguments)).output().unwrap();
        let said = String::from_utf8(full.stderr).unwrap();
        assert!(
            full.status.code() == Some(1)
                && said.contains("standard output cannot be written to: No space left"),
            "{said}"
        );
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let left = command(&["help", "submit"]).stdout(writer).output().unwrap();
    assert_eq!((left.status.code(), left.stderr.as_slice()), (Some(141), &b""[..]));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["--hlep"]).status.code(), Some(2));
}

#[test]
fn a_missing_data_directory_is_reported_and_not_created() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("new/data");
    for (action, status) in [(&["list"][..], 0), (&["revoke", "anybody"], 1)] {
        let output = run(&[&["keys"], action, &["--data-dir", data.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("there is no data directory {}", data.display())), "{said}");
        assert!(output.stdout.is_empty() && std::fs::read_dir(directory.path()).unwrap().count() == 0);
    }
}

#[test]
fn a_configured_key_is_listed_but_cannot_be_created_or_revoked() {
    let hearken = Hearken::builder().local().start();
    let file = hearken.config_file().display().to_string();
    let list = stdout(&keys(&hearken, &["list"]));
    let line = format!("narrow\tgemini-other\trequests_per_minute=0\tmax_running_tasks=0\tin {file}");
    assert!(list.lines().any(|listed| listed == line), "{list}");
    for arguments in [["create", "narrow"], ["revoke", "narrow"]] {
        let output = keys(&hearken, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(&file), "{said}");
    }
}

#[test]
fn names_that_are_taken_or_unknown_end_with_status_one() {
    let hearken = Hearken::builder().local().start();
    stdout(&keys(&hearken, &["create", "twice"]));
    for arguments in [&["create", "twice"][..], &["create", "main"], &["revoke", "absent"], &["create", ""]] {
        let output = keys(&hearken, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(keys(&hearken, &["frobnicate"]).status.code(), Some(2));
}

#[test]
fn a_key_is_created_and_listed_with_its_limits() {
    let hearken = Hearken::builder().local().start();
    stdout(&keys(&hearken, &["create", "anything"]));
    let limits = ["--requests-per-minute", "60", "--max-running-tasks", "4"];
    let printed = stdout(&keys(
        &hearken,
        &[&["create", "alice", "--models", "gemini-*, local-?"][..], &limits].concat(),
    ));
    assert_eq!(
        made(&hearken),
        "anything\t*\trequests_per_minute=0\tmax_running_tasks=0\n\
         alice\tgemini-*,local-?\trequests_per_minute=60\tmax_running_tasks=4\n"
    );
    let alice = hearken.with_key(printed.trim());
    until("the key is noticed", || (alice.get("/v1/models").status == 200).then_some(()));
    assert_eq!(alice.get("/v1/models").json()["data"], json!([]));
    alice.try_submit(json!({"model": "local-inspect"})).error(403, "model_not_allowed");
}

#[test]
fn invalid_options_end_with_status_two_and_create_no_key() {
    let hearken = Hearken::builder().local().start();
    for options in [
        &["--requests-per-minute", "many"][..],
        &["--requests-per-minute", "-1"],
        &["--max-running-tasks", "1.5"],
        &["--max-running-tasks", "4294967296"],
        &["--max-running-tasks"],
        &["--models", ""],
        &["--models", "gemini-*,,local-inspect"],
        &["--model", "gemini-*"],
    ] {
        let output = keys(&hearken, &[&["create", "never"][..], options].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(made(&hearken), "");
}

#[test]
fn check_shows_the_limits_of_a_configured_key() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("h.toml");
    let text = "[[keys]]\nname = \"free\"\nkey = \"sk-free\"\n\
                [[keys]]\nname = \"bound\"\nkey = \"sk-bound\"\nmodels = [\"gemini-*\", \"local-inspect\"]\n\
                requests_per_minute = 60\nmax_running_tasks = 4\n\
                [[channels]]\nkind = \"local\"\n";
    std::fs::write(&file, text).unwrap();
    let said = stdout(&run(&["check", "--config", file.to_str().unwrap()]));
    for line in [
        "key free: models *, any number of submits per minute, any number of tasks at once",
        "key bound: models gemini-*, local-inspect, at most 60 submits per minute, at most 4 tasks at once",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
    assert!(!said.contains("warning") && !said.contains("sk-"), "{said}");
}

#[test]
fn keys_can_be_created_before_the_first_start() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("new/data");
    let data = data.to_str().unwrap();
    let output = run(&["keys", "create", "first", "--data-dir", data]);
    let made = stdout(&output);
    assert!(made.starts_with("sk-") && made.lines().count() == 1, "{made}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("the data directory {data} did not exist, so it was created")), "{said}");
    let output = run(&["keys", "create", "second", "--data-dir", data]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
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
