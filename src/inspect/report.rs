//! Writes the texts of the report, line by line: the file's format, the events along the file, and the summary. It
//! limits how many events get a line.

use super::levels::{LONG_SILENCE, SILENCE_DBFS};
use super::{Format, InspectError, Summary};

/// Most events that get a line; further ones are only counted.
const LINES: usize = 200;

/// A range of time in seconds from the start of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeRange {
    pub(super) start: f64,
    pub(super) end: f64,
}

impl TimeRange {
    /// Returns the duration of the range, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.start).max(0.0)
    }
}

/// An event along the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Event {
    Speech(TimeRange),
    Silence(TimeRange),
    Clipping { span: TimeRange, samples: u64 },
}

impl Event {
    /// Returns the time of the event.
    pub(super) fn span(&self) -> TimeRange {
        match self {
            Self::Speech(span) | Self::Silence(span) | Self::Clipping { span, .. } => *span,
        }
    }
}

/// The report of one file, as far as it was written.
#[derive(Debug, Default)]
pub(super) struct Report {
    events: usize,
}

impl Report {
    /// Returns the lines about the file's format, from its header.
    pub(super) fn header(&self, format: &Format, parts: usize) -> Vec<String> {
        let size = format.bytes.map_or_else(String::new, |bytes| format!(", {}", size(bytes)));
        let bits =
            format.bits_per_sample.map_or_else(String::new, |bits| format!(", {bits} bits per sample"));
        let mut lines = vec![
            "# Sound, measured\n\n".to_owned(),
            "This model measures sound. It does not transcribe speech, and it does not recognise \
             speakers or words.\n\n"
                .to_owned(),
        ];
        if parts > 1 {
            lines.push(format!("- Files: {parts}, joined one after another; of the first:\n"));
        }
        lines.push(format!("- Container: {}{size}\n", format.container));
        lines.push(format!("- Codec: {}{bits}\n", format.codec));
        if format.sample_rate > 0 {
            lines.push(format!("- Sampling rate: {} Hz\n", format.sample_rate));
        }
        if format.channels > 0 {
            lines.push(format!("- Channels: {}\n", channels(format.channels)));
        }
        if let Some(seconds) = format.stated_seconds {
            let source = if parts > 1 { "by the headers of all files" } else { "by the header" };
            lines.push(format!("- Duration {source}: {}\n", length(seconds)));
            lines.extend(bit_rate(format.bytes, seconds));
        }
        lines
    }

    /// Returns the lines about these events.
    pub(super) fn events(&mut self, events: Vec<Event>) -> Vec<String> {
        events.iter().flat_map(|event| self.note(|| line(event))).collect()
    }

    /// Returns the line about a change of format at `at`; with container and codec if the new part is of another kind.
    pub(super) fn change(&mut self, at: f64, format: &Format, is_other_kind: bool) -> Vec<String> {
        let Format { container, codec, sample_rate, channels: number, .. } = format;
        let kind = if is_other_kind { format!("{container}, {codec}, ") } else { String::new() };
        self.note(|| {
            format!("- {}: from here on {kind}{sample_rate} Hz, channels: {}\n", clock(at), channels(*number))
        })
    }

    fn note(&mut self, line: impl FnOnce() -> String) -> Vec<String> {
        let mut lines = Vec::new();
        if self.events == 0 {
            lines.push("\n## Along the file\n\n".to_owned());
        }
        if self.events < LINES {
            lines.push(line());
        } else if self.events == LINES {
            lines.push("- and more: from here on, such events are only counted\n".to_owned());
        }
        self.events += 1;
        lines
    }

    /// Returns the lines of the summary.
    pub(super) fn end(&self, summary: &Summary, why_not: Option<&InspectError>) -> Vec<String> {
        let mut lines = vec![
            "\n## In all\n\n".to_owned(),
            format!("- Duration: {}, decoded\n", length(summary.audio_seconds)),
        ];
        if summary.format.stated_seconds.is_none() {
            lines.extend(bit_rate(summary.format.bytes, summary.audio_seconds));
        }
        lines.push(speech(summary));
        lines.push(silence(summary));
        lines.push(format!(
            "- Integrated loudness (EBU R 128): {}\n",
            level(summary.integrated_lufs, "LUFS", "there are no 0.4 s of sound above -70 LUFS")
        ));
        lines.push(format!(
            "- Loudness range: {}\n",
            level(summary.loudness_range_lu, "LU", "it takes several seconds of sound")
        ));
        let silent =
            if summary.audio_seconds > 0.0 { "every sample is zero" } else { "there are no samples" };
        lines.push(format!("- True peak: {}\n", level(summary.true_peak_dbtp, "dBTP", silent)));
        lines.push(format!("- Sample peak: {}\n", level(summary.sample_peak_dbfs, "dBFS", silent)));
        lines.push(match summary.clipped_samples {
            0 => "- Clipping: none\n".to_owned(),
            samples => format!(
                "- Clipping: {} in {}\n",
                count(samples, "sample", "samples"),
                count(summary.clipping_passages, "passage", "passages")
            ),
        });
        if summary.damaged_places > 0 {
            let places = count(summary.damaged_places, "place", "places");
            lines.push(format!("- Damage: in {places} the file is damaged or incomplete\n"));
        }
        if summary.skipped_packets > 0 {
            let (one, many) =
                ("packet could not be decoded and was", "packets could not be decoded and were");
            let packets = count(summary.skipped_packets, one, many);
            lines.push(format!("- Damage: {packets} skipped\n"));
        }
        if summary.damaged_samples > 0 {
            let samples = count(summary.damaged_samples, "sample is not a number", "samples are not numbers");
            lines.push(format!(
                "- Damage: {samples}, or far beyond full scale; measured as silence or full scale\n"
            ));
        }
        if let Some(why_not) = why_not {
            let Summary { left_out, parts, .. } = summary;
            lines.push(format!(
                "- Left out: {left_out} of {parts} files, which could not be decoded ({why_not})\n"
            ));
        }
        if summary.unknown_bytes > 0 {
            let what = summary.unknown.unwrap_or("no sound of a known kind");
            lines.push(format!("- Left out: {} beside the sound: {what}\n", size(summary.unknown_bytes)));
        }
        if summary.is_bounded {
            let measured = length(summary.audio_seconds);
            lines.push(format!(
                "- Left out: everything after {measured}, the most that is measured of one file\n"
            ));
        }
        if summary.incomplete {
            lines.push(
                "- Incomplete: the file holds less sound than it states, or cannot be read to its end\n"
                    .to_owned(),
            );
        }
        lines
    }
}

