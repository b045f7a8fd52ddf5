//! `GET /metrics`, served by the main listener or by a separate listener.
//!
//! No key is needed, so clients that do not read their responses must not hold memory. A response does not own its
//! text. The scraper owns each text, keeps it long enough to be read, and then drops it, even if it was not read.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::reply;
use crate::error::Failure;
use crate::metrics::CONTENT_TYPE;
use crate::net::PIECE;

/// A request for the text of the metrics. It is dropped without an answer if the text cannot be written.
pub type MetricsRequest = oneshot::Sender<Arc<str>>;

/// A handle to request the text of the metrics; cheap to clone. Requests at the same time get the same text, so that
/// many requests cost as much as one.
#[derive(Debug, Clone)]
pub struct ServedMetrics(mpsc::Sender<MetricsRequest>);

impl ServedMetrics {
    /// Creates a handle that sends its requests to the receiver of `requests`, which writes the text.
    #[must_use]
    pub fn new(requests: mpsc::Sender<MetricsRequest>) -> Self {
        Self(requests)
    }

    async fn text(&self) -> Option<Arc<str>> {
        let (request, text) = oneshot::channel();
        self.0.send(request).await.ok()?;
        text.await.ok()
    }
}

/// Handles `GET /metrics`.
pub(super) async fn serve(request: HttpRequest, metrics: Option<web::Data<ServedMetrics>>) -> HttpResponse {
    let Some(metrics) = metrics else { return reply::not_found(&request) };
    match metrics.text().await {
        Some(text) => {
            HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(Borrowed::of(&text))
        }
        None => Failure::internal().error_response(),
    }
}

/// The body of a response. It does not own its text, and ends early if the text is dropped before it is sent.
#[derive(Debug)]
struct Borrowed {
    text: Weak<str>,
    length: usize,
    sent: usize,
}

/// The error of a response whose text was dropped before the client had read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the metrics were not read in time")]
struct Outdated;

impl Borrowed {
    fn of(text: &Arc<str>) -> Self {
        Self { text: Arc::downgrade(text), length: text.len(), sent: 0 }
    }
}

impl MessageBody for Borrowed {
    type Error = Outdated;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Outdated>>> {
        if self.sent == self.length {
            return Poll::Ready(None);
        }
        let Some(text) = self.text.upgrade() else { return Poll::Ready(Some(Err(Outdated))) };
        let end = self.length.min(self.sent + PIECE);
        // A copy, because a slice would hold the whole text for as long as the connection holds the piece.
        let piece = Bytes::copy_from_slice(text.as_bytes().get(self.sent..end).unwrap_or_default());
        self.sent = end;
        Poll::Ready(Some(Ok(piece)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn next(body: &mut Borrowed) -> Option<Result<Bytes, Outdated>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await
    }

    #[actix_rt::test]
    async fn a_response_does_not_own_its_text_and_ends_early_without_it() {
        let text: Arc<str> = "x".repeat(PIECE + 1).into();
        let (mut read, mut stuck) = (Borrowed::of(&text), Borrowed::of(&text));
        let mut pieces = Vec::new();
        while let Some(piece) = next(&mut read).await {
            pieces.push(piece.unwrap());
        }
        assert_eq!(pieces.concat(), text.as_bytes());
        let begun = next(&mut stuck).await.unwrap().unwrap();
        assert_eq!(begun.len(), PIECE);
        let kept = Arc::downgrade(&text);
        drop(text);
        assert!(kept.upgrade().is_none(), "pieces and bodies hold the text");
        assert_eq!(next(&mut stuck).await, Some(Err(Outdated)));
    }
}
