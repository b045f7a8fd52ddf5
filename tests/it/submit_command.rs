//! `hearken submit` from a shell: what it prints on standard output and standard error, and its exit status.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, KEY, NARROW_KEY};
use crate::support::shell::{Cutter, FakeServer, Home, Running, by, http, on_terminal, with_output};
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, base64, closed_port, fixture, until};

/// The arguments of a submit of the recording.
const SUBMIT: [&str; 4] = ["submit", "speech.mp3", "--model", MODEL];

fn json_line(out: &str) -> Value {
    assert_eq!((out.lines().count(), out.ends_with('\n')), (1, true), "{out:?}");
    serde_json::from_str(out).unwrap()
}

#[test]
fn a_pipe_gets_the_text_as_it_comes_and_nothing_else() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo\u{1b}[1m wörld").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let question =
        ["--prompt", "what?", "--system-prompt", "be short", "--max-tokens", "9", "--temperature", "0.5"];
    let running = Running::start(&mut home.knowing(hearken.address, &[&SUBMIT[..], &question].concat()));
    running.prints("Hel");
    upstream.held(1);
    assert_eq!(running.out(), "Hel");
    upstream.release();
    let ended = running.ended().with_status(0);
    assert_eq!(ended.out, "Hello\u{1b}[1m wörld\n");
    let lines: Vec<&str> = ended.err.lines().collect();
    let [upload, task, .., last] = lines[..] else { panic!("{lines:?}") };
    assert!(upload.starts_with("uploading ") && task.starts_with("task task-llm-"), "{lines:?}");
    assert!(lines.contains(&"streaming") && last.starts_with("completed in "), "{lines:?}");
    assert!(last.ends_with("4 chunks, 15 characters, 19 tokens"), "{lines:?}");
    assert!(!ended.err.contains(['\r', '\u{1b}']), "{:?}", ended.err);
    let asked = upstream.request(0).json();
    let text = asked.to_string();
    assert!(text.contains("what?") && text.contains("be short"), "{text}");
    assert!(text.contains(&base64(&fixture("audio/speech.mp3"))), "the recording");
    let generation = &asked["generationConfig"];
    assert_eq!(
        (&generation["maxOutputTokens"], &generation["temperature"]),
        (&json!(9), &json!(0.5)),
        "{generation}"
    );
}

#[test]
fn a_text_that_ends_its_line_gets_no_second_line_end() {
    let upstream = FakeUpstream::gemini().say("a\nb\n").start();
    let hearken = Hearken::start(&upstream);
    let ended = Home::new().run(hearken.address, &[&SUBMIT[..], &["--quiet"]].concat()).with_status(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("a\nb\n", ""));
}

#[test]
fn standard_input_and_urls_are_audio_too() {
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = Hearken::before(&upstream).set("[fetch]\nallow_private_networks = true").start();
    let home = Home::new();
    let mut command = home.knowing(hearken.address, &["submit", "-", "--model", MODEL]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    running.input().write_all(&fixture("audio/speech.mp3")).unwrap();
    assert_eq!(running.ended().with_status(0).out, "heard\n");
    assert!(upstream.request(0).json().to_string().contains(&base64(&fixture("audio/speech.mp3"))));
    // Nothing listens there: the error shows that the server tried to fetch it.
    let (_held, address) = closed_port();
    let url = format!("http://{address}/a.wav");
    let ended = home.run(hearken.address, &["submit", &url, "--model", MODEL]).with_status(1);
    assert!(ended.err.contains("hearken: audio_fetch_failed: "), "{}", ended.err);
}

#[test]
fn json_prints_the_task_or_the_refusal_in_one_line() {
    let error = json!({"error": {"code": 400, "message": "no such voice", "status": "INVALID_ARGUMENT"}});
    let upstream = FakeUpstream::gemini().say("Hello").then().refuses(400, &error).start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let arguments = [&SUBMIT[..], &["--json"]].concat();
    let task = json_line(&home.run(hearken.address, &arguments).with_status(0).out);
    assert_eq!((&task["status"], task.as_object().unwrap().len()), (&json!("completed"), 10), "{task}");
    assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "Hello");
    assert_eq!(task["results"][0]["object"], "chat.completion");
    let failed = json_line(&home.run(hearken.address, &arguments).with_status(1).out);
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("failed"), &json!("upstream_rejected"))
    );
    let refused = home.run(hearken.address, &["submit", "speech.mp3", "--json", "--model", "unheard-of"]);
    assert_eq!(json_line(&refused.with_status(1).out)["error"]["code"], "no_available_model");
}

