//! The checks of the fields of a submit body. Each function reads one field from its JSON text, and its error names the
//! field.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::TEMPERATURES;
use crate::error::Failure;
use crate::wire::json_text;

pub(super) fn is_required(name: &'static str) -> Failure {
    Failure::invalid_param(name, format!("{name} is required: send it as a string"))
}

pub(super) fn must_be_string(name: &'static str) -> Failure {
    Failure::invalid_param(name, format!("{name} must be a string"))
}

pub(super) fn text<'a>(
    name: &'static str,
    field: Option<&'a RawValue>,
) -> Result<Option<Cow<'a, str>>, Failure> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    field
        .map(|value| serde_json::from_str::<Text<'_>>(value.get()))
        .transpose()
        .map(|text| text.map(|text| text.0))
        .map_err(|_| match lone_surrogate(field) {
            Some(half) => half_a_character(name, half),
            None => must_be_string(name),
        })
}

/// Returns the lone surrogate in a field that is a string.
fn lone_surrogate(field: Option<&RawValue>) -> Option<u16> {
    let content = field?.get().strip_prefix('"')?.strip_suffix('"')?;
    json_text::lone_surrogate(content.as_bytes())
}

pub(super) fn half_a_character(name: &'static str, half: u16) -> Failure {
    Failure::invalid_param(
        name,
        format!(
            "{name} holds half a character: the escape \\u{half:04x} is a surrogate, one of two escapes that form one \
             character, and the other one is missing; the text may have been cut inside an emoji; send whole characters"
        ),
    )
}

pub(super) fn required_text<'a>(
    name: &'static str,
    field: Option<&'a RawValue>,
    most: usize,
) -> Result<Cow<'a, str>, Failure> {
    let text = text(name, field)?.ok_or_else(|| is_required(name))?;
    bounded(name, text, 1, most)
}

/// Checks the length of a text in characters, which are Unicode scalar values.
pub(super) fn bounded<'a>(
    name: &'static str,
    text: Cow<'a, str>,
    least: usize,
    most: usize,
) -> Result<Cow<'a, str>, Failure> {
    // A text never has more characters than bytes, so the characters rarely have to be counted.
    let within = text.len() >= least && (text.len() <= most || text.chars().count() <= most);
    if within {
        return Ok(text);
    }
    let rule = match (least, most) {
        (0, most) => format!("at most {most} characters long"),
        (least, most) => format!("{least} to {most} characters long"),
    };
    Err(Failure::invalid_param(name, format!("{name} must be {rule}")))
}

pub(super) fn flag(name: &'static str, field: Option<&RawValue>) -> Result<bool, Failure> {
    field.map_or(Ok(false), |value| serde_json::from_str(value.get())).map_err(|_| {
        Failure::invalid_param(name, format!("{name} must be true or false, without quotation marks"))
    })
}

pub(super) fn max_tokens(field: Option<&RawValue>) -> Result<Option<u64>, Failure> {
    /// The first number that is too large for 64 bits.
    const BEYOND: f64 = 18_446_744_073_709_551_616.0;
    let Some(value) = field else { return Ok(None) };
    // JSON does not distinguish integers from other numbers: 256.0 is 256.
    let number = serde_json::from_str::<u64>(value.get()).ok().or_else(|| {
        let number = serde_json::from_str::<f64>(value.get()).ok()?;
        (number.fract() == 0.0 && (0.0..BEYOND).contains(&number)).then_some(number as u64)
    });
    match number {
        Some(number) if number >= 1 => Ok(Some(number)),
        _ => Err(Failure::invalid_param(
            "max_tokens",
            format!("max_tokens must be an integer from 1 to {}", u64::MAX),
        )),
    }
}

pub(super) fn temperature(field: Option<&RawValue>) -> Result<Option<f64>, Failure> {
    let Some(value) = field else { return Ok(None) };
    match serde_json::from_str::<f64>(value.get()) {
        Ok(number) if TEMPERATURES.contains(&number) => Ok(Some(number)),
        _ => Err(Failure::invalid_param("temperature", "temperature must be a number from 0 to 2")),
    }
}
