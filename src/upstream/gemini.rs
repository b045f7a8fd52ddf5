//! Google's Gemini API (v1beta, `streamGenerateContent`): converts our request to its JSON, and its events to ours.
//!
//! The facts about the wire are from recorded traffic and Google's SDKs. This module handles these special cases. Every
//! field of an event is optional. The usage is a running snapshot, and its counts may go down. Older models send `STOP`
//! on every chunk, so the answer ends only with the body. An error in a stream may be an event or bare JSON lines, even
//! after `STOP`. A refused key is a 400. A 429 has its delay in the body only.

mod reply;
mod request;
mod settings;
mod usage;

use awc::http::header::HeaderName;
use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;

use super::body::PiecedBody;
use super::exchange::{self, KeyHeader};
use super::objects::ObjectEvents;
use super::reading::{BodyReader, EventBody, ResponseBody, events};
use super::{Upstream, UpstreamError, UpstreamRequest, UpstreamStream, complaint};
use crate::secret::Secret;
use reply::Reply;

/// The Gemini API at one address with one key.
#[derive(Debug, Clone)]
pub(super) struct Gemini {
    base_url: Url,
    api_key: Secret,
}

impl Gemini {
    /// Returns the API at `base_url`, which includes the version.
    #[must_use]
    pub(super) fn new(base_url: Url, api_key: Secret) -> Self {
        Self { base_url, api_key }
    }

    /// Returns `{base}/models/{model}:streamGenerateContent?alt=sse`. The client's model name is one path segment,
    /// whatever it contains.
    fn url(&self, model: &str) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("models").push(&format!("{model}:streamGenerateContent"));
        }
        url.set_query(Some("alt=sse"));
        url
    }
}

impl Upstream for Gemini {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let url = self.url(&request.question.model);
        let api_key = self.api_key.clone();
        let idle = request.terms.idle_timeout;
        let answered = async move { Ok(events(send(url, &api_key, request).await?, reader(api_key), idle)) };
        stream::once(answered).try_flatten().boxed_local()
    }
}

/// Returns a reader for the body of an answer. It removes the channel's key from the texts of errors.
#[must_use]
pub fn reader(api_key: Secret) -> impl BodyReader {
    EventBody::new(ObjectEvents::new(Reply::new(api_key.clone()), api_key))
}

async fn send(url: Url, api_key: &Secret, request: UpstreamRequest) -> Result<ResponseBody, UpstreamError> {
    let key = KeyHeader::new(HeaderName::from_static("x-goog-api-key"), "", api_key)?;
    let terms = request.terms.clone();
    let body = PiecedBody::new(request::pieces(request));
    let refused = |refusal| complaint::refusal(&refusal, api_key.expose());
    let response = exchange::post(url, key, "application/json", body, terms, refused).await?;
    // The content type is ignored: Google declares JSON errors as an event stream, and the reverse.
    Ok(response.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_is_one_segment_of_the_url() {
        let gemini = Gemini::new(Url::parse("http://h:1/v1beta").unwrap(), Secret::new("k".into()));
        assert_eq!(
            gemini.url("gemini-2.5-pro").as_str(),
            "http://h:1/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
        );
        assert_eq!(
            gemini.url("gemini-/../../files?x=#y%2F").as_str(),
            "http://h:1/v1beta/models/gemini-%2F..%2F..%2Ffiles%3Fx=%23y%252F:streamGenerateContent?alt=sse"
        );
    }
}
