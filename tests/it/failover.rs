//! Several channels for one model: which one is called first, which one next, and which one rests after failures.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hearken::fake_upstream::text::whole;
use serde_json::{Value, json};

use crate::support::fake_command::{ANY_KEY, FakeCommand};
use crate::support::hearken::{Builder, Hearken};
use crate::support::host::Host;
use crate::support::subscriber::content;
use crate::support::upstream::{FakeUpstream, Script};
use crate::support::{MODEL, fixture, until};

fn error(status: u16) -> Script {
    FakeUpstream::error(
        status,
        &json!({"error": {"code": status, "message": "its own words", "status": "X"}}),
    )
}

/// Builds a server with two channels; the first one is called first.
fn over(first: &FakeUpstream, second: &FakeUpstream) -> Builder {
    Hearken::builder()
        .gemini_named("first", &first.base_url())
        .channel("priority = 5\nmax_retries = 1\nmax_retry_wait_ms = 10")
        .gemini_named("second", &second.base_url())
        .channel("max_retries = 1\nmax_retry_wait_ms = 10")
}

/// Returns the channel and the outcome of each call of a task.
fn attempts(hearken: &Hearken, id: &str) -> Vec<(String, String)> {
    let task = hearken.get(&format!("/v1/tasks/{id}?include=timeline")).expect(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let attempts = task["timeline"]["attempts"].as_array().unwrap().clone();
    attempts.iter().map(|attempt| (text(&attempt["channel"]), text(&attempt["outcome"]))).collect()
}

fn pairs(attempts: &[(String, String)]) -> Vec<(&str, &str)> {
    attempts.iter().map(|(channel, outcome)| (channel.as_str(), outcome.as_str())).collect()
}

#[test]
fn the_next_channel_is_called_when_the_first_one_fails() {
    let (first, second) = (error(503).start(), FakeUpstream::gemini().say("x").start());
    let hearken = over(&first, &second).start();
    let id = hearken.submit(json!({}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(
        pairs(&attempts(&hearken, &id)),
        [("first", "upstream_error"), ("first", "upstream_error"), ("second", "completed")]
    );
    let task = hearken.get(&format!("/v1/tasks/{id}?include=timeline")).json();
    let statuses = |number: usize| task["timeline"]["attempts"][number].get("upstream_status").cloned();
    assert_eq!([statuses(0), statuses(1), statuses(2)], [Some(json!(503)), Some(json!(503)), None]);
    let ended = hearken.log_line("task ended");
    for told in ["channel=\"second\"", "candidates=2", "calls=3"] {
        assert!(ended.contains(told), "{ended}");
    }
}

#[test]
fn an_error_that_a_retry_would_repeat_ends_a_channels_turn_at_once() {
    for status in [401, 403, 404, 501] {
        let (first, second) = (error(status).start(), FakeUpstream::gemini().say("x").start());
        let hearken = over(&first, &second).start();
        assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
        assert_eq!((first.requests(), second.requests()), (1, 1), "{status}");
    }
}

#[test]
fn a_refused_account_or_region_is_the_channels_fault() {
    for (kind, status, body) in [
        (
            FakeUpstream::gemini as fn() -> Script,
            400,
            json!({"error": {"code": 400, "message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}}),
        ),
        (
            FakeUpstream::gemini,
            400,
            json!({"error": {"code": 400, "message": "Gemini API free tier is not available; please enable billing."}}),
        ),
        (
            FakeUpstream::openai,
            403,
            json!({"error": {"message": "Country, region, or territory not supported", "code": "unsupported_country_region_territory"}}),
        ),
        (
            FakeUpstream::openai,
            429,
            json!({"error": {"message": "Not active.", "code": "billing_not_active"}}),
        ),
        (FakeUpstream::openai, 400, json!({"error": {"message": "x", "code": "Arrearage"}})),
        (
            FakeUpstream::openai,
            400,
            json!({"error": {"message": "This organization has been disabled.", "code": null}}),
        ),
        (FakeUpstream::openai, 400, json!({"error": {"message": "账户余额不足"}})),
    ] {
        let (first, second) =
            (kind().refuses(status, &body).start(), FakeUpstream::gemini().say("x").start());
        let hearken = Hearken::builder()
            .upstream("first", first.kind(), &first.base_url())
            .channel("priority = 5")
            .gemini_named("second", &second.base_url())
            .start();
        assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
        assert_eq!((first.requests(), second.requests()), (1, 1), "{body}");
        hearken.log_line("the upstream refuses the channel's account or region");

        let alone = Hearken::before(&first).start();
        let error = alone.try_submit(json!({"sync": true})).error(502, "upstream_auth_error");
        assert_eq!(
            (&error["upstream_status"], &error["retryable"]),
            (&json!(status), &json!(false)),
            "{error}"
        );
        assert!(error["message"].as_str().unwrap().contains("account"), "{error}");
    }
}

#[test]
fn a_retry_hint_that_is_too_long_ends_a_channels_turn() {
    let (first, second) =
        (error(429).header("retry-after", "60").start(), FakeUpstream::gemini().say("x").start());
    let hearken = over(&first, &second).start();
    assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
    assert_eq!(first.requests(), 1);
}

#[test]
fn an_invalid_request_is_not_sent_to_another_channel() {
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
    for (script, code) in [
        (error(400), "upstream_rejected"),
        (FakeUpstream::gemini().event(&blocked).ends(), "content_policy_violation"),
    ] {
        let (first, second) = (script.start(), FakeUpstream::gemini().say("x").start());
        let hearken = over(&first, &second).start();
        hearken.try_submit(json!({"sync": true})).error(422, code);
        assert_eq!((first.requests(), second.requests()), (1, 0));
    }
}

#[test]
fn no_other_channel_is_called_after_the_first_chunk() {
    let (first, second) =
        (FakeUpstream::gemini().say("half").cut().start(), FakeUpstream::gemini().say("x").start());
    let hearken = over(&first, &second).start();
    assert_eq!(hearken.wait(&hearken.submit(json!({})))["error"]["code"], "upstream_disconnected");
    assert_eq!((first.requests(), second.requests()), (1, 0));
}

#[test]
fn the_failure_of_all_channels_is_reported_in_all_three_places() {
    let (first, second) = (error(500).start(), error(429).header("retry-after", "60").start());
    let hearken = over(&first, &second).start();
    let reply = hearken.try_submit(json!({"sync": true}));
    let told = reply.error(503, "all_channels_exhausted");
    assert_eq!((&told["upstream_status"], &told["retryable"]), (&json!(429), &json!(true)));
    assert!(told["message"].as_str().unwrap().contains("its own words"), "{told}");
    assert_eq!(reply.header("retry-after"), Some("60"));
    let id = hearken.submit(json!({"stream": true}));
    let frame = hearken.stream(&id).rest().pop().unwrap().json();
    let task = hearken.wait(&id);
    for error in [&frame["error"], &task["error"]] {
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("all_channels_exhausted"), &json!("service_unavailable"))
        );
        assert_eq!(error["message"], told["message"]);
    }
}

#[test]
fn equal_channels_share_tasks_and_a_busy_one_is_skipped() {
    let busy = FakeUpstream::gemini().hold().say("x").start();
    let free = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::builder()
        .gemini_named("busy", &busy.base_url())
        .channel("max_running_tasks = 1\nweight = 1000000")
        .gemini_named("free", &free.base_url())
        .start();
    let ids: Vec<String> = (0..5).map(|_| hearken.submit(json!({}))).collect();
    for id in &ids[1..] {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
    assert_eq!((busy.requests(), free.requests()), (1, 4));
    busy.release();
    hearken.wait(&ids[0]);
}

#[test]
fn a_task_that_waits_for_the_next_channel_releases_its_slot() {
    let first = error(401).then().status(401).ends().then().say("x").start();
    let second = FakeUpstream::gemini().hold().say("x").start();
    let hearken = Hearken::builder()
        .gemini_named("first", &first.base_url())
        .channel("priority = 5\nmax_running_tasks = 1")
        .gemini_named("second", &second.base_url())
        .channel("max_running_tasks = 1")
        .start();
    let movers = [hearken.submit(json!({})), hearken.submit(json!({}))];
    second.held(1);
    assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
    assert_eq!(second.requests(), 1);
    for (number, mover) in movers.iter().enumerate() {
        assert_eq!(hearken.task(mover)["status"], "processing");
        second.held(number + 1);
        second.release();
        assert_eq!(hearken.wait(mover)["status"], "completed");
    }
    assert_eq!((first.requests(), second.requests()), (3, 2));
}

#[test]
fn a_failing_channel_is_paused_then_probed_once_and_used_again() {
    let mut script = error(503);
    for _ in 0..3 {
        script = script.then().status(503).ends();
    }
    let first = script.then().hold().say("x").then().say("x").start();
    let second = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::builder()
        .gemini_named("first", &first.base_url())
        .channel("priority = 5\nmax_retries = 0\nbreaker_failures = 4\nbreaker_rest_ms = 1500")
        .gemini_named("second", &second.base_url())
        .start();
    let run = || assert_eq!(hearken.wait(&hearken.submit(json!({})))["status"], "completed");
    (0..10).for_each(|_| run());
    assert_eq!((first.requests(), second.requests()), (4, 10));
    hearken.log_line("it rests for a while");
    // One task is the probe; until its outcome is known, no other task uses the channel.
    let probe = until("a probe starts", || {
        let id = hearken.submit(json!({}));
        until("a channel is called", || (hearken.task(&id)["status"] != "pending").then_some(()));
        (first.requests() == 5).then_some(id)
    });
    first.held(1);
    run();
    assert_eq!(first.requests(), 5);
    first.release();
    assert_eq!(hearken.wait(&probe)["status"], "completed");
    hearken.log_line("works again");
    let asked = second.requests();
    (0..3).for_each(|_| run());
    assert_eq!((first.requests(), second.requests()), (8, asked));
}

#[test]
fn a_channel_that_cuts_answers_after_the_first_chunk_is_paused_too() {
    let (first, second) =
        (FakeUpstream::gemini().say("half").cut().start(), FakeUpstream::gemini().say("x").start());
    let hearken = over(&first, &second).start();
    let outcomes: Vec<bool> =
        (0..8).map(|_| hearken.wait(&hearken.submit(json!({})))["status"] == "completed").collect();
    // Nothing can be retried after the first chunk: it takes five tasks to detect the failures.
    assert_eq!(outcomes, [false, false, false, false, false, true, true, true]);
    assert_eq!((first.requests(), second.requests()), (5, 3));
}

#[test]
fn a_task_that_waits_for_another_channel_can_be_cancelled() {
    let first = error(401).then().status(401).ends().start();
    let second = FakeUpstream::gemini().hold().say("x").start();
    let hearken = over(&first, &second).channel("max_running_tasks = 1").start();
    let holder = hearken.submit(json!({}));
    second.held(1);
    let waiter = hearken.submit(json!({}));
    until("the task waits for the second channel", || (first.requests() == 2).then_some(()));
    assert_eq!(hearken.cancel(&waiter)["error"]["code"], "task_cancelled");
    second.release();
    assert_eq!(hearken.wait(&holder)["status"], "completed");
    let next = hearken.submit(json!({}));
    second.held(2);
    second.release();
    assert_eq!(hearken.wait(&next)["status"], "completed");
    assert_eq!(second.requests(), 2);
}

#[test]
fn a_kill_loses_no_task_that_waits_for_another_channel() {
    let first = error(401).then().status(401).ends().then().say("x").start();
    let second = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken = over(&first, &second).channel("max_running_tasks = 1").start();
    let ids = [hearken.submit(json!({})), hearken.submit(json!({}))];
    until("a task waits for the second channel", || (first.requests() == 2).then_some(()));
    hearken.crash();
    for id in &ids {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
}

#[test]
fn a_single_channel_is_called_however_often_it_has_failed() {
    let upstream = error(503).start();
    let hearken = Hearken::before(&upstream).channel("breaker_failures = 2\nbreaker_rest_ms = 60000").start();
    for _ in 0..6 {
        hearken.try_submit(json!({"sync": true})).error(502, "upstream_error");
    }
    assert_eq!(upstream.requests(), 6);
}

#[test]
fn a_download_goes_to_the_channel_that_can_take_it() {
    let (small, large) = (FakeUpstream::gemini().say("x").start(), FakeUpstream::gemini().say("x").start());
    let file = fixture("audio/speech.wav");
    let host = Host::of_file("audio/wav", file);
    let hearken = Hearken::builder()
        .gemini_named("small", &small.base_url())
        .channel("priority = 5\nmax_request_bytes = 2000")
        .gemini_named("large", &large.base_url())
        .set("[fetch]\nallow_hosts = [\"127.0.0.1\"]")
        .start();
    let id = hearken.submit(json!({"audio_url": host.url("/a.wav")}));
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!((small.requests(), large.requests()), (0, 1));
    assert_eq!(pairs(&attempts(&hearken, &id)), [("large", "completed")]);
}

#[test]
fn a_drain_leaves_tasks_that_wait_for_a_channel_to_the_next_start() {
    let first = error(401).then().status(401).ends().then().say("x").start();
    let second = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken =
        over(&first, &second).channel("max_running_tasks = 1").env("HEARKEN_DRAIN_SECONDS", "0").start();
    let holder = hearken.submit(json!({}));
    second.held(1);
    let waiter = hearken.submit(json!({}));
    until("the task waits for the second channel", || (first.requests() == 2).then_some(()));
    hearken.restart();
    second.release();
    for id in [&holder, &waiter] {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
}

#[test]
fn every_task_completes_once_when_a_channel_fails_half_its_calls() {
    const TASKS: usize = 300;
    let doubtful = FakeCommand::with(&["--script", "500", "--rate", "0.5", "--seed", "3"]);
    let good = FakeCommand::start();
    let channel = |name: &str, fake: &FakeCommand| {
        format!(
            "[[channels]]\nname = \"{name}\"\nkind = \"gemini\"\nbase_url = \"{}\"\napi_key = \"{ANY_KEY}\"\n\
             models = [\"{MODEL}\"]\nmax_retry_wait_ms = 20\nbreaker_failures = 0",
            fake.gemini_url()
        )
    };
    let hearken =
        Hearken::builder().channel(&channel("doubtful", &doubtful)).channel(&channel("good", &good)).start();
    let left = AtomicUsize::new(TASKS);
    let answer = whole(5, None);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let id = hearken.submit(json!({"stream": true}));
                    let frames = hearken.stream(&id).rest();
                    assert_eq!(
                        (content(&frames), frames.last().unwrap().event.as_str()),
                        (answer.clone(), "done")
                    );
                }
            });
        }
    });
    let answered = |fake: &FakeCommand| fake.stats()["answered_well"].as_u64().unwrap();
    assert_eq!(answered(&doubtful) + answered(&good), TASKS as u64);
    assert!(answered(&doubtful) > 0 && doubtful.stats()["faults"]["500"].as_u64().unwrap() > 20);
}
