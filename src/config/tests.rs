//! Tests of which configurations are accepted and which are refused.

mod messages;

use std::num::NonZeroU32;

use super::*;
use crate::keys::KeyLimits;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().copied().collect();
    Config::from_sources(&Flags::default(), Some((Path::new("h.toml"), text)), &variables)
        .map_err(|err| err.to_string())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_number_range_in_messages_is_the_accepted_range() {
    assert!(load("", &[("HEARKEN_DRAIN_SECONDS", "9223372036854775807")]).is_ok());
    assert!(load("", &[("HEARKEN_LIMITS__MAX_TASK_CALLS", "4294967295")]).is_ok());
    assert!(load("[[channels]]\nkind = \"local\"\npriority = -9223372036854775808", &[]).is_ok());
}

#[test]
fn entries_of_a_list_are_set_in_the_order_of_their_numbers() {
    let names: Vec<String> = (0..12).map(|number| format!("HEARKEN_CHANNELS__{number}__KIND")).collect();
    let ends: Vec<String> = (0..12).map(|number| format!("HEARKEN_CHANNELS__{number}__NAME")).collect();
    let mut variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "local")).collect();
    variables.extend(ends.iter().map(|name| (name.as_str(), name.as_str())));
    variables.reverse();
    let config = load("", &variables).unwrap();
    assert_eq!(config.channels.iter().map(|channel| channel.name.clone()).collect::<Vec<_>>(), ends);
}

#[test]
fn one_api_key_under_two_names_is_refused() {
    let digest = "5b1a9d2b3a1c8a1e1b4c0e7c1b8f1a0d5b1a9d2b3a1c8a1e1b4c0e7c1b8f1a0d";
    for (one, other) in [
        ("key = \"sk-a\"", "key = \"sk-a\""),
        ("key = \"sk-a\"", "key_env = \"K\""),
        (&*format!("key_sha256 = \"{digest}\""), &*format!("key_sha256 = \"{}\"", digest.to_uppercase())),
    ] {
        let text = format!(
            "[[keys]]\nname = \"first\"\nkey = \"sk-b\"\n[[keys]]\nname = \"one\"\n{one}\n[[keys]]\nname = \"other\"\n{other}"
        );
        let error = load(&text, &[("K", "sk-a")]).unwrap_err();
        assert!(
            error.starts_with(
                "h.toml:7: keys[2]: \"other\" has the same API key as keys[1], \"one\": remove one of them"
            ),
            "{error}"
        );
        assert!(!error.contains("sk-a"), "{error}");
    }
}

#[test]
fn without_a_file_models_of_providers_without_a_key_have_hints() {
    let hints = |variables: &[(&str, &str)]| {
        let variables = variables.iter().copied().collect();
        let config = Config::from_sources(&Flags::default(), None, &variables).unwrap();
        config.model_hints.iter().map(|hint| hint.models[0]).collect::<Vec<_>>()
    };
    assert_eq!(hints(&[]), ["whisper-*", "gemini-*", "gpt-*"]);
    assert_eq!(hints(&[("GEMINI_API_KEY", "k"), ("OPENAI_API_KEY", "k")]), ["whisper-*"]);
    assert!(load("", &[]).unwrap().model_hints.is_empty());
}

