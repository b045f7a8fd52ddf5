//! Reads the objects of a transcription in every dialect: a whole answer, OpenAI's deltas, its segments with speakers,
//! Mistral's named events, vLLM's chunks of a chat.

use std::borrow::Cow;

use serde_json::Value;

use super::rest::rest_after;
use crate::task::{Segment, TextKind};
use crate::upstream::lenient::{FieldText, words};
use crate::upstream::objects::{BodyForm, ObjectReader};
use crate::upstream::openai_wire::chunk::{self, Chunk};
use crate::upstream::openai_wire::usage::Counts;
use crate::upstream::reading::AnswerEnd;
use crate::upstream::surrogates::settled;
use crate::upstream::{Batch, UpstreamError, UpstreamEvent};
use crate::wire::completion::FinishReason;

/// The longest time in a recording that is accepted, in seconds: no recording is longer.
const MOST_SECONDS: f64 = 1e9;

/// The source of the text so far. If a server sends the text in two ways, only one of them is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextSource {
    Deltas,
    Segments,
}

/// How much of a transcription has arrived. Silence is an answer, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    /// A part.
    Part,
    /// The whole transcription, if no other text follows: such a text does not say whether it is the last one.
    MayBeAll,
    /// The whole transcription: the server has declared the end, in any way.
    All,
}

/// A transcription that is being received.
#[derive(Debug)]
pub(super) struct Transcribed {
    /// True if each segment is a line of its own, after its speaker's name.
    speakers: bool,
    /// True if a plain text was requested: events may be plain words.
    plain: bool,
    text_source: Option<TextSource>,
    /// True after segments with times: then the end may only repeat them.
    is_timed: bool,
    /// The text so far.
    text_so_far: String,
    usage: Counts,
    /// True after content in an unknown form in place of a text.
    saw_unreadable: bool,
    extent: Extent,
    /// The server's finish reason, if it sends one.
    finish: Option<String>,
}

impl Transcribed {
    pub(super) fn new(speakers: bool, plain: bool) -> Self {
        Self {
            speakers,
            plain,
            text_source: None,
            is_timed: false,
            text_so_far: String::new(),
            usage: Counts::default(),
            saw_unreadable: false,
            extent: Extent::Part,
            finish: None,
        }
    }

    /// Returns true if a whole answer has arrived.
    pub(super) fn is_whole(&self) -> bool {
        self.extent != Extent::Part
    }

    fn may_be_all(&mut self) {
        self.extent = self.extent.max(Extent::MayBeAll);
    }

    /// Takes a text that is the whole answer.
    pub(super) fn take_text(&mut self, text: &str, batch: &mut Batch) {
        self.say(text, batch);
        self.extent = Extent::All;
    }

    fn say(&mut self, text: &str, batch: &mut Batch) {
        if !text.is_empty() {
            self.text_so_far.push_str(text);
            // Texts of one event become one piece.
            batch.push(UpstreamEvent::Text(TextKind::Content, text.to_owned()));
        }
    }

