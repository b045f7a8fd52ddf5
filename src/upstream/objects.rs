//! An event stream of JSON objects, with all that servers write beside it: the end mark, errors in every place, whole
//! answers where no stream was made.

use serde_json::Value;

use crate::config::Secret;
use crate::upstream::reading::EventReader;
use crate::upstream::{Batch, UpstreamError, complaint, lenient, surrogates};
use crate::wire::event_stream::Piece;

/// Most text outside the event stream that is kept, in bytes: an error, or a whole answer.
const MAX_STRAY_BYTES: usize = 4 << 20;
/// How often text outside the event stream is tried before the body ends: each try reads all of it.
const STRAY_TRIES: u8 = 8;

/// Makes sense of objects.
pub trait ObjectReader {
    /// Takes an object that is no error; `name` is its event's, empty where it has none.
    ///
    /// # Errors
    /// What it says went wrong.
    fn take(&mut self, name: &str, object: &Value, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Takes an event's data that is no JSON object. Returns false if it can make nothing of it.
    fn take_words(&mut self, words: &str, batch: &mut Batch) -> bool {
        let _ = (words, batch);
        false
    }

    /// `[DONE]` came: says what the answer amounts to.
    ///
    /// # Errors
    /// When it amounts to none.
    fn done(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// The body ended without `[DONE]`, after at least one object.
    ///
    /// # Errors
    /// When the answer was not finished.
    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError>;

    /// Was it said that the answer is complete?
    fn is_complete(&self) -> bool;
}

/// Gives the objects of an event stream to their reader.
#[derive(Debug)]
pub struct ObjectEvents<R> {
    reader: R,
    secret: Secret,
    /// Lines outside the event stream that may become JSON.
    stray: String,
    tries_left: u8,
    saw_object: bool,
    /// Came a line that belongs to no event and to no JSON?
    saw_other: bool,
}

impl<R: ObjectReader> ObjectEvents<R> {
    /// `secret` is the channel's own key, which no error's words may hold.
    pub fn new(reader: R, secret: Secret) -> Self {
        Self {
            reader,
            secret,
            stray: String::new(),
            tries_left: STRAY_TRIES,
            saw_object: false,
            saw_other: false,
        }
    }

    /// Takes JSON, wherever it stood.
    ///
    /// # Errors
    /// As [`ObjectReader::take`], and the error that it is.
    pub fn take_json(&mut self, name: &str, json: &Value, batch: &mut Batch) -> Result<(), UpstreamError> {
        match json {
            Value::Null => Ok(()),
            Value::Object(fields) if fields.is_empty() => Ok(()),
            Value::Array(items) => items.iter().try_for_each(|item| self.take_json(name, item, batch)),
            Value::Object(_) => {
                if let Some(err) = complaint::in_event(json, self.secret.expose()) {
                    return Err(err);
                }
                self.saw_object = true;
                self.reader.take(name, json, batch)
            }
            _ => Err(no_json()),
        }
    }

    /// Its reader.
    pub fn reader(&mut self) -> &mut R {
        &mut self.reader
    }

    fn take_event(&mut self, name: &str, data: &str, batch: &mut Batch) -> Result<(), UpstreamError> {
        let (raw, data) = (data, data.trim());
        if name == "error" {
            return Err(complaint::declared(data, self.secret.expose()));
        }
        if data.starts_with("[DONE]") {
            self.take_whole_stray(batch)?;
            return if self.saw_object { self.reader.done(batch) } else { Err(empty()) };
        }
        if data.is_empty() {
            return Ok(());
        }
        match lenient::parse(data) {
            Ok(json @ (Value::Object(_) | Value::Array(_) | Value::Null)) => {
                self.take_json(name, &json, batch)
            }
            Ok(Value::String(words)) if self.take_words(&words, batch) => Ok(()),
            _ if !data.starts_with('{') && self.take_words(&surrogates::guarded(raw), batch) => Ok(()),
            // A heartbeat has a name of its own, and words of its own.
            _ if !matches!(name, "" | "message") && !data.contains('{') => Ok(()),
            _ => Err(no_json()),
        }
    }

    fn take_words(&mut self, words: &str, batch: &mut Batch) -> bool {
        let is_taken = self.reader.take_words(words, batch);
        self.saw_object |= is_taken;
        is_taken
    }

    fn take_stray(&mut self, line: &str, batch: &mut Batch) -> Result<(), UpstreamError> {
        let first = self.stray.is_empty();
        if first {
            // A field of the event that the standard does not know (GPUStack).
            if let Some(data) = line.strip_prefix("error:") {
                return Err(complaint::declared(data.trim(), self.secret.expose()));
            }
            if !line.trim_start().starts_with(['{', '[']) {
                self.saw_other = true;
                return Ok(());
            }
        }
        if self.stray.len() + line.len() > MAX_STRAY_BYTES {
            return Err(UpstreamError::Invalid("a long body that is no event stream".to_owned()));
        }
        self.stray.push_str(line);
        self.stray.push('\n');
        // One line, or the end of what was printed prettily: its error need not wait for the end of the body.
        if (first || matches!(line.trim_end(), "}" | "]")) && self.tries_left > 0 {
            self.tries_left -= 1;
            return self.take_whole_stray(batch);
        }
        Ok(())
    }

    /// Takes what stands outside the event stream, once it is whole JSON; what is not stays where it is.
    fn take_whole_stray(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let Ok(json) = lenient::parse(&self.stray) else { return Ok(()) };
        self.stray.clear();
        self.take_json("", &json, batch)
    }
}

fn empty() -> UpstreamError {
    UpstreamError::Invalid("an empty response".to_owned())
}

fn no_json() -> UpstreamError {
    UpstreamError::Invalid("an event that is not OpenAI's JSON".to_owned())
}

impl<R: ObjectReader> EventReader for ObjectEvents<R> {
    fn is_complete(&self) -> bool {
        self.stray.is_empty() && self.reader.is_complete()
    }

    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError> {
        match piece {
            Piece::Event { name, data } => self.take_event(&name, &data, batch),
            Piece::Stray(line) => self.take_stray(&line, batch),
        }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        if !self.stray.is_empty() {
            let json = lenient::parse(&self.stray).map_err(|err| {
                // Half an error behind a whole answer is no success, either.
                if err.is_eof() {
                    UpstreamError::Disconnected
                } else {
                    UpstreamError::Invalid("a body that is no event stream".to_owned())
                }
            })?;
            self.stray.clear();
            self.take_json("", &json, batch)?;
        }
        if self.saw_object {
            return self.reader.finish(batch);
        }
        Err(if self.saw_other {
            UpstreamError::Invalid("a body that is no event stream".to_owned())
        } else {
            empty()
        })
    }
}