#[test]
fn the_environment_overrides_the_file_for_every_type() {
    let config = load(
        "listen = \"127.0.0.1:1\"\n[[channels]]\nkind = \"local\"\n[stream]\nkeep_alive_seconds = 15",
        &[
            ("HEARKEN_LISTEN", "127.0.0.1:2"),
            ("HEARKEN_STREAM__KEEP_ALIVE_SECONDS", "3"),
            ("HEARKEN_STREAM__HAND_OVER", "false"),
            ("HEARKEN_FETCH__ALLOW_PRIVATE_NETWORKS", "true"),
            ("HEARKEN_CHANNELS__0__NAME", "8"),
            ("HEARKEN_URL", "http://elsewhere"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen, "127.0.0.1:2");
    assert_eq!(config.stream.keep_alive, seconds(3));
    assert!(!config.stream.hand_over);
    assert!(config.fetch.gate.allow_private_networks);
    assert_eq!(config.channels[0].name, "8");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn without_a_file_the_channels_follow_from_the_environment() {
    let channels = |variables: &[(&str, &str)]| {
        let variables = variables.iter().copied().collect();
        let config = Config::from_sources(&Flags::default(), None, &variables).unwrap();
        config.channels.iter().map(|channel| channel.kind.name).collect::<Vec<_>>()
    };
    assert_eq!(channels(&[]), ["local"]);
    assert_eq!(channels(&[("GEMINI_API_KEY", "k")]), ["local", "gemini"]);
    assert_eq!(channels(&[("GEMINI_API_KEY", "")]), ["local"]);
    assert_eq!(channels(&[("OPENAI_API_KEY", "k")]), ["local", "openai"]);
    assert_eq!(channels(&[("OPENAI_API_KEY", "k"), ("GEMINI_API_KEY", "k")]), ["local", "gemini", "openai"]);
}

#[test]
fn the_file_of_the_contract_is_accepted() {
    let text = include_str!("../../tests/fixtures/config/contract.toml");
    let config = load(text, &[("GEMINI_API_KEY", "k")]).unwrap();
    assert_eq!(config.uploads.max_body_bytes, 29_360_128);
    assert_eq!(config.channels[0].models.len(), 3);
    assert_eq!(config.keys[0].name, "demo");
    let defaults = load("", &[]).unwrap();
    assert_eq!((config.uploads, config.tasks), (defaults.uploads, defaults.tasks));
    assert_eq!(config.retry_budget, defaults.retry_budget);
    assert_eq!(config.retention, defaults.retention);
    assert_eq!(config.drain, defaults.drain);
    assert_eq!(config.listen, defaults.listen);
}

#[test]
fn a_key_has_the_limits_of_its_entry_and_zero_means_none() {
    let key = "[[keys]]\nname = \"a\"\nkey = \"sk-a\"\n";
    let limits = |lines: &str| {
        let config = load(&format!("{key}{lines}[[channels]]\nkind = \"local\""), &[]).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        config.keys[0].limits
    };
    assert_eq!(
        limits("requests_per_minute = 60\nmax_running_tasks = 4\n"),
        KeyLimits { requests_per_minute: NonZeroU32::new(60), max_running_tasks: NonZeroU32::new(4) }
    );
    assert_eq!(limits("requests_per_minute = 0\nmax_running_tasks = 0\n"), KeyLimits::default());
    assert_eq!(limits(""), KeyLimits::default());
    let error = load(&format!("{key}requests_per_minute = -1"), &[]).unwrap_err();
    assert!(error.starts_with("h.toml:4: keys[0].requests_per_minute: "), "{error}");
}

#[test]
fn fetch_has_defaults_and_accepts_every_key() {
    let fetch = load("", &[]).unwrap().fetch;
    let gate = &fetch.gate;
    assert!(!gate.allow_private_networks && gate.allow_hosts.is_empty() && gate.allow_ports.is_empty());
    assert_eq!((fetch.max_bytes, fetch.max_redirects), (20_000_000, 3));
    assert_eq!((fetch.connect_timeout, fetch.total_timeout), (seconds(5), seconds(60)));

    let fetch = load(
        "[fetch]\nallow_hosts = [\"Files.Example.com\", \"*.internal\", \"[::1]\"]\nallow_ports = [443]\n\
         max_bytes = 7\nconnect_timeout_ms = 250\ntotal_timeout_ms = 2500\nmax_redirects = 0",
        &[("HEARKEN_FETCH__ALLOW_PORTS", "[443, 8443]")],
    )
    .unwrap()
    .fetch;
    let hosts: Vec<_> = fetch.gate.allow_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["files.example.com", "*.internal", "::1"]);
    assert_eq!(fetch.gate.allow_ports, [443, 8443]);
    assert_eq!((fetch.max_bytes, fetch.max_redirects), (7, 0));
    let millis = Duration::from_millis;
    assert_eq!((fetch.connect_timeout, fetch.total_timeout), (millis(250), millis(2500)));
}

#[test]
fn allowed_hosts_can_be_set_in_the_environment() {
    let config = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "[\"*.example.com\"]")]).unwrap();
    assert_eq!(config.fetch.gate.allow_hosts[0].to_string(), "*.example.com");
    let error = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "*.example.com")]).unwrap_err();
    assert!(error.starts_with("HEARKEN_FETCH__ALLOW_HOSTS (environment): "), "{error}");
    let error = load("", &[("HEARKEN_FETCH__ALLOW_HOSTS", "[\"*\"]")]).unwrap_err();
    assert!(error.contains("fetch.allow_hosts[0]: "), "{error}");
}

#[test]
fn the_total_timeout_grows_with_the_audio() {
    let timeouts = |line: &str| {
        let text = format!("[[channels]]\nkind = \"local\"\ntotal_timeout_ms = 600000\n{line}");
        load(&text, &[]).unwrap().channels[0].timeouts
    };
    let hour = Some(seconds(3600));
    assert_eq!(timeouts("").total_for(hour), seconds(9000));
    assert_eq!(timeouts("").total_for(Some(seconds(240))), seconds(600));
    assert_eq!(timeouts("").total_for(None), seconds(600));
    assert_eq!(timeouts("total_timeout_audio_factor = 1").total_for(hour), seconds(3600));
    assert_eq!(timeouts("total_timeout_audio_factor = 0").total_for(hour), seconds(600));
    assert_eq!(timeouts("").total_for(Some(Duration::MAX)), seconds(600), "no audio is that long");
}

