//! The chunks of one answer as frames. What all of them share is written once: beside it a piece of text is short.

use bytes::Bytes;

use super::completion::{Chunk, CompletionHead, Delta, FinishReason, Usage};
use super::event_stream::{FrameKind, encode_frame};

/// What stands behind the delta of a chunk that is not the last.
const CLOSING: &[u8] = br#","finish_reason":null}]}"#;
const EMPTY_DELTA: &[u8] = b"{}";

/// Encodes the chunks of one answer.
#[derive(Debug)]
pub struct ChunkFrames {
    /// What stands before each delta.
    opening: Vec<u8>,
    /// The last chunk's JSON: its room serves the next one.
    data: Vec<u8>,
}

impl ChunkFrames {
    /// An encoder of the chunks of the answer with this head.
    #[must_use]
    pub fn of(head: &CompletionHead) -> Self {
        let mut opening = json(&Chunk::delta(head, Delta::default()));
        opening.truncate(opening.len().saturating_sub(EMPTY_DELTA.len() + CLOSING.len()));
        Self { opening, data: Vec::new() }
    }

    /// A chunk that adds something.
    #[must_use]
    pub fn delta(&mut self, id: usize, delta: Delta<'_>) -> Bytes {
        self.data.clear();
        self.data.extend_from_slice(&self.opening);
        // Strings always serialise, and memory takes whatever is written.
        let _ = serde_json::to_writer(&mut self.data, &delta);
        self.data.extend_from_slice(CLOSING);
        encode_frame(FrameKind::Chunk, id, &self.data)
    }
}

/// The last chunk of the answer with this head.
#[must_use]
pub fn finish_frame(head: &CompletionHead, id: usize, reason: FinishReason, usage: Usage) -> Bytes {
    encode_frame(FrameKind::Chunk, id, &json(&Chunk::finish(head, reason, usage)))
}

/// Strings and numbers always serialise; an empty frame would still be a well-formed one.
fn json(chunk: &Chunk<'_>) -> Vec<u8> {
    serde_json::to_vec(chunk).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_holds_what_its_chunk_is_as_json(
            id in any::<String>(),
            model in any::<String>(),
            texts in prop::collection::vec((any::<bool>(), any::<String>()), 1..4),
        ) {
            let head = CompletionHead { id, created: 1_776_874_565, model };
            let mut frames = ChunkFrames::of(&head);
            let deltas = texts.iter().map(|(is_content, text)| {
                if *is_content { Delta::content(text) } else { Delta::reasoning(text) }
            });
            for (id, delta) in [Delta::ROLE, Delta::default()].into_iter().chain(deltas).enumerate() {
                let chunk = serde_json::to_vec(&Chunk::delta(&head, delta)).unwrap();
                prop_assert_eq!(frames.delta(id, delta), encode_frame(FrameKind::Chunk, id, &chunk));
            }
        }
    }
}
