//! The HTTP clients towards upstreams, one for each thread and connect timeout, and what it means when they fail.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::error::ParseError;
use awc::Client;
use awc::error::{ConnectError, SendRequestError};

use super::{Stage, UpstreamError};
use crate::net;
use crate::net::reach::Reach;

thread_local! {
    static CLIENTS: RefCell<HashMap<Duration, Client>> = RefCell::new(HashMap::new());
}

/// This thread's client with the given connect timeout.
#[must_use]
pub fn client(connect_timeout: Duration) -> Client {
    CLIENTS.with_borrow_mut(|clients| {
        clients
            .entry(connect_timeout)
            .or_insert_with(|| net::client::client(connect_timeout, Reach::Anybody))
            .clone()
    })
}

/// What a failed send means. No text of awc's is passed on: some hold addresses.
#[must_use]
pub fn send_error(err: &SendRequestError, connect_timeout: Duration) -> UpstreamError {
    match err {
        SendRequestError::Connect(ConnectError::Timeout) => {
            UpstreamError::Timeout(Stage::Connect, connect_timeout)
        }
        SendRequestError::Connect(ConnectError::Io(err))
            if err.kind() == std::io::ErrorKind::ConnectionRefused =>
        {
            UpstreamError::Connect("connection refused".to_owned())
        }
        // So rustls calls a certificate that it does not trust, and everything else that it does not like.
        SendRequestError::Connect(ConnectError::Io(err)) if err.kind() == std::io::ErrorKind::InvalidData => {
            UpstreamError::Connect("the TLS handshake failed".to_owned())
        }
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            UpstreamError::Connect("its name does not resolve".to_owned())
        }
        // So awc calls a connection that came about and closed before the head of a response.
        SendRequestError::Connect(ConnectError::Disconnected) => UpstreamError::Disconnected,
        SendRequestError::Connect(_) => UpstreamError::Connect("no connection".to_owned()),
        SendRequestError::Response(ParseError::Io(_) | ParseError::Incomplete) => UpstreamError::Disconnected,
        // So awc calls what our own side of the request could not deliver: its audio.
        SendRequestError::Body(_) => UpstreamError::AudioLost,
        SendRequestError::Response(_) => UpstreamError::Invalid("its response is not HTTP".to_owned()),
        _ => UpstreamError::Disconnected,
    }
}
