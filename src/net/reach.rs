//! The hosts that a connection may reach. A name is resolved once and every address is checked. The connection goes to
//! one of the checked addresses, so a second answer of a name server cannot lead it elsewhere.

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
    /// Returns the addresses in the order in which they are to be tried.
    fn resolve(&self, host: String, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// Resolves names through the operating system.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, host: String, port: u16) -> LocalBoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        // The system's look-up blocks, for seconds if a name server is slow.
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
    Anybody,
    /// Only hosts that the gate allows, because submitters choose the URLs.
    Through {
        /// The gate.
        gate: Arc<Gate>,
        /// Finds the addresses of a host.
        resolver: Arc<dyn Resolve>,
        /// The most bytes that one connection may receive.
        most_bytes: u64,
    },
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anybody => "Anybody",
            Self::Through { .. } => "Through(..)",
        })
    }
}

/// A host has an address that the gate does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address that is not allowed")]
pub struct Forbidden;

/// Returns the addresses of a host, if the gate allows all of them.
///
/// # Errors
/// An [`io::Error`] around [`Forbidden`] if one of them is not allowed: a name with both allowed and forbidden
/// addresses is suspicious. Otherwise the error of the look-up.
pub(super) async fn judged(
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
