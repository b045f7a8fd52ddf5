//! `GET /metrics`, where it is to be served: by the main listener, or by one of its own.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::pieces::Pieces;
use super::reply;
use crate::error::Failure;
use crate::metrics::CONTENT_TYPE;

/// Whoever wants to read the metrics: gets their text, or is dropped where it cannot be written.
pub type Reader = oneshot::Sender<Bytes>;

/// Where the metrics can be read; cheap to clone. All who read at once are told the same: it costs as much as one does.
#[derive(Debug, Clone)]
pub struct Metrics(mpsc::Sender<Reader>);

impl Metrics {
    /// Written by the one who receives these readers.
    #[must_use]
    pub fn new(readers: mpsc::Sender<Reader>) -> Self {
        Self(readers)
    }

    async fn text(&self) -> Option<Bytes> {
        let (reader, text) = oneshot::channel();
        self.0.send(reader).await.ok()?;
        text.await.ok()
    }
}

/// Handles `GET /metrics`.
pub async fn serve(request: HttpRequest, metrics: Option<web::Data<Metrics>>) -> HttpResponse {
    let Some(metrics) = metrics else { return reply::not_found(&request) };
    match metrics.text().await {
        Some(text) => {
            HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(Pieces::of(text))
        }
        None => Failure::internal().error_response(),
    }
}
