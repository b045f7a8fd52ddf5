//! The limits on an upstream's time: each stage has its own, and the total limit grows with the audio.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::fake_command::{ANY_KEY, FakeCommand};
use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, fixture};

/// Returns the error of a task whose channel has these settings.
fn timeout_of(base_url: &str, settings: &str) -> Value {
    let hearken = Hearken::builder().gemini(base_url).channel(settings).start();
    let reply = hearken.try_submit(json!({"sync": true}));
    reply.error(504, "upstream_timeout")
}

#[test]
fn each_stage_has_its_limit_and_the_message_names_it() {
    let silent = FakeUpstream::gemini().never().start();
    let error = timeout_of(&silent.base_url(), "first_chunk_timeout_ms = 401");
    assert!(error["message"].as_str().unwrap().contains("401"), "{error}");
    silent.closed(0);

    let head_only = FakeUpstream::gemini().hold().start();
    let error = timeout_of(&head_only.base_url(), "first_chunk_timeout_ms = 402");
    assert!(error["message"].as_str().unwrap().contains("402"), "{error}");
    head_only.closed(0);

    let stalled = FakeUpstream::gemini().say("a").hold().start();
    let error = timeout_of(&stalled.base_url(), "idle_timeout_ms = 403");
    assert!(error["message"].as_str().unwrap().contains("403"), "{error}");
    stalled.closed(0);

    let endless = FakeUpstream::gemini().say("a").hold().start();
    let error = timeout_of(&endless.base_url(), "total_timeout_ms = 404\nidle_timeout_ms = 60000");
    assert!(error["message"].as_str().unwrap().contains("404"), "{error}");
    endless.closed(0);
}

#[test]
fn thoughts_count_as_progress_whether_or_not_they_are_shown() {
    let fake = FakeCommand::start();
    for (kind, base_url) in [("gemini", fake.gemini_url()), ("openai", fake.openai_url())] {
        let limits = "first_chunk_timeout_ms = 500\nidle_timeout_ms = 500\nmodels = [\"thinker*\"]";
        let hearken = Hearken::builder()
            .channel(&format!(
                "[[channels]]\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\napi_key = \"{ANY_KEY}\"\n{limits}"
            ))
            .start();
        for reasoning in [false, true] {
            let id = hearken.submit(json!({"model": "thinker+think=8+pause=150", "reasoning": reasoning}));
            let task = hearken.wait(&id);
            assert_eq!(task["status"], "completed", "{kind}: {task}");
            let told = &task["results"][0]["choices"][0]["message"]["reasoning_content"];
            assert_eq!(told.is_string(), reasoning, "{kind}: {task}");
        }
    }
    assert_eq!(fake.stats()["answered_well"], 4);
}

#[test]
fn connecting_has_a_limit_of_its_own() {
    // The system accepts connections, but nothing answers the TLS handshake, which is a part of connecting.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("https://{}/v1beta", listener.local_addr().unwrap());
    let error = timeout_of(&base_url, "connect_timeout_ms = 405");
    assert!(error["message"].as_str().unwrap().contains("405"), "{error}");
}

#[test]
fn a_long_recording_gets_more_time() {
    let upstream = FakeUpstream::gemini().hold().then().hold().then().never().start();
    let host = Host::of_file("audio/flac", fixture("audio/speech.flac"));
    let hearken = Hearken::before(&upstream)
        .channel("total_timeout_ms = 300\ntotal_timeout_audio_factor = 10\n")
        .set("[fetch]\nallow_hosts = [\"127.0.0.1\"]")
        .start();
    let inline = format!("data:audio/mpeg;base64,{}", base64(&fixture("audio/speech.mp3")));
    let recordings: Vec<_> = [inline, host.url("/a.flac")]
        .into_iter()
        .enumerate()
        .map(|(number, audio_url)| {
            let id = hearken.submit(json!({"audio_url": audio_url}));
            upstream.held(number + 1);
            id
        })
        .collect();
    // A recording without a duration has the configured time, which ends long before that of the others.
    let error = hearken.wait(&hearken.submit(json!({})))["error"].clone();
    assert_eq!(error["code"], "upstream_timeout");
    assert!(error["message"].as_str().unwrap().contains("total timeout of 300 ms"), "{error}");
    for id in &recordings {
        assert_eq!(hearken.task(id)["status"], "processing");
    }
    // Any of the held answers may take a release.
    recordings.iter().for_each(|_| upstream.release());
    for id in &recordings {
        assert_eq!(hearken.wait(id)["status"], "completed");
    }
}
