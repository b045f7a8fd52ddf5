//! The HTTP listener: actix-web's application at each address, on every worker.
//!
//! It consists of the parts of `actix_web::HttpServer`, except for the [entrance](super::entrance), because connections
//! have hearken's own types.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Response;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use actix_web_lab::middleware::CatchPanic;
use tokio::sync::Semaphore;

use super::StartError;
use super::bind::{BindError, bind};
use super::draining::Draining;
use super::entrance::{Entrance, IDLE_CONNECTION};
use super::open_files::OpenFiles;
use super::tls::Tls;
use crate::actors::Tasks;
use crate::api::{
    self, OpenApiDocument, PayloadMemory, Reference, Scheme, ServedMetrics, ServingSince, SubmitSettings,
    UnknownCallers, WrongKeys, log_request,
};
use crate::channel::Channels;
use crate::config::Config;
use crate::fanout::{Fanout, SubscriptionFactory};
use crate::keys::KeyringHandle;
use crate::metrics::HttpMetrics;
use crate::task::Timestamp;
use crate::trace::Traces;

/// How long open connections may take to end once everything was sent.
pub(super) const STOP_TIME: Duration = Duration::from_secs(2);
/// The values that the handlers of all workers share.
pub(super) struct Shared {
    pub(super) keys: KeyringHandle,
    pub(super) channels: Channels,
    pub(super) tasks: Tasks,
    pub(super) fanout: Fanout,
    pub(super) memory: PayloadMemory,
    pub(super) open_files: OpenFiles,
    pub(super) metrics: HttpMetrics,
    /// The content of `/metrics`, if this listener serves it.
    pub(super) served_metrics: Option<ServedMetrics>,
    /// Signals the drain, in which idle connections are closed.
    pub(super) draining: Draining,
    /// Records requests as traces.
    pub(super) traces: Traces,
}

/// Starts to listen, over TLS if there are certificates. Returns the server, which must be awaited, and its addresses.
pub(super) fn listen(
    config: &Config,
    shared: Shared,
    tls: Option<Tls>,
    workers: usize,
) -> Result<(Server, Vec<SocketAddr>), StartError> {
    let cannot_listen =
        |source| StartError::Listen(BindError::new(&config.places.listen, &config.listen, source));
    let Shared {
        keys,
        channels,
        tasks,
        fanout,
        memory,
        open_files,
        metrics,
        served_metrics,
        draining,
        traces,
    } = shared;
    let submits = web::Data::new(SubmitSettings {
        max_body_bytes: config.uploads.max_body_bytes,
        memory,
        gate: Arc::new(config.fetch.gate.clone()),
        parsing: Arc::new(Semaphore::new((workers / 2).max(1))),
    });
    let since = web::Data::new(ServingSince(Timestamp::now()));
    let document = web::Data::new(OpenApiDocument::new(&channels).map_err(io::Error::from)?);
    let reference = web::Data::new(Reference::new());
    let (keys, channels) = (web::Data::new(keys), web::Data::new(channels));
    let (tasks, metrics, traces) = (web::Data::new(tasks), web::Data::new(metrics), web::Data::new(traces));
    let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
    let served_metrics = served_metrics.map(web::Data::new);
    let unknown_callers = web::Data::new(UnknownCallers::new());
    let wrong_keys = web::Data::new(WrongKeys::new());
    let app = move || {
        let app = App::new()
            .app_data(submits.clone())
            .app_data(web::Data::new(SubscriptionFactory::open(fanout.clone())))
            .app_data(since.clone())
            .app_data(document.clone())
            .app_data(reference.clone())
            .app_data(keys.clone())
            .app_data(channels.clone())
            .app_data(tasks.clone())
            .app_data(traces.clone())
            .app_data(scheme)
            .app_data(metrics.clone())
            .app_data(unknown_callers.clone())
            .app_data(wrong_keys.clone())
            .configure(|app| {
                if let Some(served) = &served_metrics {
                    app.app_data(served.clone());
                }
            })
            .configure(api::routes)
            .wrap(CatchPanic::default())
            .wrap(from_fn(log_request));
        let app =
            app.into_factory().map(Response::from).map_err(|err: Error| Response::from(err.error_response()));
        map_config(app, |()| AppConfig::default())
    };
    let mut builder = Server::build()
        .workers(workers)
        // `OpenFiles` limits the connections. actix's own default limit is 25,600 per worker, and it logs nothing.
        .max_concurrent_connections(usize::MAX)
        .disable_signals()
        .shutdown_timeout(STOP_TIME.as_secs());
    let mut addresses = Vec::new();
    for listener in bind(&config.listen).map_err(cannot_listen)? {
        let address = listener.local_addr().map_err(cannot_listen)?;
        addresses.push(address);
        let entrance = Entrance {
            address,
            open_files: open_files.clone(),
            draining: draining.clone(),
            stream: config.stream,
            keep_alive: Some(IDLE_CONNECTION),
        };
        let (app, name) = (app.clone(), format!("http-{address}"));
        builder = match tls.clone() {
            None => builder.listen(name, listener, move || entrance.clone().plain(app())),
            Some(tls) => builder.listen(name, listener, move || entrance.clone().secure(tls.clone(), app())),
        }
        .map_err(cannot_listen)?;
    }
    Ok((builder.run(), addresses))
}
