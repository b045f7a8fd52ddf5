//! Formats a log line as `tracing` does, but without `tracing`.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::LogFormat;

/// The target of the line; other lines have the name of a module here.
const TARGET: &str = "hearken::logging";

/// Formats a line with its line break.
pub(super) fn line(format: LogFormat, level: &str, message: &str, fields: &[(&str, Value)]) -> String {
    let mut text = String::new();
    // A line has no time if the time cannot be formatted.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    match format {
        LogFormat::Text => {
            let _ = write!(text, " {level:>5} {TARGET}: {message}");
            for (name, value) in fields {
                // JSON escapes line breaks, so a line stays one line.
                let _ = write!(text, " {name}={value}");
            }
            text.push('\n');
            text
        }
        LogFormat::Json => {
            let head =
                [("timestamp", text.as_str()), ("level", level), ("message", message), ("target", TARGET)];
            let head = head.into_iter().map(|(name, value)| (name, Value::from(value)));
            let members = head.chain(fields.iter().cloned());
            let object: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value)).collect();
            format!("{}\n", Value::Object(object))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_form_of_the_log_and_stays_one_line() {
        let fields = [("panic", Value::from("a\nb")), ("lines", Value::from(7))];
        let text = line(LogFormat::Text, "ERROR", "panicked", &fields);
        assert!(text.ends_with(" ERROR hearken::logging: panicked panic=\"a\\nb\" lines=7\n"), "{text}");
        assert!(text.starts_with("20") && text.lines().count() == 1, "{text}");
        let json: Value = serde_json::from_str(&line(LogFormat::Json, "WARN", "lost", &fields)).unwrap();
        assert_eq!(
            (&json["level"], &json["message"], &json["lines"]),
            (&"WARN".into(), &"lost".into(), &7.into())
        );
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z'), "{json}");
    }
}