fn line(event: &Event) -> String {
    let TimeRange { start, end } = event.span();
    let when = format!("{} to {}", clock(start), clock(end));
    match event {
        Event::Speech(span) => format!("- {when}: speech, {}\n", length(span.seconds())),
        Event::Silence(span) => format!("- {when}: silence, {}\n", length(span.seconds())),
        Event::Clipping { samples, .. } => {
            format!("- {when}: clipping, {}\n", count(*samples, "sample", "samples"))
        }
    }
}

fn speech(summary: &Summary) -> String {
    if summary.speech_segments == 0 {
        return "- Speech: none found\n".to_owned();
    }
    format!(
        "- Speech: {} in {}\n",
        part(summary.speech_seconds, summary.audio_seconds),
        count(summary.speech_segments, "segment", "segments")
    )
}

fn silence(summary: &Summary) -> String {
    let long = match summary.long_silences {
        0 => String::new(),
        many => format!(", with {} of {LONG_SILENCE} s or more", count(many, "silence", "silences")),
    };
    let part = part(summary.silence_seconds, summary.audio_seconds);
    format!("- Silence (below {SILENCE_DBFS} dBFS): {part}{long}\n")
}

/// Returns a part of the whole, as time and percentage.
fn part(seconds: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{} ({:.0} %)", length(seconds), (100.0 * seconds / whole).min(100.0))
    } else {
        length(seconds)
    }
}

fn level(value: Option<f64>, unit: &str, why_not: &str) -> String {
    // Rounding may give a negative zero; adding zero makes it positive.
    value.map_or_else(
        || format!("not measurable: {why_not}"),
        |value| format!("{:.1} {unit}", (value * 10.0).round() / 10.0 + 0.0),
    )
}

fn bit_rate(bytes: Option<u64>, seconds: f64) -> Option<String> {
    let bits = bytes? as f64 * 8.0;
    (seconds > 0.0).then(|| format!("- Bit rate: {:.0} kbit/s on average\n", bits / seconds / 1000.0))
}

fn channels(number: u32) -> String {
    match number {
        1 => "1 (mono)".to_owned(),
        2 => "2 (stereo)".to_owned(),
        more => more.to_string(),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => count(bytes, "byte", "bytes"),
        10_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Returns a duration as text: in seconds, or from a minute on with minutes and hours.
fn length(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.2} s") } else { clock(seconds) }
}

/// Returns a time as text, with minutes, and with hours if there are any.
fn clock(seconds: f64) -> String {
    let hundredths = (seconds * 100.0).round() as u64;
    let (minutes, rest) = (hundredths / 6000, hundredths % 6000);
    let seconds = format!("{:02}.{:02}", rest / 100, rest % 100);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds}"),
        hours => format!("{hours}:{:02}:{seconds}", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_like_a_clock() {
        assert_eq!(clock(0.0), "0:00.00");
        assert_eq!(clock(59.999), "1:00.00");
        assert_eq!(clock(3723.456), "1:02:03.46");
        assert_eq!((length(1.5), length(61.0)), ("1.50 s".to_owned(), "1:01.00".to_owned()));
    }

    #[test]
    fn events_beyond_the_limit_are_only_counted() {
        let mut report = Report::default();
        let event = Event::Clipping { span: TimeRange { start: 1.0, end: 2.0 }, samples: 3 };
        let text: String = (0..30).flat_map(|_| report.events(vec![event; 10])).collect();
        assert_eq!(text.matches(": clipping, 3 samples").count(), LINES);
        assert_eq!(text.matches("only counted").count(), 1);
        assert_eq!(text.matches("## Along the file").count(), 1);
    }

    #[test]
    fn damage_is_counted_in_singular_and_plural() {
        for (number, told) in [
            (
                1,
                [
                    "1 packet could not be decoded and was skipped",
                    "1 sample is not a number,",
                    "in 1 place the",
                    "1 byte beside",
                ],
            ),
            (
                2,
                [
                    "2 packets could not be decoded and were skipped",
                    "2 samples are not numbers,",
                    "in 2 places the",
                    "2 bytes beside",
                ],
            ),
        ] {
            let summary = Summary {
                skipped_packets: number,
                damaged_samples: number,
                damaged_places: number,
                unknown_bytes: number,
                ..Summary::default()
            };
            let text = Report::default().end(&summary, None).concat();
            for line in told {
                assert!(text.contains(line), "{line}: {text}");
            }
        }
    }

    #[test]
    fn levels_without_a_value_say_why() {
        assert_eq!(level(Some(-0.04), "dBTP", ""), "0.0 dBTP");
        assert_eq!(level(None, "LUFS", "too short"), "not measurable: too short");
    }
}
