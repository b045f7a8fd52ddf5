//! The objects that a transcription comes in, of whichever dialect: a whole answer, OpenAI's deltas, its segments with
//! speakers, Mistral's named events, vLLM's chunks of a chat.

use std::borrow::Cow;

use serde_json::Value;

use super::rest::rest_behind;
use crate::task::{Segment, TextKind};
use crate::upstream::lenient::{Words, words};
use crate::upstream::objects::{Form, ObjectReader};
use crate::upstream::openai_wire::chunk::{self, Chunk};
use crate::upstream::openai_wire::usage::Counts;
use crate::upstream::reading::Ending;
use crate::upstream::surrogates::settled;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::FinishReason;

/// No recording is longer, in seconds.
const MOST_SECONDS: f64 = 1e9;

/// What the text that has come was made of: who tells it in two ways is listened to in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Deltas,
    Segments,
}

/// How much of a transcription has come. Silence is an answer, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// A part.
    Part,
    /// All of it, in case nothing follows: such a text does not say whether it is the last one.
    MayBeAll,
    /// All of it: the server has said so, in any way.
    All,
}

/// A transcription that is coming in.
#[derive(Debug)]
pub(super) struct Transcribed {
    /// True if each segment is a line of its own, behind its speaker's name.
    speakers: bool,
    /// True if a plain text was requested: events may be plain words.
    plain: bool,
    told: Option<Told>,
    /// True after segments with times: then the end may only repeat them.
    is_timed: bool,
    /// The text so far.
    said: String,
    usage: Counts,
    /// True after content in an unknown form in place of a text.
    saw_unreadable: bool,
    extent: Extent,
    /// The server's word on why it stopped, where it gives one.
    finish: Option<String>,
}

impl Transcribed {
    pub(super) fn new(speakers: bool, plain: bool) -> Self {
        Self {
            speakers,
            plain,
            told: None,
            is_timed: false,
            said: String::new(),
            usage: Counts::default(),
            saw_unreadable: false,
            extent: Extent::Part,
            finish: None,
        }
    }

    /// Returns true if what has come is a whole answer.
    pub(super) fn is_whole(&self) -> bool {
        self.extent != Extent::Part
    }

    fn may_be_all(&mut self) {
        self.extent = self.extent.max(Extent::MayBeAll);
    }

    /// Takes a text that is all there is.
    pub(super) fn take_text(&mut self, text: &str, batch: &mut Batch) {
        self.say(text, batch);
        self.extent = Extent::All;
    }

    fn say(&mut self, text: &str, batch: &mut Batch) {
        if !text.is_empty() {
            self.said.push_str(text);
            // Texts of one event are one piece.
            batch.push(UpstreamEvent::Text(TextKind::Content, text.to_owned()));
        }
    }

