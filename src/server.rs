//! Starts store, task arbiters, registry and HTTP workers, and stops them in the opposite order.
//!
//! Only this file starts threads of actors. The registry runs on the main thread's arbiter. The tasks have their own
//! arbiters, so that the HTTP workers can stop first.

mod addresses;
mod bind;
mod body_end;
mod certificate;
mod disconnect_watch;
mod draining;
mod entrance;
mod exchange;
mod follow_keys;
mod head_end;
mod heads;
mod http1_state;
mod http2;
mod intake;
mod listener;
mod metrics_listener;
mod open_files;
mod reload;
mod scrape;
mod serving;
mod tls;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter};
use tokio::join;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::actors::{Dispatcher, RecoveryCounts, Registry, TaskSettings, Tasks, recover_tasks};
use crate::api::PayloadMemory;
use crate::channel::{Channel, Channels};
use crate::config::Config;
use crate::fanout::{Fanout, StreamConfig};
use crate::fetch::Fetcher;
use crate::logging::LostLines;
use crate::memory::ResponseMemory;
use crate::metrics::{Metrics, MetricsError};
use crate::store::{KeyStore, Retention, Store, StoreError};
use crate::trace::Traces;
pub use bind::{BindError, try_bind};
pub use certificate::Certificate;
use certificate::CertificateError;
use draining::Draining;
use follow_keys::KeyFollower;
use listener::Shared;
use open_files::OpenFiles;
use scrape::Scrape;
use tls::Tls;

