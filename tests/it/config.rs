//! Configuration: `hearken check`, mistakes that stop a start, environment variables, and a start without a file.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;

use crate::support::certificate::Pair;
use crate::support::hearken::{Hearken, UPSTREAM_KEY, command, run};
use crate::support::http::Client;
use crate::support::upstream::FakeUpstream;
use crate::tidy::root;

fn with_file(text: &str, command: &str) -> Output {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("h.toml");
    std::fs::write(&file, text).unwrap();
    run(&[command, "--config", file.to_str().unwrap()])
}

#[test]
fn check_describes_the_configuration_without_its_secrets() {
    let upstream = FakeUpstream::gemini().never().start();
    let hearken = Hearken::before(&upstream).local().start();
    let output = run(&["check", "--config", hearken.config_file().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    for part in ["127.0.0.1:0", "fake", "gemini-test", "local-inspect", "narrow", "gemini-other"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(UPSTREAM_KEY) && !said.contains("sk-"), "{said}");
}

#[test]
fn check_says_from_where_audio_is_fetched() {
    let check = |text: &str| {
        let output = with_file(text, "check");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check("");
    assert!(said.contains("from public networks only, at any port\n"), "{said}");
    assert!(said.contains("20000000 bytes at most, over 3 redirects at most, within 60 s"), "{said}");
    let said = check(
        "[fetch]\nallow_private_networks = true\n\
         allow_hosts = [\"*.Example.com\", \"[::1]\"]\nallow_ports = [443, 8443]",
    );
    assert!(said.contains("from public and private networks, at ports 443, 8443; "), "{said}");
    assert!(said.contains("; from *.example.com, ::1 on any network and port\n"), "{said}");
}

#[test]
fn check_says_where_metrics_are_served() {
    for (listen, expected) in [
        ("", None),
        ("main", Some("serves metrics    on the same address, at /metrics, to every client without a key\n")),
        (
            "9464",
            Some("serves metrics    on 127.0.0.1:9464, at /metrics, over plain HTTP and without a key\n"),
        ),
    ] {
        let output = with_file(&format!("[metrics]\nlisten = \"{listen}\""), "check");
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.contains("metrics"), expected.is_some(), "{said}");
        assert!(expected.is_none_or(|line| said.contains(line)), "{said}");
    }
}

#[test]
fn check_says_how_long_a_call_may_take() {
    let check = |line: &str| {
        let output = with_file(&format!("[[channels]]\nkind = \"local\"\n{line}"), "check");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check("");
    assert!(said.contains("within 600 s or 2.5 times the audio's duration"), "{said}");
    let said = check("total_timeout_audio_factor = 0");
    assert!(said.contains("within 600 s, retried 2 times at most"), "{said}");
    let said = check("max_retries = 0\nbreaker_failures = 0");
    assert!(said.contains(", never retried, never rests\n"), "{said}");
}

#[test]
fn a_wrong_configuration_ends_with_status_two_and_one_line() {
    for (text, place, key) in [
        ("listen = 7", "h.toml:1", "listen"),
        ("\n\nfrobnicate = 1", "h.toml:3", "frobnicate"),
        ("[limits]\nmax_body_bytes = \"big\"", "h.toml:2", "limits.max_body_bytes"),
        ("[stream]\nkeep_alive_seconds = -1", "h.toml:2", "stream.keep_alive_seconds"),
        ("[[channels]]\nname = \"g\"\nkind = \"gemini\"\nmodels = [\"m\"]", "h.toml", "channels[0].api_key"),
        (
            "[[channels]]\nname = \"g\"\nkind = \"gemini\"\napi_key_env = \"NOT_SET_ANYWHERE\"",
            "h.toml:4",
            "channels[0].api_key_env",
        ),
        ("[[channels]]\nkind = \"horse\"", "h.toml:2", "channels[0].kind"),
        ("[[keys]]\nname = \"a\"", "h.toml", "keys[0].key"),
        ("listen = ", "h.toml:1", "text in quotes"),
    ] {
        for command in ["check", "serve"] {
            let output = with_file(text, command);
            assert_eq!(output.status.code(), Some(2), "{text}: {output:?}");
            assert!(output.stdout.is_empty());
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said.lines().count(), 1, "{text}: {said}");
            assert!(said.contains(place) && said.contains(key), "{text}: {said}");
        }
    }
    let output = run(&["check", "--config", "no-such-file.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no-such-file.toml"));
}

#[test]
fn an_unusable_data_directory_stops_the_start() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().last().unwrap().contains(file.to_str().unwrap()), "{said}");
}

