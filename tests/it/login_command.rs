//! `hearken login` and `hearken logout`: what a login stores, which user may read it, and when it is not used.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::certificate::Pair;
use crate::support::closed_port;
use crate::support::hearken::{Hearken, KEY, NARROW_KEY, run};
use crate::support::shell::{Ended, Home, Running, by, on_terminal};
use crate::support::upstream::FakeUpstream;

fn login(home: &Home, arguments: &[&str], key: &str) -> Ended {
    let arguments = [&["login", "--key-stdin"], arguments].concat();
    let mut running = Running::start(home.command(&arguments).stdin(Stdio::piped()));
    let _ = running.input().write_all(format!("{key}\n").as_bytes());
    running.ended()
}

/// Runs a submit that knows only the stored login, this environment and these arguments.
fn submit(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = home.command(&[&["submit", "speech.mp3"], arguments].concat());
    Running::start(command.envs(environment.iter().copied())).ended()
}

#[test]
fn a_login_is_stored_for_its_user_alone_until_the_logout() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::before(&upstream).local().start();
    let (home, url) = (Home::new(), format!("http://{}", hearken.address));
    let told = login(&home, &["--url", &url, "--model", "local-inspect"], KEY).with_status(0);
    assert!(told.out.contains(&url) && told.out.contains("local-inspect"), "{told:?}");
    let mode = std::fs::metadata(home.login_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(submit(&home, &[], &[]).with_status(0).out.starts_with("# Sound, measured"));
    // A second login without a URL uses the same server.
    login(&home, &[], KEY).with_status(0);
    assert!(submit(&home, &[], &[]).with_status(2).err.contains("no model was chosen"));
    let out = Running::start(&mut home.command(&["logout"])).ended().with_status(0);
    assert!(out.out.contains("Logged out") && !home.login_file().exists(), "{out:?}");
    submit(&home, &[], &["--url", &url]).with_status(2);
    Running::start(&mut home.command(&["logout"])).ended().with_status(0);
}

#[test]
fn flags_override_the_environment_which_overrides_the_login() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let (home, url) = (Home::new(), format!("http://{}", hearken.address));
    login(&home, &["--url", &url], NARROW_KEY).with_status(0);
    let model = ["--model", "gemini-test"];
    assert!(submit(&home, &[], &model).with_status(1).err.contains("model_not_allowed"));
    submit(&home, &[("HEARKEN_API_KEY", KEY)], &model).with_status(0);
    let flag = ["--model", "gemini-test", "--key", "sk-wrong"];
    assert!(submit(&home, &[("HEARKEN_API_KEY", KEY)], &flag).with_status(1).err.contains("does not know"));
    let (_held, other) = closed_port();
    let other = format!("http://{other}");
    let both = [("HEARKEN_URL", other.as_str()), ("HEARKEN_API_KEY", KEY)];
    assert!(submit(&home, &both, &model).with_status(1).err.contains(&other));
    submit(&home, &both, &["--model", "gemini-test", "--url", &url]).with_status(0);
    // The stored key is sent to no server but its own.
    let elsewhere = submit(&home, &[("HEARKEN_URL", &other)], &model).with_status(2);
    assert!(elsewhere.err.contains(&format!("no API key for {other}")), "{elsewhere:?}");
}

#[test]
fn a_key_that_the_server_does_not_know_is_not_stored() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let (home, url) = (Home::new(), format!("http://{}", hearken.address));
    let refused = login(&home, &["--url", &url], "sk-wrong").with_status(1);
    assert!(refused.err.contains("nothing was saved") && !refused.err.contains("sk-wrong"), "{refused:?}");
    let (_held, closed) = closed_port();
    login(&home, &["--url", &format!("http://{closed}")], KEY).with_status(1);
    login(&home, &["--url", &url], "").with_status(2);
    assert!(!home.login_file().exists());
    let mut deaf = home.command(&["login", "--url", &url]);
    assert!(Running::start(&mut deaf).ended().with_status(2).err.contains("--key-stdin"));
}

#[test]
fn a_key_that_was_created_just_now_is_accepted() {
    let hearken = Hearken::builder().local().start();
    let (home, url, config) = (Home::new(), format!("http://{}", hearken.address), hearken.config_file());
    // The command is the one that the help shows.
    let made = run(&["keys", "create", "me", "--config", config.to_str().unwrap()]);
    let key = String::from_utf8(made.stdout).unwrap();
    login(&home, &["--url", &url], key.trim()).with_status(0);
    submit(&home, &[], &[]).with_status(0);
}

#[test]
fn a_login_file_that_others_may_read_is_not_used() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::start(&upstream);
    let (home, url) = (Home::new(), format!("http://{}", hearken.address));
    login(&home, &["--url", &url], KEY).with_status(0);
    std::fs::set_permissions(home.login_file(), PermissionsExt::from_mode(0o644)).unwrap();
    let refused = submit(&home, &[], &[]).with_status(2);
    assert!(refused.err.contains(&format!("chmod 600 {}", home.login_file().display())), "{refused:?}");
    // A command that does not need the file works.
    submit(&home, &[("HEARKEN_API_KEY", KEY), ("HEARKEN_URL", &url)], &[]).with_status(0);
}

