//! The settings of the log: the filter in `HEARKEN_LOG` and the format in `HEARKEN_LOG_FORMAT`.

use tracing_subscriber::EnvFilter;

use crate::setting::{NotText, Variables, nearest};

/// The settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Levels and modules, in the syntax of `tracing`. The filter is valid.
    pub filter: String,
    /// The format of the lines.
    pub format: LogFormat,
}

/// The format of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain text, with fields as `name=value`.
    #[default]
    Text,
    /// A JSON object in each line.
    Json,
}

/// The filter that applies without `HEARKEN_LOG`. It turns off messages that would mislead an operator. The dispatcher
/// would log an error for each stream that hearken closes on purpose: one for each reader, at every restart. And h2
/// would log a warning, without the name of the client, for each connection that it closes because the client resets
/// one stream after the other.
const DEFAULT: &str = "hearken=info,warn,actix_http::h1::dispatcher=off,h2=error,symphonia=off";

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const FORMATS: &[&str] = &["json", "text"];

impl LogConfig {
    /// Reads the settings of the log. An invalid setting causes a warning and is replaced by its default, because it
    /// should not prevent the start of the server.
    ///
    /// # Errors
    /// Returns [`NotText`] if a variable is not valid text.
    pub fn read(variables: &Variables, warnings: &mut Vec<String>) -> Result<Self, NotText> {
        let given = |name: &str| {
            let text = variables.text(name)?.map(|text| text.trim().to_owned());
            Ok(text.filter(|text| !text.is_empty()))
        };
        let filter = given("HEARKEN_LOG")?.and_then(|filter| match check_filter(&filter) {
            Ok(()) => Some(filter),
            Err(reason) => {
                warnings.push(format!(
                    "HEARKEN_LOG (environment): {reason}; until then the default filter applies"
                ));
                None
            }
        });
        let mut known_format = |format: String| match format.to_ascii_lowercase().as_str() {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            _ => {
                let hint = did_you_mean(&format, FORMATS);
                warnings.push(format!(
                    "HEARKEN_LOG_FORMAT (environment): {format:?} is unknown{hint}: use json or text; until then \
                     the format is text"
                ));
                None
            }
        };
        let format = given("HEARKEN_LOG_FORMAT")?.and_then(&mut known_format);
        Ok(Self { filter: filter.unwrap_or_else(|| DEFAULT.to_owned()), format: format.unwrap_or_default() })
    }
}

/// Checks a filter; the error says what is wrong with it. A single word that is not a level is refused: `tracing` would
/// read it as the name of a module, and would log only that module.
fn check_filter(filter: &str) -> Result<(), String> {
    for part in filter.split(',').map(str::trim) {
        let is_module = part.contains([':', '[']) || part.starts_with("hearken");
        let level = match part.split_once('=') {
            Some((_, level)) if !part.contains('[') => level,
            None if !is_module => part,
            _ => continue,
        };
        if !level.is_empty() && !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
            let hint = did_you_mean(level, LEVELS);
            let levels = LEVELS.join(", ");
            return Err(format!(
                "{level:?} is unknown{hint}: use one of {levels}, or several as in hearken=debug,warn"
            ));
        }
    }
    EnvFilter::try_new(filter).map(drop).map_err(|_| {
        format!("{filter:?} is not understood: write a level, or several as in hearken=debug,warn")
    })
}

fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known.iter().copied()).map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filter: &str, format: &str) -> (LogConfig, Vec<String>) {
        let mut warnings = Vec::new();
        let variables = [("HEARKEN_LOG", filter), ("HEARKEN_LOG_FORMAT", format)].into_iter().collect();
        (LogConfig::read(&variables, &mut warnings).unwrap(), warnings)
    }

    #[test]
    fn a_valid_filter_is_used() {
        for filter in
            ["debug", "WARN", "hearken=debug,actix=warn", "hearken::store", "off", "hearken[task]=debug,info"]
        {
            let (config, warnings) = read(filter, "");
            assert_eq!((config.filter.as_str(), warnings.len()), (filter, 0), "{warnings:?}");
        }
        let (config, warnings) = read(" ", "");
        assert_eq!((config.filter.as_str(), warnings.len()), (DEFAULT, 0));
    }

    #[test]
    fn an_invalid_filter_causes_a_warning_and_is_not_used() {
        for (filter, hint) in [
            ("debgu", "did you mean debug?"),
            ("warning", "use one of off, error"),
            ("verbose", "use one of off, error"),
            ("hearken=debgu", "did you mean debug?"),
            ("info,h2=loud", "use one of off, error"),
            ("hearken[=debug", "is not understood"),
        ] {
            let (config, warnings) = read(filter, "");
            assert_eq!(config.filter, DEFAULT, "{filter}");
            let [warning] = warnings.as_slice() else { panic!("{filter}: {warnings:?}") };
            assert!(
                warning.starts_with("HEARKEN_LOG (environment): ") && warning.contains(hint),
                "{warning}"
            );
        }
    }

    #[test]
    fn an_unknown_format_causes_a_warning() {
        assert_eq!(read("", "JSON").0.format, LogFormat::Json);
        let (config, warnings) = read("", "jsno");
        assert_eq!(config.format, LogFormat::Text);
        assert!(
            warnings[0]
                .starts_with("HEARKEN_LOG_FORMAT (environment): \"jsno\" is unknown (did you mean json?)")
        );
    }
}
