//! Tests of the messages about wrong values and about variables that set nothing.

use super::*;
use crate::upstream::{KINDS, Kind};

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
fn a_wrong_value_is_explained_in_a_users_words() {
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
            "listen: text is needed, and this is a section: write the value after the key, as in listen = ",
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
            "drain_seconds: a whole number of seconds is needed, and this is \"30s\": write only digits, as in drain_s",
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
            "drain_seconds: a whole number of seconds is needed, and this is 30s: write only digits, as in \
             drain_seconds = 30",
        ),
        (
            "drain_seconds = 030",
            "drain_seconds: 030 is not understood: write it without leading zeros, as in",
        ),
        (
            "drain_seconds = 99999999999999999999",
            "drain_seconds: a whole number of seconds of at most 9223372036854775807 is needed, and this is \
             99999999999999999999: write it as in drain_seconds = 30",
        ),
        (
            "drain_seconds =",
            "drain_seconds: the value is missing: write it after =, and put text in quotes, as in drain_seconds = 30",
        ),
        (
            "[limits]\nmax_body_bytes = \"10MB\"",
            "limits.max_body_bytes: a whole number of bytes is needed, and this is \"10MB\": write only digits, as in \
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
        ("stream = true", "stream: a section is needed, and this is true: write [stream] on its own line"),
        ("stream = [1]", "stream: a section is needed, and this is a list: write [stream] on its own line"),
        (
            "[channels]\nkind = \"local\"",
            "channels: a list of sections is needed, and this is a section: write [[channels]] with two brackets",
        ),
        (
            "channels = [1]",
            "channels[0]: a section is needed, and this is a number: write [[channels]] on its own line",
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
            "channels[0].capabilities[0]: \"audo\" is unknown (did you mean `audio`?)",
        ),
        (
            "[[channels]]\nkind = \"local\"\ncapabilities = [1]",
            "channels[0].capabilities[0]: text is needed, and this is 1: put it in quotes, as in capabilities = [\"text\"",
        ),
        ("[[channels]]\nkind = \"gemni\"", "channels[0].kind: \"gemni\" is unknown (did you mean gemini?)"),
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
            "keep_alive_seconds: unknown key here; its full name is stream.keep_alive_seconds",
        ),
        ("[metrics]\nfrobnicate = 1", "metrics.frobnicate: unknown key; the keys here are listen"),
        ("listen = \"a\"\nlisten = \"b\"", "listen is set twice"),
        ("listen = \"a", "listen: the closing quote is missing, as in listen = \"127.0.0.1:8080\""),
        ("data_dir = \"C:\\data\"", "data_dir: the text in quotes is not understood: write a backslash as"),
        (
            "keys = \"x\"",
            "keys: a list of sections is needed, and this is other text: write [[keys]] on its own line",
        ),
        (
            "[limits]\nmax_body_bytes = 5 MB",
            "max_body_bytes: a whole number of bytes is needed, and this is 5 MB: write only digits",
        ),
        (
            "[[channels]]\nkind = \"gemini\"\napi_key = hush",
            "api_key: the value is not understood: put text in quotes, as in",
        ),
        ("li sten = 1", "the line is not understood: write key = value"),
        ("[stream", "the name is not understood: write the name of a section as in [stream]"),
        ("listen \"a\"", "the line is not understood: write key = value"),
        ("listen: \"a\"", "the line is not understood: write key = value"),
        (
            "listen = \"8080\"",
            "listen: \"8080\" is a port without an address: 127.0.0.1:8080 accepts connections from this machine only",
        ),
        (
            "data_dir = \" \"",
            "data_dir: the name of a directory is needed, and this is empty: write it as in data_dir = ",
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
    for key in file::known_keys() {
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
            Some(("channels[0]", _)) => {
                let entry = |kind: &&Kind| format!("[[channels]]\nkind = {:?}\n{secret}{line}", kind.name);
                KINDS.iter().map(entry).collect()
            }
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
fn a_message_names_where_the_value_was_set_with_an_example_of_that_form() {
    let load = |flags: Flags, text: &str, variables: &[(&str, &str)]| {
        let variables = variables.iter().copied().collect();
        Config::from_sources(&flags, Some((Path::new("h.toml"), text)), &variables).unwrap_err().to_string()
    };
    let listen = Flags { listen: Some("nowhere".to_owned()), ..Flags::default() };
    let variable = [("HEARKEN_LISTEN", "8080")];
    for (flags, text, variables, expected) in [
        // The flag overrides the others, so it is the wrong value.
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
            "HEARKEN_LISTEN (environment): \"8080\" is a port without an address: 127.0.0.1:8080 accepts connections \
             from this machine only, 0.0.0.0:8080 from any machine; write one of them, as in \
             HEARKEN_LISTEN=127.0.0.1:8080",
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
             65535, or write an empty list to allow every port, as in HEARKEN_FETCH__ALLOW_PORTS='[443, 8443]'",
        ),
        // A missing key is reported where the rest of its section was set.
        (
            Flags::default(),
            "",
            &[("HEARKEN_CHANNELS__0__NAME", "x")],
            "HEARKEN_CHANNELS__0__KIND (environment): it is missing: write one of echo, gemini, openai, transcription \
             or local, as in HEARKEN_CHANNELS__0__KIND=gemini",
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
fn a_mistyped_variable_is_a_warning_with_the_likely_name() {
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
            "stream is a section: set its keys one by one, for example HEARKEN_STREAM__KEEP_ALIVE_SECONDS",
        ),
        ("HEARKEN_STREAM__", "stream is a section: "),
        ("HEARKEN_LISTEN__X", "unknown key"),
        ("HEARKEN_CHANNELS__0__BASE_URLS", "unknown key; did you mean HEARKEN_CHANNELS__0__BASE_URL?"),
        ("HEARKEN_CHANNELS__X__NAME", "unknown key; did you mean HEARKEN_CHANNELS__0__NAME?"),
        ("HEARKEN_SERVICE_HOST", "unknown key"),
        ("HEARKEN_PORT_8080_TCP_ADDR", "unknown key"),
        ("HEARKEN_", "unknown key"),
    ] {
        let config = load("[[channels]]\nkind = \"local\"", &[(name, "1")]).unwrap();
        let [warning] = config.warnings.as_slice() else { panic!("{name}: {:?}", config.warnings) };
        assert!(
            warning.starts_with(&format!("{name} (environment): it sets nothing: {expected}")),
            "{name}: {warning}"
        );
    }
    // Not every name that begins like this is meant for hearken.
    for name in ["HEARKENED", "hearken_frobnicated", "heark", "HEARKEN_URL"] {
        let config = load("[[channels]]\nkind = \"local\"", &[(name, "1")]).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

#[test]
fn a_variable_of_a_wrong_type_has_an_example_with_a_variable() {
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
            "a whole number of seconds is needed, and this is \"30s\": write only digits, as",
        ),
        (
            "HEARKEN_DRAIN_SECONDS",
            "",
            "a whole number of seconds is needed, and this is empty: unset it, or give it a value, as in \
             HEARKEN_DRAIN_SECONDS=30",
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
        (
            "HEARKEN_CHANNELS__5__KIND",
            "local",
            "channels has 0 entries: the next entry must have the number 0",
        ),
        (
            "HEARKEN_LISTEN",
            "\"127.0.0.1:8080\"",
            "the quotes around the value are a part of it: remove them, as in HEARKEN_LISTEN=127.0.0.1:8080",
        ),
        ("HEARKEN_DRAIN_SECONDS", "'30'", "the quotes around the value are a part of it: remove them, as in"),
    ] {
        let error = load("", &[(name, value)]).unwrap_err();
        assert!(error.starts_with(&format!("{name} (environment): {expected}")), "{error}");
    }
}

#[test]
fn a_variable_that_is_not_text_is_named() {
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
    assert!(config.warnings.iter().any(|warning| warning.contains("the name is not valid UTF-8")));
    // Variables that are not meant for hearken are ignored.
    assert!(load(None, "LS_COLORS".into(), odd).unwrap().warnings.is_empty());
    assert!(load(None, odd.to_owned(), odd).unwrap().warnings.is_empty());
}

#[test]
fn a_wrong_variable_is_an_error_and_an_unknown_one_a_warning() {
    let error = load("", &[("HEARKEN_DRAIN_SECONDS", "soon")]).unwrap_err();
    assert!(error.starts_with("HEARKEN_DRAIN_SECONDS (environment): "), "{error}");
    let config = load("", &[("HEARKEN_PORT_80_TCP", "tcp://10.0.0.1:80")]).unwrap();
    assert!(config.warnings.iter().any(|w| w.contains("HEARKEN_PORT_80_TCP")), "{:?}", config.warnings);
}

#[test]
fn an_unknown_log_setting_is_a_warning() {
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
