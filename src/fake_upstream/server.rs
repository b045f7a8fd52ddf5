//! The server: routes, workers, shared state, and the signals that end it.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::{App, HttpResponse, HttpServer, web};
use subtle::ConstantTimeEq;
use tokio::signal::unix::{SignalKind, signal};

use super::call_flow::{Connection, ScriptRunner};
use super::ledger::{Counters, Ledger, ReadStats, Reset};
use super::script::Script;
use super::{chat, gemini, transcription};

/// Connections that may wait to be accepted: load tests open many at once.
const BACKLOG: u32 = 4096;
/// Most connections of one worker.
const MOST_CONNECTIONS: usize = 100_000;
/// How long an idle connection is kept.
const IDLE_CONNECTION: Duration = Duration::from_secs(75);
/// The server requests the next piece of a body only when fewer bytes than this are unwritten. So each piece is written
/// separately, and a cut comes after the written bytes.
const WRITE_BUFFER_BYTES: usize = 1;

/// The settings of a fake upstream.
#[derive(Clone)]
pub struct Settings {
    /// Address and port; port 0 picks a free port.
    pub listen: String,
    /// The script of calls whose model name has none.
    pub script: Option<Script>,
    /// The seed of the random choices.
    pub seed: u64,
    /// The only key that is accepted; `None`: any.
    pub api_key: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, script, seed, api_key: _ } = self;
        let mut shown = f.debug_struct("Settings");
        shown.field("listen", listen).field("script", script).field("seed", seed).finish_non_exhaustive()
    }
}

/// The state that the checks of a call need.
pub(super) struct CallContext {
    pub(super) counters: Arc<Counters>,
    api_key: Option<String>,
}

/// The result of a key's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyCheck {
    Right,
    Wrong,
    Missing,
}

impl CallContext {
    pub(super) fn check_key(&self, key: Option<&str>) -> KeyCheck {
        match (key.filter(|key| !key.is_empty()), &self.api_key) {
            (None, _) => KeyCheck::Missing,
            (Some(_), None) => KeyCheck::Right,
            (Some(key), Some(right)) if bool::from(key.as_bytes().ct_eq(right.as_bytes())) => KeyCheck::Right,
            (Some(_), Some(_)) => KeyCheck::Wrong,
        }
    }
}

/// Runs a fake upstream until SIGTERM or SIGINT ends it at once. `started` is called with the address once connections
/// are accepted.
///
/// # Errors
/// When it cannot listen on the address.
pub async fn run(settings: Settings, started: impl FnOnce(SocketAddr)) -> std::io::Result<()> {
    // A connection needs two descriptors. With a lower limit, the server serves fewer connections.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Settings { listen, script, seed, api_key } = settings;
    let counters = Arc::new(Counters::default());
    let ledger = Ledger::new(Arc::clone(&counters), seed).start();
    let context = web::Data::new(CallContext { counters, api_key });
    let runner = web::Data::new(ScriptRunner { ledger: ledger.clone(), usual: script });
    let ledger = web::Data::new(ledger);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(context.clone())
            .app_data(runner.clone())
            .app_data(ledger.clone())
            .configure(routes)
    })
    .on_connect(|io, data| {
        let socket = io.downcast_ref::<actix_web::rt::net::TcpStream>();
        // Without a spare descriptor the connection is served, but the step `slam` does not work on it.
        let spare = socket.and_then(|socket| socket.as_fd().try_clone_to_owned().ok());
        if let Some(spare) = spare {
            data.insert(Connection(TcpStream::from(spare)));
        }
    })
    .disable_signals()
    .backlog(BACKLOG)
    .max_connections(MOST_CONNECTIONS)
    .keep_alive(IDLE_CONNECTION)
    .tcp_nodelay(true)
    .h1_write_buffer_size(WRITE_BUFFER_BYTES)
    // Without this setting, the server does not notice that a client has disconnected while the server has nothing to
    // send.
    .h1_allow_half_closed(false)
    .bind(&listen)?;
    let address = server.addrs().first().copied();
    let server = server.run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);
    if let Some(address) = address {
        started(address);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    handle.stop(false).await;
    let _ = serving.await;
    Ok(())
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/v1beta/models/{call:.+}", web::post().to(gemini::generate))
        .route("/v1/chat/completions", web::post().to(chat::complete))
        .route("/v1/audio/transcriptions", web::post().to(transcription::transcribe))
        .route("/stats", web::get().to(stats))
        .route("/stats/reset", web::post().to(reset))
        .default_service(web::to(unknown));
}

async fn stats(ledger: web::Data<Addr<Ledger>>) -> HttpResponse {
    match ledger.send(ReadStats).await {
        Ok(stats) => HttpResponse::Ok().json(stats),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn reset(ledger: web::Data<Addr<Ledger>>) -> HttpResponse {
    match ledger.send(Reset).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn unknown() -> HttpResponse {
    HttpResponse::NotFound().body(
        "hearken fake-upstream knows POST /v1beta/models/{model}:generateContent, :streamGenerateContent, \
         /v1/chat/completions and /v1/audio/transcriptions, GET /stats, and POST /stats/reset\n",
    )
}
