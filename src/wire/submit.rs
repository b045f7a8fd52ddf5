//! The body of a submit, field by field and not yet judged.
//!
//! Each field stays the piece of JSON text that it was, borrowed from the body: a field of the wrong type
//! can then be named in the error, and audio of many megabytes is not copied to be looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The fields that make up an audio understanding request; unknown ones are ignored, an explicit `null`
/// is the same as absence.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's, explained where they are judged")]
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
