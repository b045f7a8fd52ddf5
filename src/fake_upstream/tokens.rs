//! What a fake answer is said to cost: numbers that are always the same, and fit together.

/// The prompt's text.
pub(super) const TEXT_TOKENS: u64 = 6;
/// The prompt's audio, whatever it is.
pub(super) const AUDIO_TOKENS: u64 = 119;
/// The prompt.
pub(super) const PROMPT_TOKENS: u64 = TEXT_TOKENS + AUDIO_TOKENS;
/// Each text of an answer.
const TOKENS_OF_A_TEXT: u64 = 7;
/// Each thought.
const TOKENS_OF_A_THOUGHT: u64 = 5;
/// How long the audio is said to be, whatever it is.
pub(super) const AUDIO_SECONDS: u64 = 4;

/// What was used for an answer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tokens {
    pub(super) texts: u64,
    pub(super) thoughts: u64,
}

impl Tokens {
    /// A text was said.
    pub(super) fn say(&mut self) {
        self.texts += TOKENS_OF_A_TEXT;
    }

    /// A thought was.
    pub(super) fn think(&mut self) {
        self.thoughts += TOKENS_OF_A_THOUGHT;
    }

    /// The answer, thoughts included.
    pub(super) fn completion(self) -> u64 {
        self.texts + self.thoughts
    }

    /// Everything.
    pub(super) fn total(self) -> u64 {
        PROMPT_TOKENS + self.completion()
    }
}
