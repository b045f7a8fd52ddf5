//! The script of a fake upstream: a list of steps joined by `+`, appended to a model's name.
//!
//! A script sets the shape of the answer and at most one fault, with the calls that have it. A step that is unknown, or
//! could have no effect, is refused with its name. Otherwise a test could ask for a fault that never happens, and would
//! prove nothing.

mod reading;

use std::time::Duration;

/// Number of texts in an answer by default.
const CHUNKS: u64 = 5;

/// The APIs that the fake upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Google's `generateContent` and `streamGenerateContent`.
    Gemini,
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's audio transcriptions.
    Transcription,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 3] = [Self::Gemini, Self::Chat, Self::Transcription];

    /// Returns the dialect's name in the statistics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Chat => "chat",
            Self::Transcription => "transcription",
        }
    }
}

/// A checked script.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Script {
    /// The shape of the answer.
    pub shape: Shape,
    /// The fault, if there is one, with the calls that have it.
    pub fault_rule: Option<FaultRule>,
}

/// The shape of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Number of texts.
    pub chunks: u64,
    /// Time between two texts.
    pub pause: Duration,
    /// Time before the head of the response.
    pub delay: Duration,
    /// Number of thoughts before the first text.
    pub thoughts: u64,
    /// The body is sent in pieces of this many bytes.
    pub split: Option<usize>,
    /// Each text has this many bytes.
    pub size: Option<usize>,
    /// The place of the usage in a chat's stream.
    pub usage: Option<UsagePlace>,
    /// The format of a transcription's stream.
    pub style: Option<Style>,
    /// Each part of the answer has extra content that JSON does not allow: `NaN`, half a surrogate pair. In a stream of
    /// events, each event is followed by others that are not part of an answer: a string, a number, words.
    pub odd: bool,
    /// The body is compressed, although the request does not ask for it.
    pub gzip: bool,
    /// Transcriptions ignore `stream` and answer in one piece, as `whisper-1` does.
    pub plain: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            chunks: CHUNKS,
            pause: Duration::ZERO,
            delay: Duration::ZERO,
            thoughts: 0,
            split: None,
            size: None,
            usage: None,
            style: None,
            odd: false,
            gzip: false,
            plain: false,
        }
    }
}

/// The place of the usage in a chat's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsagePlace {
    /// On the chunk that finishes, even if not requested, as DeepSeek and others do.
    Beside,
    /// On a separate chunk, if requested.
    Apart,
    /// In no chunk.
    Nowhere,
}

/// The format of a transcription's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `transcript.text.delta` and `transcript.text.done`, CRLF framing, `[DONE]`.
    OpenAi,
    /// OpenAI's format with `transcript.text.segment` in place of the deltas.
    Diarize,
    /// Named events `transcription.*`.
    Mistral,
    /// Chunks like a chat's.
    Vllm,
    /// OpenAI's types, LF framing, no `[DONE]`.
    Speaches,
}

/// A fault, and the calls that have it.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// The fault.
    pub fault: Fault,
    /// Only this many first calls under one model name are faulty.
    pub first: Option<u64>,
    /// The share of calls that are faulty, from 0 to 1.
    pub rate: Option<f64>,
}

/// The fault of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another response is sent in place of the answer.
    Instead(Instead),
    /// A mishap happens within the answer.
    Within {
        /// Number of texts before the mishap.
        after: u64,
        /// The mishap.
        mishap: Mishap,
    },
}

/// A fault in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// An HTTP error, with or without a retry hint.
    Status(u16, Option<Duration>),
    /// 429: the quota is used up, and waiting does not help.
    Daily,
    /// The key is rejected.
    BadKey,
    /// The caller's region is rejected.
    Region,
    /// The content filter rejects the prompt.
    Blocked,
    /// The connection is closed without a response.
    Slam,
    /// No answer is ever sent.
    Silent,
    /// 200 with an HTML page.
    Page,
    /// 200 without a body.
    Empty,
}

/// A fault within an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing more is sent, and the connection stays open.
    Stall,
    /// The texts never end.
    Endless,
    /// The connection is closed after this many bytes of the body. They are counted after the texts that come first, or
    /// from the start if there are none.
    Cut(u64),
    /// The connection is closed in the middle of the next frame.
    Half,
    /// The body ends cleanly in the middle of the next frame.
    Torn,
    /// Nonsense comes in place of the next text.
    Garbage,
    /// The body ends cleanly without a sign that the answer is finished.
    Unfinished,
    /// An error comes.
    Error(ErrorForm),
    /// An error comes after the finish.
    LateError(ErrorForm),
    /// The content filter ends the answer.
    Filtered,
    /// The token limit ends the answer.
    Length,
}