#[test]
fn a_terminal_is_asked_for_the_key_and_does_not_show_it() {
    let hearken = Hearken::start(&FakeUpstream::gemini().start());
    let (home, url) = (Home::new(), format!("http://{}", hearken.address));
    let mut running = Running::start(&mut on_terminal(&home.command(&["login", "--url", &url]), ""));
    running.prints(&format!("API key for {url}: "));
    let mut keyboard = running.input();
    keyboard.write_all(format!("{KEY}\n").as_bytes()).unwrap();
    running.prints("Logged in to");
    drop(keyboard);
    running.ended().with_status(0);
    assert!(home.login_file().exists());
}

#[test]
fn an_interrupted_key_prompt_restores_the_terminals_echo() {
    let home = Home::new();
    let script = "trap : INT; \"$@\"; echo status $?; stty -a";
    let command = by(&["sh", "-c", script, "sh"], &home.command(&["login"]));
    let mut running = Running::start(&mut on_terminal(&command, ""));
    running.prints("API key for http://127.0.0.1:8080: ");
    let mut keyboard = running.input();
    // Ctrl-C, after half a key.
    keyboard.write_all(b"sk-half\x03").unwrap();
    let ended = running.ended().with_status(0);
    let out = ended.out.replace("\r\n", "\n");
    assert!(out.contains("\nstatus 130\n") && out.contains(" echo "), "{out}");
    assert!(!out.contains("sk-half"), "{out}");
}

/// Starts a server with a certificate that it made itself, which is written to a file, and with a list of one model.
fn over_tls(certificate: &Path, is_ca: IsCa) -> SocketAddr {
    let signing_key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.is_ca = is_ca;
    let made = parameters.self_signed(&signing_key).unwrap();
    std::fs::write(certificate, made.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.der().clone()], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            let mut asked = [0; 4096];
            // A client that does not trust the certificate sends nothing.
            if matches!(stream.read(&mut asked), Ok(1..)) {
                let list = r#"{"object":"list","data":[{"id":"over-tls"}]}"#;
                let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len());
                stream.write_all(reply.as_bytes()).unwrap();
                stream.flush().unwrap();
            }
        }
    });
    address
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named_and_stored() {
    let home = Home::new();
    let address = over_tls(&home.path("ca.pem"), IsCa::NoCa);
    let url = format!("https://localhost:{}", address.port());
    let stranger = login(&home, &["--url", &url], KEY).with_status(1);
    assert!(stranger.err.contains("does not trust the issuer of the server's certificate; "), "{stranger:?}");
    assert!(stranger.err.contains("--ca FILE"), "{stranger:?}");
    let trusted = login(&home, &["--url", &url, "--ca", "ca.pem"], KEY).with_status(0);
    assert!(trusted.out.contains("This key may use: over-tls"), "{trusted:?}");
    login(&home, &[], KEY).with_status(0);
    let remembered = std::fs::read_to_string(home.login_file()).unwrap();
    assert!(remembered.contains(&format!("ca = \"{}\"", home.path("ca.pem").display())), "{remembered}");
}

#[test]
fn a_server_with_an_authoritys_certificate_is_refused_with_advice() {
    let home = Home::new();
    let address = over_tls(&home.path("ca.pem"), IsCa::Ca(BasicConstraints::Unconstrained));
    let url = format!("https://localhost:{}", address.port());
    let marked = login(&home, &["--url", &url, "--ca", "ca.pem"], KEY).with_status(1);
    assert!(marked.err.contains("is marked as a certificate authority"), "{marked:?}");
    assert!(marked.err.contains("-addext basicConstraints=critical,CA:FALSE"), "{marked:?}");
    assert!(!marked.err.contains("Other") && !marked.err.contains("--ca FILE"), "{marked:?}");
    // One certificate is for another name; a server without TLS has no certificate.
    let other = over_tls(&home.path("other.pem"), IsCa::NoCa);
    let url = format!("https://127.0.0.1:{}", other.port());
    let named = login(&home, &["--url", &url, "--ca", "other.pem"], KEY).with_status(1);
    assert!(named.err.contains("its certificate is for another name"), "{named:?}");
    let plain = Hearken::start(&FakeUpstream::gemini().start());
    let none = login(&home, &["--url", &format!("https://{}", plain.address)], KEY).with_status(1);
    assert!(none.err.contains("write http:// instead of https://"), "{none:?}");
}

#[test]
fn plain_http_to_a_tls_port_gets_the_advice_to_use_https() {
    let hearken = Hearken::builder().local().tls(&Pair::new()).start();
    let refused = login(&Home::new(), &["--url", &format!("http://{}", hearken.address)], KEY).with_status(1);
    assert!(refused.err.contains("the server uses TLS at this port; write https:// instead"), "{refused:?}");
}
