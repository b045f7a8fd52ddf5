//! Takes the addresses to listen on, and says why one cannot be had.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use tokio::net::TcpSocket;

/// Connections that may wait to be accepted, on each address.
const BACKLOG: u32 = 4096;

/// An address that cannot be listened on; the text says where it was set and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot listen on {listen}: {}", advice(.source))]
pub struct BindError {
    /// Where the address was set.
    place: String,
    listen: String,
    source: io::Error,
}

impl BindError {
    pub(super) fn new(place: &str, listen: &str, source: io::Error) -> Self {
        Self { place: place.to_owned(), listen: listen.to_owned(), source }
    }

    /// True where somebody else listens there, which passes.
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
            "ports below 1024 are not for every user; choose a higher one, or give hearken the right to them (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address; 127.0.0.1 is this machine alone, 0.0.0.0 stands for all of its addresses"
                .to_owned()
        }
        _ => format!("{err}; choose another address"),
    }
}

/// Listeners on all addresses that the text stands for and that can be had; at least one.
pub(super) fn bind(listen: &str) -> io::Result<Vec<TcpListener>> {
    each_address(listen, |address| socket(address)?.listen(BACKLOG)?.into_std())
}

/// Finds out whether [`bind`] would have an address. Nothing listens there meanwhile, so nothing that is started at this
/// moment is kept from it.
///
/// # Errors
/// [`BindError`] where it would not.
pub fn rehearse_bind(place: &str, listen: &str) -> Result<(), BindError> {
    let bound = each_address(listen, |address| socket(address).map(drop));
    bound.map(drop).map_err(|err| BindError::new(place, listen, err))
}

fn each_address<T>(listen: &str, take: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<Vec<T>> {
    let mut taken = Vec::new();
    let mut failure = io::Error::new(ErrorKind::AddrNotAvailable, "it stands for no address");
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
    // A restart must not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_free_is_still_free_after_a_rehearsal() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        let err = rehearse_bind("listen", &listen).unwrap_err();
        assert!(err.is_taken(), "{err}");
        drop(taken);
        rehearse_bind("listen", &listen).unwrap();
        TcpListener::bind(&listen).unwrap();
    }

    #[test]
    fn an_address_that_cannot_be_had_is_told_with_what_to_do() {
        for (kind, advice) in [
            (ErrorKind::AddrInUse, "another program listens there"),
            (ErrorKind::PermissionDenied, "ports below 1024"),
            (ErrorKind::AddrNotAvailable, "127.0.0.1 is this machine alone"),
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
