//! `GET /metrics`: asks everybody who knows something of this moment, and writes what they say beside what was counted.

use std::time::{Duration, Instant};

use actix_rt::task::spawn_blocking;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError, web};
use tokio::join;
use tokio::time::timeout;

use super::open_files::OpenFiles;
use crate::actors::Tasks;
use crate::api::get_or_head;
use crate::api::payload_memory::PayloadMemory;
use crate::api::reply::method_not_allowed;
use crate::channel::Channels;
use crate::error::Failure;
use crate::fanout::Fanout;
use crate::metrics::{CONTENT_TYPE, HttpLevels, Metrics, MetricsError, Now, Process};
use crate::store::Store;

/// How long somebody who is asked may take. Whoever does not answer is left out: the others are wanted most then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Everybody who is asked; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Scrape {
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
    pub(super) fanout: Fanout,
    pub(super) channels: Channels,
    pub(super) store: Store,
    pub(super) memory: PayloadMemory,
    pub(super) open_files: OpenFiles,
}

impl Scrape {
    /// Adds the path to an application.
    pub(super) fn serve(&self, app: &mut web::ServiceConfig) {
        let metrics = web::resource("/metrics")
            .route(get_or_head().to(answer))
            .default_service(web::to(|| method_not_allowed("GET, HEAD")));
        app.app_data(web::Data::new(self.clone())).service(metrics);
    }

    async fn text(&self) -> Result<String, MetricsError> {
        let (tasks, behind, store, process) = join!(
            timeout(PATIENCE, self.tasks.levels()),
            timeout(PATIENCE, self.fanout.behind()),
            timeout(PATIENCE, self.store.levels()),
            timeout(PATIENCE, spawn_blocking(Process::look)),
        );
        let (now, moment) = (Now::new(), Instant::now());
        let breakers =
            self.channels.iter().map(|channel| (channel.name.as_str(), channel.breaker.state(moment)));
        now.breakers(breakers)?;
        now.http(HttpLevels {
            connections: self.open_files.taken(),
            payload: self.memory.taken(),
            uploads_waiting: self.memory.waiting(),
        })?;
        if let Ok(Some(levels)) = tasks {
            now.tasks(&levels)?;
        }
        if let Ok(Some(behind)) = behind {
            now.behind(behind)?;
        }
        if let Ok(levels) = store {
            now.store(levels)?;
        }
        if let Ok(Ok(process)) = process {
            now.process(process)?;
        }
        // Last: what was told meanwhile counts.
        self.metrics.text(&now)
    }
}

async fn answer(scrape: web::Data<Scrape>) -> HttpResponse {
    match scrape.text().await {
        Ok(text) => HttpResponse::Ok().insert_header((header::CONTENT_TYPE, CONTENT_TYPE)).body(text),
        Err(err) => {
            tracing::error!(%err, "the metrics cannot be written");
            Failure::internal().error_response()
        }
    }
}
