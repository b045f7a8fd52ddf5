//! `docs/configuration.md` lists every setting that the program knows, with its default, and no other setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tempfile::TempDir;
use toml::Value;

use crate::support::hearken::command;
use crate::tidy::root;

const KINDS: [&str; 4] = ["gemini", "openai", "transcription", "local"];
/// Settings that every configuration here has: without them, a list entry or a section has no effect.
const GIVEN: &str =
    "[[keys]]\nname = \"demo\"\nkey = \"sk-demo\"\n[traces]\notlp_endpoint = \"http://127.0.0.1:4318\"\n";
/// Settings whose values `hearken check` does not print: details of a protocol. Unit tests check their defaults.
const UNTOLD: [&str; 2] = ["channels[].stream", "channels[].stream_options"];

/// A row of the page.
#[derive(Debug, Clone)]
struct Row {
    /// The name of the setting, as in `channels[].kind`.
    setting: String,
    /// The kind of channel that the setting belongs to, if it does not belong to all.
    kind: Option<String>,
    /// The default, if the page has it as a value.
    default: Option<Value>,
}

/// Returns the rows of the page's tables of settings.
fn rows() -> Vec<Row> {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let (_, settings) = page.split_once("\n## All settings\n").unwrap();
    let (settings, _) = settings.split_once("\n## ").unwrap();
    let (mut kind, mut rows) = (None, Vec::new());
    for line in settings.lines() {
        if line.starts_with('#') {
            kind = line.strip_prefix("#### Kind `").map(|rest| rest.trim_end_matches('`').to_owned());
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let (setting, rest) = row.split_once("` | ").unwrap_or_else(|| panic!("{line}"));
        let value = rest.strip_prefix('`').and_then(|rest| rest.split('`').next());
        let default = value.map(|value| {
            let table: toml::Table =
                format!("x = {value}").parse().unwrap_or_else(|err| panic!("{line}: {err}"));
            table["x"].clone()
        });
        rows.push(Row { setting: setting.to_owned(), kind: kind.clone(), default });
    }
    rows
}

/// Runs `hearken check` with a file. Returns whether it accepts the file, and what it says.
fn check(text: &str) -> (bool, String) {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("h.toml"), text).unwrap();
    let mut check = command(&["check", "--config", "h.toml"]);
    let output = check.current_dir(directory.path()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    // A warning that another program uses an address is not about the configuration.
    let said = said.lines().filter(|line| !line.contains("cannot listen on")).collect::<Vec<_>>().join("\n");
    (output.status.success(), said)
}

/// Returns the keys that the program knows in a section, from its message about an unknown key. Returns none if there
/// is no such section.
fn known(section: &str) -> Option<Vec<String>> {
    let (_, said) = check(&format!("{section}\nzzzz = 1\n"));
    let (_, keys) = said.split_once("zzzz: unknown key; the keys here are ")?;
    Some(keys.split(", ").map(str::to_owned).collect())
}

#[test]
fn the_page_lists_the_settings_that_the_program_knows() {
    let mut settings = BTreeSet::new();
    for name in known("").unwrap() {
        let section = known(&format!("[{name}]")).map(|keys| (format!("{name}."), keys));
        let list = || known(&format!("[[{name}]]")).map(|keys| (format!("{name}[]."), keys));
        match section.or_else(list) {
            Some((path, keys)) => settings.extend(keys.iter().map(|key| format!("{path}{key}"))),
            None => assert!(settings.insert(name)),
        }
    }
    assert!(settings.len() > 70, "{settings:?}");
    let listed: BTreeSet<String> = rows().into_iter().map(|row| row.setting).collect();
    assert_eq!(listed, settings);
}

/// Writes a configuration with a channel of this kind and these values.
fn written(kind: &str, values: &[(&str, &Value)]) -> String {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for (setting, value) in values {
        let (section, name) = setting.rsplit_once('.').unwrap_or(("", setting));
        writeln!(sections.entry(section).or_default(), "{name} = {value}").unwrap();
    }
    let mut channel = format!("[[channels]]\nkind = \"{kind}\"\napi_key = \"k\"\n");
    channel += &sections.remove("channels[]").unwrap_or_default();
    let mut text = sections.remove("").unwrap_or_default();
    for line in GIVEN.lines() {
        writeln!(text, "{line}").unwrap();
        let section = line.trim_matches(['[', ']']);
        if line.starts_with('[') {
            let name = if line.starts_with("[[") { format!("{section}[]") } else { section.to_owned() };
            text += &sections.remove(name.as_str()).unwrap_or_default();
        }
    }
    for (section, lines) in sections {
        write!(text, "[{section}]\n{lines}").unwrap();
    }
    text + &channel
}

/// Returns another value of the same type, if it is a number or a choice.
fn changed(value: &Value) -> Option<Value> {
    match value {
        Value::Integer(number) => Some(Value::Integer(number + 1)),
        Value::Float(number) => Some(Value::Float(number / 2.0)),
        Value::Boolean(choice) => Some(Value::Boolean(!choice)),
        _ => None,
    }
}

#[test]
fn the_defaults_of_the_page_are_those_of_the_program() {
    let rows = rows();
    let mut untold = BTreeSet::new();
    for kind in KINDS {
        let defaults: Vec<(&str, &Value)> = rows
            .iter()
            .filter(|row| row.kind.as_deref().is_none_or(|of| of == kind))
            // The page has the default of the other kinds; the default of this kind depends on the machine.
            .filter(|row| kind != "local" || row.setting != "channels[].max_running_tasks")
            .filter(|row| row.setting != "traces.otlp_endpoint")
            .filter_map(|row| Some((row.setting.as_str(), row.default.as_ref()?)))
            .collect();
        let without = check(&written(kind, &[]));
        assert!(without.0, "{without:?}");
        let with = written(kind, &defaults);
        assert_eq!(check(&with), without, "{with}");
        // The comparison would prove nothing about a value that the program does not print.
        for (setting, value) in &defaults {
            let is_new = kind == "gemini" || setting.starts_with("channels");
            if let Some(other) = changed(value).filter(|_| is_new)
                && check(&written(kind, &[(setting, &other)])) == without
            {
                untold.insert((*setting).to_owned());
            }
        }
    }
    assert_eq!(untold.iter().collect::<Vec<_>>(), UNTOLD);
}
