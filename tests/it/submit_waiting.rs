//! `hearken submit` while it waits: for a server that does not accept the task yet, and with a pipe that may be closed.

use std::process::{Command, Stdio};
use std::sync::mpsc;

use crate::support::hearken::Hearken;
use crate::support::shell::{Cutter, Ended, FakeServer, Home, Running, by, http, on_terminal};
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, PATIENCE};

/// The arguments of a submit of the recording.
const SUBMIT: [&str; 4] = ["submit", "speech.mp3", "--model", MODEL];

/// Returns the reply of a server that accepts nothing now.
fn full() -> String {
    http(503, "application/json", r#"{"error":{"code":"queue_full","message":"Too many wait"}}"#)
}

fn no_models() -> String {
    http(200, "application/json", r#"{"data":[]}"#)
}

/// Runs the command with a pipe as its standard output that is closed at the other end.
fn unread(mut command: Command) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Running::start(command.stdout(Stdio::from(writer))).ended()
}

#[test]
fn a_signal_ends_the_wait_for_a_server_that_accepts_nothing() {
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let server =
            FakeServer::start(|head| Some(if head.starts_with("post ") { full() } else { no_models() }));
        let home = Home::new();
        // Where the tests run, hangups may be ignored.
        let command = home.knowing(server.address(), &SUBMIT);
        let running = Running::start(&mut by(&["env", "--default-signal=HUP"], &command));
        running.tells("not accepted yet: queue_full");
        running.signal(signal);
        let ended = running.ended().with_status(status);
        assert!(ended.err.ends_with("\ninterrupted; nothing was submitted\n"), "{ended:?}");
    }
}

#[test]
fn a_submit_that_is_refused_after_a_signal_is_not_sent_again() {
    let (asked, asks) = mpsc::channel();
    let (answer, answers) = mpsc::channel::<()>();
    let server = FakeServer::start(move |head| {
        if !head.starts_with("post ") {
            return Some(no_models());
        }
        asked.send(()).unwrap();
        answers.recv().unwrap();
        Some(full())
    });
    let home = Home::new();
    let running = Running::start(&mut home.knowing(server.address(), &SUBMIT));
    asks.recv_timeout(PATIENCE).unwrap();
    running.signal("INT");
    running.tells("waiting for the task's id");
    answer.send(()).unwrap();
    let ended = running.ended().with_status(130);
    assert!(ended.err.ends_with("\ninterrupted; nothing was submitted\n"), "{ended:?}");
    assert!(asks.try_recv().is_err(), "it was sent again");
}

#[test]
fn a_first_request_whose_connection_is_cut_is_sent_again() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let proxy = Cutter::before(hearken.address);
    proxy.lose_reply_to("GET /v1/models");
    let ended = Home::new().run(proxy.address(), &SUBMIT).with_status(0);
    assert_eq!(ended.out, "x\n");
    assert!(ended.err.contains("not accepted yet: "), "{ended:?}");
}

#[test]
fn a_terminal_shows_the_waiting_time() {
    let server = FakeServer::start(|head| Some(if head.starts_with("post ") { full() } else { no_models() }));
    let home = Home::new();
    let running = Running::start(&mut on_terminal(&home.knowing(server.address(), &SUBMIT), ""));
    running.prints("waiting, again in 1 s");
}

#[test]
fn a_pipe_that_closes_before_the_first_text_is_noticed() {
    for option in ["--quiet", "--json", "--detach"] {
        let upstream = FakeUpstream::gemini().hold().say("late").start();
        let hearken = Hearken::start(&upstream);
        let home = Home::new();
        let ended =
            unread(home.knowing(hearken.address, &[&SUBMIT[..], &[option]].concat())).with_status(141);
        assert!(!ended.err.contains("cancel"), "{ended:?}");
        let tasks = hearken.get("/v1/tasks").json();
        let task = hearken.wait(tasks["data"][0]["id"].as_str().unwrap());
        assert_eq!(task["error"]["code"], "task_cancelled", "{option}");
    }
}

#[test]
fn a_closed_pipe_does_not_cancel_a_resumed_task() {
    let upstream = FakeUpstream::gemini().hold().say("late").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let id = home.run(hearken.address, &[&SUBMIT[..], &["--detach"]].concat()).with_status(0).out;
    unread(home.knowing(hearken.address, &["submit", "--resume", id.trim()])).with_status(141);
    upstream.held(1);
    upstream.release();
    assert_eq!(hearken.wait(id.trim())["status"], "completed");
}

#[test]
fn a_full_disk_error_does_not_mention_cancel_for_an_ended_task() {
    let upstream = FakeUpstream::gemini().say("one").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let id = home.run(hearken.address, &[&SUBMIT[..], &["--detach"]].concat()).with_status(0).out;
    hearken.wait(id.trim());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.knowing(hearken.address, &["submit", "--resume", id.trim()]);
    let ended = Running::start(command.stdout(full)).ended().with_status(1);
    assert!(ended.err.contains("No space left") && !ended.err.contains("not cancelled"), "{ended:?}");
}
