//! OpenAI's audio transcriptions, at OpenAI or at a compatible server: sends a form with a file, and receives the
//! transcript.
//!
//! The request does not decide the form of the answer: whisper-1 and many clones do not know `stream` and answer in one
//! piece, a text is sometimes JSON, and there are four dialects of streams. So the answer is recognised by its type and
//! its content.

mod events;
mod plain;
mod reply;
mod request;
mod rest;
mod settings;

use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;

use super::body::PiecedBody;
use super::exchange::Response;
use super::openai_wire;
use super::reading::{BodyReader, events};
use super::{Upstream, UpstreamError, UpstreamRequest, UpstreamStream, complaint, exchange};
use crate::secret::Secret;
use reply::{Expected, Transcript};
pub use settings::ResponseFormat;
use settings::TranscriptionOptions;

/// Transcriptions at one address with one key.
#[derive(Debug, Clone)]
pub(super) struct Transcription {
    url: Url,
    api_key: Secret,
    options: TranscriptionOptions,
}

impl Transcription {
    /// Returns the API at `base_url`, which includes the version.
    #[must_use]
    pub(super) fn new(base_url: &Url, api_key: Secret, options: TranscriptionOptions) -> Self {
        Self { url: openai_wire::endpoint(base_url, &["audio", "transcriptions"]), api_key, options }
    }
}

impl Upstream for Transcription {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let (url, api_key, options) = (self.url.clone(), self.api_key.clone(), self.options.clone());
        let idle = request.terms.idle_timeout;
        let answered = async move {
            let Response { content_type, body } = send(url, &api_key, &options, request).await?;
            Ok(events(body, reader(content_type, options.response_format, api_key), idle))
        };
        stream::once(answered).try_flatten().boxed_local()
    }
}

/// Returns a reader for the body of an answer with this `Content-Type` (in lower case, without parameters), requested
/// in this format. It removes the channel's key from the texts of errors.
#[must_use]
pub fn reader(content_type: String, requested_format: ResponseFormat, api_key: Secret) -> impl BodyReader {
    let expected = Expected {
        content_type,
        text: requested_format == ResponseFormat::Text,
        speakers: requested_format == ResponseFormat::DiarizedJson,
    };
    Transcript::new(expected, api_key)
}

async fn send(
    url: Url,
    api_key: &Secret,
    options: &TranscriptionOptions,
    request: UpstreamRequest,
) -> Result<Response, UpstreamError> {
    let key = openai_wire::bearer(api_key)?;
    let terms = request.terms.clone();
    let form = request::form(request, options)?;
    let body = PiecedBody::new(form.pieces);
    let refused = |refusal| complaint::refusal(&refusal, api_key.expose());
    exchange::post(url, key, &form.content_type, body, terms, refused).await
}
