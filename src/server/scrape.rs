//! Collects the gauges of this moment from their owners, and writes them with the counters.
//!
//! In a scrape every pump checks all of its subscribers, and a scrape needs no key. So there is only one scrape at a
//! time, and requests that arrive during it or shortly after it get the same text.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::ArbiterHandle;
use actix_rt::task::{JoinHandle, spawn_blocking};
use tokio::join;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::open_files::OpenFiles;
use crate::actors::Tasks;
use crate::api::{MetricsRequest, PayloadMemory, ServedMetrics};
use crate::channel::{BreakerState, Channels};
use crate::deadline::timeout;
use crate::fanout::{Behind, Fanout};
use crate::logging::LostLines;
use crate::metrics::{DiskLevels, HttpLevels, Metrics, MetricsError, Now, Process};
use crate::store::Store;

/// How long an owner may take to answer. The values of an owner that does not answer in time are left out, because the
/// other values are needed most at such a time.
const OWNER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a text answers new requests. This is shorter than the shortest scrape interval in use, a second.
const FRESH: Duration = Duration::from_millis(500);
/// How long a text is kept at least, so that clients can read it. This is longer than the 10 s that Prometheus allows
/// for a scrape by default. Texts are at least [`FRESH`] apart, so at most 30 texts are kept.
const KEPT: Duration = Duration::from_secs(15);
/// Most requests in the queue. Further requests wait for a place in it.
const QUEUE: usize = 64;

/// The owners of all metrics.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) metrics: Metrics,
    pub(super) tasks: Tasks,
    pub(super) fanout: Fanout,
    pub(super) channels: Channels,
    pub(super) store: Store,
    pub(super) memory: PayloadMemory,
    pub(super) open_files: OpenFiles,
    pub(super) lost_lines: LostLines,
}

impl Scrape {
    /// Answers requests on the arbiter's thread.
    pub(super) fn start(self, arbiter: &ArbiterHandle) -> ServedMetrics {
        let (requests, queue) = mpsc::channel(QUEUE);
        // The arbiter refuses this only if the process is about to end. Requests then get an error.
        arbiter.spawn_fn(move || {
            let mut slow = SystemQuestions::default();
            actix_rt::spawn(serve(queue, async move || self.text(&mut slow).await));
        });
        ServedMetrics::new(requests)
    }

    async fn text(&self, slow: &mut SystemQuestions) -> Result<String, MetricsError> {
        let SystemQuestions { process, disk } = slow;
        let (tasks, behind, process, levels) = join!(
            timeout(OWNER_TIMEOUT, self.tasks.levels()),
            timeout(OWNER_TIMEOUT, self.fanout.behind()),
            process.answer(|| spawn_blocking(Process::read)),
            disk.answer(|| {
                let store = self.store.clone();
                spawn_blocking(move || store.disk())
            }),
        );
        let (now, moment) = (Now::new(), std::time::Instant::now());
        let breakers = self.channels.iter();
        let breakers =
            breakers.map(|channel| (channel.name.as_str(), channel.breaker.state(moment).as_str()));
        now.breakers(&BreakerState::WORDS, breakers)?;
        now.http(HttpLevels {
            connections: self.open_files.taken(),
            payload: self.memory.taken(),
            uploads_waiting: self.memory.waiting(),
            responses: self.tasks.responses().taken(),
            responses_waiting: self.tasks.responses().waiting(),
        })?;
        now.store(self.store.levels())?;
        now.log(self.lost_lines.count())?;
        if let Ok(Some(levels)) = tasks {
            now.tasks(&levels)?;
        }
        if let Ok(Some(Behind { frames, most, subscribers })) = behind {
            now.behind(frames, most, subscribers)?;
        }
        if let Some(levels) = levels.flatten() {
            now.disk(levels)?;
        }
        if let Some(process) = process {
            now.process(process)?;
        }
        // The counters are read last, so that they include what was counted during the scrape.
        self.metrics.text(&now)
    }
}

