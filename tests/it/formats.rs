//! Every supported audio format, under any label: its bytes reach the upstream unchanged, with the media type that they
//! show, and the embedded channel reads them.
//!
//! A delivery is a function from bytes and a label to an `audio_url`. The table and the checks are the same for each.

use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, fixture, until};

/// One format.
struct Format {
    /// The name in the fixtures' audio.
    file: &'static str,
    /// The media type that the upstream must receive.
    mime: &'static str,
    /// A correct label.
    right: &'static str,
    /// A label that contradicts the bytes.
    wrong: &'static str,
    /// The embedded channel's names for the container and the codec.
    container: &'static str,
    codec: &'static str,
    /// The duration.
    seconds: f64,
}

const FORMATS: &[Format] = &[
    wav("speech.wav", 2.18),
    wav("speech-rf64.wav", 0.7),
    // Has other chunks before `fmt `, some of odd length, and one after the samples.
    wav("speech-chunks.wav", 0.7),
    // Without and with a tag of its length, and with ID3v2 that holds a picture.
    mp3("speech-bare.mp3", 0.8),
    mp3("speech.mp3", 2.18),
    mp3("speech-picture.mp3", 0.7),
    aiff("speech.aiff", "PCM", 2.18),
    aiff("speech-sowt.aifc", "PCM", 0.7),
    aiff("speech.aifc", "Float", 0.5),
    Format {
        file: "speech.aac",
        mime: "audio/aac",
        right: "audio/aac",
        wrong: "audio/mp4",
        container: "ADTS",
        codec: "AAC",
        seconds: 2.18,
    },
    ogg("speech.ogg", "audio/ogg", "Vorbis", 2.18),
    ogg("speech.opus", "audio/ogg;codecs=opus", "Opus", 2.18),
    ogg("speech.oga", "application/ogg", "FLAC", 0.7),
    Format {
        file: "speech.flac",
        mime: "audio/flac",
        right: "audio/x-flac",
        wrong: "audio/ogg",
        container: "FLAC",
        codec: "FLAC",
        seconds: 2.18,
    },
    m4a("speech.m4a", "audio/x-m4a", 2.18),
    m4a("speech-moov-last.m4a", "audio/mp4", 2.18),
    // This file has a video track, too.
    m4a("speech-video.mp4", "video/mp4", 0.8),
];

const fn wav(file: &'static str, seconds: f64) -> Format {
    let (right, wrong) = ("audio/vnd.wave", "audio/mpeg");
    Format { file, mime: "audio/wav", right, wrong, container: "WAV", codec: "PCM", seconds }
}

const fn mp3(file: &'static str, seconds: f64) -> Format {
    let (right, wrong) = ("audio/mpeg", "audio/wav");
    Format { file, mime: "audio/mp3", right, wrong, container: "MPEG audio", codec: "MP3", seconds }
}

const fn aiff(file: &'static str, codec: &'static str, seconds: f64) -> Format {
    let (right, wrong) = ("audio/x-aiff", "audio/wav");
    Format { file, mime: "audio/aiff", right, wrong, container: "AIFF", codec, seconds }
}

const fn ogg(file: &'static str, right: &'static str, codec: &'static str, seconds: f64) -> Format {
    Format { file, mime: "audio/ogg", right, wrong: "audio/flac", container: "Ogg", codec, seconds }
}

const fn m4a(file: &'static str, right: &'static str, seconds: f64) -> Format {
    let (mime, wrong) = ("audio/m4a", "audio/aac");
    Format { file, mime, right, wrong, container: "MPEG-4", codec: "AAC", seconds }
}

/// The label of clients that do not know the media type.
const UNKNOWN: &str = "application/octet-stream";

impl Format {
    fn bytes(&self) -> Vec<u8> {
        fixture(&format!("audio/{}", self.file))
    }
}

/// Delivers bytes under a label within the request.
fn by_data_uri(bytes: &[u8], label: &str) -> String {
    format!("data:{label};base64,{}", base64(bytes))
}

/// A host that serves the files that it was given, each with its label.
struct Shelf {
    host: Host,
    files: Arc<Mutex<Vec<Labelled>>>,
}

/// A file and its label.
type Labelled = (Vec<u8>, String);

impl Shelf {
    fn open() -> Self {
        let files = Arc::new(Mutex::new(Vec::<Labelled>::new()));
        let theirs = Arc::clone(&files);
        let host = Host::serve(move |asked| {
            let index: usize = asked.target.trim_start_matches('/').parse().unwrap();
            let (file, label) = theirs.lock().unwrap()[index].clone();
            asked.file(&label, &file);
        });
        Self { host, files }
    }

    /// Delivers bytes under a label behind a URL.
    fn by_url(&self, bytes: &[u8], label: &str) -> String {
        let mut files = self.files.lock().unwrap();
        files.push((bytes.to_vec(), label.to_owned()));
        self.host.url(&format!("/{}", files.len() - 1))
    }
}

/// Allows downloads from the shelf, which is on this machine.
const FETCH: &str = "[fetch]\nallow_hosts = [\"127.0.0.1\"]\n";

