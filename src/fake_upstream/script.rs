//! What a fake upstream is told to do: a list of steps joined by `+`, which rides behind the name of a model.
//!
//! A script says the shape of the answer and at most one fault, with the calls that it is for. Whatever is not
//! understood, or could have no effect, is refused with the step that it is about: a test that asks for a fault which
//! never happens would prove nothing.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::text::LEAST_SIZE;

/// Texts of an answer when nobody says how many.
const CHUNKS: u64 = 5;
const MOST_CHUNKS: u64 = 1_000_000;
const THOUGHTS: u64 = 2;
const MOST_THOUGHTS: u64 = 1000;
/// The longest delay and pause: a day, in milliseconds.
const MOST_MILLISECONDS: u64 = 86_400_000;
/// The largest text and the largest piece, in bytes.
const MOST_SIZE: u64 = 1 << 20;
/// The largest answer, in bytes of text: some dialects repeat all of it at the end. Whoever needs more takes `endless`.
const MOST_TEXT: u64 = 64 << 20;
/// The longest hint when to come back: a day, in seconds.
const MOST_HINT: f64 = 86_400.0;
/// The statuses that can be asked for.
const STATUSES: RangeInclusive<u16> = 400..=599;

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

    /// Makes this share of the calls faulty.
    ///
    /// # Errors
    /// [`ScriptError`] where the script has no fault, or a share of its own.
    pub fn with_rate(mut self, rate: &str) -> Result<Self, ScriptError> {
        let step = Step { name: "rate", value: Some(rate) };
        let trouble = self.trouble.as_mut().ok_or_else(|| step.wrong(NO_FAULT))?;
        if trouble.rate.is_some() {
            return Err(step.wrong("the script has a rate of its own"));
        }
        trouble.rate = Some(step.share()?);
        Ok(self)
    }

    /// Can this dialect do what the script says?
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

const NO_FAULT: &str = "there is no fault that it could be about";

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut draft = Draft::default();
        for text in text.split('+') {
            let step = match text.split_once('=') {
                Some((name, value)) => Step { name, value: Some(value) },
                None => Step { name: text, value: None },
            };
            if draft.names.contains(&step.name) {
                return Err(step.wrong("it is there twice"));
            }
            draft.take(step)?;
            draft.names.push(step.name);
        }
        draft.finish()
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

/// One step as it was written.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.value.map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

impl<'a> Step<'a> {
    fn wrong(self, problem: impl Into<String>) -> ScriptError {
        ScriptError { step: self.to_string(), problem: problem.into() }
    }

    fn bare<T>(self, meaning: T) -> Result<T, ScriptError> {
        if self.value.is_some() { Err(self.wrong("it takes no value")) } else { Ok(meaning) }
    }

    fn value(self, example: &str) -> Result<&'a str, ScriptError> {
        self.value.ok_or_else(|| self.wrong(format!("it needs a value, as in `{}={example}`", self.name)))
    }

    fn number(self, range: RangeInclusive<u64>) -> Result<u64, ScriptError> {
        let text = self.value(&range.start().max(&1).to_string())?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = range.into_inner();
            self.wrong(match most {
                u64::MAX => format!("its value must be a whole number of at least {least}"),
                most => format!("its value must be a whole number between {least} and {most}"),
            })
        })
    }

    fn milliseconds(self) -> Result<Duration, ScriptError> {
        Ok(Duration::from_millis(self.number(0..=MOST_MILLISECONDS)?))
    }

    fn bytes(self, least: usize) -> Result<usize, ScriptError> {
        let bytes = self.number(least as u64..=MOST_SIZE)?;
        usize::try_from(bytes).map_err(|_| self.wrong("its value is too large"))
    }

    /// A number of the form `12` or `1.5`.
    fn decimal(self, example: &str) -> Result<f64, ScriptError> {
        let text = self.value(example)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number = plain.then(|| text.parse().ok()).flatten();
        number
            .ok_or_else(|| self.wrong(format!("its value must be a number, as in `{}={example}`", self.name)))
    }

    fn share(self) -> Result<f64, ScriptError> {
        let share = self.decimal("0.1")?;
        if share <= 1.0 { Ok(share) } else { Err(self.wrong("its value must be between 0 and 1")) }
    }

    fn one_of<T: Copy>(self, choices: &[(&str, T)]) -> Result<T, ScriptError> {
        let known = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let text = self.value(choices.first().map_or("", |(name, _)| name))?;
        let choice = choices.iter().find(|(name, _)| *name == text);
        choice
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.wrong(format!("its value must be one of {}", known())))
    }

    fn error_form(self) -> Result<ErrorForm, ScriptError> {
        if self.value.is_none() {
            return Ok(ErrorForm::Data);
        }
        self.one_of(&[
            ("data", ErrorForm::Data),
            ("bare", ErrorForm::Bare),
            ("event", ErrorForm::Event),
            ("field", ErrorForm::Field),
            ("beside", ErrorForm::Beside),
        ])
    }

    fn status(self) -> Result<Instead, ScriptError> {
        let status = self.name.parse().ok().filter(|status| STATUSES.contains(status));
        let status = status.ok_or_else(|| self.wrong("a status is between 400 and 599"))?;
        if self.value.is_none() {
            return Ok(Instead::Status(status, None));
        }
        if !matches!(status, 429 | 503) {
            return Err(self.wrong("only 429 and 503 tell when to come back"));
        }
        let seconds = self.decimal("30")?;
        if seconds > MOST_HINT {
            return Err(self.wrong(format!("its value must be {MOST_HINT} seconds at most")));
        }
        Ok(Instead::Status(status, Some(Duration::from_secs_f64(seconds))))
    }
}