#[test]
fn check_refuses_an_unusable_data_directory_and_creates_none() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let file = at("h.toml");
    for (data_dir, reason) in [(at("h.toml"), "File exists"), (at("h.toml/data"), "Not a directory")] {
        std::fs::write(&file, format!("listen = \"127.0.0.1:0\"\ndata_dir = \"{data_dir}\"")).unwrap();
        let [checked, served] = ["check", "serve"].map(|command| {
            let output = run(&[command, "--config", &file]);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
            String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
        });
        assert_eq!(checked, served);
        assert!(checked.contains("h.toml:2: data_dir: ") && checked.contains(reason), "{checked}");
    }
    std::fs::write(&file, format!("data_dir = \"{}\"", at("new/data"))).unwrap();
    assert_eq!(run(&["check", "--config", &file]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is created");
}

#[test]
fn check_and_start_refuse_with_the_same_message() {
    let directory = TempDir::new().unwrap();
    let home = directory.path();
    let data = |name: &str| home.join(name).display().to_string();
    std::fs::create_dir(home.join("damaged")).unwrap();
    std::fs::write(home.join("damaged/hearken.sqlite"), "this is no database, whatever its name says")
        .unwrap();
    for (name, changes) in [
        ("newer", "PRAGMA user_version = 99"),
        ("another", "PRAGMA user_version = 0"),
        ("renamed", "PRAGMA user_version = 3; ALTER TABLE keys_version RENAME TO other"),
    ] {
        run(&["keys", "create", "one", "--data-dir", &data(name)]);
        let database = rusqlite::Connection::open(home.join(name).join("hearken.sqlite")).unwrap();
        database.execute_batch(changes).unwrap();
    }
    std::fs::create_dir_all(home.join("no-spool")).unwrap();
    std::fs::write(home.join("no-spool/spool"), "").unwrap();
    let key =
        String::from_utf8(run(&["keys", "create", "stored", "--data-dir", &data("keys")]).stdout).unwrap();
    let keys = |names: [&str; 2]| {
        let entry = |name: &str| format!("[[keys]]\nname = \"{name}\"\nkey = \"{}\"\n", key.trim());
        names.map(entry).concat()
    };
    let keyed = "[[keys]]\nname = \"a\"\nkey = \"sk-a\"\n";
    let at = |data_dir: &str| format!("data_dir = \"{data_dir}\"\n{keyed}");
    let before = |listed: &TempDir| std::fs::read_dir(listed.path()).unwrap().count();
    let entries = before(&directory);
    for (text, status, told) in [
        (at("/proc/x/y"), 2, "h.toml:1: data_dir: the data directory cannot be used: /proc/x/y: "),
        (at("/dev/null"), 2, "h.toml:1: data_dir: the data directory cannot be used: "),
        (at(&data("no-spool")), 2, "h.toml:1: data_dir: the data directory cannot be used: "),
        (at(&data("damaged")), 1, "damaged/hearken.sqlite is damaged"),
        (
            at(&data("newer")),
            1,
            "newer/hearken.sqlite was written by a newer hearken: the version of its tables is 99",
        ),
        (
            at(&data("another")),
            1,
            "another/hearken.sqlite is the database of another program; choose another",
        ),
        (
            at(&data("renamed")),
            1,
            "renamed/hearken.sqlite is the database of another program; choose another",
        ),
        (
            format!("listen = \"192.0.2.1:80\"\n{keyed}"),
            2,
            "h.toml:1: listen: cannot listen on 192.0.2.1:80: this machine",
        ),
        (
            format!("[metrics]\nlisten = \"192.0.2.1:80\"\n{keyed}"),
            2,
            "h.toml:2: metrics.listen: cannot listen on 192.0.2.1:80: this machine",
        ),
        (keys(["one", "other"]), 2, "\"other\" has the same API key as keys[0], \"one\""),
        (
            format!("data_dir = \"{}\"\n[[keys]]\nname = \"demo\"\nkey = \"{}\"", data("keys"), key.trim()),
            2,
            "the configuration's API key \"demo\" is also stored in",
        ),
    ] {
        let listen = if text.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        // The error names the first line, so it stays first.
        let (first, rest) = text.split_once('\n').unwrap();
        let text = if first.starts_with('[') {
            format!("{first}\n{rest}")
        } else {
            format!("{first}\n{listen}{rest}")
        };
        // A start without a channel would print a further warning.
        let text = format!("{text}\n[[channels]]\nname = \"local\"\nkind = \"local\"\n");
        let file = home.join("h.toml");
        std::fs::write(&file, &text).unwrap();
        let databases = || {
            let names = ["damaged", "newer", "another", "renamed"];
            names.map(|name| std::fs::read(home.join(name).join("hearken.sqlite")).unwrap())
        };
        let before = databases();
        let says = |arguments: &[&str]| {
            let name = arguments.join(" ");
            let mut started = command(&[arguments, &["--config", file.to_str().unwrap()]].concat());
            let output = started.current_dir(home).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                (output.status.code(), output.stdout.len()),
                (Some(status), 0),
                "{name}: {text}: {said}"
            );
            assert!(said.starts_with("hearken: ") && said.lines().count() == 1, "{name}: {said}");
            said
        };
        let [checked, served] = ["check", "serve"].map(|name| says(&[name]));
        assert!(checked.contains(told), "{text}: {checked}");
        assert_eq!(checked, served);
        if told.contains("data directory cannot be used") || told.contains("hearken.sqlite") {
            for action in [&["keys", "create", "new"][..], &["keys", "list"], &["keys", "revoke", "one"]] {
                assert_eq!(says(action), checked, "{action:?}");
            }
            assert!(databases() == before, "{text}: nothing is written");
        }
        assert!(!checked.contains(key.trim()) && !served.contains(key.trim()), "{checked}");
    }
    assert!(entries <= before(&directory));
}

