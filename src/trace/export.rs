//! Sends spans to a collector, by OTLP over HTTP. A collector that fails does not affect requests or tasks: lost spans
//! are counted, and the log reports them at most once a minute.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_rt::ArbiterHandle;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::TracesConfig;
use super::otlp;
use super::post::{Collector, PostError};
use super::queue::{self, Queue, Waiting};

/// Most attempts to send a message.
const TRIES: u32 = 5;
/// The pause before the second attempt. It doubles before each further attempt.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, even if the collector asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Shortest time between two log lines about failures.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// How long the last spans may take when the server stops.
const LAST_TIME: Duration = Duration::from_secs(3);

/// A running exporter.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<Infallible>,
    ended: oneshot::Receiver<Infallible>,
}

impl Exporter {
    /// Exports the waiting spans. After a few seconds, the spans that the collector has not accepted are lost.
    pub async fn finish(self) {
        drop(self.stop);
        if timeout(LAST_TIME, self.ended).await.is_err() {
            tracing::warn!("the last spans are lost, because the collector did not accept them in time");
        }
    }
}

/// Resolves when the server stops.
type Stop = Shared<BoxFuture<'static, ()>>;

pub(super) fn start(config: &TracesConfig, arbiter: &ArbiterHandle) -> (Queue, Exporter) {
    let (queue, waiting) = queue::queue();
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let (ending, ended) = oneshot::channel::<Infallible>();
    let (config, losses) =
        (config.clone(), Losses { overflowed: waiting.overflowed(), lost: 0, last_report: None });
    arbiter.spawn_fn(move || {
        let stop: Stop = stopped.map(|_| ()).boxed().shared();
        let export = Export {
            service_name: config.service_name.clone(),
            collector: Collector::new(config),
            waiting,
            losses,
        };
        actix_rt::spawn(async move {
            export.run(stop).await;
            drop(ending);
        });
    });
    (queue, Exporter { stop, ended })
}

struct Export {
    service_name: String,
    collector: Collector,
    waiting: Waiting,
    losses: Losses,
}

impl Export {
    async fn run(mut self, stop: Stop) {
        while let Some(batch) = self.waiting.gather(stop.clone()).await {
            self.deliver(batch, stop.clone()).await;
            self.losses.report_overflow();
        }
        self.losses.report_rest();
    }

    async fn deliver(&mut self, batch: Vec<Span>, stop: Stop) {
        let spans = batch.len() as u64;
        let message = otlp::message(&self.service_name, batch);
        let mut pause = PAUSE;
        for left in (0..TRIES).rev() {
            match self.collector.post(&message).await {
                Ok(accepted) => {
                    if let Some(part) = accepted.rejected {
                        self.losses.count_lost(part.spans, &part.reason);
                    }
                    return;
                }
                Err(PostError::Final(why)) => return self.losses.count_lost(spans, &why),
                Err(PostError::Temporary { why, .. })
                    if left == 0 || stop.clone().now_or_never().is_some() =>
                {
                    return self.losses.count_lost(spans, &why);
                }
                Err(PostError::Temporary { retry_after, why }) => {
                    self.losses.report_at_most_once_a_minute(&why);
                    let pause = retry_after.unwrap_or(pause).min(LONGEST_PAUSE);
                    tokio::select! {
                        () = sleep(pause) => {}
                        // When the server stops, a last attempt follows at once.
                        () = stop.clone() => {}
                    }
                }
            }
            pause *= 2;
        }
    }
}

/// Spans that were lost, and the time of the last log line.
struct Losses {
    /// The number of spans that were dropped because the queue was full.
    overflowed: Arc<AtomicU64>,
    /// Lost spans that the log has not reported yet.
    lost: u64,
    last_report: Option<Instant>,
}

impl Losses {
    fn count_lost(&mut self, spans: u64, why: &str) {
        self.lost += spans;
        self.report_at_most_once_a_minute(why);
    }

    fn report_overflow(&mut self) {
        if self.lost > 0 || self.overflowed.load(Ordering::Relaxed) > 0 {
            self.report_at_most_once_a_minute(
                "the queue of spans is full, because the collector is too slow",
            );
        }
    }

    /// Writes a log line, unless one was written recently.
    fn report_at_most_once_a_minute(&mut self, why: &str) {
        if self.last_report.is_none_or(|last_report| last_report.elapsed() >= REPORT_INTERVAL) {
            self.report(why);
        }
    }

    fn report_rest(&mut self) {
        if self.lost > 0 || self.overflowed.load(Ordering::Relaxed) > 0 {
            self.report("the server stops");
        }
    }

    fn report(&mut self, reason: &str) {
        let lost = std::mem::take(&mut self.lost) + self.overflowed.swap(0, Ordering::Relaxed);
        self.last_report = Some(Instant::now());
        // No spans are lost if they will be sent again.
        let lost = (lost > 0).then_some(lost);
        tracing::warn!(
            lost,
            reason,
            "spans could not be exported; check traces.otlp_endpoint and the collector"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_reports_all_losses_but_once_a_minute_at_most() {
        let overflowed = Arc::new(AtomicU64::new(0));
        let mut losses = Losses { overflowed: Arc::clone(&overflowed), lost: 0, last_report: None };
        losses.count_lost(3, "first");
        assert_eq!(losses.lost, 0, "reported at once");
        tokio::time::advance(REPORT_INTERVAL / 2).await;
        losses.count_lost(4, "second");
        overflowed.store(5, Ordering::Relaxed);
        losses.report_overflow();
        assert_eq!((losses.lost, overflowed.load(Ordering::Relaxed)), (4, 5), "kept for later");
        tokio::time::advance(REPORT_INTERVAL / 2).await;
        losses.report_overflow();
        assert_eq!((losses.lost, overflowed.load(Ordering::Relaxed)), (0, 0));
    }
}
