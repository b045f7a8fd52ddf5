//! The HTTP listener: actix-web's application over connections that can be handed over.
//!
//! This is what `actix_web::HttpServer` does, from the same parts, but for one: connections are of our own type
//! ([`Socket`]), so that a response's body can take one away. See [`fanout`](crate::fanout).

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService};
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use actix_web_lab::middleware::CatchPanic;
use socket2::SockRef;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use super::StartError;
use super::draining::Draining;
use crate::actors::Tasks;
use crate::api;
use crate::api::generations::SubmitSettings;
use crate::api::models::ServingSince;
use crate::api::payload_memory::PayloadMemory;
use crate::api::request_log;
use crate::channel::Channels;
use crate::config::{Config, StreamConfig};
use crate::fanout::socket::{OpenFile, Socket};
use crate::fanout::{Fanout, Reception};
use crate::keys::Keys;
use crate::task::Timestamp;
use crate::trace::Traces;

/// How long open connections may take to end once everything has been said.
pub(super) const STOP_TIME: Duration = Duration::from_secs(2);
/// An idle connection is kept this long: longer than the minute of common proxies, who must close first.
const IDLE_CONNECTION: Duration = Duration::from_secs(75);
/// How long a client may take to send a request's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to close a connection that the server has ended with something unread in it.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes that the kernel takes for a client before it can send them to it: about this, and what it adds to the last
/// segment. Its own limit is megabytes, which would be bearable if they were that client's alone. But Linux puts what
/// one thread writes to many sockets into the same pages of 32 KiB: a few hundred clients that do not read pin
/// a page for each event they have yet to get, and with it what all others were sent. Without a limit that was 60 MB a
/// second with 200 of 15,000, until the kernel killed the server.
const UNSENT_BYTES: u32 = 16 * 1024;
/// Connections that may wait to be accepted, on each address.
const BACKLOG: u32 = 4096;
/// Open files of the server itself: its store, its event loops, its listeners, the downloads and connections that are
/// kept for the next call.
const FILES_OF_THE_SERVER: u64 = 128;
/// Open files of a running task: its upstream connection, its journal, its audio.
const FILES_OF_A_TASK: u64 = 3;

/// What the handlers of all workers share.
pub(super) struct Shared {
    pub(super) keys: Keys,
    pub(super) channels: Channels,
    pub(super) tasks: Tasks,
    pub(super) fanout: Fanout,
    /// Connections that are idle then are closed.
    pub(super) draining: Draining,
    /// Where requests are recorded.
    pub(super) traces: Traces,
}

/// Listens, in a process that may open so many `files`. Returns the server, which has to be awaited, and where it
/// listens.
pub(super) fn listen(
    config: &Config,
    shared: Shared,
    workers: usize,
    files: u64,
) -> Result<(Server, Vec<SocketAddr>), StartError> {
    let cannot_listen = |source| StartError::Listen { listen: config.listen.clone(), source };
    let submits = web::Data::new(SubmitSettings {
        max_body_bytes: config.limits.max_body_bytes,
        memory: PayloadMemory::new(config.limits.max_payload_memory_bytes),
        gate: Arc::new(config.fetch.gate.clone()),
        parsing: Arc::new(Semaphore::new((workers / 2).max(1))),
    });
    let since = web::Data::new(ServingSince(Timestamp::now()));
    let Shared { keys, channels, tasks, fanout, draining, traces } = shared;
    let (keys, channels) = (web::Data::new(keys), web::Data::new(channels));
    let (tasks, traces) = (web::Data::new(tasks), web::Data::new(traces));
    let stream_config = config.stream;
    let app = move || {
        App::new()
            .app_data(submits.clone())
            .app_data(web::Data::new(Reception::open(fanout.clone())))
            .app_data(since.clone())
            .app_data(keys.clone())
            .app_data(channels.clone())
            .app_data(tasks.clone())
            .app_data(traces.clone())
            .configure(api::routes)
            .wrap(CatchPanic::default())
            .wrap(from_fn(request_log::log))
    };
    let mut builder = Server::build()
        .workers(workers)
        // They are bounded by `OpenFiles`. By default the server would stop at 25,600 a worker, and tell nobody.
        .max_concurrent_connections(usize::MAX)
        .disable_signals()
        .shutdown_timeout(STOP_TIME.as_secs());
    let mut addresses = Vec::new();
    let slots = config.channels.iter().map(|channel| channel.max_running_tasks);
    let open_files = OpenFiles::of(files, slots.fold(0, usize::saturating_add));
    for listener in bind(&config.listen).map_err(cannot_listen)? {
        let address = listener.local_addr().map_err(cannot_listen)?;
        addresses.push(address);
        let (app, draining, open_files) = (app.clone(), draining.clone(), open_files.clone());
        let service = move || {
            let (draining, open_files) = (draining.clone(), open_files.clone());
            let http = HttpService::build()
                .keep_alive(IDLE_CONNECTION)
                .client_request_timeout(REQUEST_TIMEOUT)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                // Otherwise a reader that has gone is not noticed while there is nothing to send.
                .h1_allow_half_closed(false)
                .local_addr(address)
                .graceful_shutdown_signal(move || draining.told())
                .on_connect_ext(|socket: &Socket, data: &mut Extensions| {
                    if let Some(hand_over) = socket.hand_over() {
                        data.insert(hand_over);
                    }
                });
            let app = app().into_factory().map_err(|err: Error| err.error_response());
            fn_service(move |stream| ready(accepted(stream, &open_files, stream_config)))
                .and_then(http.h1(map_config(app, |()| AppConfig::default())))
        };
        builder = builder.listen(format!("http-{address}"), listener, service).map_err(cannot_listen)?;
    }
    Ok((builder.run(), addresses))
}

