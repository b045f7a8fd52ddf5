//! Splits the body of a submit into its fields, which are checked later.
//!
//! Each field is a piece of JSON text, borrowed from the body. So the error can name a field of the wrong type, and
//! audio of many megabytes is not copied before it is checked.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields of an audio understanding request. Unknown fields are ignored, and an explicit `null` means the same as
/// an absent field.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the API, and are documented where they are checked")]
pub struct SubmitBody<'a> {
    #[serde(borrow)]
    pub model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub audio_url: Option<&'a RawValue>,
    #[serde(borrow)]
    pub prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub sync: Option<&'a RawValue>,
    #[serde(borrow)]
    pub stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub max_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub temperature: Option<&'a RawValue>,
    #[serde(borrow)]
    pub system_prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub reasoning: Option<&'a RawValue>,
}