#[test]
fn a_failed_task_is_reported_with_code_message_and_id() {
    let upstream = FakeUpstream::gemini().say("a").hold().cut().start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let running = Running::start(&mut home.knowing(hearken.address, &SUBMIT));
    running.prints("a");
    let id = running.task();
    upstream.held(1);
    upstream.release();
    let ended = running.ended().with_status(1);
    assert_eq!(ended.out, "a\n");
    assert!(ended.err.contains("hearken: upstream_disconnected: "), "{}", ended.err);
    assert!(ended.err.contains(&format!("task {id} failed after")), "{}", ended.err);
    assert!(ended.err.ends_with("; retrying the same command may succeed\n"), "{}", ended.err);
    let joined = home.run(hearken.address, &["submit", "--resume", &id]).with_status(1);
    assert!(joined.err.ends_with("; submitting the same audio again may succeed\n"), "{}", joined.err);
}

#[test]
fn an_answer_that_was_cut_short_says_so() {
    let upstream = FakeUpstream::gemini().say("a").finish("MAX_TOKENS").start();
    let hearken = Hearken::start(&upstream);
    let ended = Home::new().run(hearken.address, &SUBMIT).with_status(0);
    assert!(ended.out == "a\n" && ended.err.contains("token limit"), "{ended:?}");
}

#[test]
fn reasoning_goes_to_standard_error() {
    let upstream = FakeUpstream::gemini().think("Let me hear.").say("Hello").start();
    let hearken = Hearken::start(&upstream);
    let ended = Home::new().run(hearken.address, &[&SUBMIT[..], &["--reasoning"]].concat()).with_status(0);
    assert_eq!(ended.out, "Hello\n");
    assert!(ended.err.contains("\nLet me hear.\nstreaming\n"), "{:?}", ended.err);
}

#[test]
fn a_wrong_command_line_ends_with_status_two() {
    let hearken = Hearken::before(&FakeUpstream::gemini().start()).local().start();
    let home = Home::new();
    std::fs::write(home.path("empty"), "").unwrap();
    std::fs::write(home.path("large"), vec![0; 23 << 20]).unwrap();
    let id = "task-llm-1776874565-yq3szvcu";
    for (arguments, told) in [
        (&["submit"][..], "required"),
        (&["submit", "nothing.wav"], "nothing.wav: there is no such file"),
        (&["submit", "."], "directory"),
        (&["submit", "empty"], "empty is empty"),
        (&["submit", "large"], "28 MiB"),
        (&["submit", "speech.mp3", "--temperature", "3"], "from 0 to 2"),
        (
            &["submit", "speech.mp3", "--max-tokens", "0"],
            "write a whole number of 1 or more, or leave the option out",
        ),
        (&["submit", "speech.mp3", "--max-tokens", "many"], "write a whole number of 1 or more"),
        (&["submit", "--resume", id, "--offset", "-1"], "write a whole number of 0 or more"),
        (&["submit", "speech.mp3", "--key", ""], "the API key is empty"),
        (&["submit", "speech.mp3", "--model", ""], "'--model <M>': it is empty; if it comes from a variable"),
        (&["submit", "speech.mp3", "--model", " "], "'--model <M>': it is empty"),
        (&["submit", "speech.mp3", "--prompt", ""], "'--prompt <P>': it is empty"),
        (&["submit", "speech.mp3", "--system-prompt", ""], "'--system-prompt <P>': it is empty"),
        (&["submit", "speech.mp3", "--url", ""], "'--url <BASE>': it is empty"),
        (&["submit", "speech.mp3", "--ca", ""], "'--ca <FILE>'"),
        (&["submit", "speech.mp3", "--temperature", ""], "from 0 to 2"),
        (&["submit", ""], "the name of the audio is empty"),
        (&["submit", "--resume", ""], "looks like task-llm-"),
        (&["submit", "file://elsewhere/speech.mp3"], "it names a file on another machine"),
        (&["submit", "s3://bucket/speech.mp3"], "only files and http(s) URLs can be sent"),
        (&["submit", "speech.mp3", "--key", "\"sk-1\""], "the API key is in quotes"),
        (&["submit", "speech.mp3", "--url", "localhost"], "is not a server's address"),
        (&["submit", "speech.mp3", "--key", "s p"], "copy it again"),
        (&["submit", "speech.mp3", "--ca", "speech.mp3"], "cannot be used as certificate authorities"),
        (&["submit", "speech.mp3", "--resume", id], "cannot be used with"),
        (&["submit", "--resume", "it"], "looks like task-llm-"),
        (&["submit", "speech.mp3", "--offset", "3"], "cannot be used with"),
    ] {
        let ended = home.run(hearken.address, arguments).with_status(2);
        assert!(ended.err.contains(told) && ended.out.is_empty(), "{arguments:?}: {ended:?}");
    }
    let without_key = Running::start(&mut home.command(&["submit", "speech.mp3"])).ended().with_status(2);
    assert!(
        without_key.err.contains("no API key for http://127.0.0.1:8080: log in with"),
        "{}",
        without_key.err
    );
    assert!(hearken.get("/v1/tasks").json()["data"].as_array().unwrap().is_empty());
}

