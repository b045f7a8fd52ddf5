//! Reads the text of the configuration file, and says in a user's words where it is no TOML.

use toml::Table;

/// A text that is no TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Where, in bytes.
    pub(super) offset: usize,
    /// Why, with what to do; with the key in front, where there is one.
    pub(super) reason: String,
}

/// Parses the text of a configuration file.
pub(super) fn parse(text: &str) -> Result<Table, Broken> {
    text.parse::<Table>().map_err(|err| {
        let offset = err.span().map_or(0, |span| span.start).min(text.len());
        let start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
        let reason = if err.message().contains("duplicate key") {
            let key = text.get(err.span().unwrap_or_default()).unwrap_or(line);
            format!("{key} is set twice: remove one of them, or put keys of one section together")
        } else {
            explained(line)
        };
        Broken { offset, reason }
    })
}

/// Says what is wrong with a line; the value is not repeated, it may be a secret.
fn explained(line: &str) -> String {
    let Some((key, value)) = line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
        return if line.starts_with('[') {
            "the name of a section is written as in [stream], that of a list as in [[channels]]".to_owned()
        } else {
            "the line is not understood: write key = value, with text in quotes, or begin a comment with #"
                .to_owned()
        };
    };
    let quotes = value.matches(['"', '\'']).count();
    match value.chars().next() {
        None | Some('#') => format!("{key}: the value is missing: write it behind =, text in quotes"),
        Some('"' | '\'') if quotes == 1 => format!("{key}: the closing quote is missing"),
        Some('"' | '\'') => format!(
            "{key}: the text in quotes is not understood: write a backslash as \\\\, or the text in single quotes, and nothing behind it"
        ),
        Some('[' | '{') => format!(
            "{key}: the list is not understood: write commas between its values, text in quotes, and close the bracket"
        ),
        Some(_) if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => {
            format!("{key}: write {} in small letters", value.to_ascii_lowercase())
        }
        Some(_)
            if value.starts_with(|first: char| first.is_ascii_digit())
                && !value.contains(['.', ':', '-']) =>
        {
            format!(
                "{key}: the number is not understood: write digits alone, or put the value in quotes if it is text"
            )
        }
        Some(_) => format!("{key}: put the value in quotes, as in {key} = \"...\""),
    }
}