#[test]
fn check_warns_of_a_taken_address_and_a_start_stops() {
    let directory = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let said =
        format!("HEARKEN_LISTEN (environment): cannot listen on {listen}: another program listens there");
    let with_address = |name: &str| {
        command(&[name]).current_dir(directory.path()).env("HEARKEN_LISTEN", &listen).output().unwrap()
    };
    let checked = with_address("check");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(told.contains(&format!("\nwarning: {said}")), "{told}");
    let served = with_address("serve");
    assert_eq!(served.status.code(), Some(1), "{served:?}");
    let told = String::from_utf8(served.stderr).unwrap();
    assert!(told.starts_with(&format!("hearken: {said}")) && told.lines().count() == 1, "{told}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is created");
}

#[test]
fn the_environment_overrides_the_file() {
    let upstream = FakeUpstream::gemini().hold().say("a").start();
    let hearken = Hearken::before(&upstream)
        .set("[stream]\nkeep_alive_seconds = 600")
        .env("HEARKEN_STREAM__KEEP_ALIVE_SECONDS", "1")
        .env("HEARKEN_LIMITS__MAX_BODY_BYTES", "2000")
        .start();
    let id = hearken.submit(json!({"stream": true}));
    let mut stream = hearken.stream(&id);
    for _ in 0..3 {
        stream.comment();
    }
    hearken.try_submit(json!({"prompt": "x".repeat(2000)})).error(413, "request_too_large");
    upstream.release();
    stream.rest();
}