/// The shortest and the longest interval between two deletions of expired tasks and chunks. The store hides expired
/// ones until they are deleted.
const SWEEPS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be opened or used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The server cannot listen on an address.
    #[error("{0}")]
    Listen(#[from] BindError),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered: {0}; report this error")]
    Metrics(#[from] MetricsError),
    /// The files of the certificate cannot be used.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The operating system refuses a request.
    #[error("the operating system refused a request of hearken: {0}")]
    System(#[from] std::io::Error),
}

/// The parts of a server that are open before it runs.
#[derive(Debug)]
pub struct Opened {
    metrics: Metrics,
    store: Store,
}

impl Opened {
    /// Returns the API keys that are stored.
    #[must_use]
    pub fn keys(&self) -> Arc<dyn KeyStore> {
        self.store.keys()
    }
}

/// Opens the store of a server. After that, no other process can use the data directory.
pub fn open(config: &Config) -> Result<Opened, StartError> {
    let metrics = Metrics::new(config.channels.iter().map(|channel| channel.name.as_str()))?;
    let store = Store::open(&config.data_dir, config.retention, config.store, metrics.store.clone())?;
    Ok(Opened { metrics, store })
}

/// Runs a server until it receives SIGTERM or SIGINT. Calls `started` with the addresses once it accepts connections.
/// `lost_lines` has the number of lost log lines, for the metrics.
///
/// # Errors
/// [`StartError`] if the server cannot start.
pub async fn run(
    config: Config,
    opened: Opened,
    lost_lines: LostLines,
    started: impl AsyncFnOnce(&[SocketAddr]),
) -> Result<(), StartError> {
    // Each subscriber needs a file descriptor, so the limit is raised as far as the system allows.
    let files = rlimit::increase_nofile_limit(u64::MAX).or_else(|err| {
        tracing::warn!(%err, "the limit on open files (RLIMIT_NOFILE) cannot be raised, so it stays as it is");
        rlimit::Resource::NOFILE.get_soft()
    })?;
    // This fails if the provider is already installed, as at a second start in one process. No other one is compiled
    // in.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let signals = Signals::listen()?;
    let hang_up = signal(SignalKind::hangup())?;
    let tls = match &config.tls {
        Some(files) => Some(Tls::new(reload::follow(files.clone(), hang_up)?)),
        None => {
            reload::without_tls(hang_up);
            None
        }
    };
    let Opened { metrics, store } = opened;
    let (keys, key_follower) = KeyFollower::open(&store, config.keys.clone()).await?;
    let now = Instant::now();
    let channels: Vec<_> =
        config.channels.iter().map(|channel| Channel::open(channel, now)).collect::<Result<_, _>>()?;
    let channels = Channels::new(channels).with_hints(&config.model_hints);
    let dispatcher = Dispatcher::new(&channels, config.tasks.max_pending_tasks).start();
    let (traces, exporter) = match &config.traces {
        Some(traces) => {
            let callees =
                config.channels.iter().map(|channel| (channel.name.clone(), channel.provider.callee()));
            let callees = callees.collect();
            let (traces, exporter) = Traces::export(traces, callees, &Arbiter::new().handle());
            (traces, Some(exporter))
        }
        None => (Traces::default(), None),
    };
    let settings = TaskSettings {
        store: store.clone(),
        fetcher: Fetcher::new(config.fetch.clone()),
        dispatcher,
        retry_budget: config.retry_budget,
        chunk_retention: config.retention.streams(),
        max_answer_bytes: config.tasks.max_answer_bytes,
        max_stream_memory_bytes: config.tasks.max_stream_memory_bytes,
        traces: traces.clone(),
        metrics: metrics.tasks.clone(),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arbiters: Vec<_> = (0..cores).map(|_| Arbiter::new().handle()).collect();
    // Connections with TLS are not handed over, so pumps would have no subscribers, and their metrics would mean
    // nothing.
    let stream = StreamConfig { hand_over: config.stream.hand_over && config.tls.is_none(), ..config.stream };
    let fanout = Fanout::start(stream, &arbiters, metrics.fanout.clone())?;
    actix_rt::spawn(key_follower.run(fanout.clone()));
    let registry = Registry::new(settings, arbiters).start();
    let resumed = recover_tasks(&registry, &store, &channels, &keys.current()).await?;
    if resumed != RecoveryCounts::default() {
        tracing::info!(
            run = resumed.run,
            end = resumed.end,
            "resumed the tasks that an earlier run left unfinished"
        );
    }
    let responses = ResponseMemory::new(config.max_response_memory_bytes);
    let tasks = Tasks::new(registry, store.clone(), channels.clone(), responses);
    actix_rt::spawn(sweep(store.clone(), config.retention));
    let watched = store.clone();
    actix_rt::spawn(async move { watched.watch().await });

    let draining = Draining::default();
    let memory = PayloadMemory::new(config.uploads.max_payload_memory_bytes);
    let slots = config.channels.iter().map(|channel| channel.max_running_tasks);
    let open_files = OpenFiles::of(
        files,
        slots.fold(0, usize::saturating_add),
        config.max_connections_per_address,
        metrics.http.clone(),
    );
    let scrape = Scrape {
        metrics: metrics.clone(),
        tasks: tasks.clone(),
        fanout: fanout.clone(),
        channels: channels.clone(),
        store,
        memory: memory.clone(),
        open_files: open_files.clone(),
        lost_lines,
    };
    let shared = Shared {
        keys,
        channels,
        tasks: tasks.clone(),
        fanout: fanout.clone(),
        memory,
        open_files,
        metrics: metrics.http,
        served_metrics: metrics_listener::serve(&config, scrape)?,
        draining: draining.clone(),
        traces,
    };
    let (server, addresses) = listener::listen(&config, shared, tls, cores)?;
    let handle = server.handle();
    let serving = actix_rt::spawn(server);
    started(&addresses).await;

    let mut signals = signals;
    signals.next().await;
    tracing::info!(
        seconds = config.drain.as_secs(),
        "draining: running tasks may finish; a second signal stops the server at once"
    );
    let drained = async {
        tasks.drain(config.drain).await;
        draining.start();
        // Everything was sent. Clients get a moment to read it.
        join!(handle.stop(true), fanout.stop(listener::STOP_TIME));
        let _ = serving.await;
        if let Some(exporter) = exporter {
            exporter.finish().await;
        }
    };
    tokio::select! {
        () = drained => tracing::info!(subscriptions_ended = fanout.stats().ended(), "drained"),
        () = signals.next() => tracing::warn!("stopped at once, after a second signal"),
    }
    Ok(())
}

async fn sweep(store: Store, retention: Retention) {
    let (shortest, longest) = SWEEPS;
    let mut ticks = tokio::time::interval((retention.streams() / 2).clamp(shortest, longest));
    loop {
        ticks.tick().await;
        match store.forget_expired().await {
            Ok(0) => {}
            Ok(tasks) => tracing::debug!(tasks, "expired tasks deleted"),
            Err(StoreError::Stopped) => return,
            // The store's health check logs these errors once.
            Err(StoreError::Full(_) | StoreError::Unavailable(_)) => {}
            Err(err) => {
                tracing::error!(%err, "expired tasks could not be deleted; the server will try again")
            }
        }
    }
}

/// The signals that end a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
