//! A listener for metrics alone, apart from that of the clients: it can be reached from elsewhere, and it answers when
//! theirs has no connection left.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_rt::Arbiter;
use actix_rt::net::TcpStream;
use actix_web::dev::Server;
use actix_web::http::KeepAlive;
use actix_web::{App, HttpServer, web};
use socket2::SockRef;

use super::StartError;
use super::listener::bind;
use super::scrape::Scrape;
use crate::api;
use crate::api::metrics::Metrics;
use crate::config::MetricsListen;

/// Most connections at once. Each scrape has its own, which costs little: those that stay idle would need no key to take
/// the place of the one that counts.
const CONNECTIONS: usize = 256;
/// How long a client may take to send a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take nothing of an answer before the system ends its connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves metrics where they have a listener of their own. Returns what the main one needs, where it is to do so.
pub(super) fn serve(listen: &MetricsListen, scrape: Scrape) -> Result<Option<Metrics>, StartError> {
    // With a thread of its own it costs nobody whose requests or tasks are watched.
    let started = || scrape.start(&Arbiter::new().handle());
    match listen {
        MetricsListen::Off => Ok(None),
        MetricsListen::Main => Ok(Some(started())),
        MetricsListen::Own(listen) => {
            let (serving, addresses) = start(listen, started())
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
fn start(listen: &str, metrics: Metrics) -> io::Result<(Server, Vec<SocketAddr>)> {
    let metrics = web::Data::new(metrics);
    let app = move || App::new().app_data(metrics.clone()).configure(api::metrics_routes);
    let mut server = HttpServer::new(app)
        .workers(1)
        .max_connections(CONNECTIONS)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(REQUEST_TIMEOUT)
        .on_connect(|connection, _| {
            if let Some(stream) = connection.downcast_ref::<TcpStream>() {
                limit_sending(stream);
            }
        })
        .shutdown_timeout(1)
        .disable_signals();
    let mut addresses = Vec::new();
    for listener in bind(listen)? {
        addresses.push(listener.local_addr()?);
        server = server.listen(listener)?;
    }
    Ok((server.run(), addresses))
}

/// Has the system end a connection whose client takes nothing. Where it knows no such limit, such a client keeps one of
/// the places.
fn limit_sending(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(SEND_TIMEOUT));
    #[cfg(not(target_os = "linux"))]
    let _ = (SockRef::from(stream), SEND_TIMEOUT);
}
