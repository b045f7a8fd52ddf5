//! OpenAI's chat completions, at OpenAI or at a compatible server: converts our request to its JSON, and its chunks to
//! our events.
//!
//! Where such servers differ is described where a field is read, in [`openai_wire`]. This module handles these special
//! cases. A chunk may have no choices, and the first chunk may have no id. The end may be `[DONE]`, a finish reason, or
//! both, also twice. The usage may come with any chunk. An error may come at any time and in any place, also after the
//! finish reason. A server that does not know `stream` answers in one piece.

mod reply;
mod request;
mod settings;

use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;

use super::body::PiecedBody;
use super::objects::ObjectEvents;
use super::openai_wire;
use super::reading::{BodyReader, EventBody, ResponseBody, events};
use super::{Upstream, UpstreamError, UpstreamRequest, UpstreamStream, complaint, exchange};
use crate::secret::Secret;
use reply::Reply;
use settings::{AudioPart, OpenAiOptions};

/// Chat completions at one address with one key.
#[derive(Debug, Clone)]
pub(super) struct OpenAi {
    url: Url,
    api_key: Secret,
    options: OpenAiOptions,
}

impl OpenAi {
    /// Returns the API at `base_url`, which includes the version.
    #[must_use]
    pub(super) fn new(base_url: &Url, api_key: Secret, options: OpenAiOptions) -> Self {
        Self { url: openai_wire::endpoint(base_url, &["chat", "completions"]), api_key, options }
    }
}

impl Upstream for OpenAi {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let (url, api_key, options) = (self.url.clone(), self.api_key.clone(), self.options);
        let idle = request.terms.idle_timeout;
        let answered =
            async move { Ok(events(send(url, &api_key, options, request).await?, reader(api_key), idle)) };
        stream::once(answered).try_flatten().boxed_local()
    }
}

/// Returns a reader for the body of an answer. It removes the channel's key from the texts of errors.
#[must_use]
pub fn reader(api_key: Secret) -> impl BodyReader {
    EventBody::new(ObjectEvents::new(Reply::default(), api_key))
}

async fn send(
    url: Url,
    api_key: &Secret,
    options: OpenAiOptions,
    request: UpstreamRequest,
) -> Result<ResponseBody, UpstreamError> {
    let key = openai_wire::bearer(api_key)?;
    let terms = request.terms.clone();
    let body = PiecedBody::new(request::pieces(request, options));
    let refused = |refusal| complaint::refusal(&refusal, api_key.expose());
    let response = exchange::post(url, key, "application/json", body, terms, refused).await?;
    // The content type is ignored: servers declare JSON as an event stream, and the reverse.
    Ok(response.body)
}
