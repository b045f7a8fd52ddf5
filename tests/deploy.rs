//! The files of `deploy/`, each checked by a tool of its kind: hadolint, Compose, kubectl, systemd, shellcheck, the
//! published schemas, and hearken itself. Also the workflows, the steps of a release, and the list of files in the
//! package. `tests/run` installs the tools.
//!
//! `tests/it/proxies.rs` runs the proxies, `tests/prometheus.rs` checks the files for Prometheus.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot continue has failed"
)]

mod kit;

#[path = "deploy/files.rs"]
mod files;
#[path = "deploy/package.rs"]
mod package;
#[path = "deploy/release.rs"]
mod release;
#[path = "deploy/tools.rs"]
mod tools;
#[path = "deploy/workflows.rs"]
mod workflows;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use files::{certificate, read, toml, uncommented, with_extension, yaml};
use tools::{compose, hearken_check, python_tool, run};

/// The default of `drain_seconds`. No configuration of `deploy/` changes it.
const DRAIN_SECONDS: u64 = 30;

#[test]
fn hadolint_finds_no_problem_in_the_dockerfile() {
    run(python_tool("hadolint").arg("deploy/Dockerfile"));
}

#[test]
fn the_build_context_contains_what_cargo_needs() {
    let kept: BTreeSet<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix("!/")).map(str::to_owned).collect();
    let manifest = toml("Cargo.toml");
    for table in ["test", "bench"] {
        for target in manifest[table].as_array().unwrap() {
            let path = target.get("path").and_then(|path| path.as_str()).unwrap_or("benches/");
            let (folder, _) = path.split_once('/').unwrap();
            assert!(kept.contains(folder), "{target}: cargo does not build without it");
        }
    }
    for name in ["Cargo.toml", "Cargo.lock", "src"] {
        assert!(kept.contains(name), "{name}");
    }
}

#[test]
fn compose_accepts_its_file() {
    run(python_tool("check-jsonschema").args([
        "--builtin-schema",
        "vendor.compose-spec",
        "deploy/compose.yaml",
    ]));
    // The schema knows this key, but Debian's Compose is too old for it.
    let file = read("deploy/compose.yaml");
    assert_eq!(file.matches("\nname: hearken\n").count(), 1);
    let directory = TempDir::new().unwrap();
    let older = directory.path().join("compose.yaml");
    fs::write(&older, file.replace("\nname: hearken\n", "\n")).unwrap();
    run(compose().arg("-f").arg(&older).args(["--project-directory", "deploy", "config", "--quiet"]));
}

#[test]
fn the_model_that_compose_downloads_is_the_one_that_hearken_offers() {
    let compose = &yaml("deploy/compose.yaml")[0];
    let url = compose["services"]["model"]["environment"]["URL"].as_str().unwrap();
    let downloaded = url.strip_prefix("http://whisper:8000/v1/models/").unwrap();
    let config = toml("deploy/hearken.toml");
    let channels = config["channels"].as_array().unwrap();
    let whisper = channels.iter().find(|channel| channel["kind"].as_str() == Some("transcription")).unwrap();
    assert_eq!(whisper["models"].as_array().unwrap()[0].as_str(), Some(downloaded));
    assert_eq!(whisper["base_url"].as_str(), Some("http://whisper:8000/v1"));
    assert_eq!(compose["services"]["whisper"]["image"], compose["services"]["model"]["image"]);
}

#[test]
fn kubernetes_accepts_the_manifests() {
    let rendered = run(Command::new("kubectl").args(["kustomize", "deploy/kubernetes"]));
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("rendered.yaml");
    fs::write(&file, &rendered).unwrap();
    let output = run(python_tool("kubernetes-validate")
        .arg("--strict")
        .arg(&file)
        .arg("deploy/kubernetes/secret.example.yaml"));
    assert_eq!(output.matches(" passed for resource ").count(), 5, "{output}");
    let image = format!("image: registry.example.com/hearken:{}\n", env!("CARGO_PKG_VERSION"));
    assert!(rendered.contains(&image), "{image} {rendered}");
}