/// Listeners on all addresses that the text stands for and that can be had; at least one.
fn bind(listen: &str) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "it stands for no address");
    for address in listen.to_socket_addrs()? {
        match bind_to(address) {
            Ok(listener) => listeners.push(listener),
            Err(err) => failure = err,
        }
    }
    if listeners.is_empty() { Err(failure) } else { Ok(listeners) }
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// The open files that connections may use. The others are the tasks': who only connects, or only reads, must not keep an
/// upstream from being asked or a chunk from its journal.
#[derive(Clone)]
struct OpenFiles {
    left: Arc<Semaphore>,
    ran_out: Arc<AtomicBool>,
}

impl OpenFiles {
    /// For a process that may open so many files and run so many tasks at once. Of a number that is too small for both,
    /// connections get a quarter.
    fn of(files: u64, tasks: usize) -> Self {
        let reserved = FILES_OF_A_TASK.saturating_mul(tasks as u64).saturating_add(FILES_OF_THE_SERVER);
        if files / 4 > files.saturating_sub(reserved) {
            tracing::warn!(
                files,
                tasks,
                "the limit on open files (RLIMIT_NOFILE) is too low for so many running tasks: raise it, or lower \
                 max_running_tasks; tasks that find no file fail"
            );
        }
        let most = files.saturating_sub(reserved).max(files / 4);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(most)), ran_out: Arc::default() }
    }

    /// Nothing where there is no room: the connection is closed at once, and the log tells of the first.
    fn take(&self) -> Option<OpenFile> {
        let file = Arc::clone(&self.left).try_acquire_owned().ok();
        if !self.ran_out.swap(file.is_none(), Ordering::Relaxed) && file.is_none() {
            tracing::warn!("connections are refused: the limit on open files (RLIMIT_NOFILE) allows no more");
        }
        file
    }
}

fn accepted(
    stream: TcpStream,
    open_files: &OpenFiles,
    config: StreamConfig,
) -> Result<(Socket, Option<SocketAddr>), DispatchError> {
    let file = open_files.take().ok_or_else(|| io::Error::from(io::ErrorKind::QuotaExceeded))?;
    // A frame is not to wait for the acknowledgement of the one before it. Where a system refuses either option, things
    // are slower or dearer, and no more.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let peer = stream.peer_addr().ok();
    Ok((Socket::new(stream, file, config), peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(files: u64, tasks: usize) -> usize {
        let open_files = OpenFiles::of(files, tasks);
        let mut taken = Vec::new();
        while let Some(file) = open_files.take() {
            taken.push(file);
        }
        drop(taken.pop());
        assert!(open_files.take().is_some(), "who leaves makes room");
        taken.len() + 1
    }

    #[test]
    fn connections_leave_files_for_the_tasks() {
        assert_eq!(most(20_000, 64), 20_000 - 128 - 3 * 64);
        assert_eq!(most(300, 64), 75);
        assert_eq!(most(300, usize::MAX), 75);
    }
}