/// Answers one request after the other. Requests that arrive during a scrape wait for its end and get its text.
async fn serve(
    mut queue: mpsc::Receiver<MetricsRequest>,
    mut scrape: impl AsyncFnMut() -> Result<String, MetricsError>,
) {
    let mut texts: VecDeque<(Instant, Arc<str>)> = VecDeque::new();
    while let Some(request) = queue.recv().await {
        texts.retain(|(written, _)| written.elapsed() < KEPT);
        let is_fresh = texts.back().is_some_and(|(written, _)| written.elapsed() < FRESH);
        if !is_fresh && request.is_closed() {
            continue;
        }
        if !is_fresh {
            match scrape().await {
                Ok(text) => texts.push_back((Instant::now(), text.into())),
                Err(err) => {
                    tracing::error!(%err, "the metrics could not be written; report this error");
                    continue;
                }
            }
        }
        if let Some((_, text)) = texts.back() {
            // This fails if the client has disconnected.
            let _ = request.send(Arc::clone(text));
        }
    }
}

/// Questions to the system, each answered on its own thread.
#[derive(Debug, Default)]
struct SystemQuestions {
    process: SystemQuestion<Process>,
    disk: SystemQuestion<Option<DiskLevels>>,
}

/// A question to the system. It is not asked again before it is answered, so that a disk that hangs does not take a
/// thread for each scrape.
#[derive(Debug)]
struct SystemQuestion<T>(Option<JoinHandle<T>>);

impl<T> Default for SystemQuestion<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> SystemQuestion<T> {
    /// Returns the answer, or `None` if none arrives in time.
    async fn answer(&mut self, ask: impl FnOnce() -> JoinHandle<T>) -> Option<T> {
        // An answer that arrived after the end of its scrape is out of date.
        self.0.take_if(|asked| asked.is_finished());
        let answer = timeout(OWNER_TIMEOUT, self.0.get_or_insert_with(ask)).await.ok()?;
        self.0 = None;
        answer.ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[actix_rt::test]
    async fn readers_that_arrive_together_share_a_scrape() {
        tokio::time::pause();
        let (requests, queue) = mpsc::channel(QUEUE);
        let mut scrapes = 0;
        actix_rt::spawn(serve(queue, async move || {
            scrapes += 1;
            tokio::time::sleep(OWNER_TIMEOUT).await;
            Ok(scrapes.to_string())
        }));
        for scrape in ["1", "2"] {
            let mut texts = Vec::new();
            for _ in 0..QUEUE {
                let (request, text) = oneshot::channel();
                requests.send(request).await.unwrap();
                texts.push(text);
            }
            for text in texts {
                assert_eq!(&*text.await.unwrap(), scrape);
            }
            tokio::time::advance(FRESH).await;
        }
    }

    #[actix_rt::test]
    async fn texts_that_are_not_read_are_dropped_after_a_time() {
        tokio::time::pause();
        let (requests, queue) = mpsc::channel(QUEUE);
        actix_rt::spawn(serve(queue, async || Ok("text".to_owned())));
        let mut texts = Vec::new();
        for _ in 0..100 {
            let (request, text) = oneshot::channel();
            requests.send(request).await.unwrap();
            texts.push(Arc::downgrade(&text.await.unwrap()));
            tokio::time::advance(FRESH).await;
        }
        let kept = texts.iter().filter(|text| text.strong_count() > 0).count();
        assert_eq!(kept, 30);
    }

    #[actix_rt::test]
    async fn a_question_is_not_asked_again_before_it_is_answered() {
        tokio::time::pause();
        let mut question = SystemQuestion::default();
        let (answer, answers) = oneshot::channel();
        let hangs = || actix_rt::spawn(async { answers.await.unwrap() });
        assert_eq!(question.answer(hangs).await, None);
        assert_eq!(question.answer(|| panic!("asked while it hangs")).await, None);
        answer.send(1).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(
            question.answer(|| actix_rt::spawn(async { 2 })).await,
            Some(2),
            "the old answer is not returned"
        );
        assert!(question.0.is_none());
    }
}
