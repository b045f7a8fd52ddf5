//! Audio from a URL: downloaded when the task runs, within limits, from well-behaved and from other servers.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::memory::wav;
use crate::support::hearken::Hearken;
use crate::support::host::Host;
use crate::support::http::Client;
use crate::support::upstream::{FakeUpstream, Request};
use crate::support::{base64, fixture, until};

/// Starts a server that may download from this machine, with these further lines of `[fetch]`.
fn start(upstream: &FakeUpstream, fetch: &str) -> Hearken {
    Hearken::before(upstream).set(&format!("[fetch]\nallow_hosts = [\"127.0.0.1\"]\n{fetch}")).start()
}

/// Runs a task with audio from this URL, and returns it at its end.
fn task(client: &Client, url: &str) -> Value {
    client.wait(&client.submit(json!({"audio_url": url})))
}

/// Returns the error of a task with audio from this URL.
fn failure(client: &Client, url: &str) -> Value {
    let task = task(client, url);
    assert_eq!(task["status"], "failed", "{task}");
    task["error"].clone()
}

fn sent_audio(request: &Request) -> Value {
    request.json()["contents"][0]["parts"][1]["inlineData"].clone()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_file_arrives_upstream_byte_for_byte_with_the_type_that_its_bytes_show() {
    let file = fixture("audio/speech.flac");
    let host = Host::of_file("text/plain", file.clone());
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    let id = client.submit(json!({"audio_url": host.url("/a.mp3?sig=1#fragment")}));
    assert_eq!(client.wait(&id)["status"], "completed");
    let sent = sent_audio(&upstream.request(0));
    assert_eq!(sent, json!({"mimeType": "audio/flac", "data": base64(&file)}));
    let request = &host.requests()[0];
    assert!(request.starts_with("GET /a.mp3?sig=1 HTTP/1.1\r\n"), "{request}");
    let timeline = client.get(&format!("/v1/tasks/{id}?include=timeline")).json()["timeline"].clone();
    let moment = |name: &str| timeline[name].as_u64().unwrap_or_else(|| panic!("{name}: {timeline}"));
    assert!(moment("queued_at_ms") <= moment("fetched_at_ms"));
    assert!(moment("fetch_started_at_ms") <= moment("fetched_at_ms"));
    assert!(moment("fetched_at_ms") <= timeline["attempts"][0]["started_at_ms"].as_u64().unwrap());
    let audio = client.get(&format!("/v1/tasks/{id}?include=request")).json()["request"]["audio"].clone();
    assert_eq!(
        (&audio["source"], &audio["url"], &audio["format"], &audio["bytes"]),
        (&json!("url"), &json!(host.url("/a.mp3?...")), &json!("flac"), &json!(file.len())),
        "the signature of a URL is not shown"
    );
}

#[test]
fn a_body_may_have_any_framing_and_content_coding() {
    let file = fixture("audio/speech.wav");
    let theirs = file.clone();
    let host = Host::serve(move |mut asked| match asked.target.as_str() {
        "/chunked" => {
            asked.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for piece in theirs.chunks(1000) {
                asked.write(format!("{:x}\r\n", piece.len()));
                asked.write(piece);
                asked.write("\r\n");
            }
            asked.write("0\r\n\r\n");
        }
        "/until-close" => asked.answer(200, &[], &theirs),
        "/old" => {
            asked.write("HTTP/1.0 200 OK\r\n\r\n");
            asked.write(&theirs);
        }
        "/gzip" => {
            let coded = gzip(&theirs);
            let length = coded.len().to_string();
            asked.answer(200, &[("content-encoding", "gzip"), ("content-length", &length)], &coded);
        }
        "/x-gzip-in-members" => {
            let coded = [gzip(&theirs[..1000]), gzip(&theirs[1000..])].concat();
            asked.answer(200, &[("Content-Encoding", "X-GZIP")], &coded);
        }
        "/byte-by-byte" => {
            asked.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", theirs.len()));
            theirs.chunks(1).for_each(|byte| {
                asked.write(byte);
            });
        }
        other => panic!("{other}"),
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    let paths = ["/chunked", "/until-close", "/old", "/gzip", "/x-gzip-in-members", "/byte-by-byte"];
    for (number, path) in paths.into_iter().enumerate() {
        let task = task(&client, &host.url(path));
        assert_eq!(task["status"], "completed", "{path}: {task}");
        assert_eq!(sent_audio(&upstream.request(number))["data"], base64(&file), "{path}");
    }
}

#[test]
fn the_bytes_decide_the_audio_format_not_the_headers() {
    let file = fixture("audio/speech.wav");
    let theirs = file.clone();
    let host = Host::serve(move |mut asked| {
        let range = format!("bytes 0-{}/{}", theirs.len() - 1, theirs.len());
        match asked.target.as_str() {
            "/whole-part" => asked.answer(206, &[("content-range", &range)], &theirs),
            "/lines" => {
                asked.write(format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n", theirs.len()));
                asked.write(&theirs);
            }
            "/announced-lines" => {
                asked.write("HTTP/1.1 103 Early Hints\nlink: x\n\nHTTP/1.1 200 OK\n\n");
                asked.write(&theirs);
            }
            coding => {
                let coding = coding.trim_start_matches('/').replace('_', " ");
                asked.answer(200, &[("content-encoding", &coding)], &theirs);
            }
        }
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    let codings = [
        "aws-chunked",
        "utf-8",
        "none",
        "identity",
        "UTF-8,_identity",
        "binary",
        "audio/wav",
        "br",
        "gzip",
        "x-gzip",
        "",
    ];
    let paths = codings.map(|coding| format!("/{coding}")).into_iter();
    let paths = paths.chain(["/whole-part", "/lines", "/announced-lines"].map(str::to_owned));
    for (number, path) in paths.enumerate() {
        let task = task(&client, &host.url(&path));
        assert_eq!(task["status"], "completed", "{path}: {task}");
        assert_eq!(sent_audio(&upstream.request(number))["data"], base64(&file), "{path}");
    }
}

#[test]
fn a_redirect_goes_to_exactly_the_given_target() {
    let file = fixture("audio/speech.mp3");
    let host = Host::serve(move |mut asked| match asked.target.as_str() {
        "/latin" => {
            asked.write(b"HTTP/1.1 302 Found\r\nlocation: /f\xfcr.mp3\r\ncontent-length: 0\r\n\r\n");
        }
        "/utf8" => asked.redirect(302, "/f\u{fc}r.mp3"),
        "/spaces" => asked.redirect(302, "  /a file.mp3?x=a b  "),
        _ => asked.file("audio/mpeg", &file),
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    for (path, asked) in
        [("/latin", "/f%FCr.mp3"), ("/utf8", "/f%C3%BCr.mp3"), ("/spaces", "/a%20file.mp3?x=a%20b")]
    {
        assert_eq!(task(&client, &host.url(path))["status"], "completed", "{path}");
        let request = host.requests().pop().unwrap();
        assert!(request.starts_with(&format!("GET {asked} HTTP/1.1\r\n")), "{path}: {request}");
    }
}

#[test]
fn the_largest_file_arrives_in_any_framing_and_overhead_is_limited() {
    // Noise, which gzip makes longer.
    let wav = wav(60_000);
    let theirs = wav.clone();
    let host = Host::serve(move |mut asked| match asked.target.as_str() {
        "/gzip" => asked.answer(200, &[("content-encoding", "gzip")], &gzip(&theirs)),
        "/small-chunks" => {
            for _ in 0..20 {
                asked.write("HTTP/1.1 102 Processing\r\nx: y\r\n\r\n");
            }
            asked.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for piece in theirs.chunks(10) {
                asked
                    .write([format!("{:x};about=this\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            }
            asked.write("0\r\n\r\n");
        }
        "/interim" => while asked.write("HTTP/1.1 102 Processing\r\nx: y\r\n\r\n".repeat(1000)) {},
        "/extensions" => {
            asked.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while asked.write(format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(100)) {}
        }
        "/empty-members" => {
            asked.write("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n");
            while asked.write(gzip(b"").repeat(1000)) {}
        }
        other => panic!("{other}"),
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "max_bytes = 60000\n");
    let client = hearken.client();
    for (number, path) in ["/gzip", "/small-chunks"].into_iter().enumerate() {
        let task = task(&client, &host.url(path));
        assert_eq!(task["status"], "completed", "{path}: {task}");
        assert_eq!(sent_audio(&upstream.request(number))["data"], base64(&wav), "{path}");
    }
    for path in ["/interim", "/extensions", "/empty-members"] {
        let error = failure(&client, &host.url(path));
        assert_eq!(
            (&error["code"], &error["retryable"]),
            (&json!("audio_fetch_failed"), &json!(false)),
            "{path}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("far more than the largest file"),
            "{path}: {error}"
        );
    }
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn redirects_are_followed_up_to_their_limit() {
    let file = fixture("audio/speech.mp3");
    let host = Host::serve(move |asked| match asked.target.as_str() {
        "/301" => asked.redirect(301, "/302"),
        "/302" => asked.redirect(302, "307?x=1"),
        "/307?x=1" => {
            let location = format!("//{}/file", asked.here());
            asked.redirect(307, &location);
        }
        "/303" => asked.redirect(303, "/308"),
        "/308" => asked.redirect(308, "/301"),
        "/nowhere" => asked.answer(302, &[("content-length", "0")], b""),
        "/not-modified" => asked.answer(304, &[], b""),
        _ => asked.file("audio/mpeg", &file),
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "max_redirects = 3\n");
    let client = hearken.client();
    assert_eq!(task(&client, &host.url("/301"))["status"], "completed");
    let error = failure(&client, &host.url("/303"));
    assert_eq!((&error["code"], &error["retryable"]), (&json!("audio_fetch_failed"), &json!(false)));
    assert!(error["message"].as_str().unwrap().contains("redirects more than 3 times"), "{error}");
    assert!(
        failure(&client, &host.url("/nowhere"))["message"].as_str().unwrap().contains("without a target")
    );
    assert!(failure(&client, &host.url("/not-modified"))["message"].as_str().unwrap().contains("status 304"));
}

#[test]
fn a_refusal_shows_the_servers_status_but_never_its_text() {
    let host = Host::serve(|asked| {
        let status = asked.target.trim_start_matches('/').parse().unwrap();
        asked.answer(status, &[("server", "hush-server"), ("content-length", "11")], b"hush-secret");
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    for (status, retryable, asked) in
        [(404, false, 1), (401, false, 1), (429, true, 1), (500, true, 3), (503, true, 3)]
    {
        let before = host.requests().len();
        let error = failure(&client, &host.url(&format!("/{status}")));
        assert_eq!(error["code"], "audio_fetch_failed", "{error}");
        assert_eq!(error["retryable"], retryable, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("status {status}")) && !message.contains("hush"), "{error}");
        assert_eq!(host.requests().len() - before, asked, "{status}");
    }
    assert_eq!(upstream.requests(), 0);
    assert!(!hearken.log().contains("hush"));
}

#[test]
fn a_failed_download_is_retried() {
    let file = fixture("audio/speech.ogg");
    let host = Host::serve(move |asked| match asked.number {
        0 => asked.answer(200, &[("content-length", "9860")], b"OggS and then no more"),
        1 => asked.reset(),
        _ => asked.file("audio/ogg", &file),
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    assert_eq!(task(&hearken.client(), &host.url("/a.ogg"))["status"], "completed");
    assert_eq!(host.requests().len(), 3);
    assert_eq!(sent_audio(&upstream.request(0))["data"], base64(&fixture("audio/speech.ogg")));
}

#[test]
fn a_download_ends_within_its_limits_whatever_the_server_does() {
    // The file is made beforehand: making it takes longer than a download may last.
    let bomb = gzip(&vec![0; 50_000_000]);
    let host = Host::serve(move |mut asked| match asked.target.as_str() {
        "/says-too-much" => asked.answer(200, &[("content-length", "200001")], b"RIFF"),
        "/endless" => {
            asked.write("HTTP/1.1 200 OK\r\n\r\nRIFF____WAVE");
            while asked.write([0; 1000]) {}
        }
        "/bomb" => asked.answer(200, &[("content-encoding", "gzip")], &bomb),
        "/drip" => {
            asked.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            while asked.write("x") {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        "/silent" => asked.until_they_leave(),
        "/unavailable" => asked.answer(503, &[("content-length", "0")], b""),
        "/half-a-head" => {
            asked.write("HTTP/1.1 200 OK\r\ncontent-");
            asked.until_they_leave();
        }
        other => panic!("{other}"),
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "max_bytes = 200000\ntotal_timeout_ms = 1500\n");
    let client = hearken.client();
    for (path, code, words) in [
        ("/says-too-much", "audio_too_large", "200000 bytes"),
        ("/endless", "audio_too_large", "200000 bytes"),
        ("/bomb", "audio_too_large", "200000 bytes"),
        ("/drip", "audio_fetch_failed", "1500 ms"),
        ("/silent", "audio_fetch_failed", "1500 ms"),
        ("/unavailable", "audio_fetch_failed", "status 503"),
        ("/half-a-head", "audio_fetch_failed", "1500 ms"),
    ] {
        let started = Instant::now();
        let error = failure(&client, &host.url(path));
        assert_eq!(error["code"], code, "{path}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{path}: {error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{path}: {:?}", started.elapsed());
    }
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn each_unusable_download_has_its_own_error() {
    let host = Host::serve(|mut asked| match asked.target.as_str() {
        "/html" => asked.file("audio/wav", b"<html><body>Please log in</body></html>"),
        "/empty" => asked.file("audio/wav", b""),
        "/brotli" => asked.answer(200, &[("content-encoding", "br")], &[0x83; 2000]),
        "/no-gzip" => asked.answer(200, &[("content-encoding", "gzip")], b"RIFF____WAVEfmt "),
        "/part" => asked.answer(206, &[("content-range", "bytes 0-99/5000")], &fixture("audio/speech.wav")),
        "/end" => asked.answer(206, &[("content-range", "bytes 100-4999/5000")], b"RIFF____WAVEfmt "),
        "/part-of-unknown" => asked.answer(206, &[], &fixture("audio/speech.wav")),
        "/nowhere" => asked.redirect(302, "http://a b/"),
        "/many-headers" => {
            let many: String = (0..150).map(|number| format!("x-{number}: 1\r\n")).collect();
            asked.write(format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"));
        }
        "/two-lengths" => {
            asked.answer(200, &[("content-length", "10"), ("content-length", "12")], b"RIFF____WAVE");
        }
        "/no-length" => asked.answer(200, &[("content-length", "many")], b"RIFF____WAVE"),
        "/coded-transfer" => {
            asked.write("HTTP/1.1 200 OK\r\ntransfer-encoding: rot13, chunked\r\n\r\n");
        }
        "/bad-field" => {
            asked.write("HTTP/1.1 200 OK\r\nno field: 1\r\n: 2\r\n\r\n");
        }
        "/bad-chunk" => {
            asked.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nlength\r\nRIFF\r\n");
        }
        "/cut-gzip" => {
            let coded = gzip(&fixture("audio/speech.wav"));
            asked.answer(200, &[("content-encoding", "gzip")], &coded[..coded.len() - 100]);
        }
        "/says-too-little" => {
            asked.answer(200, &[("content-length", "10000")], &fixture("audio/speech.wav"));
        }
        "/says-nothing-and-sends" => asked.answer(200, &[("content-length", "0")], b"RIFF____WAVE"),
        "/no-http" => {
            asked.write("220 files.example.com FTP server ready\r\n");
        }
        other => panic!("{other}"),
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    for (path, code, words) in [
        ("/html", "unsupported_audio_format", "a web page"),
        ("/empty", "unsupported_audio_format", "empty"),
        ("/brotli", "audio_fetch_failed", "compressed with br"),
        ("/no-gzip", "unsupported_audio_format", "a WAV file without any sound"),
        ("/part", "audio_fetch_failed", "only a part of the file (status 206)"),
        ("/end", "audio_fetch_failed", "only a part of the file (status 206)"),
        ("/part-of-unknown", "audio_fetch_failed", "only a part of the file (status 206)"),
        ("/nowhere", "audio_fetch_failed", "redirects to a text that is not a URL"),
        ("/many-headers", "audio_fetch_failed", "more than 96 header fields"),
        ("/two-lengths", "audio_fetch_failed", "two lengths that differ"),
        ("/no-length", "audio_fetch_failed", "a length that is not a number"),
        ("/coded-transfer", "audio_fetch_failed", "a transfer coding that was not requested"),
        ("/bad-field", "audio_fetch_failed", "header fields that break the rules"),
        ("/bad-chunk", "audio_fetch_failed", "chunks that break the rules"),
        ("/cut-gzip", "audio_fetch_failed", "gzip"),
        ("/says-too-little", "audio_fetch_failed", "more than the Content-Length"),
        ("/says-nothing-and-sends", "audio_fetch_failed", "more than the Content-Length"),
        ("/no-http", "audio_fetch_failed", "HTTP"),
    ] {
        let error = failure(&client, &host.url(path));
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(false)), "{path}: {error}");
        assert!(error["message"].as_str().unwrap().contains(words), "{path}: {error}");
        assert_eq!(error["param"], Value::Null, "a task's error has no param: {error}");
    }
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn heads_that_the_protocol_allows_are_read() {
    let wav = fixture("audio/speech.wav");
    let host = Host::serve(move |mut asked| {
        let length = format!("content-length: {}\r\n", wav.len());
        let (fields, body) = match asked.target.as_str() {
            "/equal-lengths" => (length.repeat(2), wav.clone()),
            "/folded" => (format!("x-note: one\r\n two\r\n\tthree\r\n{length}"), wav.clone()),
            "/coded-transfer" => {
                let coded = gzip(&wav);
                let chunk = [format!("{:x}\r\n", coded.len()).as_bytes(), &coded, b"\r\n0\r\n\r\n"].concat();
                ("transfer-encoding: gzip, chunked\r\n".to_owned(), chunk)
            }
            "/coded-until-close" => ("transfer-encoding: gzip\r\n".to_owned(), gzip(&wav)),
            other => panic!("{other}"),
        };
        let head = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\n");
        asked.write(head);
        asked.write(body);
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    for (number, path) in
        ["/equal-lengths", "/folded", "/coded-transfer", "/coded-until-close"].iter().enumerate()
    {
        let task = task(&client, &host.url(path));
        assert_eq!(task["status"], "completed", "{path}: {task}");
        let sent = sent_audio(&upstream.request(number));
        assert_eq!(sent["data"], base64(&fixture("audio/speech.wav")), "{path}");
    }
}

#[test]
fn a_host_that_cannot_be_reached_is_reported() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "");
    let error = failure(&hearken.client(), &format!("http://{closed}/a.wav"));
    assert_eq!((&error["code"], &error["retryable"]), (&json!("audio_fetch_failed"), &json!(true)));
    assert!(error["message"].as_str().unwrap().contains("no connection"), "{error}");
    let error = failure(&hearken.client(), "http://no-such-host.invalid/a.wav");
    assert!(error["message"].as_str().unwrap().contains("cannot be resolved"), "{error}");
}

#[test]
fn audio_too_large_for_its_channel_is_refused_before_the_call() {
    let host = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let upstream = FakeUpstream::gemini().say("heard").start();
    let size = fixture("audio/speech.wav").len().div_ceil(3) * 4;
    let prompt = "p".repeat(100);
    for (limit, fits) in [(size + 100, true), (size + 99, false)] {
        let hearken = Hearken::before(&upstream)
            .env("HEARKEN_CHANNELS__0__MAX_REQUEST_BYTES", &limit.to_string())
            .set("[fetch]\nallow_hosts = [\"127.0.0.1\"]\n")
            .start();
        let client = hearken.client();
        let id = client.submit(json!({"audio_url": host.url("/a.wav"), "prompt": prompt}));
        let task = client.wait(&id);
        if fits {
            assert_eq!(task["status"], "completed", "{task}");
        } else {
            assert_eq!(task["error"]["code"], "audio_too_large", "{task}");
        }
    }
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn cancelling_ends_a_download() {
    let host = Host::serve(|mut asked| {
        asked.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nRIFF");
        asked.until_they_leave();
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "");
    let client = hearken.client();
    let id = client.submit(json!({"audio_url": host.url("/a.wav")}));
    until("the download begins", || (!host.requests().is_empty()).then_some(()));
    assert_eq!(client.task(&id)["status"], "processing");
    assert_eq!(client.cancel(&id)["error"]["code"], "task_cancelled");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn a_download_interrupted_by_a_crash_starts_again() {
    let file = fixture("audio/speech.ogg");
    let host = Host::serve(move |mut asked| {
        if asked.number == 0 {
            asked.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
            asked.write(vec![b'x'; 500_000]);
            asked.until_they_leave();
        } else {
            asked.file("audio/ogg", &file);
        }
    });
    let upstream = FakeUpstream::gemini().say("heard").start();
    let mut hearken = start(&upstream, "");
    let id = hearken.submit(json!({"audio_url": host.url("/a.ogg"), "stream": true}));
    until("the download begins", || (!host.requests().is_empty()).then_some(()));
    hearken.crash();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    assert_eq!(sent_audio(&upstream.request(0))["data"], base64(&fixture("audio/speech.ogg")));
    assert_eq!((host.requests().len(), hearken.audios()), (2, (0, 0)));
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let proxy = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let host = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let upstream = FakeUpstream::gemini().say("heard").start();
    let mut builder = Hearken::before(&upstream).set("[fetch]\nallow_hosts = [\"127.0.0.1\"]\n");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        builder = builder.env(name, &proxy.url(""));
    }
    let hearken = builder.start();
    assert_eq!(task(&hearken.client(), &host.url("/a.wav"))["status"], "completed");
    assert_eq!((host.requests().len(), proxy.requests().len()), (1, 0));
}

#[test]
fn a_redirect_from_an_allowed_host_reaches_no_other_local_address() {
    let inside = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let port = inside.address().port();
    let targets = [
        format!("http://127.0.0.2:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0:{port}/"),
        format!("http://user@127.0.0.1:{port}/"),
        format!("file:///etc/passwd#{port}"),
        format!("gopher://127.0.0.1:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "//10.0.0.1/".to_owned(),
    ];
    let theirs = targets.clone();
    let door = Host::serve(move |asked| {
        let index: usize = asked.target.trim_start_matches('/').parse().unwrap();
        asked.redirect(302, &theirs[index]);
    });
    let upstream = FakeUpstream::gemini().start();
    let hearken = start(&upstream, "");
    for (index, target) in targets.iter().enumerate() {
        let error = failure(&hearken.client(), &door.url(&format!("/{index}")));
        assert_eq!(
            (&error["code"], &error["retryable"]),
            (&json!("audio_fetch_failed"), &json!(false)),
            "{target}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("redirects to") && !message.contains("10.0.0.1"), "{target}: {error}");
    }
    assert_eq!(inside.requests(), Vec::<String>::new());
}
