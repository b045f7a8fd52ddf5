//! The usage of a fake answer: fixed numbers that add up.

/// Tokens of the prompt's text.
pub(super) const TEXT_TOKENS: u64 = 6;
/// Tokens of the prompt's audio, whatever its length.
pub(super) const AUDIO_TOKENS: u64 = 119;
/// Tokens of the prompt.
pub(super) const PROMPT_TOKENS: u64 = TEXT_TOKENS + AUDIO_TOKENS;
/// Tokens of each text of an answer.
const TOKENS_OF_A_TEXT: u64 = 7;
/// Tokens of each thought.
const TOKENS_OF_A_THOUGHT: u64 = 5;
/// Reported duration of the audio, whatever its real one.
pub(super) const AUDIO_SECONDS: u64 = 4;

/// The tokens of an answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tokens {
    pub(super) texts: u64,
    pub(super) thoughts: u64,
}

impl Tokens {
    /// Counts a text.
    pub(super) fn say(&mut self) {
        self.texts += TOKENS_OF_A_TEXT;
    }

    /// Counts a thought.
    pub(super) fn think(&mut self) {
        self.thoughts += TOKENS_OF_A_THOUGHT;
    }

    /// Returns the tokens of the answer, thoughts included.
    pub(super) fn completion(self) -> u64 {
        self.texts + self.thoughts
    }

    /// Returns the tokens of prompt and answer.
    pub(super) fn total(self) -> u64 {
        PROMPT_TOKENS + self.completion()
    }
}
