//! A transcription request: a form whose file is counted as it arrives, and not stored.

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;

use crate::fake_upstream::call_flow::Refusal;
use crate::fake_upstream::intake::MOST_BODY_BYTES;

/// Longest value of a field other than the file, in bytes.
const MOST_FIELD_BYTES: usize = 64 * 1024;
/// Extensions of files that are accepted.
const EXTENSIONS: [&str; 12] =
    ["flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "opus", "wav", "webm", "aac"];

/// The requested format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Verbose,
    Diarized,
}

/// The contents of a valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// The model, with its script.
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) format: Format,
    pub(super) audio_bytes: u64,
}

/// Why there is no form.
#[derive(Debug)]
pub(super) enum FormError {
    /// The request was cut off: no client waits for an answer.
    BrokenOff,
    /// The request is refused before its fields are checked.
    Refused(Refusal),
    /// The request is wrong, with OpenAI's message.
    Wrong(String),
}

impl From<MultipartError> for FormError {
    fn from(err: MultipartError) -> Self {
        match err {
            MultipartError::Payload(_) => Self::BrokenOff,
            err => Self::Wrong(format!("Could not parse multipart form: {err}")),
        }
    }
}

/// The fields as sent.
#[derive(Debug, Default)]
struct FormFields {
    model: Option<String>,
    stream: bool,
    include_usage: bool,
    format: Option<Format>,
    audio_bytes: Option<u64>,
}

/// Reads a request to its end.
pub(super) async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Form, FormError> {
    let mut parts = Multipart::new(request.headers(), payload);
    let mut draft = FormFields::default();
    let mut left = MOST_BODY_BYTES as u64;
    let mut wrong = None;
    while let Some(part) = parts.next().await {
        let mut part = part?;
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            let bytes = count(&mut part, left).await?;
            left -= bytes;
            wrong = wrong.or(unknown_format(&part));
            draft.audio_bytes = Some(bytes);
        } else {
            let value = value(&mut part, &name).await?;
            left = left.saturating_sub(value.len() as u64);
            // The rest is still read: clients write the whole request before they read.
            wrong = wrong.or(draft.take(&name, value).err());
        }
    }
    wrong.map_or_else(|| draft.finish(), Err).map_err(FormError::Wrong)
}

async fn count(part: &mut Field, most: u64) -> Result<u64, FormError> {
    let mut bytes = 0;
    while let Some(piece) = part.next().await {
        bytes += piece?.len() as u64;
        if bytes > most {
            return Err(FormError::Refused(Refusal::TooLarge));
        }
    }
    Ok(bytes)
}

async fn value(part: &mut Field, name: &str) -> Result<String, FormError> {
    let bytes = part.bytes(MOST_FIELD_BYTES).await;
    let bytes = bytes.map_err(|_| FormError::Wrong(format!("The field '{name}' is too long.")))?;
    let bytes = bytes?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| FormError::Wrong(format!("The field '{name}' is not UTF-8.")))
}

/// Returns the problem with the file's name, whose extension is the format.
fn unknown_format(part: &Field) -> Option<String> {
    let name =
        part.content_disposition().and_then(|disposition| disposition.get_filename()).unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let known = extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
    (!known).then(|| format!("Unrecognized file format. Supported formats: {EXTENSIONS:?}"))
}

impl FormFields {
    fn take(&mut self, name: &str, value: String) -> Result<(), String> {
        let flag = |value: &str| match value {
            "true" | "True" | "1" => Ok(true),
            "false" | "False" | "0" => Ok(false),
            _ => Err(format!("Invalid type for '{name}': expected a boolean, but got '{value}' instead.")),
        };
        match name {
            "model" => self.model = Some(value),
            "stream" => self.stream = flag(&value)?,
            "stream_include_usage" => self.include_usage = flag(&value)?,
            "response_format" => {
                self.format = Some(match value.as_str() {
                    "json" => Format::Json,
                    "text" => Format::Text,
                    "verbose_json" => Format::Verbose,
                    "diarized_json" => Format::Diarized,
                    _ => {
                        return Err(format!(
                            "Invalid value: '{value}'. Supported values are: 'json', 'text', 'verbose_json', and 'diarized_json'."
                        ));
                    }
                });
            }
            "temperature" => {
                let number = value.parse().ok().filter(|number: &f64| (0.0..=1.0).contains(number));
                number.ok_or(format!(
                    "Invalid 'temperature': expected a number between 0 and 1, got '{value}'."
                ))?;
            }
            "language" => {
                let code =
                    (2..=3).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_lowercase());
                if !code {
                    return Err(format!("Invalid language '{value}'. Language must be in ISO 639-1 format."));
                }
            }
            "prompt" | "chunking_strategy" | "timestamp_granularities[]" | "include[]" => {}
            _ => return Err(format!("Unknown parameter: '{name}'.")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Form, String> {
        let missing = |name: &str| format!("Missing required parameter: '{name}'.");
        let audio_bytes = self.audio_bytes.ok_or_else(|| missing("file"))?;
        if audio_bytes == 0 {
            return Err("The audio file is empty.".to_owned());
        }
        let model = self.model.filter(|model| !model.is_empty()).ok_or_else(|| missing("model"))?;
        let format = self.format.unwrap_or(Format::Json);
        Ok(Form { model, stream: self.stream, include_usage: self.include_usage, format, audio_bytes })
    }
}
