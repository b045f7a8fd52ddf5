//! Memory cost of payloads: about their size, once, while they are received. A configured budget limits how many are
//! received at a time.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::http::Client;
use crate::support::upstream::FakeUpstream;
use crate::support::{MODEL, base64, until};

/// Returns a WAV of noise with this many bytes.
pub(crate) fn wav(bytes: u32) -> Vec<u8> {
    let mut wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data".to_vec();
    wav[4..8].copy_from_slice(&(bytes - 8).to_le_bytes());
    wav.extend_from_slice(&(bytes - 44).to_le_bytes());
    let mut noise = 7_u32;
    while wav.len() < bytes as usize {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        wav.extend_from_slice(&noise.to_le_bytes());
    }
    wav.truncate(bytes as usize);
    wav
}

/// Returns one of the kernel's figures about the program's memory, in bytes.
pub(crate) fn memory(hearken: &Hearken, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hearken.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn a_large_submit_costs_little_more_than_its_body_whatever_its_path() {
    const AUDIO: u32 = 9_000_000;
    let audio = wav(AUDIO);
    let text = base64(&audio);
    let folded: Vec<&str> =
        text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let host = Host::of_file("audio/wav", audio);
    let bodies = [
        ("as it should be", format!("data:audio/wav;base64,{text}").replace('\n', "")),
        (
            "with slashes escaped and lines folded",
            format!("data:audio\\/wav;base64,{}", folded.join("\\r\\n").replace('/', "\\/")),
        ),
        (
            "URL-safe and without padding",
            format!(
                "data:audio/wav;base64,{}",
                text.trim_end_matches('=').replace('+', "-").replace('/', "_")
            ),
        ),
        ("by URL", host.url("/a.wav")),
    ];
    for (case, audio_url) in bodies {
        let upstream = FakeUpstream::gemini().say("x").start();
        let hearken = Hearken::before(&upstream).set("[fetch]\nallow_hosts = [\"127.0.0.1\"]").start();
        // The first task of a process creates threads and clients.
        hearken.wait(&hearken.submit(json!({})));
        let before = memory(&hearken, "VmRSS");
        let body = format!(r#"{{"model":"{MODEL}","audio_url":"{audio_url}"}}"#);
        let headers = [("content-type", "application/json")];
        let reply = hearken.call("POST", "/v1/llm/generations", &headers, Some(body.as_bytes())).expect(200);
        let task = hearken.wait(reply.json()["id"].as_str().unwrap());
        assert_eq!(task["status"], "completed", "{case}: {task}");
        assert!(
            upstream.request(1).json()["contents"][0]["parts"][1]["inlineData"]["data"] == text,
            "{case}"
        );
        let peak = memory(&hearken, "VmHWM") - before;
        println!("{case}: a body of {} bytes, a peak of {peak} more", body.len());
        let most = if case == "by URL" { text.len() / 4 } else { body.len() / 2 * 3 };
        assert!(peak <= most, "{case}: {peak} bytes for a body of {}", body.len());
    }
}

/// Begins an upload of this many bytes and sends half of it.
fn half_an_upload(client: &Client, bytes: usize) -> std::net::TcpStream {
    let length = bytes.to_string();
    let headers = [("content-type", "application/json"), ("content-length", length.as_str())];
    let head = client.head("POST", "/v1/llm/generations", &headers);
    client.send_raw(&[head.as_bytes(), &vec![b' '; bytes / 2]].concat())
}

/// Submits a large body on a thread of its own.
fn large_submit(client: &Client, audio: &str) -> std::thread::JoinHandle<Value> {
    let (client, body) = (client.clone(), json!({"audio_url": audio}));
    std::thread::spawn(move || client.try_submit(body).expect(200).json())
}

#[test]
fn uploads_beyond_the_budget_wait_their_turn_and_small_ones_pass() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let limits = "[limits]\nmax_body_bytes = 1000000\nmax_payload_memory_bytes = 1000000\n";
    let hearken = Hearken::before(&upstream).set(limits).start();
    let client = hearken.client();
    let audio = format!("data:audio/wav;base64,{}", base64(&wav(300_000)));
    for completes in [true, false] {
        let mut first = half_an_upload(&client, 900_000);
        // Once the first upload has its share, a further one must wait.
        let waiting = until("an upload waits", || {
            let submit = large_submit(&client, &audio);
            let mut patience = (0..20).map(|_| std::thread::sleep(Duration::from_millis(20)));
            let answered = patience.any(|()| submit.is_finished());
            (!answered).then_some(submit)
        });
        for _ in 0..5 {
            client.submit(json!({}));
        }
        assert!(!waiting.is_finished());
        if completes {
            let mut json = json!({"model": MODEL, "audio_url": crate::support::wav()}).to_string();
            json += &" ".repeat(450_000 - json.len());
            first.write_all(json.as_bytes()).unwrap();
            let mut reply = [0; 12];
            first.read_exact(&mut reply).unwrap();
            assert_eq!(&reply, b"HTTP/1.1 200");
        } else {
            drop(first);
        }
        assert_eq!(waiting.join().unwrap()["status"], "pending");
    }
}

#[test]
fn a_running_task_holds_its_audio_but_not_the_request_body() {
    // The system accepts connections, but nothing answers the TLS handshake, so nothing of the request is sent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hearken = Hearken::builder()
        .gemini(&format!("https://{}/v1beta", silent.local_addr().unwrap()))
        .channel("connect_timeout_ms = 60000")
        .set("[limits]\nmax_body_bytes = 1000000\nmax_payload_memory_bytes = 1000000\n")
        .start();
    let running = hearken.submit(json!({"unknown": "x".repeat(900_000)}));
    let (_connection, _) = silent.accept().unwrap();
    // If there were no room for another body of this size, this submit would be refused.
    let other = hearken.submit(json!({"unknown": "x".repeat(900_000)}));
    for id in [running, other] {
        assert_eq!(hearken.task(&id)["status"], "processing");
        hearken.cancel(&id);
    }
}
