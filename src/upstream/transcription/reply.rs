//! Converts a transcription's body to our events. The body is an event stream, one JSON document or a plain text.

use serde_json::Value;

use super::events::Transcribed;
use super::plain::PlainText;
use crate::secret::Secret;
use crate::upstream::objects::{BodyForm, ObjectEvents, ObjectReader};
use crate::upstream::reading::{AnswerEnd, BodyReader, EventBody};
use crate::upstream::surrogates::guarded;
use crate::upstream::{Batch, UpstreamError, lenient};

/// Largest answer in one piece, in bytes: hours of speech with the time of each word.
const MAX_WHOLE_BYTES: usize = 8 << 20;
/// Most white space before such an answer, in bytes.
const MAX_BLANK_BYTES: usize = 64 * 1024;
/// Bytes of a body that are enough to recognise its form, from its first character that is not white space.
const BYTES_TO_RECOGNISE: usize = 16;

/// The facts that are known before the body comes.
#[derive(Debug)]
pub(super) struct Expected {
    /// The `Content-Type`, in lower case and without parameters.
    pub(super) content_type: String,
    /// True if a plain text was requested.
    pub(super) text: bool,
    /// True if speakers were requested.
    pub(super) speakers: bool,
}

/// A body that is being received.
#[derive(Debug)]
pub(super) struct Transcript {
    expected: Expected,
    secret: Secret,
    form: TranscriptForm,
}

#[derive(Debug)]
enum TranscriptForm {
    /// Too few bytes have arrived to recognise the form.
    Unknown(Vec<u8>),
    Events(Box<EventBody<ObjectEvents<Transcribed>>>),
    /// A plain text, which is sent on as it comes.
    Text(PlainText),
    Whole(Vec<u8>),
}

impl Transcript {
    /// Returns a reader of a body. The texts of its errors never contain `secret`, the channel's own key.
    pub(super) fn new(expected: Expected, secret: Secret) -> Self {
        Self { expected, secret, form: TranscriptForm::Unknown(Vec::new()) }
    }

    fn objects(&self) -> ObjectEvents<Transcribed> {
        ObjectEvents::new(Transcribed::new(self.expected.speakers, self.expected.text), self.secret.clone())
    }

    /// Recognises events and plain texts by their first characters. Any other body is judged when it is whole.
    fn recognise(&mut self, ended: bool, batch: &mut Batch) -> Result<(), UpstreamError> {
        let TranscriptForm::Unknown(bytes) = &mut self.form else { return Ok(()) };
        let is_declared = |content_type: &str| self.expected.content_type == content_type;
        let head = without_mark(bytes).trim_ascii_start();
        // If a plain text was requested, it may have this type as well.
        let are_events = is_declared("text/event-stream") && !self.expected.text;
        if !are_events && !ended && head.len() < BYTES_TO_RECOGNISE && bytes.len() < MAX_BLANK_BYTES {
            return Ok(());
        }
        let are_events = are_events
            || looks_like_events(head, is_declared("text/plain"))
            || (is_declared("text/event-stream") && head.starts_with(b"error:"));
        let is_stream = is_declared("text/event-stream") && !head.starts_with(b"[");
        let is_text = (is_declared("text/plain") || is_stream)
            && !head.is_empty()
            && !head.starts_with(b"{")
            && !head.starts_with(b"<");
        let bytes = std::mem::take(bytes);
        self.form = if are_events {
            TranscriptForm::Events(Box::new(EventBody::new(self.objects())))
        } else if is_text {
            TranscriptForm::Text(PlainText::default())
        } else {
            TranscriptForm::Whole(Vec::new())
        };
        self.take(without_mark(&bytes), batch)
    }