    /// Reads the first of these fields that says anything.
    fn read<'a>(&mut self, object: &'a Value, fields: &[&str]) -> Cow<'a, str> {
        for value in fields.iter().filter_map(|field| object.get(*field)) {
            match words(value) {
                Words::Said(text) if !text.is_empty() => return text,
                said => self.saw_unreadable |= said == Words::Unclear || *value == Value::Bool(false),
            }
        }
        Cow::Borrowed("")
    }

    fn take_delta(&mut self, delta: &Value, batch: &mut Batch) {
        // With speakers wanted, a delta of a segment is told again with the speaker, by the segment.
        let told_again = self.speakers && delta.get("segment_id").is_some_and(|id| !id.is_null());
        let text = self.read(delta, &["delta", "text"]);
        if self.told != Some(Told::Segments) && !told_again && !text.is_empty() {
            self.told = Some(Told::Deltas);
            self.say(&text, batch);
        }
    }

    /// Tells the times of a segment, where the server has measured them.
    fn time(&mut self, segment: &Value, batch: &mut Batch) {
        let time = |field| segment.get(field).and_then(milliseconds);
        if let (Some(start_ms), Some(end_ms)) = (time("start"), time("end"))
            && let Some(Words::Said(text)) = segment.get("text").map(words)
            && start_ms <= end_ms
            && !text.trim().is_empty()
        {
            self.is_timed = true;
            let plain = |text: &str| settled(text.trim()).into_owned();
            let speaker = speaker(segment).map(|name| plain(&name));
            batch.push(UpstreamEvent::Segment(Segment { start_ms, end_ms, text: plain(&text), speaker }));
        }
    }

    fn take_segment(&mut self, segment: &Value, batch: &mut Batch) {
        let text = self.read(segment, &["text"]);
        if !self.speakers {
            return self.take_piece(&text, batch);
        }
        if self.told == Some(Told::Deltas) || text.trim().is_empty() {
            return;
        }
        self.told = Some(Told::Segments);
        let start = if self.said.is_empty() { "" } else { "\n" };
        let speaker = speaker(segment).map(|name| name + ": ").unwrap_or_default();
        self.say(&format!("{start}{speaker}{}", text.trim()), batch);
    }

    /// Takes a text that stands apart from the one before it.
    fn take_piece(&mut self, text: &str, batch: &mut Batch) {
        if self.told == Some(Told::Deltas) || text.trim().is_empty() {
            return;
        }
        self.told = Some(Told::Segments);
        let apart = self.said.is_empty()
            || self.said.ends_with(char::is_whitespace)
            || text.starts_with(char::is_whitespace);
        if apart { self.say(text, batch) } else { self.say(&format!(" {text}"), batch) }
    }

    /// An object that tells all of it: an answer in one piece, or the last event of a stream.
    fn take_whole(&mut self, whole: &Value, batch: &mut Batch) {
        let segments = whole.get("segments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has_text = whole.get("text").is_some_and(|text| !text.is_null());
        let text = self.read(whole, &["text"]);
        if !self.is_timed {
            segments.iter().for_each(|segment| self.time(segment, batch));
        }
        if self.told.is_none() {
            let by_speaker = self.speakers && segments.iter().any(|segment| speaker(segment).is_some());
            if has_text && !by_speaker {
                self.say(&text, batch);
            } else {
                segments.iter().for_each(|segment| self.take_segment(segment, batch));
            }
        } else if let Some(rest) = rest_behind(&self.said, &text) {
            // Where the whole says something else, what was said stands: it cannot be taken back.
            self.say(&rest, batch);
        }
        self.extent = Extent::All;
    }

    fn take_chunk(&mut self, event: &Value, batch: &mut Batch) {
        let Chunk { texts, finish, is_odd_finish, .. } = chunk::read(event);
        if is_odd_finish {
            self.may_be_all();
        }
        for (kind, text) in texts {
            match kind {
                TextKind::Content => {
                    self.told = Some(Told::Deltas);
                    self.say(&text, batch);
                }
                TextKind::Refusal => batch.push(UpstreamEvent::Text(kind, text)),
                TextKind::Reasoning => {}
            }
        }
        if let Some(word) = finish {
            self.finish = Some(word.to_owned());
            self.extent = Extent::All;
        }
    }
}

/// A segment's speaker: a name, or a number (Mistral).
fn speaker(segment: &Value) -> Option<String> {
    let speaker = segment.get("speaker").or_else(|| segment.get("speaker_id"))?;
    match speaker {
        Value::String(name) => Some(name.clone()).filter(|name| !name.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A time in seconds, which may be written as a text.
fn milliseconds(time: &Value) -> Option<u64> {
    let seconds = time.as_f64().or_else(|| time.as_str()?.trim().parse().ok())?;
    (0.0..MOST_SECONDS).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

impl ObjectReader for Transcribed {
    fn take(&mut self, name: &str, object: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.usage.overwrite(object);
        if object.get("choices").is_some() {
            self.take_chunk(object, batch);
            return Ok(());
        }
        // `transcript.text.delta` (OpenAI), `transcription.text.delta` (Mistral), and so on.
        let kind = object.get("type").and_then(Value::as_str).unwrap_or(name);
        match kind.rsplit('.').next().unwrap_or_default() {
            "delta" => self.take_delta(object, batch),
            "segment" => {
                self.time(object, batch);
                self.take_segment(object, batch);
            }
            "done" => self.take_whole(object, batch),
            // The type of an object that has none of its own is that of the standard.
            "" | "message"
                if object.get("segments").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) =>
            {
                self.take_whole(object, batch);
            }
            // An answer in one piece; or one of several, in streams of old servers that know no types.
            "" | "message" if object.get("text").is_some_and(|text| !text.is_null()) => {
                self.take_segment(object, batch);
                self.may_be_all();
            }
            _ => {}
        }
        Ok(())
    }

    fn take_words(&mut self, words: &str, batch: &mut Batch) -> bool {
        if self.plain {
            self.take_piece(words, batch);
            self.may_be_all();
        }
        self.plain
    }

    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.saw_unreadable && self.said.is_empty() {
            return Err(UpstreamError::Invalid("a text in a form that is not known".to_owned()));
        }
        let reason = match &self.finish {
            Some(word) => chunk::finish_reason(word)?,
            None => FinishReason::Stop,
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_our_terms() });
        Ok(())
    }

    fn ending(&self, form: Form) -> Ending {
        let is_said = match self.extent {
            Extent::Part => false,
            Extent::MayBeAll => form == Form::Document,
            Extent::All => true,
        };
        if is_said { Ending::Said } else { Ending::Unsaid }
    }

    fn may_be_empty(&self) -> bool {
        self.plain
    }

    fn finish(&mut self, _: Form, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.is_whole() { self.done(batch) } else { Err(UpstreamError::Disconnected) }
    }
}
