//! Reads a body of JSON objects, and everything that servers write beside them: the end mark, errors in every place,
//! whole answers instead of a stream, and events that are not part of an answer.
//!
//! An event that is JSON but not an object, or words without a `{`, cannot have been a piece of the answer: it is
//! skipped. An event that begins like an object and is not JSON was a piece, so the answer has a hole, and the call
//! fails.

use serde_json::Value;

use super::chosen::Chosen;
use super::reading::{AnswerEnd, EventReader};
use super::skipped::Skipped;
use super::{Batch, UpstreamError, complaint, lenient, surrogates};
use crate::secret::Secret;
use crate::wire::event_stream::Piece;

/// Most bytes of text outside the event stream that are kept: an error, or a whole answer.
const MAX_STRAY_BYTES: usize = 4 << 20;
/// How often text outside the event stream is parsed before the body ends. Each attempt reads all of it, so there are
/// few.
const STRAY_TRIES: u8 = 8;

/// The form of a body of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    /// Events, or several documents. The last one may be missing.
    Pieces,
    /// One JSON document without an event stream. It is whole if it parses.
    Document,
}

/// Reads the objects of a body.
pub(super) trait ObjectReader {
    /// Takes an object that is not an error. `name` is the name of its event, or empty.
    ///
    /// # Errors
    /// The failure that the object reports.
    fn take(&mut self, name: &str, object: &Value, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Takes an event's data that is not a JSON object. Returns false if it has no use for it.
    fn take_words(&mut self, words: &str, batch: &mut Batch) -> bool {
        let _ = (words, batch);
        false
    }

    /// Takes `[DONE]`, and decides whether there is an answer.
    ///
    /// # Errors
    /// If there is no answer.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Takes the end of a body without `[DONE]`, after at least one object.
    ///
    /// # Errors
    /// If the answer was not finished.
    fn finish(&mut self, form: BodyForm, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Returns whether the answer was declared complete, as [`EventReader::answer_end`] does.
    fn answer_end(&self, form: BodyForm) -> AnswerEnd;

    /// Returns true if `[DONE]` alone is an answer: silence.
    fn may_be_empty(&self) -> bool {
        false
    }
}

/// Passes the objects of a body to their reader.
#[derive(Debug)]
pub(super) struct ObjectEvents<R> {
    reader: R,
    secret: Secret,
    /// Lines outside the event stream that may become JSON.
    stray: String,
    tries_left: u8,
    chosen: Chosen,
    /// The number of events, and of documents outside the event stream, that held an object.
    events: u64,
    documents: u64,
    saw_object: bool,
    /// True after a line that belongs to no event and is not JSON.
    saw_other: bool,
    skipped: Skipped,
}

impl<R: ObjectReader> ObjectEvents<R> {
    /// Returns a reader of a body. The texts of its errors never contain `secret`, the channel's own key.
    pub(super) fn new(reader: R, secret: Secret) -> Self {
        Self {
            reader,
            secret,
            stray: String::new(),
            tries_left: STRAY_TRIES,
            chosen: Chosen::default(),
            events: 0,
            documents: 0,
            saw_object: false,
            saw_other: false,
            skipped: Skipped::default(),
        }
    }

    /// Takes JSON from any place in the body.
    ///
    /// # Errors
    /// The errors of [`ObjectReader::take`], and the error that the JSON itself is.
    pub(super) fn take_json(
        &mut self,
        name: &str,
        json: Value,
        batch: &mut Batch,
    ) -> Result<(), UpstreamError> {
        match json {
            Value::Null => Ok(()),
            Value::Object(fields) if fields.is_empty() => Ok(()),
            Value::Array(items) => items.into_iter().try_for_each(|item| self.take_json(name, item, batch)),
            mut object @ Value::Object(_) => {
                self.chosen.keep(&mut object);
                if let Some(err) = complaint::in_event(&object, self.secret.expose()) {
                    return Err(err);
                }
                self.saw_object = true;
                self.reader.take(name, &object, batch)
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.skipped.add(kind_of(&json));
                Ok(())
            }
        }
    }

    /// Returns the reader of the objects.
    pub(super) fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    fn form(&self) -> BodyForm {
        if self.events == 0 && self.documents == 1 { BodyForm::Document } else { BodyForm::Pieces }
    }

    fn take_event(&mut self, name: &str, data: &str, batch: &mut Batch) -> Result<(), UpstreamError> {
        let (raw, data) = (data, data.trim());
        if name == "error" {
            return Err(complaint::declared(data, self.secret.expose()));
        }
        if data.starts_with("[DONE]") {
            self.take_whole_stray(batch)?;
            let is_answer = self.saw_object || self.reader.may_be_empty();
            return if is_answer { self.reader.done(batch) } else { Err(self.nothing()) };
        }
        if data.is_empty() {
            return Ok(());
        }
        let kind = match lenient::parse(data) {
            Ok(json @ (Value::Object(_) | Value::Array(_) | Value::Null)) => {
                self.events += 1;
                return self.take_json(name, json, batch);
            }
            Ok(Value::String(words)) if self.take_words(&words, batch) => return Ok(()),
            _ if !data.starts_with('{') && self.take_words(&surrogates::guarded(raw), batch) => return Ok(()),
            Err(_) if data.contains('{') => {
                return Err(UpstreamError::Invalid("an event with damaged JSON".to_owned()));
            }
            Ok(json) => kind_of(&json),
            Err(_) => "words that are not JSON",
        };
        // Events with other names are heartbeats, whose words are not part of the answer.
        if matches!(name, "" | "message") {
            self.skipped.add(kind);
        }
        Ok(())
    }

    fn take_words(&mut self, words: &str, batch: &mut Batch) -> bool {
        let is_taken = self.reader.take_words(words, batch);
        self.saw_object |= is_taken;
        is_taken
    }

    fn take_stray(&mut self, line: &str, batch: &mut Batch) -> Result<(), UpstreamError> {
        let first = self.stray.is_empty();
        if first {
            // An event field that the standard does not know (GPUStack).
            if let Some(data) = line.strip_prefix("error:") {
                return Err(complaint::declared(data.trim(), self.secret.expose()));
            }
            if !may_begin_json(line) {
                self.saw_other = true;
                return Ok(());
            }
        }
        if self.stray.len() + line.len() > MAX_STRAY_BYTES {
            return Err(UpstreamError::Invalid("a long body that is not an event stream".to_owned()));
        }
        self.stray.push_str(line);
        self.stray.push('\n');
        // One line, or the end of pretty-printed JSON: an error in it need not wait for the end of the body.
        if (first || matches!(line.trim_end(), "}" | "]")) && self.tries_left > 0 {
            self.tries_left -= 1;
            return self.take_whole_stray(batch);
        }
        Ok(())
    }

    /// Takes the text outside the event stream if it is whole JSON. Other text is kept.
    fn take_whole_stray(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let Ok(json) = lenient::parse(&self.stray) else { return Ok(()) };
        self.stray.clear();
        // If each line is an object, the next lines may be objects as well.
        self.tries_left = STRAY_TRIES;
        self.documents += 1;
        self.take_json("", json, batch)
    }

    /// Handles the text that is left outside the event stream at the end of the body.
    fn take_last_stray(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if self.stray.is_empty() {
            return Ok(());
        }
        let parsed = lenient::parse(&self.stray);
        self.stray.clear();
        match parsed {
            Ok(json) => {
                self.documents += 1;
                self.take_json("", json, batch)
            }
            // An answer that is followed by a part of an error is not a success.
            Err(err) if err.is_eof() => Err(UpstreamError::Disconnected),
            Err(_) => {
                self.saw_other = true;
                Ok(())
            }
        }
    }

    /// Returns the error for a body without any object.
    fn nothing(&self) -> UpstreamError {
        UpstreamError::Invalid(
            if self.skipped.any() {
                "events that are not JSON objects"
            } else if self.saw_other {
                "a body that is not an event stream"
            } else {
                "an empty response"
            }
            .to_owned(),
        )
    }
}

fn kind_of(json: &Value) -> &'static str {
    match json {
        Value::String(_) => "a JSON string",
        Value::Number(_) => "a JSON number",
        _ => "a JSON boolean",
    }
}

/// Returns true if a line outside the event stream may begin an object, or a list of objects.
fn may_begin_json(line: &str) -> bool {
    let line = line.trim();
    let of_list = line.strip_prefix('[').map(str::trim_start);
    line.starts_with('{') || of_list.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', '[', ']']))
}

impl<R: ObjectReader> EventReader for ObjectEvents<R> {
    fn answer_end(&self) -> AnswerEnd {
        if self.stray.is_empty() { self.reader.answer_end(self.form()) } else { AnswerEnd::NotDeclared }
    }

    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError> {
        match piece {
            Piece::Event { name, data } => self.take_event(&name, &data, batch),
            Piece::Stray(line) => self.take_stray(&line, batch),
        }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.take_last_stray(batch)?;
        if self.saw_object { self.reader.finish(self.form(), batch) } else { Err(self.nothing()) }
    }
}
