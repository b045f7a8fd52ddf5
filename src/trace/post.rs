//! Sends one message to a collector, and interprets its answer by OTLP's rules.

use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header;
use awc::http::{Method, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use super::TracesConfig;
use crate::deadline::timeout;
use crate::net::{HttpClient, Reach, is_timeout};

/// Timeout for name look-up, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for the whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Most characters of a collector's message that are logged.
const MAX_WORDS: usize = 200;

/// A client of the collector, for this thread.
pub(super) struct Collector {
    client: HttpClient,
    config: TracesConfig,
}

/// The answer of a collector that has accepted a message.
pub(super) struct Accepted {
    /// Spans that the collector has rejected, if any.
    pub(super) rejected: Option<Rejected>,
}

/// Spans of an accepted message that the collector has rejected.
pub(super) struct Rejected {
    pub(super) spans: u64,
    pub(super) reason: String,
}

/// Why the collector has not accepted a message.
pub(super) enum PostError {
    /// The collector may accept the message later.
    Temporary {
        /// The time to wait, if the collector has stated one.
        retry_after: Option<Duration>,
        why: String,
    },
    /// The collector will never accept the message.
    Final(String),
}

impl Collector {
    pub(super) fn new(config: TracesConfig) -> Self {
        Self { client: HttpClient::new(CONNECT_TIMEOUT, Reach::AnyHost), config }
    }

    pub(super) async fn post(&self, message: &ExportTraceServiceRequest) -> Result<Accepted, PostError> {
        let passing = |why: &str| PostError::Temporary { retry_after: None, why: why.to_owned() };
        let exchange = timeout(EXCHANGE_TIMEOUT, self.exchange(message.encode_to_vec())).await;
        exchange.unwrap_or_else(|_| Err(passing("the collector did not answer in time")))
    }

    async fn exchange(&self, body: Vec<u8>) -> Result<Accepted, PostError> {
        let mut request = self
            .client
            .request(Method::POST, self.config.endpoint.as_str())
            .insert_header((header::CONTENT_TYPE, "application/x-protobuf"))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .no_decompress();
        for (name, value) in &self.config.headers {
            request = request.insert_header((name.as_str(), value.expose()));
        }
        let mut response = request
            .send_body(body)
            .await
            .map_err(|err| PostError::Temporary { retry_after: None, why: why(&err) })?;
        let status = response.status();
        if status.is_success() {
            // The collector has the spans, even if its answer cannot be read.
            let answer = response.body().limit(MAX_ANSWER_BYTES).await.unwrap_or_default();
            return Ok(Accepted { rejected: rejected(&answer) });
        }
        let why = format!("the collector answers {}", status.as_u16());
        let is_passing = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if !is_passing {
            return Err(PostError::Final(why));
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Err(PostError::Temporary { retry_after, why })
    }
}

/// Returns the spans that the answer to an accepted message reports as rejected.
fn rejected(answer: &[u8]) -> Option<Rejected> {
    let part = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let spans = u64::try_from(part.rejected_spans).ok().filter(|spans| *spans > 0)?;
    let reason = part.error_message.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    Some(Rejected { spans, reason })
}

/// Returns why no answer arrived, in hearken's words and not in awc's.
fn why(err: &SendRequestError) -> String {
    let why = match err {
        SendRequestError::Connect(err) if is_timeout(err) => "connecting to the collector took too long",
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            "the collector's name does not resolve"
        }
        SendRequestError::Connect(_) => "no connection to the collector",
        SendRequestError::Response(_) => "the collector's answer is not HTTP",
        _ => "the collector closed the connection before it answered",
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn a_collector_can_reject_some_spans() {
        let answer = |rejected_spans| {
            let error_message = format!("too\nold{}", "!".repeat(MAX_WORDS));
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            rejected(&ExportTraceServiceResponse { partial_success }.encode_to_vec())
        };
        let part = answer(3).unwrap();
        assert_eq!((part.spans, part.reason.len()), (3, MAX_WORDS));
        assert!(part.reason.starts_with("tooold!"));
        // Without rejected spans, the collector's message reports no loss.
        assert!(answer(0).is_none() && rejected(b"").is_none() && rejected(b"{}").is_none());
    }
}
