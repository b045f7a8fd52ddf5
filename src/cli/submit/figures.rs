//! The figures of an answer: how much text was received, and how fast.

use std::fmt;
use std::time::{Duration, Instant};

use super::format::time;
use super::progress::ShownState;
use crate::client::{Chunk, Completion};
use crate::wire::completion::{FinishReason, Usage};

/// Shortest time for which a rate is computed, in seconds.
const SHORTEST: f64 = 0.5;

/// The figures of one answer.
#[derive(Debug, Default)]
pub(super) struct AnswerFigures {
    chunks: u64,
    characters: u64,
    bytes: usize,
    first_text: Option<Instant>,
    reason: Option<FinishReason>,
    usage: Option<Usage>,
}

impl AnswerFigures {
    /// Counts a chunk.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        self.chunks += 1;
        self.reason = chunk.finish_reason().or(self.reason);
        self.usage = chunk.usage.or(self.usage);
        let text = chunk.content();
        if !text.is_empty() {
            self.characters += text.chars().count() as u64;
            self.bytes += text.len();
            self.first_text.get_or_insert_with(Instant::now);
        }
    }

    /// Counts an answer that was received as a whole.
    pub(super) fn whole(&mut self, completion: &Completion) {
        self.characters = completion.content().chars().count() as u64;
        self.reason = completion.finish_reason();
        self.usage = completion.usage;
    }

    /// Returns true before the first chunk.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks == 0
    }

    /// Returns the bytes of text so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the state to show.
    pub(super) fn state(&self) -> ShownState {
        let Some(first) = self.first_text else { return ShownState::Thinking };
        let rate = self.characters as f64 / first.elapsed().as_secs_f64().max(SHORTEST);
        ShownState::Streaming { chunks: self.chunks, characters: self.characters, rate: rate as u64 }
    }

    /// Returns what a user must know about an answer that did not end normally.
    pub(super) fn caveat(&self) -> Option<&'static str> {
        match self.reason {
            Some(FinishReason::Length) => Some("the answer was cut off at the token limit (--max-tokens)"),
            Some(FinishReason::ContentFilter) => Some("the answer was cut off by the model's content filter"),
            Some(FinishReason::Stop) | None => None,
        }
    }

    /// Returns the last line: the size of the answer, and how long it took.
    pub(super) fn summary(&self, taken: Duration) -> impl fmt::Display {
        let Self { chunks, characters, .. } = self;
        let mut line = format!("completed in {}:", time(taken));
        if *chunks > 0 {
            line += &format!(" {chunks} chunks,");
        }
        line += &format!(" {characters} characters");
        if let Some(usage) = self.usage.filter(|usage| usage.total_tokens > 0) {
            line += &format!(", {} tokens", usage.total_tokens);
        }
        line
    }
}