/// Delivers every format under every label, and checks what the upstream receives.
fn check_delivery(deliver: impl Fn(&[u8], &str) -> String) {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::before(&upstream).set(FETCH).start();
    let mut requests = 0;
    for format in FORMATS {
        let bytes = format.bytes();
        for (label, contradicts) in [(format.right, false), (format.wrong, true), (UNKNOWN, false)] {
            let case = format!("{} as {label}", format.file);
            let id = hearken.submit(json!({"audio_url": deliver(&bytes, label)}));
            assert_eq!(hearken.wait(&id)["status"], "completed", "{case}");
            let part = upstream.request(requests).json()["contents"][0]["parts"][1]["inlineData"].clone();
            requests += 1;
            assert_eq!(part["mimeType"], format.mime, "{case}");
            assert!(part["data"] == base64(&bytes), "{case}: other bytes");
            let note = || {
                let log = hearken.log();
                let told = |line: &&str| line.contains(&id) && line.contains("not of its declared type");
                log.lines().find(told).map(str::to_owned)
            };
            if contradicts {
                let note = until("the log mentions the label", note);
                assert!(note.contains(label) && note.contains(format.mime), "{note}");
            } else {
                assert_eq!(note(), None, "{case}");
            }
        }
    }
    assert_eq!(upstream.requests(), requests);
}

/// Delivers every format to the embedded channel, and checks its report.
fn check_reports(deliver: impl Fn(&[u8], &str) -> String) {
    let hearken = Hearken::builder().local().set(FETCH).start();
    for format in FORMATS {
        let audio = deliver(&format.bytes(), format.right);
        let task = hearken.wait(&hearken.submit(json!({"model": "local-inspect", "audio_url": audio})));
        let file = format.file;
        assert_eq!(task["status"], "completed", "{file}: {task}");
        let report = task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap();
        let line = |start: &str| {
            let line = report.lines().find_map(|line| line.strip_prefix(start));
            line.unwrap_or_else(|| panic!("{file}: {report}"))
        };
        assert!(line("- Container: ").contains(format.container), "{file}: {report}");
        assert!(line("- Codec: ").contains(format.codec), "{file}: {report}");
        let seconds: f64 = line("- Duration: ").split(' ').next().unwrap().parse().unwrap();
        // Old codecs pad their input to whole frames.
        assert!((seconds - format.seconds).abs() < 0.16, "{file}: {report}");
        assert!(!report.contains("- Damage") && !report.contains("- Incomplete"), "{file}: {report}");
    }
}

#[test]
fn every_format_arrives_by_data_uri() {
    check_delivery(by_data_uri);
}

#[test]
fn every_format_is_read_by_the_embedded_channel_by_data_uri() {
    check_reports(by_data_uri);
}

#[test]
fn every_format_arrives_by_url() {
    let shelf = Shelf::open();
    check_delivery(|bytes, label| shelf.by_url(bytes, label));
}

#[test]
fn every_format_is_read_by_the_embedded_channel_by_url() {
    let shelf = Shelf::open();
    check_reports(|bytes, label| shelf.by_url(bytes, label));
}

/// Returns files that other players play although something precedes the sound or is missing in the header: a
/// description, the bytes, the media type and the duration of each.
fn played_elsewhere() -> Vec<(&'static str, Vec<u8>, &'static str, f64)> {
    let with = |file: &str, at: usize, bytes: &[u8]| {
        let mut file = fixture(&format!("audio/{file}"));
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let behind = |before: Vec<u8>, file: &str| [before, fixture(&format!("audio/{file}"))].concat();
    vec![
        ("zeros before an MP3", behind(vec![0; 3000], "speech-bare.mp3"), "audio/mp3", 0.8),
        ("ones before an MP3", behind(vec![0xff; 3000], "speech.mp3"), "audio/mp3", 2.18),
        ("ADTS from the middle of a frame on", fixture("audio/speech.aac").split_off(100), "audio/aac", 2.25),
        ("FLAC without the smallest size of a block", with("speech.flac", 8, &[0, 0]), "audio/flac", 2.18),
        ("FLAC without sizes of blocks", with("speech.flac", 8, &[0; 4]), "audio/flac", 2.18),
        ("MPEG-4 without a type", with("speech-moov-last.m4a", 4, b"free"), "audio/m4a", 2.18),
        ("QuickTime", with("speech-moov-last.m4a", 4, b"wide"), "audio/m4a", 2.18),
    ]
}

#[test]
fn files_that_other_players_play_arrive_and_are_measured() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::before(&upstream).start();
    let embedded = Hearken::builder().local().start();
    for (number, (what, bytes, mime, seconds)) in played_elsewhere().into_iter().enumerate() {
        let audio = by_data_uri(&bytes, UNKNOWN);
        assert_eq!(
            hearken.wait(&hearken.submit(json!({"audio_url": audio})))["status"],
            "completed",
            "{what}"
        );
        let part = upstream.request(number).json()["contents"][0]["parts"][1]["inlineData"].clone();
        assert_eq!(part["mimeType"], mime, "{what}");
        assert!(part["data"] == base64(&bytes), "{what}: other bytes");
        let id = embedded.submit(json!({"model": "local-inspect", "audio_url": audio}));
        let task = embedded.wait(&id);
        assert_eq!(task["status"], "completed", "{what}: {task}");
        let report = task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap();
        let duration = report.lines().find_map(|line| line.strip_prefix("- Duration: ")).unwrap();
        let found: f64 = duration.split(' ').next().unwrap().parse().unwrap();
        assert!((found - seconds).abs() < 0.16, "{what}: {report}");
        let request = embedded.get(&format!("/v1/tasks/{id}?include=request")).json()["request"].clone();
        let stated = request["audio"]["duration_seconds"].as_f64().unwrap_or_default();
        assert!((stated - seconds).abs() < 0.16, "{what}: {request}");
    }
}

