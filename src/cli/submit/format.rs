//! Formats of sizes and times, and words of a command line.

use std::time::Duration;

/// Returns a number of bytes for people: `102 kB`, `3.1 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Returns a time for people: `0.4 s`, `3:07 min`.
pub(super) fn time(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

/// Returns a word of a command line, quoted if a shell would split or change it.
pub(in crate::cli) fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,~".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([size(7), size(102_400), size(3_140_000)], ["7 bytes", "102 kB", "3.1 MB"]);
        assert_eq!([time(Duration::from_millis(420)), time(Duration::from_secs(187))], ["0.4 s", "3:07 min"]);
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_one_word() {
        for (text, shown) in
            [("a.wav", "a.wav"), ("my call.wav", "'my call.wav'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(word(text), shown);
        }
    }
}