#[test]
fn too_little_payload_memory_for_the_largest_body_is_a_warning() {
    assert_eq!(load("", &[]).unwrap().uploads.max_payload_memory_bytes, 268_435_456);
    let warns = |body: usize, memory: usize| {
        let text = format!("[limits]\nmax_body_bytes = {body}\nmax_payload_memory_bytes = {memory}");
        let config = load(&text, &[]).unwrap();
        assert_eq!(config.uploads.max_payload_memory_bytes, memory);
        config.warnings.iter().any(|warning| warning.contains("limits.max_payload_memory_bytes"))
    };
    assert_eq!((warns(7, 7), warns(8, 7)), (false, true));
    let error = load("[limits]\nmax_payload_memory_bytes = 0", &[]).unwrap_err();
    assert!(error.starts_with("h.toml:2: limits.max_payload_memory_bytes: "), "{error}");
}

#[test]
fn a_key_from_the_environment_is_trimmed_and_must_be_one_word() {
    let text = "[[channels]]\nkind = \"gemini\"\napi_key_env = \"K\"";
    assert!(load(text, &[("K", " sk-1\n")]).is_ok());
    let error = load(text, &[("K", "two words")]).unwrap_err();
    assert!(error.starts_with("h.toml:3: channels[0].api_key_env: "), "{error}");
    // An env file of Docker keeps the quotes.
    let error = load(text, &[("K", "'sk-1'")]).unwrap_err();
    assert!(error.contains("the quotes around the value of K are a part of it"), "{error}");
    // Without a file, there is no line to name.
    let variables = [("GEMINI_API_KEY", "two words")].into_iter().collect();
    let error = Config::from_sources(&Flags::default(), None, &variables).unwrap_err().to_string();
    assert!(
        error.starts_with("GEMINI_API_KEY (environment): the value of GEMINI_API_KEY contains white space"),
        "{error}"
    );
}

#[test]
fn tls_needs_both_files_or_neither_and_keeps_their_places() {
    assert_eq!(load("", &[]).unwrap().tls, None);
    let text = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"";
    let TlsConfig { certificate, key } =
        load(text, &[("HEARKEN_TLS__KEY", "/run/key.pem")]).unwrap().tls.unwrap();
    assert_eq!(
        (certificate.path.as_path(), key.path.as_path()),
        (Path::new("cert.pem"), Path::new("/run/key.pem"))
    );
    assert_eq!(certificate.place, "h.toml:2: tls.certificate");
    assert_eq!(key.place, "HEARKEN_TLS__KEY (environment)");
    let off = [("HEARKEN_TLS__KEY", ""), ("HEARKEN_TLS__CERTIFICATE", "")];
    assert_eq!(load(text, &off).unwrap().tls, None);
    let half = load("[tls]\ncertificate = \"cert.pem\"", &[]).unwrap_err();
    assert!(half.starts_with("h.toml:1: tls.key: it is missing"), "{half}");
}

#[test]
fn secrets_are_not_printed() {
    let config =
        load("[[channels]]\nkind = \"gemini\"\napi_key = \"hush-hush\"\nmodels = [\"m\"]", &[]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

/// Loads a file with one channel that has a key, and returns the channel.
fn channel(kind: &str, lines: &str) -> Result<ChannelConfig, String> {
    let config = load(&format!("[[channels]]\nkind = \"{kind}\"\napi_key = \"k\"\n{lines}"), &[])?;
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    Ok(config.channels[0].clone())
}

#[test]
fn keys_of_another_kind_and_unknown_values_are_refused_with_advice() {
    for (kind, line, key, advice) in [
        ("gemini", "audio_formats = [\"wav\"]", "audio_formats", "kind openai and transcription"),
        ("local", "stream = true", "stream", "kind transcription"),
        ("openai", "language = \"de\"", "language", "kind transcription"),
        ("openai", "response_format = \"text\"", "response_format", "kind transcription"),
        ("transcription", "audio_part = \"audio_url\"", "audio_part", "kind openai"),
        ("transcription", "max_tokens_field = \"max_tokens\"", "max_tokens_field", "kind openai"),
        ("gemini", "stream_options = true", "stream_options", "kind openai and transcription"),
        ("openai", "max_tokens_field = \"tokens\"", "max_tokens_field", "`max_completion_tokens`"),
        ("openai", "audio_formats = []", "audio_formats", "at least one"),
        ("openai", "audio_formats = [\"mp4\"]", "audio_formats[0]", "`m4a`"),
        ("openai", "audio_part = \"url\"", "audio_part", "`audio_url`"),
        ("openai", "base_url = \"api.openai.com\"", "base_url", "http(s)"),
        ("transcription", "language = \"German\"", "language", "ISO 639-1"),
        ("transcription", "response_format = \"srt\"", "response_format", "`verbose_json`"),
    ] {
        let error = channel(kind, line).unwrap_err();
        assert!(error.starts_with(&format!("h.toml:4: channels[0].{key}: ")), "{error}");
        assert!(error.contains(advice), "{advice}: {error}");
    }
    for kind in ["openai", "transcription"] {
        let error = load(&format!("[[channels]]\nkind = \"{kind}\""), &[]).unwrap_err();
        assert!(error.contains("channels[0].api_key: ") && error.contains("write any word"), "{error}");
    }
    let error = load("[[channels]]\nname = \"x\"", &[]).unwrap_err();
    assert!(error.contains("gemini, openai, transcription or local"), "{error}");
}
