//! A listener for metrics alone, apart from that of the clients: it can be reached from elsewhere, and it answers when
//! theirs has no connection left.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};

use super::StartError;
use super::listener::bind;
use super::scrape::Scrape;
use crate::api::{get_or_head, health, reply};
use crate::config::MetricsListen;

/// Most connections at once: one Prometheus has one.
const CONNECTIONS: usize = 32;
/// How long one may be idle: longer than the minute that is the longest interval in use.
const IDLE_CONNECTION: Duration = Duration::from_secs(75);
/// How long a client may take to send a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves metrics where they have a listener of their own. Returns what the main one needs, where it is to do so.
pub(super) fn serve(listen: &MetricsListen, scrape: Scrape) -> Result<Option<Scrape>, StartError> {
    match listen {
        MetricsListen::Off => Ok(None),
        MetricsListen::Main => Ok(Some(scrape)),
        MetricsListen::Own(listen) => {
            let (serving, addresses) = start(listen, scrape)
                .map_err(|source| StartError::ListenForMetrics { listen: listen.clone(), source })?;
            for address in addresses {
                tracing::info!("metrics at http://{address}/metrics");
            }
            // Not stopped by a drain, which is something to watch: it ends with the process.
            actix_rt::spawn(serving);
            Ok(None)
        }
    }
}

/// Returns the server, which has to be awaited, and where it listens.
fn start(listen: &str, scrape: Scrape) -> io::Result<(Server, Vec<SocketAddr>)> {
    let app = move || {
        App::new()
            .configure(|app| scrape.serve(app))
            .service(web::resource("/healthz").route(get_or_head().to(health::alive)))
            .default_service(web::to(reply::not_found))
    };
    let mut server = HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS)
        .keep_alive(IDLE_CONNECTION)
        .client_request_timeout(REQUEST_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals();
    let mut addresses = Vec::new();
    for listener in bind(listen)? {
        addresses.push(listener.local_addr()?);
        server = server.listen(listener)?;
    }
    Ok((server.run(), addresses))
}
