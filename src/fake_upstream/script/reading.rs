//! The parser of scripts: it reads step by step into a draft, and then checks the whole.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::{ErrorForm, Fault, FaultRule, Instead, Mishap, Script, ScriptError, Shape, Style, UsagePlace};
use crate::fake_upstream::text::LEAST_SIZE;

/// Most texts in an answer.
const MOST_CHUNKS: u64 = 1_000_000;
/// Number of thoughts by default.
const THOUGHTS: u64 = 2;
/// Most thoughts in an answer.
const MOST_THOUGHTS: u64 = 1000;
/// Longest delay and pause: a day, in milliseconds.
const MOST_MILLISECONDS: u64 = 86_400_000;
/// Largest text and largest piece, in bytes.
const MOST_SIZE: u64 = 1 << 20;
/// Largest answer, in bytes of text: some dialects repeat all of it at the end. For more there is `endless`.
const MOST_TEXT: u64 = 64 << 20;
/// Longest retry hint: a day, in seconds.
const MOST_HINT: f64 = 86_400.0;
/// The possible statuses of an HTTP error.
const STATUSES: RangeInclusive<u16> = 400..=599;

const NO_FAULT: &str = "the script has no fault for it";

impl Script {
    /// Makes this share of the calls faulty.
    ///
    /// # Errors
    /// [`ScriptError`] if the script has no fault, or already has a rate.
    pub fn with_rate(mut self, rate: &str) -> Result<Self, ScriptError> {
        let step = ScriptStep { name: "rate", value: Some(rate) };
        let fault_rule = self.fault_rule.as_mut().ok_or_else(|| step.wrong(NO_FAULT))?;
        if fault_rule.rate.is_some() {
            return Err(step.wrong("the script already has a rate"));
        }
        fault_rule.rate = Some(step.share()?);
        Ok(self)
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut draft = ScriptDraft::default();
        for text in text.split('+') {
            let step = match text.split_once('=') {
                Some((name, value)) => ScriptStep { name, value: Some(value) },
                None => ScriptStep { name: text, value: None },
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

/// A step of a script, as it is written.
#[derive(Debug, Clone, Copy)]
struct ScriptStep<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl fmt::Display for ScriptStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.value.map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

impl<'a> ScriptStep<'a> {
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

    /// Reads a number of the form `12` or `1.5`.
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
        let status = status.ok_or_else(|| self.wrong("a status must be between 400 and 599"))?;
        if self.value.is_none() {
            return Ok(Instead::Status(status, None));
        }
        if !matches!(status, 429 | 503) {
            return Err(self.wrong("only 429 and 503 have a retry hint"));
        }
        let seconds = self.decimal("30")?;
        if seconds > MOST_HINT {
            return Err(self.wrong(format!("its value must be {MOST_HINT} seconds at most")));
        }
        Ok(Instead::Status(status, Some(Duration::from_secs_f64(seconds))))
    }
}

/// A script while it is read.
#[derive(Debug, Default)]
struct ScriptDraft<'a> {
    names: Vec<&'a str>,
    shape: Shape,
    fault: Option<(ScriptStep<'a>, UnplacedFault)>,
    after: Option<(ScriptStep<'a>, u64)>,
    first: Option<(ScriptStep<'a>, u64)>,
    rate: Option<(ScriptStep<'a>, f64)>,
    size: Option<ScriptStep<'a>>,
}

/// A fault whose number of texts before it is not known yet.
#[derive(Debug, Clone, Copy)]
enum UnplacedFault {
    Instead(Instead),
    Within(Mishap),
}

impl<'a> ScriptDraft<'a> {
    fn take(&mut self, step: ScriptStep<'a>) -> Result<(), ScriptError> {
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
            "odd" => shape.odd = step.bare(true)?,
            "gzip" => shape.gzip = step.bare(true)?,
            "plain" => shape.plain = step.bare(true)?,
            "after" => self.after = Some((step, step.number(0..=MOST_CHUNKS)?)),
            "first" => self.first = Some((step, step.number(1..=u64::MAX)?)),
            "rate" => self.rate = Some((step, step.share()?)),
            _ => {
                let unplaced_fault = Self::unplaced_fault(step)?;
                if let Some((earlier, _)) = self.fault {
                    return Err(step.wrong(format!("the script already has a fault: `{earlier}`")));
                }
                self.fault = Some((step, unplaced_fault));
            }
        }
        Ok(())
    }

    fn unplaced_fault(step: ScriptStep<'_>) -> Result<UnplacedFault, ScriptError> {
        let instead = |instead| step.bare(UnplacedFault::Instead(instead));
        let within = |mishap| step.bare(UnplacedFault::Within(mishap));
        match step.name {
            "daily" => instead(Instead::Daily),
            "badkey" => instead(Instead::BadKey),
            "region" => instead(Instead::Region),
            "blocked" => instead(Instead::Blocked),
            "slam" => instead(Instead::Slam),
            "silent" => instead(Instead::Silent),
            "empty" => instead(Instead::Empty),
            "stall" => within(Mishap::Stall),
            "endless" => within(Mishap::Endless),
            "cut" => Ok(UnplacedFault::Within(Mishap::Cut(step.number(0..=u64::MAX)?))),
            "half" => within(Mishap::Half),
            "torn" => within(Mishap::Torn),
            "garbage" => within(Mishap::Garbage),
            "unfinished" => within(Mishap::Unfinished),
            "error" => Ok(UnplacedFault::Within(Mishap::Error(step.error_form()?))),
            "late-error" => Ok(UnplacedFault::Within(Mishap::LateError(step.error_form()?))),
            "filtered" => within(Mishap::Filtered),
            "length" => within(Mishap::Length),
            "" => Err(step.wrong("it is empty")),
            name if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                step.status().map(UnplacedFault::Instead)
            }
            _ => Err(step.wrong("there is no such step")),
        }
    }

    fn finish(self) -> Result<Script, ScriptError> {
        let Self { shape, fault, after, first, rate, size, .. } = self;
        if let (Some(step), Some(bytes)) = (size, shape.size)
            && shape.chunks.saturating_mul(bytes as u64) > MOST_TEXT
        {
            return Err(step.wrong(format!("all texts together may have {MOST_TEXT} bytes; use `endless`")));
        }
        let Some((step, unplaced_fault)) = fault else {
            let idle =
                after.map(|(step, _)| step).or(first.map(|(step, _)| step)).or(rate.map(|(step, _)| step));
            return idle.map_or(Ok(Script { shape, fault_rule: None }), |step| Err(step.wrong(NO_FAULT)));
        };
        let fault = match (unplaced_fault, after) {
            (UnplacedFault::Within(Mishap::Garbage), None | Some((_, 0))) => Fault::Instead(Instead::Page),
            (UnplacedFault::Instead(_) | UnplacedFault::Within(Mishap::Endless), Some((after, _))) => {
                return Err(after.wrong(format!("`{step}` does not come after texts")));
            }
            (UnplacedFault::Instead(instead), None) => Fault::Instead(instead),
            (UnplacedFault::Within(_), Some((after, texts))) if texts > shape.chunks => {
                return Err(after.wrong(format!("there are only {} texts", shape.chunks)));
            }
            (UnplacedFault::Within(mishap), after) => {
                let usual = if mishap.is_at_the_end() { shape.chunks } else { 0 };
                Fault::Within { after: after.map_or(usual, |(_, texts)| texts), mishap }
            }
        };
        let fault_rule =
            FaultRule { fault, first: first.map(|(_, calls)| calls), rate: rate.map(|(_, share)| share) };
        Ok(Script { shape, fault_rule: Some(fault_rule) })
    }
}