#[test]
fn a_wrong_variable_is_named() {
    let output = command(&["check"]).env("HEARKEN_DRAIN_SECONDS", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("HEARKEN_DRAIN_SECONDS") && said.lines().count() == 1, "{said}");
}

#[test]
fn check_and_start_warn_of_a_mistyped_variable() {
    let directory = TempDir::new().unwrap();
    let typing_errors = [
        ("HEARKEN_STREM__KEEP_ALIVE_SECONDS", "15", "did you mean HEARKEN_STREAM__KEEP_ALIVE_SECONDS?"),
        ("HEARKEN_LOG", "debgu", "did you mean debug?"),
        ("HEARKEN_LOG_FORMAT", "jsno", "did you mean json?"),
    ];
    let with_errors = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.current_dir(directory.path());
        command.envs(typing_errors.iter().map(|(name, value, _)| (name, value)));
        command
    };
    let output = with_errors(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let checked = String::from_utf8(output.stdout).unwrap();
    let mut child = with_errors(&["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut logged = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for (name, _, hint) in typing_errors {
        let warning = checked.lines().find(|line| line.contains(name)).unwrap();
        let warning = warning.strip_prefix("warning: ").unwrap();
        assert!(
            warning.starts_with(&format!("{name} (environment): ")) && warning.contains(hint),
            "{warning}"
        );
    }
    for _ in typing_errors {
        let line = logged.next().unwrap();
        let (_, warning) = line.split_once(" WARN hearken::cli::serve: ").unwrap();
        assert!(checked.contains(&format!("warning: {warning}\n")), "{warning}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_start_without_an_upstream_says_how_to_get_one() {
    let directory = TempDir::new().unwrap();
    let banner = |variable: &str| {
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
        serve.current_dir(directory.path()).env(variable, "k");
        // Only the log is written to standard error.
        let mut child = serve.stderr(std::process::Stdio::null()).spawn().unwrap();
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("hearken listening on http://").unwrap().parse().unwrap();
        let pid = child.id().to_string();
        let client = Client { address, key: None, secrets: std::sync::Arc::default() };
        client.get("/healthz").expect(200);
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut out, &mut rest).unwrap();
        child.wait().unwrap();
        rest
    };
    let without = banner("UNRELATED");
    for word in ["only measures sound", "GEMINI_API_KEY", "OPENAI_API_KEY", "[[channels]]"] {
        assert!(without.contains(word), "{word}: {without}");
    }
    // A start that creates no key prints it, too.
    assert!(banner("UNRELATED").contains("only measures sound"));
    assert_eq!(banner("GEMINI_API_KEY"), "");
}

#[test]
fn a_model_of_a_provider_without_a_key_is_refused_with_the_variable() {
    let directory = TempDir::new().unwrap();
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = serve.current_dir(directory.path()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let address = first.strip_prefix("hearken listening on http://").unwrap().parse().unwrap();
    let key = lines.by_ref().find(|line| line.trim().starts_with("sk-")).map(|line| line.trim().to_owned());
    let client = Client { address, key, secrets: std::sync::Arc::default() };
    for (model, hint) in [
        ("gemini-2.5-flash", "GEMINI_API_KEY"),
        ("gpt-audio", "OPENAI_API_KEY"),
        ("gpt-4o", "OPENAI_API_KEY"),
        ("whisper-1", "kind = \"transcription\""),
        ("gpt-4o-transcribe", "kind = \"transcription\""),
        ("llama", "No channel serves this model"),
    ] {
        let error = client.try_submit(json!({"model": model})).error(422, "no_available_model");
        assert!(error["message"].as_str().unwrap().contains(hint), "{error}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // When the operator has configured the channels, clients get no hint about settings.
    let hearken = Hearken::builder().local().start();
    let error = hearken.try_submit(json!({"model": "gemini-2.5-flash"})).error(422, "no_available_model");
    assert!(!error["message"].as_str().unwrap().contains("GEMINI_API_KEY"), "{error}");
}

#[test]
fn flags_override_the_environment() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("from-flag");
    let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()])
        .env("HEARKEN_LISTEN", "127.0.0.1:1")
        .env("HEARKEN_DATA_DIR", directory.path().join("from-environment"))
        .current_dir(directory.path())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let address = first.strip_prefix("hearken listening on http://").map(|text| text.parse().unwrap());
    // Without a configured key, the first start creates one and prints it once.
    let key = lines.by_ref().find(|line| line.trim().starts_with("sk-")).map(|line| line.trim().to_owned());
    let client = Client { address: address.unwrap(), key, secrets: std::sync::Arc::default() };
    let models = client.get("/v1/models").expect(200).json();
    assert_eq!(models["data"][0]["id"], "local-inspect");
    assert_eq!(models["data"].as_array().unwrap().len(), 1, "no key of a provider is set");
    assert!(data.is_dir());
    assert!(!directory.path().join("from-environment").exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_first_start_prints_a_request_and_an_address_that_work_as_pasted() {
    let directory = TempDir::new().unwrap();
    let mut child =
        command(&["serve", "--listen", "0.0.0.0:0"]).current_dir(directory.path()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (mut printed, mut address) = (Vec::new(), None);
    for line in lines {
        address = line.strip_prefix("Or open ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
        printed.push(line);
        if address.is_some() {
            break;
        }
    }
    let request = printed.iter().find(|line| line.starts_with("curl ")).unwrap();
    let output = Command::new("sh").args(["-c", request]).output().unwrap();
    let streamed = String::from_utf8(output.stdout).unwrap();
    assert!(streamed.contains("event: chunk") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    let output = Command::new("curl").args(["-sS", &address.unwrap()]).output().unwrap();
    assert!(output.stdout.starts_with(b"<!doctype html>"), "{output:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Returns the configurations in the README and in the pages of `docs`, with the names of their documents.
fn examples() -> Vec<(String, String)> {
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut found = Vec::new();
    for path in pages.chain([root().join("README.md")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        found.extend(blocks.map(|block| (path.display().to_string(), block.to_owned())));
    }
    found
}

#[test]
fn check_accepts_the_examples_of_the_documents() {
    let examples = examples();
    assert!(examples.len() >= 7, "{examples:?}");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("h.toml");
    // `check` reads the files that an example names.
    let pair = Pair::new();
    std::fs::write(directory.path().join("fullchain.pem"), &pair.certificate).unwrap();
    std::fs::write(directory.path().join("privkey.pem"), &pair.key).unwrap();
    for (page, example) in examples {
        let example = example.replace("/etc/hearken", directory.path().to_str().unwrap());
        std::fs::write(&file, &example).unwrap();
        let mut check = command(&["check", "--config", file.to_str().unwrap()]);
        // A document asks its reader to set the variables that an example names.
        for line in example.lines() {
            if let Some((_, value)) = line.split_once("_env = \"") {
                check.env(value.split('"').next().unwrap(), "sk-example");
            }
        }
        // Not every user may use the example's address and data directory.
        check.env("HEARKEN_LISTEN", "127.0.0.1:0").env("HEARKEN_DATA_DIR", directory.path().join("data"));
        let output = check.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{page}:\n{example}\n{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains("sk-example"), "{page}: {said}");
    }
}

#[test]
fn an_openai_key_in_the_environment_makes_a_channel() {
    let mut check = command(&["check"]);
    let output =
        check.env("OPENAI_API_KEY", "sk-example").env("HEARKEN_LISTEN", "127.0.0.1:0").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("channel openai: kind openai, models gpt-audio, "), "{said}");
    assert!(!said.contains("warning") && !said.contains("sk-example"), "{said}");
}
