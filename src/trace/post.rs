//! One message to a collector, and what its answer means by OTLP's rules.

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

/// Name look-up and TCP, and TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// The whole exchange.
const EXCHANGE: Duration = Duration::from_secs(10);
/// As much of an answer is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// As much of a collector's words goes to the log, in characters.
const MAX_WORDS: usize = 200;

/// The collector, from this thread.
pub(super) struct Collector {
    client: HttpClient,
    config: TracesConfig,
}

/// The collector took a message.
pub(super) struct Accepted {
    /// What it took no further than that.
    pub(super) rejected: Option<Rejected>,
}

/// Spans that a collector refuses out of a message.
pub(super) struct Rejected {
    pub(super) spans: u64,
    pub(super) reason: String,
}

/// The collector did not take a message.
pub(super) enum Failure {
    /// It may the next time.
    Passing {
        /// When that is, where it says so.
        retry_after: Option<Duration>,
        why: String,
    },
    /// It never will.
    Final(String),
}

impl Collector {
    pub(super) fn new(config: TracesConfig) -> Self {
        Self { client: HttpClient::new(CONNECT, Reach::Anybody), config }
    }

    pub(super) async fn post(&self, message: &ExportTraceServiceRequest) -> Result<Accepted, Failure> {
        let passing = |why: &str| Failure::Passing { retry_after: None, why: why.to_owned() };
        let exchange = timeout(EXCHANGE, self.exchange(message.encode_to_vec())).await;
        exchange.unwrap_or_else(|_| Err(passing("the collector does not answer in time")))
    }

    async fn exchange(&self, body: Vec<u8>) -> Result<Accepted, Failure> {
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
            .map_err(|err| Failure::Passing { retry_after: None, why: why(&err) })?;
        let status = response.status();
        if status.is_success() {
            // It has the spans, whatever becomes of its answer.
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
            return Err(Failure::Final(why));
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Err(Failure::Passing { retry_after, why })
    }
}

/// What the answer to an accepted message says of its spans.
fn rejected(answer: &[u8]) -> Option<Rejected> {
    let part = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let spans = u64::try_from(part.rejected_spans).ok().filter(|spans| *spans > 0)?;
    let reason = part.error_message.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
    Some(Rejected { spans, reason })
}

/// Why no answer came. No text of awc's is passed on.
fn why(err: &SendRequestError) -> String {
    let why = match err {
        SendRequestError::Connect(err) if is_timeout(err) => "no connection to the collector in time",
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            "the collector's name does not resolve"
        }
        SendRequestError::Connect(_) => "no connection to the collector",
        SendRequestError::Response(_) => "the collector does not answer in HTTP",
        _ => "the collector broke off",
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn a_collector_can_refuse_a_part() {
        let answer = |rejected_spans| {
            let error_message = format!("too\nold{}", "!".repeat(MAX_WORDS));
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
            rejected(&ExportTraceServiceResponse { partial_success }.encode_to_vec())
        };
        let part = answer(3).unwrap();
        assert_eq!((part.spans, part.reason.len()), (3, MAX_WORDS));
        assert!(part.reason.starts_with("tooold!"));
        // With none of them it is a remark.
        assert!(answer(0).is_none() && rejected(b"").is_none() && rejected(b"{}").is_none());
    }
}
