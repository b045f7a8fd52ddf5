//! What is understood, what is refused and in which words.

use std::num::NonZeroU32;

use super::kind::{AudioPart, MaxTokensField, OpenAiOptions, ResponseFormat, TranscriptionOptions};
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
fn every_mistake_is_one_line_that_names_place_and_key() {
    for (text, expected) in [
        ("listen = 8080", "h.toml:1: listen: "),
        ("\nlisten = \"nowhere\"", "h.toml:2: listen: "),
        (
            "[limits]\nmax_body_byte = 1",
            "h.toml:2: limits.max_body_byte: unknown key; did you mean max_body_bytes?",
        ),
        ("[limits]\nmax_body_bytes = \"1\"", "h.toml:2: limits.max_body_bytes: "),
        ("[stream]\nsend_timeout_seconds = 0", "h.toml:2: stream.send_timeout_seconds: "),
        ("[stream]\nkeep_alive_seconds = 0", "h.toml:2: stream.keep_alive_seconds: "),
        ("listen = \"x", "h.toml:1: "),
        (
            "[[channels]]\nname = \"g\"\nkind = \"gemini\"\nmodels = [\"m\"]",
            "h.toml:1: channels[0].api_key: ",
        ),
        (
            "[[channels]]\nkind = \"gemini\"\napi_key_env = \"NOT_SET\"\nmodels = [\"m\"]",
            "h.toml:3: channels[0].api_key_env: ",
        ),
        ("[[channels]]\nkind = \"horse\"", "h.toml:2: channels[0].kind: "),
        ("[[channels]]\nkind = \"local\"\n[[channels]]\nkind = \"local\"", "h.toml:3: channels[1].name: "),
        ("[[channels]]\nkind = \"local\"\nname = \"none\"", "h.toml:3: channels[0].name: "),
        ("[[keys]]\nname = \"a\"", "h.toml:1: keys[0].key: "),
        ("[store]\nkind = \"redis\"", "h.toml:2: store.kind: "),
        ("[traces]\notlp_endpoint = \"localhost:4318\"", "h.toml:2: traces.otlp_endpoint: "),
        ("[traces]\notlp_endpoint = \"http://u:p@h:4318\"", "h.toml:2: traces.otlp_endpoint: "),
        ("[traces]\notlp_endpoint = \"http://h:4318?key=k\"", "h.toml:2: traces.otlp_endpoint: "),
        ("[traces]\notlp_headers = \"x\"", "h.toml:2: traces.otlp_headers: "),
        ("[traces]\notlp_headers_env = \"NOT_SET\"", "h.toml:2: traces.otlp_headers_env: "),
        ("[traces]\nsample_ratio = 1.5", "h.toml:2: traces.sample_ratio: "),
        ("[traces]\nservice_name = \"\"", "h.toml:2: traces.service_name: "),
        ("[fetch]\nmax_redirects = 21", "h.toml:2: fetch.max_redirects: "),
        ("[fetch]\nmax_bytes = 0", "h.toml:2: fetch.max_bytes: "),
        ("[fetch]\nconnect_timeout_ms = 0", "h.toml:2: fetch.connect_timeout_ms: "),
        ("[fetch]\ntotal_timeout_ms = 0", "h.toml:2: fetch.total_timeout_ms: "),
        ("[fetch]\nallow_hosts = \"a.example\"", "h.toml:2: fetch.allow_hosts: "),
        ("[fetch]\nallow_hosts = [\n\"a.example\",\n\"*\"]", "h.toml:4: fetch.allow_hosts[1]: "),
        ("[fetch]\nallow_hosts = [\"http://a.example\"]", "h.toml:2: fetch.allow_hosts[0]: "),
        ("[fetch]\nallow_ports = [80, 0]", "h.toml:2: fetch.allow_ports[1]: "),
        ("[fetch]\nallow_ports = [65536]", "h.toml:2: fetch.allow_ports"),
        (
            "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = -1",
            "h.toml:3: channels[0].total_timeout_audio_factor: ",
        ),
        (
            "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = nan",
            "h.toml:3: channels[0].total_timeout_audio_factor: ",
        ),
        (
            "[[channels]]\nkind = \"local\"\ntotal_timeout_audio_factor = 1000.5",
            "h.toml:3: channels[0].total_timeout_audio_factor: ",
        ),
    ] {
        let error = load(text, &[]).expect_err(text);
        assert!(error.starts_with(expected), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_wrong_value_is_told_in_a_users_words() {
    for (text, expected) in [
        (
            "listen = 8080",
            "listen: text is needed, and this is 8080: put it in quotes, as in listen = \"127.0.0.1:8080\"",
        ),
        (
            "listen = 127.0.0.1:8080",
            "listen: 127.0.0.1:8080 is not understood: put text in quotes, as in listen = \"127",
        ),
        ("listen = true", "listen: text is needed, and this is true: put it in quotes, as in listen = \"127"),
        ("listen = 2026-01-01", "listen: text is needed, and this is 2026-01-01: put it in quotes"),
        (
            "listen = [\"a\"]",
            "listen: text is needed, and this is a list: write one value, without brackets, as in",
        ),
        (
            "[listen]",
            "listen: text is needed, and this is a section: write the value behind the key, as in listen = ",
        ),
        (
            "data_dir = 7",
            "data_dir: text is needed, and this is 7: put it in quotes, as in data_dir = \"/var/lib/hearken\"",
        ),
        (
            "drain_seconds = \"30\"",
            "drain_seconds: a whole number of seconds is needed, and this is \"30\": write it without quotes, as in \
             drain_seconds = 30",
        ),
        (
            "drain_seconds = \"30s\"",
            "drain_seconds: a whole number of seconds is needed, and this is \"30s\": write digits alone, as in drain_s",
        ),
        (
            "drain_seconds = 1.5",
            "drain_seconds: a whole number of seconds is needed, and this is 1.5: write it without a decimal point",
        ),
        (
            "drain_seconds = -1",
            "drain_seconds: a whole number of seconds from 0 to 9223372036854775807 is needed, and this is -1: write it \
             as in drain_seconds = 30",
        ),
        (
            "drain_seconds = 30s",
            "drain_seconds: a whole number of seconds is needed, and this is 30s: write digits alone, as in drain_seconds = 30",
        ),
        (
            "drain_seconds = 030",
            "drain_seconds: 030 is not understood: write it without zeros in front, as in",
        ),
        (
            "drain_seconds = 99999999999999999999",
            "drain_seconds: a whole number of seconds of at most 9223372036854775807 is needed, and this is \
             99999999999999999999: write it as in drain_seconds = 30",
        ),
        (
            "drain_seconds =",
            "drain_seconds: the value is missing: write it behind =, text in quotes, as in drain_seconds = 30",
        ),
        (
            "[limits]\nmax_body_bytes = \"10MB\"",
            "limits.max_body_bytes: a whole number of bytes is needed, and this is \"10MB\": write digits alone, as in \
             max_body_bytes = 20000000",
        ),
        (
            "[fetch]\nallow_ports = [80, 65536]",
            "fetch.allow_ports[1]: a whole number from 0 to 65535 is needed, and this is 65536: write it as in \
             allow_ports = [443, 8443]",
        ),
        (
            "[fetch]\nallow_private_networks = \"yes\"",
            "fetch.allow_private_networks: true or false is needed, and this is \"yes\": write it as in \
             allow_private_networks = true",
        ),
        (
            "[fetch]\nallow_private_networks = \"true\"",
            "fetch.allow_private_networks: true or false is needed, and this is \"true\": write it without quotes",
        ),
        ("[fetch]\nallow_private_networks = True", "allow_private_networks: write true in small letters"),
        (
            "[fetch]\nallow_private_networks = 1",
            "fetch.allow_private_networks: true or false is needed, and this is 1",
        ),
        (
            "[fetch]\nallow_hosts = \"a\"",
            "fetch.allow_hosts: a list is needed, and this is \"a\": put it in brackets, as in allow_hosts = [\"files",
        ),
        (
            "[fetch]\nallow_hosts = [\"a\"",
            "allow_hosts: the list is not understood: write commas between its values",
        ),
        (
            "stream = true",
            "stream: a section is needed, and this is true: write [stream] on a line of its own",
        ),
        (
            "stream = [1]",
            "stream: a section is needed, and this is a list: write [stream] on a line of its own",
        ),
        (
            "[channels]\nkind = \"local\"",
            "channels: a list of sections is needed, and this is a section: there can be several, so write [[channels]]",
        ),
        (
            "channels = [1]",
            "channels[0]: a section is needed, and this is a number: write [[channels]] on a line of its own",
        ),
        (
            "[[channels]]\nkind = \"local\"\nweight = \"high\"",
            "channels[0].weight: a whole number is needed, and this is \"high\": write it as in weight = 1",
        ),
        (
            "[[channels]]\nkind = \"local\"\npriority = 1e3",
            "channels[0].priority: a whole number is needed, and this is 1000.0: write it without a decimal point",
        ),
        (
            "[[channels]]\nkind = \"local\"\ncapabilities = [\"audo\"]",
            "channels[0].capabilities[0]: \"audo\" is unknown, did you mean `audio`?",
        ),
        (
            "[[channels]]\nkind = \"local\"\ncapabilities = [1]",
            "channels[0].capabilities[0]: text is needed, and this is 1: put it in quotes, as in capabilities = [\"text\"",
        ),
        ("[[channels]]\nkind = \"gemni\"", "channels[0].kind: \"gemni\" is unknown, did you mean gemini?"),
        (
            "[[channels]]\nkind = \"gemini\"\napi_key = 12345",
            "channels[0].api_key: text is needed, and this is a number: put it in quotes, as in api_key = \"sk-...\"",
        ),
        (
            "[traces]\nsample_ratio = \"0.5\"",
            "traces.sample_ratio: a number is needed, and this is \"0.5\": write it without quotes, as in sample_ratio",
        ),
        (
            "[fetch]\nmax_bytes = 0",
            "fetch.max_bytes: a whole number of bytes of 1 or more is needed, and this is 0: write",
        ),
        ("[strem]\nkeep_alive_seconds = 1", "strem: unknown key; did you mean stream?"),
        (
            "keep_alive_seconds = 1",
            "keep_alive_seconds: unknown key here; it is known as stream.keep_alive_seconds",
        ),
        ("[metrics]\nfrobnicate = 1", "metrics.frobnicate: unknown key; known here are listen"),
        ("listen = \"a\"\nlisten = \"b\"", "listen is set twice"),
        ("listen = \"a", "listen: the closing quote is missing, as in listen = \"127.0.0.1:8080\""),
        ("data_dir = \"C:\\data\"", "data_dir: the text in quotes is not understood: write a backslash as"),
        (
            "keys = \"x\"",
            "keys: a list of sections is needed, and this is other text: write [[keys]] on a line of its own",
        ),
        (
            "[limits]\nmax_body_bytes = 5 MB",
            "max_body_bytes: a whole number of bytes is needed, and this is 5 MB: write digits",
        ),
        (
            "[[channels]]\nkind = \"gemini\"\napi_key = hush",
            "api_key: the value is not understood: put text in quotes, as in",
        ),
        ("li sten = 1", "the line is not understood: write key = value"),
        ("[stream", "the name of a section is written as in [stream]"),
        ("listen \"a\"", "the line is not understood: write key = value"),
        ("listen: \"a\"", "the line is not understood: write key = value"),
        (
            "listen = \"8080\"",
            "listen: \"8080\" is a port without an address: 127.0.0.1:8080 is for this machine alone",
        ),
        (
            "data_dir = \"\"",
            "data_dir: the name of a directory is needed, and this is empty: write it as in data_dir = ",
        ),
    ] {
        let error = load(text, &[]).expect_err(text);
        let (place, told) = error.split_once(": ").unwrap();
        assert!(place.starts_with("h.toml:") && told.starts_with(expected), "{text:?}: {error}");
        for word in
            ["invalid type", "usize", "u64", "i64", "string", "sequence", "map", "struct", "boolean", "float"]
        {
            assert!(!error.contains(word), "{text:?}: {error}");
        }
    }
}

#[test]
fn every_key_has_an_example_that_is_accepted() {
    for key in reading::known_keys() {
        if matches!(key.as_str(), "keys[0].key_sha256" | "store.url") {
            continue;
        }
        let value = example::of(&key).unwrap_or_else(|| panic!("{key} has no example"));
        let line = format!("{} = {value}\n", key.rsplit('.').next().unwrap());
        let key_line = if key.starts_with("keys[0].key") { "" } else { "key = \"sk-a\"\n" };
        let name = if key == "keys[0].name" { "" } else { "name = \"a\"\n" };
        let secret = if key.starts_with("channels[0].api_key") { "" } else { "api_key = \"k\"\n" };
        let texts: Vec<String> = match key.split_once('.') {
            None => vec![line],
            Some(("keys[0]", _)) => vec![format!("[[keys]]\n{name}{key_line}{line}")],
            Some(("channels[0]", "kind")) => vec![format!("[[channels]]\n{secret}{line}")],
            Some(("channels[0]", _)) => ["gemini", "openai", "transcription"]
                .map(|kind| format!("[[channels]]\nkind = \"{kind}\"\n{secret}{line}"))
                .to_vec(),
            Some(("tls", _)) => vec![format!(
                "[tls]\n{line}{}",
                if key == "tls.key" { "certificate = \"c\"" } else { "key = \"k\"" }
            )],
            Some((section, _)) => vec![format!("[{section}]\n{line}")],
        };
        let variables =
            [("DEMO_KEY", "sk-a"), ("GEMINI_API_KEY", "k"), ("OTEL_EXPORTER_OTLP_HEADERS", "X-Scope=a")];
        let results: Vec<_> = texts.iter().map(|text| load(text, &variables).map(drop)).collect();
        assert!(results.iter().any(Result::is_ok), "{key}: {results:?}");
    }
}

#[test]
fn a_message_names_the_flag_the_variable_or_the_line_and_shows_an_example_of_that_form() {
    let load = |flags: Flags, text: &str, variables: &[(&str, &str)]| {
        let variables = variables.iter().copied().collect();
        Config::from_sources(&flags, Some((Path::new("h.toml"), text)), &variables).unwrap_err().to_string()
    };
    let listen = Flags { listen: Some("nowhere".to_owned()), ..Flags::default() };
    let variable = [("HEARKEN_LISTEN", "8080")];
    for (flags, text, variables, expected) in [
        // The flag wins, and is what is wrong.
        (
            listen,
            "listen = \"x\"",
            &variable[..],
            "--listen: \"nowhere\" has no port: write it as in --listen 127.0.0.1:8080",
        ),
        (
            Flags::default(),
            "listen = \"x\"",
            &variable,
            "HEARKEN_LISTEN (environment): \"8080\" is a port without an address: 127.0.0.1:8080 is for this machine \
             alone, 0.0.0.0:8080 for others, too; write one of them, as in HEARKEN_LISTEN=127.0.0.1:8080",
        ),
        (
            Flags::default(),
            "listen = \"x\"",
            &[],
            "h.toml:1: listen: \"x\" has no port: write it as in listen = \"127.0.0.1:8080\"",
        ),
        (
            Flags::default(),
            "",
            &[("HEARKEN_LISTEN", "")],
            "HEARKEN_LISTEN (environment): an address and a port are needed, and this is empty: ",
        ),
        (
            Flags::default(),
            "",
            &[("HEARKEN_FETCH__ALLOW_PORTS", "[0]")],
            "HEARKEN_FETCH__ALLOW_PORTS (environment): fetch.allow_ports[0]: there is no port 0: list ports from 1 to \
             65535, or none for any, as in HEARKEN_FETCH__ALLOW_PORTS='[443, 8443]'",
        ),
        // What is missing is missed where the rest of its section was set.
        (
            Flags::default(),
            "",
            &[("HEARKEN_CHANNELS__0__NAME", "x")],
            "HEARKEN_CHANNELS__0__KIND (environment): it is missing: write one of gemini, openai, transcription or local, \
             as in HEARKEN_CHANNELS__0__KIND=gemini",
        ),
        (
            Flags::default(),
            "",
            &[("HEARKEN_TLS__CERTIFICATE", "/c.pem")],
            "HEARKEN_TLS__KEY (environment): it is missing: ",
        ),
        (
            Flags::default(),
            "[[channels]]\nname = \"a\"",
            &[("HEARKEN_CHANNELS__0__NAME", "x")],
            "HEARKEN_CHANNELS__0__KIND (environment): it is missing: ",
        ),
        (
            Flags::default(),
            "[[channels]]\nkind = \"x\"",
            &[("HEARKEN_CHANNELS__0__NAME", "x")],
            "h.toml:2: channels[0].kind: ",
        ),
        (
            Flags::default(),
            "",
            &[("HEARKEN_KEYS", "[{name = \"a\"}]")],
            "HEARKEN_KEYS (environment): keys[0].key: it is missing or empty: set it, or keys[0].key_env to the name of a \
             variable, as in key = \"sk-...\"",
        ),
    ] {
        let error = load(flags, text, variables);
        assert!(error.starts_with(expected), "{text:?} {variables:?}: {error}");
    }
}

#[test]
fn a_mistyped_variable_is_warned_of_with_the_one_that_may_be_meant() {
    for (name, expected) in [
        (
            "HEARKEN_STREM__KEEP_ALIVE_SECONDS",
            "unknown key; did you mean HEARKEN_STREAM__KEEP_ALIVE_SECONDS?",
        ),
        (
            "HEARKEN_STREAM_KEEP_ALIVE_SECONDS",
            "unknown key; did you mean HEARKEN_STREAM__KEEP_ALIVE_SECONDS?",
        ),
        ("HEARKEN_STREAM__KEEP_ALIVE", "unknown key; did you mean HEARKEN_STREAM__KEEP_ALIVE_SECONDS?"),
        ("HEARKEN_LISTN", "unknown key; did you mean HEARKEN_LISTEN?"),
        ("HEARKEN_LOGS", "unknown key; did you mean HEARKEN_LOG?"),
        ("HEARKEN__LISTEN", "unknown key; did you mean HEARKEN_LISTEN?"),
        ("HEARKENLISTEN", "unknown key; did you mean HEARKEN_LISTEN?"),
        ("HEARKEN_listen", "unknown key; did you mean HEARKEN_LISTEN?"),
        ("hearken_listen", "unknown key; did you mean HEARKEN_LISTEN?"),
        ("Hearken_Data_Dir", "unknown key; did you mean HEARKEN_DATA_DIR?"),
        ("hearken_log", "unknown key; did you mean HEARKEN_LOG?"),
        ("HEARKEN_CONFIG", "unknown key; the configuration file is named with --config"),
        (
            "HEARKEN_STREAM",
            "stream is a section, whose keys are set one by one, as HEARKEN_STREAM__KEEP_ALIVE_SECONDS is",
        ),
        ("HEARKEN_STREAM__", "stream is a section, "),
        ("HEARKEN_LISTEN__X", "unknown key"),
        ("HEARKEN_CHANNELS__0__BASE_URLS", "unknown key; did you mean HEARKEN_CHANNELS__0__BASE_URL?"),
        ("HEARKEN_CHANNELS__X__NAME", "unknown key; did you mean HEARKEN_CHANNELS__0__NAME?"),
        ("HEARKEN_SERVICE_HOST", "unknown key; it sets nothing"),
        ("HEARKEN_PORT_8080_TCP_ADDR", "unknown key; it sets nothing"),
        ("HEARKEN_", "unknown key"),
    ] {
        let config = load("[[channels]]\nkind = \"local\"", &[(name, "1")]).unwrap();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        assert!(warning.starts_with(&format!("{name} (environment): {expected}")), "{name}: {warning}");
        assert!(warning.ends_with("; it sets nothing"), "{warning}");
    }
    // Not everything that begins so is meant for hearken.
    for name in ["HEARKENED", "hearken_frobnicated", "heark", "HEARKEN_URL"] {
        let config = load("[[channels]]\nkind = \"local\"", &[(name, "1")]).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn a_variable_of_a_wrong_type_is_told_in_the_words_of_the_environment() {
    for (name, value, expected) in [
        (
            "HEARKEN_DRAIN_SECONDS",
            "soon",
            "a whole number of seconds is needed, and this is \"soon\": write it as in HEARKEN_DRAIN_SECONDS=30",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "1.5",
            "a whole number of seconds is needed, and this is \"1.5\": write it without a decimal point and without an \
             exponent, as in HEARKEN_DRAIN_SECONDS=30",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "30s",
            "a whole number of seconds is needed, and this is \"30s\": write digits alone, as",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "",
            "a whole number of seconds is needed, and this is empty: unset it, or set it, as in HEARKEN_DRAIN_SECONDS=30",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "-1",
            "a whole number of seconds from 0 to 9223372036854775807 is needed, and this is \"-1\": w",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "18446744073709551615",
            "a whole number of seconds from 0 to 9223372036854775807 is needed, and this is \"18446744073709551615\": w",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            &"9".repeat(50),
            "a whole number of seconds from 0 to 9223372036854775807 is needed, and",
        ),
        (
            "HEARKEN_LIMITS__MAX_TASK_CALLS",
            "4294967296",
            "a whole number from 0 to 4294967295 is needed, and this is \"4294967296\": write it as in HEARKEN_LIMITS__",
        ),
        (
            "HEARKEN_STORE__SYNC",
            "yes",
            "true or false is needed, and this is \"yes\": write it as in HEARKEN_STORE__SYNC=true",
        ),
        (
            "HEARKEN_STORE__SYNC",
            "TRUE",
            "true or false is needed, and this is \"TRUE\": write it as in HEARKEN_STORE__SYNC=true",
        ),
        (
            "HEARKEN_FETCH__ALLOW_PORTS",
            "80,81",
            "a list is needed, and this is \"80,81\": put it in brackets, as in HEARKEN_FETCH__ALLOW_PORTS='[443, 8443]'",
        ),
        (
            "HEARKEN_FETCH__ALLOW_PORTS",
            "[\"80\"]",
            "fetch.allow_ports[0]: a whole number is needed, and this is \"80\": write it without quotes",
        ),
        (
            "HEARKEN_CHANNELS",
            "gemini",
            "a list of sections is needed, and this is other text: set the keys of each of its sections, as in \
             HEARKEN_CHANNELS__0__NAME",
        ),
        ("HEARKEN_CHANNELS__5__KIND", "local", "channels has 0 entries: the next one has the number 0"),
        (
            "HEARKEN_LISTEN",
            "\"127.0.0.1:8080\"",
            "the quotes around the value are a part of it: write it without them, as in HEARKEN_LISTEN=127.0.0.1:8080",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "'30'",
            "the quotes around the value are a part of it: write it without them, as in",
        ),
    ] {
        let error = load("", &[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name} (environment): {expected}")), "{error}");
    }
}

#[test]
fn the_number_range_that_is_told_is_the_one_that_is_taken() {
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
fn a_variable_that_is_no_text_is_told_by_its_name() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt as _;
    let odd = OsStr::from_bytes(b"secret\xff");
    let load = |text: Option<&str>, name: OsString, value: &OsStr| {
        let variables = [(name, value.to_owned())].into_iter().collect();
        let file = text.map(|text| (Path::new("h.toml"), text));
        Config::from_sources(&Flags::default(), file, &variables).map_err(|err| err.to_string())
    };
    let channel = "[[channels]]\nkind = \"gemini\"\napi_key_env = \"MY_KEY\"";
    for (text, name) in [
        (None, "HEARKEN_LISTEN"),
        (None, "HEARKEN_DATA_DIR"),
        (None, "HEARKEN_LOG"),
        (None, "GEMINI_API_KEY"),
        (None, "OPENAI_API_KEY"),
        (Some(channel), "MY_KEY"),
        (Some("[traces]\notlp_headers_env = \"MY_HEADERS\""), "MY_HEADERS"),
    ] {
        let error = load(text, name.into(), odd).unwrap_err();
        assert!(error.starts_with(&format!("{name} (environment): text in UTF-8 is needed")), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let mut name = OsString::from("HEARKEN_LISTEN");
    name.push(odd);
    let config = load(None, name, OsStr::new("1")).unwrap();
    assert!(config.warnings.iter().any(|warning| warning.contains("the name holds bytes that are no text")));
    // What is no text and nothing of ours is nobody's business.
    assert!(load(None, "LS_COLORS".into(), odd).unwrap().warnings.is_empty());
    assert!(load(None, odd.to_owned(), odd).unwrap().warnings.is_empty());
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
fn a_setting_of_the_log_that_is_unknown_is_warned_of() {
    let config =
        load("[[channels]]\nkind = \"local\"", &[("HEARKEN_LOG", "debgu"), ("HEARKEN_LOG_FORMAT", "jsn")])
            .unwrap();
    assert!(
        config.warnings.iter().any(|warning| warning.contains("did you mean debug?")),
        "{:?}",
        config.warnings
    );
    assert!(
        config.warnings.iter().any(|warning| warning.contains("did you mean json?")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_model_of_a_provider_without_a_key_has_a_hint_where_there_is_no_file() {
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
fn the_environment_wins_over_the_file_whatever_the_type() {
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
fn a_wrong_variable_is_named_and_an_unknown_one_is_warned_of() {
    let error = load("", &[("HEARKEN_DRAIN_SECONDS", "soon")]).unwrap_err();
    assert!(error.starts_with("HEARKEN_DRAIN_SECONDS (environment): "), "{error}");
    let config = load("", &[("HEARKEN_PORT_80_TCP", "tcp://10.0.0.1:80")]).unwrap();
    assert!(config.warnings.iter().any(|w| w.contains("HEARKEN_PORT_80_TCP")), "{:?}", config.warnings);
}

#[test]
fn without_a_file_the_channels_follow_from_the_environment() {
    let channels = |variables: &[(&str, &str)]| {
        let variables = variables.iter().copied().collect();
        let config = Config::from_sources(&Flags::default(), None, &variables).unwrap();
        config.channels.iter().map(|channel| channel.kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(channels(&[]), ["local"]);
    assert_eq!(channels(&[("GEMINI_API_KEY", "k")]), ["local", "gemini"]);
    assert_eq!(channels(&[("GEMINI_API_KEY", "")]), ["local"]);
    assert_eq!(channels(&[("OPENAI_API_KEY", "k")]), ["local", "openai"]);
    assert_eq!(channels(&[("OPENAI_API_KEY", "k"), ("GEMINI_API_KEY", "k")]), ["local", "gemini", "openai"]);
}

#[test]
fn the_file_of_the_contract_is_understood() {
    let text = include_str!("../../tests/fixtures/config/contract.toml");
    let config = load(text, &[("GEMINI_API_KEY", "k")]).unwrap();
    assert_eq!(config.limits.max_body_bytes, 29_360_128);
    assert_eq!(config.channels[0].models.len(), 3);
    assert_eq!(config.keys[0].name, "demo");
    let defaults = load("", &[]).unwrap();
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(config.retention, defaults.retention);
    assert_eq!(config.drain, defaults.drain);
    assert_eq!(config.listen, defaults.listen);
}

#[test]
fn a_key_has_the_limits_of_its_entry_and_zero_is_none() {
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
fn fetch_has_its_defaults_and_takes_every_key() {
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
fn hosts_of_the_environment_open_doors() {
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
    assert_eq!(timeouts("").total_for(Some(Duration::MAX)), seconds(600), "no duration of any audio");
}

#[test]
fn payloads_without_room_for_the_largest_body_are_warned_of() {
    assert_eq!(load("", &[]).unwrap().limits.max_payload_memory_bytes, 268_435_456);
    let warns = |body: usize, memory: usize| {
        let text = format!("[limits]\nmax_body_bytes = {body}\nmax_payload_memory_bytes = {memory}");
        let config = load(&text, &[]).unwrap();
        assert_eq!(config.limits.max_payload_memory_bytes, memory);
        config.warnings.iter().any(|warning| warning.contains("limits.max_payload_memory_bytes"))
    };
    assert_eq!((warns(7, 7), warns(8, 7)), (false, true));
    let error = load("[limits]\nmax_payload_memory_bytes = 0", &[]).unwrap_err();
    assert!(error.starts_with("h.toml:2: limits.max_payload_memory_bytes: "), "{error}");
}

#[test]
fn a_key_from_the_environment_is_trimmed_and_must_be_one_word() {
    let text = "[[channels]]\nkind = \"gemini\"\napi_key_env = \"K\"";
    let config = load(text, &[("K", " sk-1\n")]).unwrap();
    assert!(
        matches!(&config.channels[0].kind, ChannelKind::Gemini { api_key, .. } if api_key.expose() == "sk-1")
    );
    let error = load(text, &[("K", "two words")]).unwrap_err();
    assert!(error.starts_with("h.toml:3: channels[0].api_key_env: "), "{error}");
    // An env file of Docker keeps quotes.
    let error = load(text, &[("K", "'sk-1'")]).unwrap_err();
    assert!(error.contains("the quotes around the value of K are a part of it"), "{error}");
    // Without a file there is no line that could be named.
    let variables = [("GEMINI_API_KEY", "two words")].into_iter().collect();
    let error = Config::from_sources(&Flags::default(), None, &variables).unwrap_err().to_string();
    assert!(
        error.starts_with("GEMINI_API_KEY (environment): the value of GEMINI_API_KEY holds white space"),
        "{error}"
    );
}

#[test]
fn tls_takes_both_files_or_neither_and_knows_where_they_were_set() {
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

/// The one channel of a file, with a key.
fn channel(kind: &str, lines: &str) -> Result<ChannelConfig, String> {
    let config = load(&format!("[[channels]]\nkind = \"{kind}\"\napi_key = \"k\"\n{lines}"), &[])?;
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    Ok(config.channels[0].clone())
}

#[test]
fn an_openai_channel_has_its_defaults_and_takes_every_key() {
    let found = channel("openai", "").unwrap();
    let plain = OpenAiOptions {
        max_tokens_field: MaxTokensField::MaxTokens,
        stream_options: true,
        audio_part: AudioPart::InputAudio,
    };
    let ChannelKind::OpenAi { base_url, options, .. } = &found.kind else { panic!("{found:?}") };
    assert_eq!((base_url.as_str(), *options), ("https://api.openai.com/v1", plain));
    assert_eq!(found.formats, [Container::Wav, Container::Mp3]);
    assert_eq!(
        (found.name.as_str(), found.kind.max_temperature(), found.max_running_tasks),
        ("openai", 2.0, 64)
    );
    assert_eq!(
        found.models,
        ["gpt-audio", "gpt-audio-mini", "gpt-4o-audio-preview", "gpt-audio-*", "gpt-4o-audio-*"]
    );

    let lines = "base_url = \"http://h:1/v1/?api-version=2\"\nmax_tokens_field = \"max_completion_tokens\"\n\
                 stream_options = false\naudio_formats = [\"flac\"]\naudio_part = \"audio_url\"";
    let found = channel("openai", lines).unwrap();
    let ChannelKind::OpenAi { base_url, options, .. } = &found.kind else { panic!("{found:?}") };
    assert_eq!(base_url.as_str(), "http://h:1/v1/?api-version=2");
    assert_eq!(options.max_tokens_field.as_str(), "max_completion_tokens");
    assert_eq!((options.stream_options, options.audio_part), (false, AudioPart::AudioUrl));
    assert_eq!(found.formats, [Container::Flac]);
}

#[test]
fn a_transcription_channel_has_its_defaults_and_takes_every_key() {
    let found = channel("transcription", "").unwrap();
    let plain = TranscriptionOptions {
        language: None,
        response_format: ResponseFormat::Json,
        stream: true,
        stream_options: false,
    };
    let ChannelKind::Transcription { base_url, options, .. } = &found.kind else { panic!("{found:?}") };
    assert_eq!((base_url.as_str(), options), ("https://api.openai.com/v1", &plain));
    assert_eq!((found.kind.max_temperature(), found.formats.len()), (1.0, 5));
    assert!(!found.formats.contains(&Container::Aiff) && !found.formats.contains(&Container::Aac));
    assert_eq!(
        found.models,
        ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-*transcribe*"]
    );

    for (word, format) in [
        ("text", ResponseFormat::Text),
        ("verbose_json", ResponseFormat::VerboseJson),
        ("diarized_json", ResponseFormat::DiarizedJson),
    ] {
        let lines = format!(
            "language = \"de\"\nresponse_format = \"{word}\"\nstream = false\nstream_options = true\n\
             audio_formats = [\"wav\", \"aac\"]"
        );
        let found = channel("transcription", &lines).unwrap();
        let ChannelKind::Transcription { options, .. } = &found.kind else { panic!("{found:?}") };
        let expected = TranscriptionOptions {
            language: Some("de".into()),
            response_format: format,
            stream: false,
            stream_options: true,
        };
        assert_eq!((options, format.as_str()), (&expected, word));
        assert_eq!(found.formats, [Container::Wav, Container::Aac]);
    }
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
