//! The embedded channel: what it measures in real files, and that it reports what it cannot do.

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::subscriber::content;
use crate::support::{base64, fixture};

/// Files, with the names that the report has for their container and codec.
const FILES: [(&str, &str, &str); 9] = [
    ("speech.wav", "WAV", "PCM"),
    ("speech.aiff", "AIFF", "PCM"),
    ("speech.flac", "FLAC", "FLAC"),
    ("speech.mp3", "MPEG audio", "MP3"),
    ("speech.aac", "ADTS", "AAC"),
    ("speech.ogg", "Ogg", "Vorbis"),
    ("speech.opus", "Ogg", "Opus"),
    ("speech.m4a", "MPEG-4", "AAC"),
    ("speech-moov-last.m4a", "MPEG-4", "AAC"),
];

fn uri(audio: &[u8]) -> String {
    format!("data:audio/unknown;base64,{}", base64(audio))
}

#[test]
fn every_kind_of_file_is_measured_and_none_is_transcribed() {
    let hearken = Hearken::builder().local().start();
    for (file, container, codec) in FILES {
        let audio = uri(&fixture(&format!("audio/{file}")));
        let id = hearken.submit(json!({"model": "local-inspect", "audio_url": audio, "stream": true}));
        let frames = hearken.stream(&id).rest();
        let task = hearken.wait(&id);
        assert_eq!(task["status"], "completed", "{file}: {task}");
        let report = task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(content(&frames), report, "{file}");
        assert_eq!(frames.last().unwrap().event, "done");
        let line = |start: &str| {
            report.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{file}: {report}"))
        };
        assert!(line("- Container: ").contains(container), "{file}: {report}");
        assert!(line("- Codec: ").contains(codec), "{file}: {report}");
        let seconds = line("- Duration: ").trim_start_matches("- Duration: ").split(' ').next().unwrap();
        assert!((1.0..3.0).contains(&seconds.parse::<f64>().unwrap()), "{file}: {report}");
        assert!(!line("- Speech: ").contains("none"), "{file}: {report}");
        assert!(report.contains("does not transcribe"), "{file}: {report}");
        assert_eq!(task["results"][0]["choices"][0]["finish_reason"], "stop");
    }
}

#[test]
fn a_blocking_call_returns_the_report() {
    let hearken = Hearken::builder().local().start();
    let audio = uri(&fixture("audio/speech.wav"));
    let reply =
        hearken.try_submit(json!({"model": "local-inspect", "audio_url": audio, "sync": true})).expect(200);
    let message = reply.json()["choices"][0]["message"]["content"].clone();
    assert!(message.as_str().unwrap().contains("does not transcribe"));
}

#[test]
fn audio_that_cannot_be_decoded_is_an_error() {
    let hearken = Hearken::builder().local().start();
    // The label is GSM 6.10, which hearken cannot decode.
    let mut gsm = fixture("audio/speech.wav");
    gsm[20] = 0x31;
    // This damages the tables of the codec.
    let mut ogg = fixture("audio/speech.ogg");
    ogg[120..1000].fill(0);
    for audio in [gsm, ogg] {
        let reply =
            hearken.try_submit(json!({"model": "local-inspect", "audio_url": uri(&audio), "sync": true}));
        let error = reply.error(422, "unsupported_audio_format");
        assert_eq!(error["retryable"], false);
    }
}

#[test]
fn the_duration_of_joined_and_broken_files_is_what_they_hold() {
    let hearken = Hearken::builder().local().start();
    let wav = fixture("audio/speech.wav");
    let mut died = wav.clone();
    died[4..8].copy_from_slice(&36_u32.to_le_bytes());
    died[40..44].fill(0);
    let mut cut = fixture("audio/speech.m4a");
    cut.truncate(cut.len() - 50);
    for (audio, seconds) in [
        (died, 2.179),
        (wav.repeat(2), 4.358),
        (fixture("audio/speech.mp3").repeat(3), 6.537),
        (fixture("audio/speech.flac").repeat(2), 4.358),
        ([fixture("audio/speech.ogg"), fixture("audio/speech.opus")].concat(), 4.358),
        // Silence at its end takes a few bytes per frame.
        (cut, 1.92),
    ] {
        let id = hearken.submit(json!({"model": "local-inspect", "audio_url": uri(&audio)}));
        let task = hearken.wait(&id);
        let request = hearken.get(&format!("/v1/tasks/{id}?include=request")).expect(200).json();
        let said = request["request"]["audio"]["duration_seconds"].as_f64();
        let report = task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(said.is_some_and(|said| (said - seconds).abs() < 0.03), "{request} for {seconds}");
        let line = report.lines().find(|line| line.starts_with("- Duration: ")).unwrap();
        let decoded: f64 = line.split(' ').nth(2).unwrap().parse().unwrap();
        assert!((decoded - seconds).abs() < 0.13, "{line} for {seconds}");
    }
}
