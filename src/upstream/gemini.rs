//! Google's Gemini API (v1beta, `streamGenerateContent`): our request in its JSON, its events in our terms.
//!
//! Facts about the wire were taken from recorded traffic and Google's SDKs; the quirks that shape this file:
//! every field of an event is optional; usage is a running snapshot whose counts may go down; older models
//! say `STOP` on every chunk, so only the end of the body is the end; an error in mid-stream may be an event
//! or bare JSON lines, even after `STOP`; a refused key is a 400; a 429 tells its delay in the body only.

mod reply;
mod request;

use std::time::Duration;

use awc::error::PayloadError;
use awc::http::header;
use bytes::Bytes;
use futures_util::stream::LocalBoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use url::Url;

use super::body::PiecedBody;
use super::client;
use super::{Batch, Upstream, UpstreamError, UpstreamRequest, UpstreamStream};
use crate::config::Secret;
use crate::wire::event_stream::{EventStreamDecoder, Piece};
use reply::Reply;

/// Largest event that is taken, in bytes: real ones pass 16 KiB (signatures, grounding), none a few MiB.
const MAX_EVENT_BYTES: usize = 16 << 20;
/// As much of an error's body as is looked at, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The Gemini API at one address with one key.
#[derive(Debug)]
pub struct Gemini {
    base_url: Url,
    api_key: Secret,
}

impl Gemini {
    /// `base_url` goes up to and including the version.
    #[must_use]
    pub fn new(base_url: Url, api_key: Secret) -> Self {
        Self { base_url, api_key }
    }

    /// `{base}/models/{model}:streamGenerateContent?alt=sse`, with the client's model name as one segment
    /// whatever it holds.
    fn url(&self, model: &str) -> String {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("models").push(&format!("{model}:streamGenerateContent"));
        }
        url.set_query(Some("alt=sse"));
        url.into()
    }
}

impl Upstream for Gemini {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let url = self.url(&request.question.model);
        let api_key = self.api_key.clone();
        let reply = Reply::new(request.question.reasoning, api_key.clone());
        let answered = async move { Ok(events(send(url, api_key, request).await?, reply)) };
        stream::once(answered).try_flatten().boxed_local()
    }
}

/// The body of a response.
type Body = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

async fn send(url: String, api_key: Secret, request: UpstreamRequest) -> Result<Body, UpstreamError> {
    let connect_timeout = request.connect_timeout;
    let mut key = header::HeaderValue::from_str(api_key.expose())
        .map_err(|_| UpstreamError::Invalid("the channel's key is no header value".to_owned()))?;
    // No library that logs headers shall print it.
    key.set_sensitive(true);
    let sent = client::client(connect_timeout)
        .post(url)
        .insert_header(("x-goog-api-key", key))
        .insert_header((header::CONTENT_TYPE, "application/json"))
        // A compressed stream would come in blocks, not chunk by chunk.
        .insert_header((header::ACCEPT_ENCODING, "identity"))
        .no_decompress()
        .send_body(PiecedBody::new(request::pieces(request)));
    let response = sent.await.map_err(|err| client::send_error(&err, connect_timeout))?;
    if response.status().is_success() {
        return Ok(response.boxed_local());
    }
    let status = response.status().as_u16();
    let body = error_body(response).await;
    Err(reply::refusal(status, &body, api_key.expose()))
}

/// The first bytes of an error's body; a body that breaks off is taken as far as it came.
async fn error_body(mut response: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = response.next().await {
        body.extend_from_slice(&bytes);
        if body.len() >= MAX_ERROR_BYTES {
            break;
        }
    }
    body.truncate(MAX_ERROR_BYTES);
    body
}

struct Reading {
    body: Body,
    decoder: EventStreamDecoder,
    reply: Reply,
    pieces: Vec<Piece>,
    /// What ends the call once the texts that came before it have been handed out.
    failed: Option<UpstreamError>,
}

impl Reading {
    fn take(&mut self, bytes: &[u8], batch: &mut Batch) -> Result<(), UpstreamError> {
        let fed = self.decoder.feed(bytes, &mut self.pieces);
        self.take_pieces(batch)?;
        fed.map_err(|err| UpstreamError::Invalid(err.to_string()))
    }

    fn take_pieces(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.pieces.drain(..).try_for_each(|piece| self.reply.take(piece, batch))
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.decoder.finish(&mut self.pieces);
        self.take_pieces(batch)?;
        self.reply.finish(batch)
    }
}

fn events(body: Body, reply: Reply) -> impl Stream<Item = Result<Batch, UpstreamError>> {
    let decoder = EventStreamDecoder::new(MAX_EVENT_BYTES);
    let reading = Reading { body, decoder, reply, pieces: Vec::new(), failed: None };
    stream::try_unfold(Some(reading), |reading| async move {
        let Some(mut reading) = reading else { return Ok(None) };
        if let Some(err) = reading.failed.take() {
            return Err(err);
        }
        let mut batch = Batch::new();
        let (taken, ended) = match reading.body.next().await {
            Some(Ok(bytes)) => (reading.take(&bytes, &mut batch), false),
            Some(Err(_)) => (Err(UpstreamError::Disconnected), false),
            None => (reading.finish(&mut batch), true),
        };
        match taken {
            Ok(()) => Ok(Some((batch, (!ended).then_some(reading)))),
            Err(err) if batch.is_empty() => Err(err),
            // One read may bring a text and an error: how the network cut the bytes must not decide whether
            // the text is published.
            Err(err) => {
                reading.failed = Some(err);
                Ok(Some((batch, Some(reading))))
            }
        }
    })
}

/// A protobuf duration as JSON writes it: `"34.4s"`.
fn protobuf_duration(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_cannot_leave_its_place_in_the_url() {
        let gemini = Gemini::new(Url::parse("http://h:1/v1beta").unwrap(), Secret::new("k".into()));
        assert_eq!(
            gemini.url("gemini-2.5-pro"),
            "http://h:1/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
        );
        assert_eq!(
            gemini.url("gemini-/../../files?x=#y%2F"),
            "http://h:1/v1beta/models/gemini-%2F..%2F..%2Ffiles%3Fx=%23y%252F:streamGenerateContent?alt=sse"
        );
    }

    #[test]
    fn protobuf_durations_are_read() {
        assert_eq!(protobuf_duration("48s"), Some(Duration::from_secs(48)));
        assert_eq!(protobuf_duration("34.4s"), Some(Duration::from_millis(34_400)));
        for text in ["48", "s", "-1s", "1e99s", "NaNs"] {
            assert_eq!(protobuf_duration(text), None, "{text}");
        }
    }
}
