//! What a fake upstream is told to do: a list of steps joined by `+`, which rides behind the name of a model.
//!
//! A script says the shape of the answer and at most one fault, with the calls that it is for. Whatever is not
//! understood, or could have no effect, is refused with the step that it is about: a test that asks for a fault which
//! never happens would prove nothing.

mod reading;

use std::time::Duration;

/// Texts of an answer when nobody says how many.
const CHUNKS: u64 = 5;

/// The ways to speak.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gemini, Self::Chat, Self::Transcription];

    /// Its name in the statistics.
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
    /// What the answer looks like.
    pub shape: Shape,
    /// What goes wrong, if anything does.
    pub trouble: Option<Trouble>,
}

/// What an answer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How many texts there are.
    pub chunks: u64,
    /// The time between two of them.
    pub pause: Duration,
    /// The time before the head of the response.
    pub delay: Duration,
    /// How many thoughts come before the first text.
    pub thoughts: u64,
    /// The body goes out in pieces of this many bytes.
    pub split: Option<usize>,
    /// Each text has this many bytes.
    pub size: Option<usize>,
    /// Where a chat's stream tells its usage.
    pub usage: Option<UsagePlace>,
    /// How a transcription streams.
    pub style: Option<Style>,
    /// Beside each part of the answer stands what no reader needs and JSON does not allow: `NaN`, half a surrogate pair; in a
    /// stream of events, each is followed by events that are no part of an answer: a string, a number, words.
    pub odd: bool,
    /// The body is compressed, though nothing asks for it.
    pub gzip: bool,
    /// The transcription knows no streams and answers whole, as `whisper-1` does.
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

/// Where a chat's stream tells its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsagePlace {
    /// On the chunk that finishes, whether it was asked for or not, as DeepSeek and others do.
    Beside,
    /// On a chunk of its own, when it was asked for.
    Apart,
    /// Nowhere.
    Nowhere,
}

/// How a transcription streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `transcript.text.delta` and `transcript.text.done`, CRLF framing, `[DONE]`.
    OpenAi,
    /// The same with `transcript.text.segment` in place of the deltas.
    Diarize,
    /// Named events `transcription.*`.
    Mistral,
    /// Chunks like those of a chat.
    Vllm,
    /// OpenAI's types, LF framing, no `[DONE]`.
    Speaches,
}

/// What goes wrong, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// What happens.
    pub fault: Fault,
    /// Only the first so many calls under one model name are faulty.
    pub first: Option<u64>,
    /// The share of calls that are faulty, from 0 to 1.
    pub rate: Option<f64>,
}

/// What happens to a faulty call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Something else comes in place of the answer.
    Instead(Instead),
    /// Something happens to the answer.
    Within {
        /// How many texts come before that.
        after: u64,
        /// What happens.
        mishap: Mishap,
    },
}

/// What comes in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// An HTTP error, with or without a hint when to come back.
    Status(u16, Option<Duration>),
    /// 429: the quota is used up, and waiting does not help.
    Daily,
    /// The key is refused.
    BadKey,
    /// The region that the call comes from is refused.
    Region,
    /// The prompt is refused by the content filter.
    Blocked,
    /// The connection is closed without a word.
    Slam,
    /// Nothing, ever.
    Silent,
    /// 200 with a page of HTML.
    Page,
    /// 200 without a body.
    Empty,
}

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing more comes, and the connection stays.
    Stall,
    /// The texts never end.
    Endless,
    /// The connection is closed after so many bytes of the body; they are counted behind the texts that come first,
    /// or from the start where there are none.
    Cut(u64),
    /// The connection is closed in the middle of the next frame.
    Half,
    /// The body ends cleanly in the middle of the next frame.
    Torn,
    /// Nonsense comes in place of the next text.
    Garbage,
    /// The body ends cleanly, and nothing says that the answer has.
    Unfinished,
    /// An error.
    Error(ErrorForm),
    /// An error behind the finish.
    LateError(ErrorForm),
    /// The content filter ends the answer.
    Filtered,
    /// The limit of tokens ends the answer.
    Length,
}

/// How an error is told when the answer has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// As an event like all others, the error in its data.
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
    /// The step, as it was written.
    pub step: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Script {
    /// Splits a model's name into the name itself and the script behind its first `+`.
    ///
    /// # Errors
    /// [`ScriptError`] for a script that is none.
    pub fn of_model(model: &str) -> Result<(&str, Option<Self>), ScriptError> {
        match model.split_once('+') {
            None => Ok((model, None)),
            Some((name, steps)) => Ok((name, Some(steps.parse()?))),
        }
    }

    /// Checks that this dialect can do what the script says.
    ///
    /// # Errors
    /// [`ScriptError`] with the step that it cannot.
    pub fn fits(&self, dialect: Dialect) -> Result<(), ScriptError> {
        let only = |step: &str, whose: &str| {
            Err(ScriptError { step: step.to_owned(), problem: format!("only {whose} knows it") })
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
        let Some(Fault::Within { mishap, .. }) = self.trouble.as_ref().map(|trouble| &trouble.fault) else {
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
    /// The step that asks for it; of an HTTP error, the status.
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

    /// Where it happens when nobody says so: at the end of the texts, or before the first.
    const fn is_at_the_end(self) -> bool {
        matches!(self, Self::Unfinished | Self::LateError(_) | Self::Filtered | Self::Length)
    }
}

#[cfg(test)]
mod tests;
