//! A listener that serves only metrics. It can have another address than the listener of the clients, and it answers
//! when that listener has no connection left.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_http::Response;
use actix_rt::Arbiter;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, Error, web};

use super::StartError;
use super::bind::{BindError, bind};
use super::draining::Draining;
use super::entrance::Entrance;
use super::open_files::OpenFiles;
use super::scrape::Scrape;
use crate::api;
use crate::api::ServedMetrics;
use crate::config::{Config, MetricsListen};
use crate::fanout::StreamConfig;
use crate::metrics::HttpMetrics;

/// Most connections at once. Each scrape needs a connection of its own, because idle connections are closed: otherwise
/// clients without a key could use up all connections.
const CONNECTIONS: usize = 256;
/// How long a client may receive nothing of an answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves metrics on a separate listener, if the configuration has one. If the main listener serves metrics, returns
/// the handle for it.
pub(super) fn serve(config: &Config, scrape: Scrape) -> Result<Option<ServedMetrics>, StartError> {
    let counted = scrape.metrics.http.clone();
    // The scrape has its own thread, so that it does not delay the requests and tasks that it measures.
    let started = || scrape.start(&Arbiter::new().handle());
    match &config.metrics {
        MetricsListen::Off => Ok(None),
        MetricsListen::Main => Ok(Some(started())),
        MetricsListen::Own(listen) => {
            let (serving, addresses) = start(listen, started(), counted)
                .map_err(|err| BindError::new(&config.places.metrics_listen, listen, err))?;
            for address in addresses {
                tracing::info!("metrics at http://{address}/metrics");
            }
            // The listener ends with the process. A drain does not stop it, because the drain should be observable.
            actix_rt::spawn(serving);
            Ok(None)
        }
    }
}

/// Starts the listener. Returns the server, which must be awaited, and its addresses.
fn start(
    listen: &str,
    metrics: ServedMetrics,
    counted: HttpMetrics,
) -> io::Result<(Server, Vec<SocketAddr>)> {
    let metrics = web::Data::new(metrics);
    let app = move || {
        let app = App::new().app_data(metrics.clone()).configure(api::metrics_routes);
        let app =
            app.into_factory().map(Response::from).map_err(|err: Error| Response::from(err.error_response()));
        map_config(app, |()| AppConfig::default())
    };
    let stream = StreamConfig {
        keep_alive: Duration::ZERO,
        hand_over: false,
        send_timeout: SEND_TIMEOUT,
        keyless_send_timeout: SEND_TIMEOUT,
    };
    let open_files = OpenFiles::new(CONNECTIONS, None, counted);
    let mut server = Server::build()
        .workers(1)
        .max_concurrent_connections(usize::MAX)
        .shutdown_timeout(1)
        .disable_signals();
    let mut addresses = Vec::new();
    for listener in bind(listen)? {
        let address = listener.local_addr()?;
        addresses.push(address);
        let (open_files, draining) = (open_files.clone(), Draining::default());
        let entrance = Entrance { address, open_files, draining, stream, keep_alive: None };
        let app = app.clone();
        server =
            server.listen(format!("metrics-{address}"), listener, move || entrance.clone().plain(app()))?;
    }
    Ok((server.run(), addresses))
}
