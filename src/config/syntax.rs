//! Reads the text of the configuration file, and explains in a user's words where it is not valid TOML.

use toml::Table;

use super::example;
use super::file::known_keys;
use super::words::is_secret;
use crate::setting::whole_number;

/// A text that is not valid TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The place of the mistake, in bytes.
    pub(super) offset: usize,
    /// The reason and what to do, after the key if there is one.
    pub(super) reason: String,
}

/// Parses the text of a configuration file.
pub(super) fn parse(text: &str) -> Result<Table, SyntaxError> {
    text.parse::<Table>().map_err(|err| {
        let offset = err.span().map_or(0, |span| span.start).min(text.len());
        let start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
        let reason = if err.message().contains("duplicate key") {
            let key = text.get(err.span().unwrap_or_default()).unwrap_or(line);
            format!("{key} is set twice: remove one of the two, or put all keys of one section together")
        } else {
            explained(line)
        };
        SyntaxError { offset, reason }
    })
}

/// Explains what is wrong with a line. The value is repeated only if it cannot be a secret.
fn explained(line: &str) -> String {
    let is_key =
        |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"'".contains(&byte));
    let parts = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
    let Some((key, value)) = parts.filter(|(key, _)| is_key(key)) else {
        return if line.starts_with('[') {
            "the name is not understood: write the name of a section as in [stream], that of a list as in [[channels]]"
                .to_owned()
        } else {
            "the line is not understood: write key = value, with text in quotes, or begin a comment with #"
                .to_owned()
        };
    };
    let known = known_keys().into_iter().find(|known| known.rsplit('.').next() == Some(key));
    let example = known.as_deref().and_then(example::of).map(|example| format!("{key} = {example}"));
    let value = value.split(" #").next().unwrap_or(value).trim_end();
    let is_shown = known.is_some_and(|known| !is_secret(&known)) && !value.starts_with(['[', '{']);
    let found = if is_shown { value } else { "the value" };
    let as_in = example.as_ref().map(|example| format!(", as in {example}")).unwrap_or_default();
    let write_it = example.as_ref().map(|example| format!(": write it as in {example}")).unwrap_or_default();
    // Examples of text have quotes.
    let is_number = example.as_ref().is_some_and(|example| !example.contains(['"', '[']));
    let quotes = value.matches(['"', '\'']).count();
    let is_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    match value.chars().next() {
        None | Some('#') => {
            format!("{key}: the value is missing: write it after =, and put text in quotes{as_in}")
        }
        Some('"' | '\'') if quotes == 1 => format!("{key}: the closing quote is missing{as_in}"),
        Some('"' | '\'') => format!(
            "{key}: the text in quotes is not understood: write a backslash as \\\\, or put the text in single quotes, \
             and write nothing after it{as_in}"
        ),
        Some('[' | '{') => format!(
            "{key}: the list is not understood: write commas between its values, put text in quotes, and close the \
             bracket{as_in}"
        ),
        Some(_) if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => {
            format!("{key}: write {} in small letters", value.to_ascii_lowercase())
        }
        Some('0') if is_digits(value) => {
            format!("{key}: {found} is not understood: write it without leading zeros{as_in}")
        }
        // TOML has no larger whole numbers.
        Some(first) if is_digits(value.trim_start_matches(['+', '-'])) => {
            let bound =
                if first == '-' { format!("least {}", i64::MIN) } else { format!("most {}", i64::MAX) };
            format!("{key}: {} of at {bound} is needed, and this is {found}{write_it}", whole_number(key))
        }
        Some('0'..='9') if !value.contains(['.', ':', '-']) => {
            let needed =
                if is_number { whole_number(key) } else { "a number, or text in quotes,".to_owned() };
            format!("{key}: {needed} is needed, and this is {found}: write only digits{as_in}")
        }
        Some(_) => format!(
            "{key}: {found} is not understood: put text in quotes{}",
            example
                .map_or_else(|| format!(", as in {key} = \"...\""), |example| format!(", as in {example}"))
        ),
    }
}