/// The form of an error after the answer has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// As a normal event, with the error in its data.
    Data,
    /// As JSON without framing (Gemini).
    Bare,
    /// As `event: error`, as Groq does.
    Event,
    /// As a field `error:`, as GPUStack does.
    Field,
    /// On a chunk beside its choices, as OpenRouter does (chat).
    Beside,
}

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the step `{step}` of the script: {problem}")]
pub struct ScriptError {
    /// The step, as written.
    pub step: String,
    /// The problem with it.
    pub problem: String,
}

impl Script {
    /// Splits a model's name into the name itself and the script behind its first `+`.
    ///
    /// # Errors
    /// [`ScriptError`] if the script is invalid.
    pub fn of_model(model: &str) -> Result<(&str, Option<Self>), ScriptError> {
        match model.split_once('+') {
            None => Ok((model, None)),
            Some((name, steps)) => Ok((name, Some(steps.parse()?))),
        }
    }

    /// Checks that this dialect can do everything in the script.
    ///
    /// # Errors
    /// [`ScriptError`] with the step that the dialect does not have.
    pub fn fits(&self, dialect: Dialect) -> Result<(), ScriptError> {
        let only = |step: &str, dialects: &str| {
            Err(ScriptError { step: step.to_owned(), problem: format!("it works only with {dialects}") })
        };
        let Shape { thoughts, usage, style, plain, .. } = self.shape;
        let transcription = dialect == Dialect::Transcription;
        if thoughts > 0 && transcription {
            return only("think", "Gemini and chat");
        }
        if usage.is_some() && dialect != Dialect::Chat {
            return only("usage", "chat");
        }
        if (style.is_some() || plain) && !transcription {
            return only(if plain { "plain" } else { "style" }, "transcription");
        }
        let Some(Fault::Within { mishap, .. }) = self.fault_rule.as_ref().map(|fault_rule| &fault_rule.fault)
        else {
            return Ok(());
        };
        match mishap {
            Mishap::Filtered | Mishap::Length if transcription && style != Some(Style::Vllm) => {
                only(mishap.name(), "Gemini, chat and transcription with style=vllm")
            }
            Mishap::Error(form) | Mishap::LateError(form) => match (form, dialect) {
                (ErrorForm::Bare, Dialect::Chat | Dialect::Transcription) => {
                    only(&format!("{}=bare", mishap.name()), "Gemini")
                }
                (ErrorForm::Event | ErrorForm::Field, Dialect::Gemini) => {
                    only(&format!("{}=event` or `=field", mishap.name()), "chat and transcription")
                }
                (ErrorForm::Beside, Dialect::Gemini | Dialect::Transcription) => {
                    only(&format!("{}=beside", mishap.name()), "chat")
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Fault {
    /// Returns the name of the fault's step; for an HTTP error, the status.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Instead(Instead::Status(status, _)) => status.to_string(),
            Self::Instead(instead) => instead.name().to_owned(),
            Self::Within { mishap, .. } => mishap.name().to_owned(),
        }
    }
}

impl Instead {
    const fn name(self) -> &'static str {
        match self {
            Self::Status(..) => "status",
            Self::Daily => "daily",
            Self::BadKey => "badkey",
            Self::Region => "region",
            Self::Blocked => "blocked",
            Self::Slam => "slam",
            Self::Silent => "silent",
            Self::Page => "garbage",
            Self::Empty => "empty",
        }
    }
}

impl Mishap {
    const fn name(self) -> &'static str {
        match self {
            Self::Stall => "stall",
            Self::Endless => "endless",
            Self::Cut(_) => "cut",
            Self::Half => "half",
            Self::Torn => "torn",
            Self::Garbage => "garbage",
            Self::Unfinished => "unfinished",
            Self::Error(_) => "error",
            Self::LateError(_) => "late-error",
            Self::Filtered => "filtered",
            Self::Length => "length",
        }
    }

    /// Returns true if the mishap comes after all texts by default, instead of before the first.
    const fn is_at_the_end(self) -> bool {
        matches!(self, Self::Unfinished | Self::LateError(_) | Self::Filtered | Self::Length)
    }
}

#[cfg(test)]
mod tests;
