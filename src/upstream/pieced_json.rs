//! A request's JSON as pieces around its audio. The audio is not copied.

use std::mem;

use bytes::Bytes;
use serde::Serialize;

use super::body::BodyPiece;
use crate::audio::AudioBytes;

/// JSON that is written from its beginning to its end.
#[derive(Default)]
pub(super) struct PiecedJson {
    pieces: Vec<BodyPiece>,
    /// The text after the last piece.
    text: String,
}

impl PiecedJson {
    /// Writes JSON text as it is.
    pub(super) fn raw(&mut self, json: &str) -> &mut Self {
        self.text += json;
        self
    }

    /// Writes a value. Texts and finite numbers can always be serialised.
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> &mut Self {
        self.text += &serde_json::to_string(value).unwrap_or_default();
        self
    }

    /// Writes a list. `write` writes its items.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.text.push('[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
        self
    }

    /// Writes the base64 text of audio. The caller writes the quotation marks around it.
    pub(super) fn audio(&mut self, audio: AudioBytes) -> &mut Self {
        let before = Bytes::from(mem::take(&mut self.text));
        self.pieces.extend([before.into(), BodyPiece::base64(audio)]);
        self
    }

    /// Returns the whole JSON.
    pub(super) fn finish(mut self) -> Vec<BodyPiece> {
        self.pieces.push(Bytes::from(self.text).into());
        self.pieces
    }
}
