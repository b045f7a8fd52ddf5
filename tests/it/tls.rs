//! TLS: which clients can connect, which files are refused at the start, and certificates that change at run time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::certificate::{Pair, curl, curl_command};
use crate::support::hearken::{Hearken, run};
use crate::support::http::Reply;
use crate::support::http2::Http2;
use crate::support::until;
use crate::support::upstream::FakeUpstream;
use crate::support::{PATIENCE, body};

fn said(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the end of the line with which the program refuses these files, at a start and at a check.
fn refused(certificate: &str, key: &str, lines: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("cert.pem"), certificate).unwrap();
    std::fs::write(at("key.pem"), key).unwrap();
    let lines = lines.replace("DIR", directory.path().to_str().unwrap());
    // A start without a channel would print a further warning.
    let channel = "[[channels]]\nname = \"local\"\nkind = \"local\"";
    std::fs::write(at("h.toml"), format!("listen = \"127.0.0.1:0\"\n[tls]\n{lines}\n{channel}\n")).unwrap();
    let (file, data) = (at("h.toml"), at("data"));
    let serve = ["serve", "--config", &file, "--data-dir", &data];
    let [checked, served] = [&["check", "--config", &file][..], &serve[..]].map(|command| {
        let output = run(command);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("hearken: ") && said.lines().count() == 1, "{said}");
        said.trim_end().to_owned()
    });
    assert_eq!(checked, served);
    let mut secret = key.lines().filter(|line| line.len() > 20 && !line.starts_with('-'));
    assert!(!secret.any(|line| served.contains(line)), "{served}");
    served.replace(directory.path().to_str().unwrap(), "DIR")
}

const BOTH: &str = "certificate = \"DIR/cert.pem\"\nkey = \"DIR/key.pem\"";

#[test]
fn curl_submits_and_streams_over_both_versions_of_http() {
    let pair = Pair::new();
    let upstream = FakeUpstream::gemini().say("Hel").say("lo").start();
    let hearken = Hearken::before(&upstream).tls(&pair).start();
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let body = body(json!({"stream": true})).to_string();
        let submit = [option, "-H", "content-type: application/json", "-d", &body, "-w", "\n%{http_version}"];
        let reply = said(curl(&hearken, "/v1/llm/generations", &submit));
        let (task, spoken) = reply.rsplit_once('\n').unwrap();
        assert_eq!(spoken, version);
        let task: Value = serde_json::from_str(task).unwrap();
        let stream = said(curl(&hearken, task["stream"]["url"].as_str().unwrap(), &[option, "-N"]));
        assert!(stream.contains("\"Hel\"") && stream.ends_with("data: [DONE]\n\n"), "{stream}");
    }
}