    /// Reads the first of these fields that holds a text.
    fn read<'a>(&mut self, object: &'a Value, fields: &[&str]) -> Cow<'a, str> {
        for value in fields.iter().filter_map(|field| object.get(*field)) {
            match words(value) {
                FieldText::Text(text) if !text.is_empty() => return text,
                other => {
                    self.saw_unreadable |= other == FieldText::Unreadable || *value == Value::Bool(false)
                }
            }
        }
        Cow::Borrowed("")
    }

    fn take_delta(&mut self, delta: &Value, batch: &mut Batch) {
        // If speakers were requested, the segment repeats the text of its deltas with the speaker.
        let is_repeated = self.speakers && delta.get("segment_id").is_some_and(|id| !id.is_null());
        let text = self.read(delta, &["delta", "text"]);
        if self.text_source != Some(TextSource::Segments) && !is_repeated && !text.is_empty() {
            self.text_source = Some(TextSource::Deltas);
            self.say(&text, batch);
        }
    }

    /// Adds the times of a segment, if the server has measured them.
    fn time(&mut self, segment: &Value, batch: &mut Batch) {
        let time = |field| segment.get(field).and_then(milliseconds);
        if let (Some(start_ms), Some(end_ms)) = (time("start"), time("end"))
            && let Some(FieldText::Text(text)) = segment.get("text").map(words)
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
        if self.text_source == Some(TextSource::Deltas) || text.trim().is_empty() {
            return;
        }
        self.text_source = Some(TextSource::Segments);
        let start = if self.text_so_far.is_empty() { "" } else { "\n" };
        let speaker = speaker(segment).map(|name| name + ": ").unwrap_or_default();
        self.say(&format!("{start}{speaker}{}", text.trim()), batch);
    }

    /// Takes a text that is separate from the one before it.
    fn take_piece(&mut self, text: &str, batch: &mut Batch) {
        if self.text_source == Some(TextSource::Deltas) || text.trim().is_empty() {
            return;
        }
        self.text_source = Some(TextSource::Segments);
        let apart = self.text_so_far.is_empty()
            || self.text_so_far.ends_with(char::is_whitespace)
            || text.starts_with(char::is_whitespace);
        if apart { self.say(text, batch) } else { self.say(&format!(" {text}"), batch) }
    }

    /// Takes an object with the whole text: an answer in one piece, or the last event of a stream.
    fn take_whole(&mut self, whole: &Value, batch: &mut Batch) {
        let segments = whole.get("segments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let has_text = whole.get("text").is_some_and(|text| !text.is_null());
        let text = self.read(whole, &["text"]);
        if !self.is_timed {
            segments.iter().for_each(|segment| self.time(segment, batch));
        }
        if self.text_source.is_none() {
            let by_speaker = self.speakers && segments.iter().any(|segment| speaker(segment).is_some());
            if has_text && !by_speaker {
                self.say(&text, batch);
            } else {
                segments.iter().for_each(|segment| self.take_segment(segment, batch));
            }
        } else if let Some(rest) = rest_after(&self.text_so_far, &text) {
            // If the whole text differs, the text that was already sent stays: it cannot be taken back.
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
                    self.text_source = Some(TextSource::Deltas);
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

/// Returns a segment's speaker: a name, or a number (Mistral).
fn speaker(segment: &Value) -> Option<String> {
    let speaker = segment.get("speaker").or_else(|| segment.get("speaker_id"))?;
    match speaker {
        Value::String(name) => Some(name.clone()).filter(|name| !name.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns a time in milliseconds. The server sends it in seconds, as a number or as a text.
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
        // For example `transcript.text.delta` (OpenAI) or `transcription.text.delta` (Mistral).
        let kind = object.get("type").and_then(Value::as_str).unwrap_or(name);
        match kind.rsplit('.').next().unwrap_or_default() {
            "delta" => self.take_delta(object, batch),
            "segment" => {
                self.time(object, batch);
                self.take_segment(object, batch);
            }
            "done" => self.take_whole(object, batch),
            // An object without a type of its own has the type of its event, which is `message` by default.
            "" | "message"
                if object.get("segments").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) =>
            {
                self.take_whole(object, batch);
            }
            // An answer in one piece, or one of several answers in the streams of old servers that know no types.
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
        if self.saw_unreadable && self.text_so_far.is_empty() {
            return Err(UpstreamError::Invalid("a text in an unknown form".to_owned()));
        }
        let reason = match &self.finish {
            Some(word) => chunk::finish_reason(word)?,
            None => FinishReason::Stop,
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_our_terms() });
        Ok(())
    }

    fn answer_end(&self, form: BodyForm) -> AnswerEnd {
        let is_said = match self.extent {
            Extent::Part => false,
            Extent::MayBeAll => form == BodyForm::Document,
            Extent::All => true,
        };
        if is_said { AnswerEnd::Declared } else { AnswerEnd::NotDeclared }
    }

    fn may_be_empty(&self) -> bool {
        self.plain
    }

    fn finish(&mut self, _: BodyForm, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.is_whole() { self.done(batch) } else { Err(UpstreamError::Disconnected) }
    }
}