#[test]
fn the_only_model_needs_no_name_and_several_are_listed() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let home = Home::new();
    let one = Hearken::start(&upstream);
    assert_eq!(home.run(one.address, &["submit", "speech.mp3"]).with_status(0).out, "x\n");
    let two = Hearken::before(&upstream).local().start();
    let ended = home.run(two.address, &["submit", "speech.mp3"]).with_status(2);
    for line in [format!("  {MODEL}"), "  local-inspect".to_owned()] {
        assert!(ended.err.lines().any(|told| told == line), "{}", ended.err);
    }
    let typed = ended.err.lines().last().unwrap().trim().strip_prefix("hearken ").unwrap();
    let typed: Vec<&str> = typed.split(' ').collect();
    home.run(two.address, &typed).with_status(0);
    // The suggested command keeps what was typed, except for the key.
    let question = ["submit", "speech.mp3", "--prompt", "what is it?", "--json", "--key", KEY];
    let ended = home.run(two.address, &question).with_status(2);
    let line = "hearken submit speech.mp3 --prompt 'what is it?' --json --key ... --model ";
    assert!(ended.err.lines().last().unwrap().trim().starts_with(line), "{}", ended.err);
}

#[test]
fn an_unknown_model_is_answered_with_the_list_of_models() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let home = Home::new();
    let unknown = home.run(hearken.address, &["submit", "speech.mp3", "-m", "unheard-of"]).with_status(1);
    assert!(unknown.err.contains("no_available_model"), "{unknown:?}");
    assert!(unknown.err.ends_with(&format!("\nThis key may use:\n  {MODEL}\n")), "{unknown:?}");
    let narrow = home.run(hearken.address, &[&SUBMIT[..], &["--key", NARROW_KEY]].concat()).with_status(1);
    assert!(narrow.err.contains("model_not_allowed"), "{narrow:?}");
    assert!(narrow.err.ends_with("\nthe server lists no model for this key\n"), "{narrow:?}");
}

#[test]
fn a_file_may_have_any_name() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let name = OsStr::from_bytes(b"r\xe9sum\xe9.mp3");
    std::fs::copy(home.path("speech.mp3"), home.path("").join(name)).unwrap();
    let mut command = home.knowing(hearken.address, &["submit", "--model", MODEL]);
    assert_eq!(Running::start(command.arg(name)).ended().with_status(0).out, "x\n");
}

#[test]
fn a_file_url_is_sent_as_the_file_that_it_names() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    std::fs::copy(home.path("speech.mp3"), home.path("my call #1.mp3")).unwrap();
    let name = home.path("my%20call%20%231.mp3").display().to_string();
    for url in [format!("file://{name}"), format!("file:{name}"), format!("file://localhost{name}")] {
        let ended = home.run(hearken.address, &["submit", &url, "--model", MODEL]).with_status(0);
        assert_eq!(ended.out, "x\n", "{url}");
    }
}

#[test]
fn a_variable_that_is_not_text_is_named() {
    let home = Home::new();
    for name in ["HEARKEN_URL", "HEARKEN_API_KEY"] {
        for arguments in [&["submit", "speech.mp3"][..], &["login", "--key-stdin"]] {
            let mut command = home.command(arguments);
            command.env("HEARKEN_API_KEY", KEY).env(name, OsStr::from_bytes(b"hush\xff"));
            let ended = Running::start(&mut command).ended().with_status(2);
            let told = format!("hearken: {name} (environment): text in UTF-8 is needed");
            assert!(ended.err.starts_with(&told) && !ended.err.contains("hush"), "{ended:?}");
        }
    }
}