#[test]
fn frames_arrive_at_once_over_http_1_and_a_disconnect_is_noticed() {
    let upstream = FakeUpstream::gemini().say("Hel").hold().say("lo").start();
    let hearken = Hearken::before(&upstream).tls(&Pair::new()).start();
    let submit = ["-H", "content-type: application/json", "-d", &body(json!({"stream": true})).to_string()];
    let task: Value = serde_json::from_str(&said(curl(&hearken, "/v1/llm/generations", &submit))).unwrap();
    let read = || {
        let mut curl = curl_command(&hearken, task["stream"]["url"].as_str().unwrap(), &["--http1.1", "-N"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.by_ref().any(|line| line.contains("\"Hel\"")));
        (curl, lines)
    };
    let ((mut leaving, _), (mut staying, mut rest)) = (read(), read());
    leaving.kill().unwrap();
    leaving.wait().unwrap();
    hearken.log_line("end=left");
    upstream.release();
    assert!(rest.any(|line| line == "data: [DONE]"));
    assert!(staying.wait().unwrap().success());
}

#[test]
fn only_tls_1_2_and_1_3_are_spoken() {
    let pair = Pair::new();
    let hearken = Hearken::builder().local().tls(&pair).start();
    for (options, works) in [
        (["--tlsv1.2", "--tls-max", "1.2"], true),
        (["--tlsv1.3", "--tls-max", "1.3"], true),
        (["--tlsv1.0", "--tls-max", "1.1"], false),
    ] {
        let output =
            curl(&hearken, "/healthz", &[&options[..], &["--ciphers", "DEFAULT:@SECLEVEL=0"]].concat());
        assert_eq!(output.status.success(), works, "{options:?}: {output:?}");
    }
}

#[test]
fn http_on_a_tls_port_gets_advice_and_is_not_logged_as_a_problem() {
    let hearken = Hearken::builder().local().tls(&Pair::new()).start();
    for start in ["GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let reply: Reply = hearken.client().raw(start.as_bytes());
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains("https://"), "{reply}");
    }
    // This is neither HTTP nor TLS.
    let mut socket = hearken.client().send_raw(&[0x80, 1, 2, 3, 4, 5, 6, 7]);
    let _ = socket.read_to_end(&mut Vec::new());
    until("all connections are closed", || (hearken.open_connections() == 0).then_some(()));
    let log = hearken.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[test]
fn tls_on_a_plain_port_is_refused() {
    let hearken = Hearken::builder().local().start();
    let port = hearken.client().address.port();
    let output = std::process::Command::new("curl")
        .args(["-sSk", "--max-time", "20", "--noproxy", "*", &format!("https://127.0.0.1:{port}/healthz")])
        .output()
        .unwrap();
    // curl's status 35: the TLS handshake failed.
    assert_eq!(output.status.code(), Some(35), "{output:?}");
    hearken.get("/healthz").expect(200);
    assert!(!hearken.log().contains("ERROR"), "{}", hearken.log());
}

/// A certificate as `openssl x509 -req -signkey` makes it without extensions.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBJDCBywIUbciP6JplSqS7/GL3Vt0VeUECk8swCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE3NDY0NloYDzIxMjYxMDMwMTc0NjQ2
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQ089oJB4pds9KEioRvkPBsBlfJAhxgPMSIhwDhsgN7byRINBMcWk91Zxdpa4ar
cMMCovpLBkNvy/vMZnSM26HOMAoGCCqGSM49BAMCA0gAMEUCIQDxaWJA/4XLJCwm
vsUkdfqwi963Jnsgf2dXxrIdDiRNNgIgSgA0DqtAyl3dr+xrw0OP4CE0RE3yQ5Er
yTsPJcyh958=
-----END CERTIFICATE-----\n";

#[test]
fn unusable_files_stop_the_start_with_their_names_and_advice() {
    let (pair, other) = (Pair::new(), Pair::new());
    let missing = refused("", "", "certificate = \"DIR/none.pem\"\nkey = \"DIR/key.pem\"");
    assert!(
        missing.starts_with("hearken: DIR/h.toml:3: tls.certificate: DIR/none.pem cannot be read"),
        "{missing}"
    );
    let empty = refused("", &pair.key, BOTH);
    assert!(empty.contains("h.toml:3: tls.certificate: DIR/cert.pem holds no certificate"), "{empty}");
    let swapped = refused(&pair.key, &pair.certificate, BOTH);
    assert!(swapped.contains("tls.certificate: DIR/cert.pem holds no certificate"), "{swapped}");
    let keyless = refused(&pair.certificate, &pair.certificate, BOTH);
    assert!(keyless.contains("h.toml:4: tls.key: DIR/key.pem holds no private key"), "{keyless}");
    let broken = refused(&pair.certificate.replace("MII", "M?I"), &pair.key, BOTH);
    assert!(broken.contains("DIR/cert.pem is not a valid PEM file (its base64 is broken)"), "{broken}");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let hollow = refused(hollow, &pair.key, BOTH);
    assert!(hollow.contains("DIR/cert.pem holds a certificate that cannot be read"), "{hollow}");
    let unknown =
        refused(&pair.certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", BOTH);
    assert!(unknown.contains("DIR/key.pem holds a private key of a type"), "{unknown}");
    let mixed = refused(&pair.certificate, &other.key, BOTH);
    assert!(
        mixed.contains(
            "tls.key: DIR/key.pem holds a key that does not belong to the certificate in DIR/cert.pem"
        ),
        "{mixed}"
    );
    let sealed = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                  -----END RSA PRIVATE KEY-----\n";
    for sealed in [sealed, &pair.key.replace("PRIVATE", "ENCRYPTED PRIVATE")] {
        let sealed = refused(&pair.certificate, sealed, BOTH);
        assert!(sealed.contains("tls.key: DIR/key.pem holds a private key with a pass phrase"), "{sealed}");
    }
    let first = refused(VERSION_1, &pair.key, BOTH);
    assert!(first.contains("DIR/cert.pem holds a certificate of X.509 version 1"), "{first}");
    let half = refused("", "", "certificate = \"DIR/cert.pem\"");
    assert!(half.contains("tls.key: it is missing: remove tls.certificate, or name the PEM file"), "{half}");
    let half = refused("", "", "key = \"DIR/key.pem\"");
    assert!(half.contains("tls.certificate: it is missing: remove tls.key, or name the PEM file"), "{half}");
}

#[test]
fn check_names_the_certificate_and_an_expired_one_is_a_warning() {
    let expired = Pair::until(2020);
    let hearken = Hearken::builder().local().tls(&expired).start();
    hearken.log_line("WARN hearken::server::reload: the certificate has expired on Wed, 01 Jan 2020");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hearken"))
        .args(["check", "--config", "hearken.toml"])
        .current_dir(hearken.directory())
        .output()
        .unwrap();
    let said = said(output);
    assert!(said.contains("for localhost, 127.0.0.1, until Wed, 01 Jan 2020 00:00:00 GMT"), "{said}");
    assert!(said.contains("warning: the certificate has expired"), "{said}");
}

#[test]
fn a_new_certificate_is_used_for_new_connections_only() {
    let (old, new) = (Pair::new(), Pair::until(2098));
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = Hearken::before(&upstream).tls(&old).start();
    let mut before = Http2::connect(hearken.client().address, &old);
    let id = before.submit(json!({"stream": true}));
    let mut stream = before.stream(&id, "");
    before.read_to(&mut stream, "\"a\"");
    new.put(hearken.directory());
    hearken.signal("HUP");
    hearken.log_line("new connections get the certificate for localhost, 127.0.0.1, until Wed, 01 Jan 2098");
    let mut after = Http2::connect(hearken.client().address, &new);
    after.ping();
    upstream.release();
    assert!(before.rest(stream).ends_with("data: [DONE]\n\n"));
}

#[test]
fn a_new_certificate_is_found_without_a_signal() {
    let (old, new) = (Pair::new(), Pair::until(2098));
    let hearken = Hearken::builder().local().tls(&old).start();
    new.put(hearken.directory());
    hearken.log_line("until Wed, 01 Jan 2098");
    Http2::connect(hearken.client().address, &new).ping();
}

#[test]
fn an_unusable_new_certificate_leaves_the_old_one_in_use() {
    let (old, new) = (Pair::new(), Pair::until(2098));
    let hearken = Hearken::builder().local().tls(&old).start();
    let certificate = hearken.directory().join("cert.pem");
    std::fs::write(&certificate, &new.certificate).unwrap();
    hearken.signal("HUP");
    hearken.log_line("key.pem holds a key that does not belong to the certificate in cert.pem");
    std::fs::remove_file(&certificate).unwrap();
    hearken.signal("HUP");
    let line = hearken.log_line("cert.pem cannot be read");
    assert!(
        line.contains(
            "until this is fixed, new connections get the certificate for localhost, 127.0.0.1, until"
        ),
        "{line}"
    );
    Http2::connect(hearken.client().address, &old).ping();
    // First the old pair with one file replaced, then the complete new pair.
    new.put(hearken.directory());
    hearken.log_line("until Wed, 01 Jan 2098");
    Http2::connect(hearken.client().address, &new).ping();
}

#[test]
fn without_tls_a_hangup_signal_does_not_stop_the_server() {
    let hearken = Hearken::builder().local().start();
    hearken.signal("HUP");
    hearken.log_line("SIGHUP: there is no certificate to read again");
    hearken.get("/healthz").expect(200);
}

#[test]
fn a_silent_tls_client_is_dropped() {
    let hearken = Hearken::builder().local().tls(&Pair::new()).start();
    let mut silent = TcpStream::connect(hearken.client().address).unwrap();
    let mut half = TcpStream::connect(hearken.client().address).unwrap();
    // The beginning of a first TLS record, whose rest never comes.
    half.write_all(&[0x16, 3, 1, 2, 0]).unwrap();
    for socket in [&mut silent, &mut half] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(socket.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
