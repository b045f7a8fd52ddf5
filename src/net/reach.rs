//! The hosts that a connection may reach. A name is resolved once, and every address is checked. The connection goes to
//! one of the checked addresses, so a later answer of a name server cannot lead it to another host.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use actix_tls::connect::ConnectError;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::audio::Gate;

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync {
    /// Returns the addresses in the order in which the client tries them.
    fn resolve(&self, host: String, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// A resolver that asks the operating system.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, host: String, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        // The system's look-up blocks the thread, for seconds if a name server is slow.
        let found = actix_rt::task::spawn_blocking(move || {
            (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
        });
        async move { found.await.map_err(io::Error::other)? }.boxed_local()
    }
}

/// The hosts that a client may connect to.
#[derive(Clone)]
pub enum Reach {
    /// Every host, because the operator has chosen the URLs.
    AnyHost,
    /// Only hosts that the gate allows, because submitters choose the URLs.
    Through {
        /// The gate.
        gate: Arc<Gate>,
        /// The resolver, which finds the addresses of a host.
        resolver: Arc<dyn Resolve>,
        /// The most bytes that one connection may receive.
        most_bytes: u64,
    },
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnyHost => "AnyHost",
            Self::Through { .. } => "Through(..)",
        })
    }
}

/// The error of a host that has an address which the gate does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address that is not allowed")]
pub struct Forbidden;

/// Returns the addresses of a host, if the gate allows all of them.
///
/// # Errors
/// An [`io::Error`] around [`Forbidden`] if one of the addresses is not allowed, even if others are: a name with both
/// kinds of addresses is suspicious. Otherwise the error of the look-up.
pub(super) async fn allowed_addresses(
    gate: &Gate,
    resolver: &dyn Resolve,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let found = resolver.resolve(bare.to_owned(), port).await;
            found.map_err(|err| ConnectError::Resolver(err.into()))?
        }
    };
    if addresses.is_empty() {
        return Err(ConnectError::NoRecords);
    }
    if addresses.iter().all(|address| gate.allows(host, address.ip())) {
        Ok(addresses)
    } else {
        Err(ConnectError::Io(io::Error::new(io::ErrorKind::PermissionDenied, Forbidden)))
    }
}