    fn take_whole(&self, body: &[u8], batch: &mut Batch) -> Result<(), UpstreamError> {
        let body = without_mark(body);
        let content_type = self.expected.content_type.as_str();
        let mut objects = self.objects();
        let declared_as_text = content_type == "text/plain";
        let text = String::from_utf8_lossy(body);
        match lenient::parse(&text) {
            // A text may be a number, or something in brackets, but speech is never a whole object.
            Ok(json) if json.is_object() || (json.is_array() && !declared_as_text) => {
                objects.take_json("", json, batch)?;
                if !objects.reader().is_whole() {
                    return Err(UpstreamError::Invalid("an answer without a text".to_owned()));
                }
            }
            // FastAPI's servers put the requested text into quotes.
            Ok(Value::String(text)) if !declared_as_text => {
                objects.reader().take_text(text.trim_end_matches(['\r', '\n']), batch);
            }
            // Servers that were asked for a plain text send silence in this form.
            Err(_) if body.is_empty() && declared_as_text && self.expected.text => {
                objects.reader().take_text("", batch);
            }
            Err(_) if body.is_empty() => return Err(no_transcript(body)),
            parsed => {
                let is_text = declared_as_text
                    || (self.expected.text && content_type != "application/json" && !body.starts_with(b"<"));
                if !is_text {
                    let cut = parsed.is_err_and(|err| err.is_eof() && !body.trim_ascii().is_empty());
                    return Err(if cut { UpstreamError::Disconnected } else { no_transcript(body) });
                }
                objects.reader().take_text(&guarded(text.trim_end_matches(['\r', '\n'])), batch);
            }
        }
        objects.reader().finish(BodyForm::Document, batch)
    }
}

fn no_transcript(body: &[u8]) -> UpstreamError {
    let empty = body.trim_ascii().is_empty();
    let what = if empty { "an empty response" } else { "a body that is not a transcription" };
    UpstreamError::Invalid(what.to_owned())
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Returns true if a body that is not declared as an event stream begins like one. A plain text may begin like one,
/// too: a speaker may say "data: yes".
fn looks_like_events(head: &[u8], declared_as_text: bool) -> bool {
    if declared_as_text {
        let data = head.strip_prefix(b"data:").map(<[u8]>::trim_ascii_start);
        data.is_some_and(|data| data.starts_with(b"{\"") || data.starts_with(b"[DONE]"))
            || [b"event: transcri".as_slice(), b"event:transcri", b"event: error\n", b"event: error\r"]
                .iter()
                .any(|start| head.starts_with(start))
    } else {
        [b"data:".as_slice(), b"event:", b"id:", b"retry:", b":"].iter().any(|start| head.starts_with(start))
    }
}

impl BodyReader for Transcript {
    fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), UpstreamError> {
        match &mut self.form {
            TranscriptForm::Unknown(so_far) => {
                so_far.extend_from_slice(bytes);
                self.recognise(false, batch)
            }
            TranscriptForm::Events(events) => events.take(bytes, batch),
            TranscriptForm::Text(text) => {
                text.take(bytes, batch);
                Ok(())
            }
            TranscriptForm::Whole(so_far) if so_far.len() + bytes.len() > MAX_WHOLE_BYTES => {
                Err(UpstreamError::Invalid(format!("an answer of more than {MAX_WHOLE_BYTES} bytes")))
            }
            TranscriptForm::Whole(so_far) => {
                so_far.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn cut(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        match &mut self.form {
            TranscriptForm::Events(events) => events.cut(batch),
            // A body that parses is whole.
            TranscriptForm::Whole(body) | TranscriptForm::Unknown(body)
                if lenient::parse(&String::from_utf8_lossy(without_mark(body)))
                    .is_ok_and(|json| json.is_object()) =>
            {
                self.finish(batch)
            }
            _ => Err(UpstreamError::Disconnected),
        }
    }

    fn answer_end(&self) -> AnswerEnd {
        match &self.form {
            TranscriptForm::Events(events) => events.answer_end(),
            _ => AnswerEnd::NotDeclared,
        }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.recognise(true, batch)?;
        match std::mem::replace(&mut self.form, TranscriptForm::Unknown(Vec::new())) {
            TranscriptForm::Events(mut events) => events.finish(batch),
            TranscriptForm::Text(text) => {
                text.finish(batch);
                Ok(())
            }
            TranscriptForm::Whole(body) | TranscriptForm::Unknown(body) => self.take_whole(&body, batch),
        }
    }
}

#[cfg(test)]
mod tests;