/// Returns the file up to the last place of these bytes, and `more` bytes from there.
fn up_to(file: &str, mark: &[u8], more: usize) -> Vec<u8> {
    let mut bytes = fixture(&format!("audio/{file}"));
    let at = bytes.windows(mark.len()).rposition(|window| window == mark).unwrap();
    bytes.truncate(at + more);
    bytes
}

/// Returns files without sound and files that are no audio, each with words that the error must contain.
fn without_sound() -> Vec<(Vec<u8>, &'static str)> {
    let streaminfo = [&b"fLaC\x80"[..], &fixture("audio/speech.flac")[5..42]].concat();
    vec![
        (up_to("speech.wav", b"data", 8), "a WAV file without any sound"),
        (up_to("speech.aiff", b"SSND", 16), "an AIFF file without any sound"),
        (streaminfo, "a FLAC file without any sound"),
        (up_to("speech.opus", b"OpusTags", 8), "an Ogg file without any sound"),
        (up_to("speech-moov-last.m4a", b"moov", 0), "an MPEG-4 (m4a, mp4) file without any sound: its index"),
        (b"ID3\x04\0\0\0\0\0\0".to_vec(), "an MP3 file without any sound"),
        (fixture("audio/speech.aac")[..20].to_vec(), "an AAC file without any sound"),
        (fixture("audio/video-only.mp4"), "a video without sound"),
        (fixture("audio/video-only.ogv"), "a video without sound"),
        (
            b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01".to_vec(),
            "a WebM or Matroska file, which is not supported; convert it",
        ),
        (
            b"#!AMR\n".to_vec(),
            "an AMR recording, which is not supported; convert it to wav, mp3 or flac, for example",
        ),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "a PNG image, not a recording"),
        (b"%PDF-1.7\n".to_vec(), "a PDF document, not a recording"),
        (b"PK\x03\x04\x14\0\0\0\x08\0".to_vec(), "unpack it"),
        (b"MThd\0\0\0\x06".to_vec(), "a MIDI file, which holds notes"),
        (b"The quick brown fox jumps over the lazy dog.".to_vec(), "plain text, not a recording"),
        (vec![0x80; 5000], "supported formats are wav, mp3"),
    ]
}

#[test]
fn files_without_sound_are_refused_and_named_at_submit() {
    let upstream = FakeUpstream::gemini().start();
    let hearken = Hearken::before(&upstream).start();
    for (bytes, words) in without_sound() {
        for label in ["audio/mp4", "video/quicktime", UNKNOWN] {
            let reply = hearken.try_submit(json!({"audio_url": by_data_uri(&bytes, label)}));
            let error = reply.error(422, "unsupported_audio_format");
            assert_eq!(error["param"], "audio_url", "{words} as {label}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with("The content of audio_url is ") && message.contains(words),
                "{message}"
            );
        }
    }
    let error = hearken.try_submit(json!({"audio_url": "data:audio/wav;base64,"}));
    let error = error.error(422, "unsupported_audio_format");
    assert!(error["message"].as_str().unwrap().contains("is empty"), "{error}");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn files_without_sound_are_refused_and_named_after_the_download() {
    let shelf = Shelf::open();
    let upstream = FakeUpstream::gemini().start();
    let hearken = Hearken::before(&upstream).set(FETCH).start();
    let behind_links: &[(&[u8], &str)] = &[
        (b"", "is empty; open the link"),
        (b"<!DOCTYPE html><html></html>", "a web page (HTML), not a recording; use the direct download link"),
        (b"{\"error\":\"expired\"}", "JSON text, not a recording; open the link"),
        (b"<?xml version=\"1.0\"?><Error/>", "XML text, not a recording; open the link"),
        (b"#EXTM3U\nhttp://h/1.mp3\n", "a playlist (M3U), not a recording; send one of the recordings"),
    ];
    let behind_links = behind_links.iter().map(|(bytes, words)| (bytes.to_vec(), *words));
    for (bytes, words) in without_sound().into_iter().chain(behind_links) {
        let id = hearken.submit(json!({"audio_url": shelf.by_url(&bytes, "audio/wav")}));
        let error = hearken.wait(&id)["error"].clone();
        assert_eq!(error["code"], "unsupported_audio_format", "{words}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with("The content behind audio_url is ") && message.contains(words),
            "{message}"
        );
    }
    assert_eq!(upstream.requests(), 0);
}
