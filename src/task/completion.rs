//! A complete answer as it is kept: JSON that is encoded once, when the answer is complete, and never copied.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::segment::Segment;
use crate::wire::completion::{ChatCompletion, CompletionHead, FinishReason, Texts, Usage};

/// A complete answer, in the bytes in which it is stored and sent. It is kept as a ChatCompletion, which queries
/// return. A door with another format converts it.
#[derive(Debug, Clone)]
pub struct Completion {
    // Boxed, because making an `Arc<RawValue>` would copy the JSON.
    chat: Arc<Box<RawValue>>,
    segments: Option<Arc<Box<RawValue>>>,
}

impl Completion {
    /// Encodes an answer.
    #[must_use]
    pub fn new(
        head: &CompletionHead,
        texts: Texts<'_>,
        reason: FinishReason,
        usage: Usage,
        segments: &[Segment],
    ) -> Self {
        Self {
            chat: encode(&ChatCompletion::new(head, texts, reason, usage)),
            segments: (!segments.is_empty()).then(|| encode(&segments)),
        }
    }

    /// Reads an answer that was stored: its ChatCompletion, and its segments if they are requested.
    ///
    /// # Errors
    /// Returns an error of serde_json for text that is not JSON.
    pub fn stored(chat: String, segments: Option<String>) -> serde_json::Result<Self> {
        Ok(Self {
            chat: RawValue::from_string(chat)?.into(),
            segments: segments.map(RawValue::from_string).transpose()?.map(Into::into),
        })
    }

    /// Returns the ChatCompletion.
    #[must_use]
    pub fn chat(&self) -> &RawValue {
        &self.chat
    }

    /// Returns the segments with measured times as a JSON list, if there are any and they were requested.
    #[must_use]
    pub fn segments(&self) -> Option<&RawValue> {
        self.segments.as_deref().map(|segments| &**segments)
    }

    /// Returns the size of the answer and its segments, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.chat.get().len() + self.segments().map_or(0, |segments| segments.get().len())
    }

    /// Returns the same answer without its segments.
    #[cfg(test)]
    pub(crate) fn without_segments(&self) -> Self {
        Self { segments: None, ..self.clone() }
    }
}

impl PartialEq for Completion {
    fn eq(&self, other: &Self) -> bool {
        self.chat.get() == other.chat.get()
            && self.segments().map(RawValue::get) == other.segments().map(RawValue::get)
    }
}

/// Returns the bytes of the ChatCompletion.
impl AsRef<[u8]> for Completion {
    fn as_ref(&self) -> &[u8] {
        self.chat.get().as_bytes()
    }
}

/// Encodes strings, numbers and lists of them. serde_json never fails for these, although its signature returns a
/// `Result`.
fn encode(value: &impl Serialize) -> Arc<Box<RawValue>> {
    Arc::new(to_raw_value(value).unwrap_or_default())
}