#[test]
fn kubernetes_starts_one_pod_with_the_secrets_that_it_names() {
    let set = &yaml("deploy/kubernetes/statefulset.yaml")[0]["spec"];
    assert_eq!(set["replicas"], 1, "two servers cannot share a data directory");
    // Otherwise variables such as HEARKEN_PORT come from the Service, and hearken takes them for settings.
    assert_eq!(set["template"]["spec"]["enableServiceLinks"], false);
    let secret = &yaml("deploy/kubernetes/secret.example.yaml")[0]["stringData"];
    let config = toml("deploy/kubernetes/hearken.toml");
    let tables = ["keys", "channels"].map(|name| config[name].as_array().unwrap().clone()).concat();
    let named = tables.iter().flat_map(|table| table.as_table().unwrap());
    let named: Vec<&str> =
        named.filter(|(key, _)| key.ends_with("key_env")).map(|(_, name)| name.as_str().unwrap()).collect();
    assert_eq!(named.len(), secret.as_object().unwrap().len(), "{named:?} {secret}");
    for name in named {
        assert!(secret[name].is_string(), "{name}");
    }
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_hardened() {
    let directory = TempDir::new().unwrap();
    let unit = read("deploy/systemd/hearken.service");
    let installed = "/usr/local/bin/hearken";
    assert_eq!(unit.matches(installed).count(), 1);
    // systemd refuses a unit whose program does not exist.
    let unit = unit.replace(installed, env!("CARGO_BIN_EXE_hearken"));
    let path = directory.path().join("hearken.service");
    fs::write(&path, unit).unwrap();
    let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path));
    assert!(!output.contains("hearken.service"), "{output}");
    // From 0 (safe) to 100.
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(&path));
}

#[test]
fn every_stop_has_more_time_than_a_drain() {
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap();
    let unit = read("deploy/systemd/hearken.service");
    let unit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    let compose = &yaml("deploy/compose.yaml")[0]["services"]["hearken"]["stop_grace_period"];
    let pod = &yaml("deploy/kubernetes/statefulset.yaml")[0]["spec"]["template"]["spec"];
    for (place, time) in [
        ("systemd", seconds(unit)),
        ("Compose", seconds(compose.as_str().unwrap())),
        ("Kubernetes", pod["terminationGracePeriodSeconds"].as_u64().unwrap()),
    ] {
        assert!(time > DRAIN_SECONDS, "{place}: {time}");
    }
}

#[test]
fn hearken_starts_with_each_configuration() {
    let files = with_extension("deploy", "toml");
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        hearken_check(&file);
        assert!(toml(&file).get("drain_seconds").is_none(), "{file}");
    }
}

#[test]
fn settings_that_are_commented_out_work_too() {
    for (file, expected) in [
        ("deploy/hearken.toml", "channel gemini"),
        ("deploy/systemd/hearken.toml", "certificate for hearken.example.com"),
    ] {
        let directory = TempDir::new().unwrap();
        let text = uncommented(&read(file));
        assert_ne!(text, read(file), "{file}");
        let text = text.replace("/etc/hearken/", &format!("{}/", directory.path().display()));
        certificate(directory.path());
        let path = directory.path().join("hearken.toml");
        fs::write(&path, text).unwrap();
        let output = hearken_check(path.to_str().unwrap());
        assert!(output.contains(expected), "{file}: {output}");
    }
}

#[test]
fn the_hook_of_certbot_copies_the_certificate_of_its_site_alone() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    for name in ["etc", "live", "live/hearken.example.com", "live/other.example.com", "bin"] {
        fs::create_dir(place(name)).unwrap();
    }
    for name in ["hearken.example.com", "other.example.com"] {
        certificate(&place("live").join(name));
    }
    let systemctl = place("bin/systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho \"$@\" >>\"$(dirname \"$0\")/called\"\n").unwrap();
    run(Command::new("chmod").arg("+x").arg(&systemctl));
    let user = run(Command::new("id").arg("-u"));
    let hook = read("deploy/systemd/certbot-hook.sh");
    for theirs in [" -o hearken ", " /etc/hearken/\n"] {
        assert_eq!(hook.matches(theirs).count(), 1, "{theirs:?}");
    }
    let hook = hook
        .replace(" -o hearken ", &format!(" -o {} ", user.trim()))
        .replace(" /etc/hearken/\n", &format!(" {}\n", place("etc").display()));
    fs::write(place("hook"), hook).unwrap();
    let renew = |site: &str| {
        run(Command::new("sh")
            .arg(place("hook"))
            .env("RENEWED_LINEAGE", place("live").join(site))
            .env("PATH", format!("{}:{}", place("bin").display(), std::env::var("PATH").unwrap())))
    };
    renew("other.example.com");
    assert!(!place("etc/privkey.pem").exists() && !place("bin/called").exists());
    renew("hearken.example.com");
    let key = |folder: &Path| fs::read_to_string(folder.join("privkey.pem")).unwrap();
    assert_eq!(key(&place("etc")), key(&place("live/hearken.example.com")));
    assert!(place("etc/fullchain.pem").exists());
    assert_eq!(fs::read_to_string(place("bin/called")).unwrap(), "try-reload-or-restart hearken\n");
}