#[test]
fn a_refusal_or_a_missing_server_ends_with_status_one() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let home = Home::new();
    let refused = home.run(hearken.address, &["submit", "speech.mp3", "--key", "sk-wrong"]).with_status(1);
    assert!(
        refused.err.contains("does not know this API key") && !refused.err.contains("sk-wrong"),
        "{refused:?}"
    );
    let below = format!("http://{}/below", hearken.address);
    let lost = home.run(hearken.address, &["submit", "speech.mp3", "--url", &below]).with_status(1);
    assert!(
        lost.err.contains(&format!("hearken answers, but has nothing at the path of {below}")),
        "{lost:?}"
    );
    let (_held, address) = closed_port();
    let absent = home.run(address, &SUBMIT).with_status(1);
    assert!(
        absent.err.contains(&format!("no connection to http://{address}: connection refused")),
        "{absent:?}"
    );
}

#[test]
fn a_url_of_this_machine_is_refused_with_a_command_that_works() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let home = Home::new();
    for url in ["http://localhost:1/x.wav", "http://127.0.0.1:1/x.wav"] {
        let submit = ["submit", url, "--model", MODEL, "--prompt", "what is it?"];
        let ended = home.run(hearken.address, &submit).with_status(1);
        let line = format!("\n  curl -sSf {url} | hearken submit - --prompt 'what is it?' --model {MODEL}\n");
        assert!(ended.err.ends_with(&line), "{ended:?}");
    }
    let malformed =
        home.run(hearken.address, &["submit", "http://h h/x.wav", "--model", MODEL]).with_status(1);
    assert!(!malformed.err.contains("curl"), "{malformed:?}");
}

#[test]
fn https_to_a_server_without_tls_gets_the_advice_to_use_http() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let url = format!("https://{}", hearken.address);
    let ended = Home::new().run(hearken.address, &[&SUBMIT[..], &["--url", &url]].concat()).with_status(1);
    assert!(ended.err.contains("write http:// instead of https://"), "{ended:?}");
}

#[test]
fn a_submit_to_the_port_for_metrics_is_refused_as_such() {
    let hearken =
        Hearken::before(&FakeUpstream::gemini().start()).set("[metrics]\nlisten = \"127.0.0.1:0\"").start();
    let watcher = hearken.watcher();
    let ended = Home::new().run(watcher.address, &SUBMIT).with_status(1);
    assert!(ended.err.contains("this port serves only /metrics and /healthz"), "{ended:?}");
    assert_eq!(watcher.get("/v1/models").expect(404).json()["error"]["code"], "not_found");
}

