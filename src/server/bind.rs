//! Binds the addresses to listen on, and explains why an address cannot be bound.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use tokio::net::TcpSocket;

/// Connections that may wait to be accepted, on each address.
const BACKLOG: u32 = 4096;

/// An address on which the server cannot listen. The text says where the address was set, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot listen on {listen}: {}", advice(.source))]
pub struct BindError {
    /// The place where the address was set.
    place: String,
    listen: String,
    source: io::Error,
}

impl BindError {
    pub(super) fn new(place: &str, listen: &str, source: io::Error) -> Self {
        Self { place: place.to_owned(), listen: listen.to_owned(), source }
    }

    /// Returns true if another program listens on the address, which may be temporary.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.source.kind() == ErrorKind::AddrInUse
    }
}

fn advice(err: &io::Error) -> String {
    match err.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there, maybe another hearken; stop it, or choose another port".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; choose a higher one, or give hearken the privilege (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; use 127.0.0.1 to accept connections from this machine only, or 0.0.0.0 \
             from any machine"
                .to_owned()
        }
        _ => format!("{err}; choose another address"),
    }
}

/// Returns listeners on all addresses that the text resolves to and that can be bound; at least one.
pub(super) fn bind(listen: &str) -> io::Result<Vec<TcpListener>> {
    each_address(listen, |address| socket(address)?.listen(BACKLOG)?.into_std())
}

/// Checks whether [`bind`] could bind an address. This does not listen there, so a program that starts at the same
/// moment can still bind it.
///
/// # Errors
/// [`BindError`] if the address cannot be bound.
pub fn try_bind(place: &str, listen: &str) -> Result<(), BindError> {
    let bound = each_address(listen, |address| socket(address).map(drop));
    bound.map(drop).map_err(|err| BindError::new(place, listen, err))
}

fn each_address<T>(listen: &str, take: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<Vec<T>> {
    let mut taken = Vec::new();
    let mut failure = io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address");
    for address in listen.to_socket_addrs()? {
        match take(address) {
            Ok(one) => taken.push(one),
            Err(err) => failure = err,
        }
    }
    if taken.is_empty() { Err(failure) } else { Ok(taken) }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // With this option, a restart can bind the address while the system still keeps old connections of it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_still_free_after_a_trial() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        let err = try_bind("listen", &listen).unwrap_err();
        assert!(err.is_taken(), "{err}");
        drop(taken);
        try_bind("listen", &listen).unwrap();
        TcpListener::bind(&listen).unwrap();
    }

    #[test]
    fn a_bind_error_advises_what_to_do() {
        for (kind, advice) in [
            (ErrorKind::AddrInUse, "another program listens there"),
            (ErrorKind::PermissionDenied, "ports below 1024"),
            (ErrorKind::AddrNotAvailable, "use 127.0.0.1 to accept connections from this machine only"),
            (ErrorKind::Other, "choose another address"),
        ] {
            let err = BindError::new("--listen", "192.0.2.1:80", kind.into()).to_string();
            assert!(
                err.starts_with("--listen: cannot listen on 192.0.2.1:80: ") && err.contains(advice),
                "{err}"
            );
        }
    }
}