/// A script that is being read.
#[derive(Debug, Default)]
struct Draft<'a> {
    names: Vec<&'a str>,
    shape: Shape,
    fault: Option<(Step<'a>, Wish)>,
    after: Option<(Step<'a>, u64)>,
    first: Option<(Step<'a>, u64)>,
    rate: Option<(Step<'a>, f64)>,
    size: Option<Step<'a>>,
}

/// A fault before it is known after how many texts it comes.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Instead(Instead),
    Within(Mishap),
}

impl<'a> Draft<'a> {
    fn take(&mut self, step: Step<'a>) -> Result<(), ScriptError> {
        let shape = &mut self.shape;
        match step.name {
            "chunks" => shape.chunks = step.number(0..=MOST_CHUNKS)?,
            "pause" => shape.pause = step.milliseconds()?,
            "delay" => shape.delay = step.milliseconds()?,
            "think" if step.value.is_none() => shape.thoughts = THOUGHTS,
            "think" => shape.thoughts = step.number(1..=MOST_THOUGHTS)?,
            "split" if step.value.is_none() => shape.split = Some(1),
            "split" => shape.split = Some(step.bytes(1)?),
            "size" => {
                shape.size = Some(step.bytes(LEAST_SIZE)?);
                self.size = Some(step);
            }
            "usage" => {
                shape.usage = Some(step.one_of(&[
                    ("beside", UsagePlace::Beside),
                    ("apart", UsagePlace::Apart),
                    ("none", UsagePlace::Nowhere),
                ])?);
            }
            "style" => {
                shape.style = Some(step.one_of(&[
                    ("openai", Style::OpenAi),
                    ("diarize", Style::Diarize),
                    ("mistral", Style::Mistral),
                    ("vllm", Style::Vllm),
                    ("speaches", Style::Speaches),
                ])?);
            }
            "plain" => shape.plain = step.bare(true)?,
            "after" => self.after = Some((step, step.number(0..=MOST_CHUNKS)?)),
            "first" => self.first = Some((step, step.number(1..=u64::MAX)?)),
            "rate" => self.rate = Some((step, step.share()?)),
            _ => {
                let wish = Self::wish(step)?;
                if let Some((earlier, _)) = self.fault {
                    return Err(step.wrong(format!("there is a fault already: `{earlier}`")));
                }
                self.fault = Some((step, wish));
            }
        }
        Ok(())
    }

    fn wish(step: Step<'_>) -> Result<Wish, ScriptError> {
        let instead = |instead| step.bare(Wish::Instead(instead));
        let within = |mishap| step.bare(Wish::Within(mishap));
        match step.name {
            "daily" => instead(Instead::Daily),
            "badkey" => instead(Instead::BadKey),
            "blocked" => instead(Instead::Blocked),
            "slam" => instead(Instead::Slam),
            "silent" => instead(Instead::Silent),
            "empty" => instead(Instead::Empty),
            "stall" => within(Mishap::Stall),
            "endless" => within(Mishap::Endless),
            "cut" => Ok(Wish::Within(Mishap::Cut(step.number(0..=u64::MAX)?))),
            "half" => within(Mishap::Half),
            "torn" => within(Mishap::Torn),
            "garbage" => within(Mishap::Garbage),
            "unfinished" => within(Mishap::Unfinished),
            "error" => Ok(Wish::Within(Mishap::Error(step.error_form()?))),
            "late-error" => Ok(Wish::Within(Mishap::LateError(step.error_form()?))),
            "filtered" => within(Mishap::Filtered),
            "length" => within(Mishap::Length),
            "" => Err(step.wrong("it is empty")),
            name if name.bytes().all(|byte| byte.is_ascii_digit()) => step.status().map(Wish::Instead),
            _ => Err(step.wrong("there is no such step")),
        }
    }

    fn finish(self) -> Result<Script, ScriptError> {
        let Self { shape, fault, after, first, rate, size, .. } = self;
        if let (Some(step), Some(bytes)) = (size, shape.size)
            && shape.chunks.saturating_mul(bytes as u64) > MOST_TEXT
        {
            return Err(step.wrong(format!("all texts together may have {MOST_TEXT} bytes; take `endless`")));
        }
        let Some((step, wish)) = fault else {
            let idle =
                after.map(|(step, _)| step).or(first.map(|(step, _)| step)).or(rate.map(|(step, _)| step));
            return idle.map_or(Ok(Script { shape, trouble: None }), |step| Err(step.wrong(NO_FAULT)));
        };
        let fault = match (wish, after) {
            (Wish::Within(Mishap::Garbage), None | Some((_, 0))) => Fault::Instead(Instead::Page),
            (Wish::Instead(_) | Wish::Within(Mishap::Endless), Some((after, _))) => {
                return Err(after.wrong(format!("`{step}` does not come after anything")));
            }
            (Wish::Instead(instead), None) => Fault::Instead(instead),
            (Wish::Within(_), Some((after, texts))) if texts > shape.chunks => {
                return Err(after.wrong(format!("there are only {} texts", shape.chunks)));
            }
            (Wish::Within(mishap), after) => {
                let usual = if mishap.is_at_the_end() { shape.chunks } else { 0 };
                Fault::Within { after: after.map_or(usual, |(_, texts)| texts), mishap }
            }
        };
        let trouble =
            Trouble { fault, first: first.map(|(_, calls)| calls), rate: rate.map(|(_, share)| share) };
        Ok(Script { shape, trouble: Some(trouble) })
    }
}

#[cfg(test)]
mod tests;