#[test]
fn a_cut_stream_is_resumed_where_it_was() {
    let upstream = FakeUpstream::gemini().say("one ").hold().say("two ").hold().say("three").start();
    let hearken = Hearken::start(&upstream);
    let (home, proxy) = (Home::new(), Cutter::before(hearken.address));
    let running = Running::start(&mut home.knowing(proxy.address(), &SUBMIT));
    running.prints("one ");
    upstream.held(1);
    proxy.cut();
    running.tells("lost the stream");
    upstream.release();
    running.prints("two ");
    upstream.held(2);
    proxy.cut();
    upstream.release();
    let ended = running.ended().with_status(0);
    assert_eq!(ended.out, "one two three\n");
    assert!(ended.err.contains("\nresumed at chunk 2\n"), "{}", ended.err);
    let asked = proxy.requests().to_lowercase();
    for line in ["/stream?offset=2 ", "last-event-id: 1\r\n", "last-event-id: 2\r\n"] {
        assert!(asked.contains(line), "{line}: {asked}");
    }
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_repeat_after_a_lost_reply_is_the_same_task() {
    let upstream = FakeUpstream::gemini().say("once").start();
    let hearken = Hearken::start(&upstream);
    let (home, proxy) = (Home::new(), Cutter::before(hearken.address));
    proxy.lose_reply_to("POST /v1/llm/generations");
    let ended = home.run(proxy.address(), &SUBMIT).with_status(0);
    assert_eq!(ended.out, "once\n");
    assert!(ended.err.contains("not accepted yet: "), "{}", ended.err);
    assert_eq!(hearken.get("/v1/tasks").json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_submit_that_never_gets_a_reply_warns_that_a_task_may_exist() {
    let mut lost = false;
    let server = FakeServer::start(move |head| match head.starts_with("post ") {
        false => Some(http(200, "application/json", r#"{"data":[]}"#)),
        true if std::mem::replace(&mut lost, true) => Some(http(404, "text/html", "gone")),
        true => None,
    });
    let ended = Home::new().run(server.address(), &SUBMIT).with_status(1);
    let url = format!("http://{}/", server.address());
    assert!(ended.err.contains("not accepted yet: ") && ended.err.contains("it answered 404"), "{ended:?}");
    assert!(
        ended.err.ends_with(&format!("may have accepted the task; look for it under Tasks at {url}\n")),
        "{ended:?}"
    );
}

#[test]
fn a_reply_that_is_no_stream_is_not_read_as_one() {
    let id = "task-llm-1776874565-yq3szvcu";
    let task = format!(r#"{{"id":"{id}","status":"processing"}}"#);
    let server = FakeServer::start(move |head| {
        let page = head.contains("/stream");
        Some(if page { http(200, "text/html", "<p>Hi") } else { http(200, "application/json", &task) })
    });
    let ended = Home::new().run(server.address(), &["submit", "--resume", id]).with_status(1);
    assert!(ended.err.contains("it sent \"text/html\" instead of an event stream"), "{ended:?}");
    assert!(ended.err.contains(&format!("continue with: hearken submit --resume {id}")), "{ended:?}");
}

#[test]
fn a_submit_waits_while_the_queue_is_full() {
    let upstream =
        FakeUpstream::gemini().hold().say("first").then().hold().say("second").then().say("third").start();
    let hearken = Hearken::before(&upstream)
        .channel("max_running_tasks = 1")
        .set("[limits]\nmax_pending_tasks = 1")
        .start();
    let (home, running) = (Home::new(), hearken.submit(json!({})));
    upstream.held(1);
    hearken.submit(json!({}));
    let submit = Running::start(&mut home.knowing(hearken.address, &SUBMIT));
    submit.tells("not accepted yet: queue_full");
    upstream.release();
    hearken.wait(&running);
    upstream.release();
    assert_eq!(submit.ended().with_status(0).out, "third\n");
}

#[test]
fn a_submit_survives_a_crash_of_the_server() {
    let upstream = FakeUpstream::gemini().never().then().say("later").start();
    let mut hearken = Hearken::before(&upstream).start();
    let home = Home::new();
    let running = Running::start(&mut home.knowing(hearken.address, &[&SUBMIT[..], &["--detach"]].concat()));
    let id = running.ended().with_status(0).out.trim().to_owned();
    upstream.request(0);
    hearken.crash();
    assert_eq!(home.run(hearken.address, &["submit", "--resume", &id]).with_status(0).out, "later\n");
}

#[test]
fn signals_that_end_programs_cancel_the_task() {
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let upstream = FakeUpstream::gemini().say("a").hold().start();
        let hearken = Hearken::start(&upstream);
        let home = Home::new();
        // Where the tests run, hangups may be ignored.
        let command = home.knowing(hearken.address, &SUBMIT);
        let running = Running::start(&mut by(&["env", "--default-signal=HUP"], &command));
        running.prints("a");
        let id = running.task();
        running.signal(signal);
        let ended = running.ended().with_status(status);
        assert!(
            ended.err.contains(&format!("cancelling {id}")) && ended.err.ends_with("\ncancelled\n"),
            "{ended:?}"
        );
        assert_eq!(hearken.task(&id)["error"]["code"], "task_cancelled");
        upstream.closed(0);
    }
}

#[test]
fn a_command_that_ignores_hangups_survives_one() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let command = home.knowing(hearken.address, &SUBMIT);
    let running = Running::start(&mut by(&["env", "--ignore-signal=HUP"], &command));
    running.prints("a");
    running.signal("HUP");
    upstream.held(1);
    upstream.release();
    assert_eq!(running.ended().with_status(0).out, "ab\n");
}

#[test]
fn a_signal_works_while_standard_output_is_not_read() {
    let upstream = FakeUpstream::gemini().say(&"x".repeat(1 << 20)).hold().start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let mut child = home.knowing(hearken.address, &SUBMIT).spawn().unwrap();
    upstream.held(1);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while line != "streaming\n" {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let status = until("the command ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    let tasks = hearken.get("/v1/tasks").json();
    let task = hearken.wait(tasks["data"][0]["id"].as_str().unwrap());
    assert_eq!(task["error"]["code"], "task_cancelled");
}

#[test]
fn a_second_signal_ends_the_command_at_once() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let mut hearken = Hearken::start(&upstream);
    let home = Home::new();
    let running = Running::start(&mut home.knowing(hearken.address, &SUBMIT));
    running.prints("a");
    // A stopped server does not answer the cancel.
    hearken.signal("STOP");
    running.signal("INT");
    running.tells("interrupt again to exit at once");
    running.signal("INT");
    let ended = running.ended().with_status(130);
    assert!(
        ended.err.contains("could not be cancelled") && ended.err.contains("submit --resume task-llm-"),
        "{ended:?}"
    );
    hearken.signal("CONT");
    hearken.signal("KILL");
    hearken.exit_status();
}

#[test]
fn a_closed_pipe_cancels_the_task_without_a_message() {
    let upstream = FakeUpstream::gemini().say("one\n").hold().say("two\n").hold().start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let mut child = home.knowing(hearken.address, &SUBMIT).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    drop(out);
    upstream.held(1);
    upstream.release();
    upstream.closed(0);
    let status = until("the command ends", || child.try_wait().unwrap());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(status.code(), Some(141), "{errors}");
    assert!(errors.ends_with("\nstreaming\n"), "{errors:?}");
}

#[test]
fn a_full_disk_is_reported_and_leaves_the_task_running() {
    let upstream = FakeUpstream::gemini().say("one").hold().start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let full = |arguments: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = home.knowing(hearken.address, arguments);
        let ended = Running::start(command.stdout(full)).ended().with_status(1);
        assert!(
            ended.err.contains("hearken: standard output cannot be written to: No space left"),
            "{ended:?}"
        );
        ended.err.lines().last().unwrap().strip_prefix("continue with: hearken ").unwrap().to_owned()
    };
    let again = full(&SUBMIT);
    upstream.held(1);
    upstream.release();
    let again: Vec<&str> = again.split(' ').collect();
    assert_eq!(home.run(hearken.address, &again).with_status(0).out, "one\n");
    assert_eq!(full(&again), again.join(" "));
    let detached = full(&[&SUBMIT[..], &["--detach"]].concat());
    assert!(detached.starts_with("submit --resume task-llm-"), "{detached}");
}

#[test]
fn a_closed_standard_output_is_reported_with_a_command_to_resume() {
    let upstream = FakeUpstream::gemini().say("one").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    for options in [&["--quiet"][..], &["--detach"]] {
        let submit = home.knowing(hearken.address, &[&SUBMIT[..], options].concat());
        let ended = Running::start(&mut with_output(">&-", &submit)).ended().with_status(0);
        assert!(ended.err.contains("standard output is closed"), "{ended:?}");
        let again = ended.err.lines().last().unwrap().strip_prefix("continue with: hearken ").unwrap();
        let again: Vec<&str> = again.split(' ').collect();
        assert_eq!(home.run(hearken.address, &again).with_status(0).out, "one\n");
    }
    // To discard the answer is a choice of the user.
    let submit = home.knowing(hearken.address, &[&SUBMIT[..], &["--quiet"]].concat());
    let ended = Running::start(&mut with_output(">/dev/null", &submit)).ended().with_status(0);
    assert_eq!(ended.err, "");
}

#[test]
fn resume_starts_at_any_chunk_and_leaving_does_not_cancel() {
    let upstream = FakeUpstream::gemini().say("one ").say("two ").hold().say("three").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let detached = home.run(hearken.address, &[&SUBMIT[..], &["--detach"]].concat()).with_status(0);
    let id = detached.out.strip_suffix('\n').unwrap();
    assert!(id.starts_with("task-llm-"), "{detached:?}");
    let joined = Running::start(&mut home.knowing(hearken.address, &["submit", "--resume", id]));
    joined.prints("one two ");
    joined.signal("INT");
    let left = joined.ended().with_status(130);
    assert!(left.err.contains("stopped reading; the task continues"), "{left:?}");
    let line = left.err.lines().last().unwrap().strip_prefix("continue with: hearken ").unwrap();
    assert_eq!(line, format!("submit --resume {id} --offset 3"));
    assert_eq!(hearken.task(id)["status"], "processing");
    upstream.release();
    hearken.wait(id);
    let rest = home.run(hearken.address, &line.split(' ').collect::<Vec<_>>()).with_status(0);
    assert_eq!(rest.out, "three\n");
    assert_eq!(home.run(hearken.address, &["submit", "--resume", id]).with_status(0).out, "one two three\n");
    let unknown =
        home.run(hearken.address, &["submit", "--resume", "task-llm-1776874565-yq3szvcu"]).with_status(1);
    assert!(unknown.err.contains("task_not_found"), "{unknown:?}");
}

#[test]
fn a_task_without_a_stream_is_printed_when_it_has_ended() {
    let upstream = FakeUpstream::gemini().say("one ").hold().say("two").start();
    let hearken = Hearken::before(&upstream).set("[retention]\nchunks_seconds = 0").start();
    let home = Home::new();
    let id = hearken.submit(json!({}));
    let joined = Running::start(&mut home.knowing(hearken.address, &["submit", "--resume", &id]));
    joined.tells("requesting the whole answer");
    upstream.held(1);
    upstream.release();
    assert_eq!(joined.ended().with_status(0).out, "one two\n");
    // The same holds for a task whose chunks have expired.
    let id = home.run(hearken.address, &[&SUBMIT[..], &["--detach"]].concat()).with_status(0).out;
    let id = id.trim();
    upstream.held(2);
    upstream.release();
    hearken.wait(id);
    until("the chunks expire", || {
        (hearken.get(&format!("/v1/llm/generations/{id}/stream")).status == 410).then_some(())
    });
    assert_eq!(home.run(hearken.address, &["submit", "--resume", id]).with_status(0).out, "one two\n");
}

#[test]
fn a_resume_beyond_the_end_prints_nothing_and_ends_as_the_task_did() {
    let upstream = FakeUpstream::gemini().say("one").then().say("one").cut().start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    for (status, told) in [(0, "completed in "), (1, "hearken: upstream_disconnected: ")] {
        let id = hearken.submit(json!({"stream": true}));
        hearken.wait(&id);
        let beyond = ["submit", "--resume", &id, "--offset", "99"];
        let ended = home.run(hearken.address, &beyond).with_status(status);
        assert!(ended.out.is_empty() && ended.err.contains(told), "{ended:?}");
        assert!(ended.err.contains("there is no chunk 99"), "{ended:?}");
        let whole = home.run(hearken.address, &[&beyond[..], &["--json"]].concat()).with_status(status);
        assert_eq!(json_line(&whole.out)["id"], *id);
    }
}

#[test]
fn a_printed_part_is_not_followed_by_the_whole_when_chunks_expire() {
    let upstream = FakeUpstream::gemini().say("one ").say("two ").hold().say("three").start();
    let hearken = Hearken::before(&upstream).set("[retention]\nchunks_seconds = 0").start();
    let (home, proxy) = (Home::new(), Cutter::before(hearken.address));
    let id = hearken.submit(json!({"stream": true}));
    let joined = ["submit", "--resume", &id, "--offset", "2"];
    let running = Running::start(&mut home.knowing(proxy.address(), &joined));
    running.prints("two ");
    proxy.refuse(true);
    proxy.cut();
    running.tells("lost the stream");
    upstream.held(1);
    upstream.release();
    hearken.wait(&id);
    until("the chunks expire", || {
        (hearken.get(&format!("/v1/llm/generations/{id}/stream")).status == 410).then_some(())
    });
    proxy.refuse(false);
    let ended = running.ended().with_status(1);
    assert_eq!(ended.out, "two ");
    let all = ended.err.lines().last().unwrap().strip_prefix("continue with: hearken ").unwrap();
    assert_eq!(all, format!("submit --resume {id}"));
    let all = home.run(hearken.address, &all.split(' ').collect::<Vec<_>>()).with_status(0);
    assert_eq!(all.out, "one two three\n");
}

#[test]
fn a_task_can_be_cancelled_by_its_id() {
    let upstream = FakeUpstream::gemini().say("a").hold().start();
    let hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    let ended = Home::new().run(hearken.address, &["submit", "--cancel", &id]).with_status(0);
    assert!(ended.out.is_empty() && ended.err == "cancelled\n", "{ended:?}");
    assert_eq!(hearken.task(&id)["error"]["code"], "task_cancelled");
}

#[test]
fn a_terminal_shows_one_status_line_that_is_cleared_at_the_end() {
    let upstream = FakeUpstream::gemini().think("Hm.").hold().say("Hel").hold().say("lo").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    // The text goes elsewhere, so the status line stays as long as the task runs.
    let running = Running::start(&mut on_terminal(&home.knowing(hearken.address, &SUBMIT), ">text"));
    for (hold, state) in [(1, "thinking"), (2, "streaming 2 chunks, 3 characters")] {
        running.prints(state);
        upstream.held(hold);
        upstream.release();
    }
    let ended = running.ended().with_status(0);
    assert_eq!(std::fs::read_to_string(home.path("text")).unwrap(), "Hello\n");
    let screen = screen(&ended.out);
    let [task, summary] = &screen[..] else { panic!("{screen:?}") };
    assert!(task.starts_with("task task-llm-") && summary.starts_with("completed in "), "{screen:?}");
}

#[test]
fn on_a_terminal_the_text_replaces_the_status_line() {
    for (colours, thought) in [("", "\u{1b}[2mHm\u{fffd}[5m.\u{1b}[0m"), ("1", "Hm\u{fffd}[5m.")] {
        let upstream = FakeUpstream::gemini().think("Hm\u{1b}[5m.").say("a\u{1b}[31mb").start();
        let hearken = Hearken::start(&upstream);
        let home = Home::new();
        let mut command = home.knowing(hearken.address, &[&SUBMIT[..], &["--reasoning"]].concat());
        let running = Running::start(&mut on_terminal(command.env("NO_COLOR", colours), ""));
        let ended = running.ended().with_status(0);
        assert!(ended.out.contains(thought), "{:?}", ended.out);
        assert!(!ended.out.contains("\u{1b}[31m") && !ended.out.contains("\u{1b}[5m"), "{:?}", ended.out);
        let screen = screen(&ended.out);
        let [_, _, text, summary] = &screen[..] else { panic!("{screen:?}") };
        assert_eq!(text, "a\u{fffd}[31mb");
        assert!(summary.starts_with("completed in "), "{screen:?}");
    }
}

#[test]
fn text_and_json_from_a_server_cannot_control_a_terminal() {
    let list = r#"{"data":[{"id":"a\u001b[2Jb"},{"id":"c"}]}"#;
    let server = FakeServer::start(move |_| Some(http(200, "application/json", list)));
    let ended = Home::new().run(server.address(), &["submit", "speech.mp3"]).with_status(2);
    assert!(ended.err.contains("  a\u{fffd}[2Jb\n") && !ended.err.contains('\u{1b}'), "{ended:?}");
    let upstream = FakeUpstream::gemini().say("a\u{9b}31mb").start();
    let hearken = Hearken::start(&upstream);
    let home = Home::new();
    let command = home.knowing(hearken.address, &[&SUBMIT[..], &["--json", "--quiet"]].concat());
    let ended = Running::start(&mut on_terminal(&command, "")).ended().with_status(0);
    let task = json_line(&ended.out.replace("\r\n", "\n"));
    assert_eq!(task["results"][0]["choices"][0]["message"]["content"], "a\u{9b}31mb");
    assert!(ended.out.contains("\\u009b") && !ended.out.contains('\u{9b}'), "{:?}", ended.out);
}

/// Returns the lines that stay visible of what was written to a terminal, where the cursor may go back and rewrite a
/// line.
fn screen(written: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut rest = written.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\n' => lines.push(std::mem::take(&mut line)),
            // A program that goes back rewrites the line, or has cleared it.
            '\r' if rest.peek() != Some(&'\n') => line.clear(),
            '\u{1b}' => while rest.next().is_some_and(|next| !next.is_ascii_alphabetic()) {},
            '\r' => {}
            other => line.push(other),
        }
    }
    lines.push(line);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
fn no_key_is_shown_by_help_or_errors() {
    let home = Home::new();
    let help = Running::start(home.command(&["submit", "--help"]).env("HEARKEN_API_KEY", KEY))
        .ended()
        .with_status(0);
    assert!(help.out.contains("EXIT STATUS") && help.out.contains("HEARKEN_API_KEY"), "{}", help.out);
}
