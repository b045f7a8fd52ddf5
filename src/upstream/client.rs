//! The HTTP clients for upstreams, one for each thread and connect timeout, and the meaning of their errors.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use actix_web::error::ParseError;
use awc::error::{ConnectError, SendRequestError};

use super::decoded::TooMuch;
use super::{CallStage, UpstreamError};
use crate::net::{BadHead, HttpClient, Reach, Surplus, is_timeout};

thread_local! {
    static CLIENTS: RefCell<HashMap<Duration, HttpClient>> = RefCell::new(HashMap::new());
}

/// Returns this thread's client with the given connect timeout.
#[must_use]
pub(super) fn client(connect_timeout: Duration) -> HttpClient {
    CLIENTS.with_borrow_mut(|clients| {
        clients
            .entry(connect_timeout)
            .or_insert_with(|| HttpClient::new(connect_timeout, Reach::AnyHost))
            .clone()
    })
}

/// Returns the meaning of a failed send. The texts of awc's errors are not passed on, because some contain addresses.
#[must_use]
pub(super) fn send_error(err: &SendRequestError, connect_timeout: Duration) -> UpstreamError {
    match err {
        SendRequestError::Connect(err) if is_timeout(err) => {
            UpstreamError::Timeout(CallStage::Connect, connect_timeout)
        }
        SendRequestError::Connect(ConnectError::Io(err))
            if err.kind() == io::ErrorKind::ConnectionRefused =>
        {
            UpstreamError::Connect("connection refused".to_owned())
        }
        // rustls reports an untrusted certificate, and all other TLS errors, in this way.
        SendRequestError::Connect(ConnectError::Io(err)) if err.kind() == io::ErrorKind::InvalidData => {
            UpstreamError::Connect("the TLS handshake failed".to_owned())
        }
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            UpstreamError::Connect("its name does not resolve".to_owned())
        }
        // awc reports a connection that closed before the head of a response in this way.
        SendRequestError::Connect(ConnectError::Disconnected) => UpstreamError::Disconnected,
        SendRequestError::Connect(_) => UpstreamError::Connect("no connection".to_owned()),
        SendRequestError::Response(ParseError::Io(err)) => broken_off(err),
        SendRequestError::Response(ParseError::Incomplete) => UpstreamError::Disconnected,
        // awc reports in this way that the request body, which is the audio, could not be read.
        SendRequestError::Body(_) => UpstreamError::AudioLost,
        SendRequestError::Response(ParseError::TooLarge) => {
            UpstreamError::Invalid("the head of its response is too long".to_owned())
        }
        SendRequestError::Response(_) => UpstreamError::Invalid("its response is not HTTP".to_owned()),
        _ => UpstreamError::Disconnected,
    }
}

/// Returns the meaning of an error in the rest of a response.
#[must_use]
pub(super) fn broken_off(err: &io::Error) -> UpstreamError {
    let inner = err.get_ref();
    if let Some(bad) = inner.and_then(|inner| inner.downcast_ref::<BadHead>()) {
        UpstreamError::Invalid(format!("its response states {bad}"))
    } else if inner.is_some_and(|inner| inner.is::<Surplus>()) {
        UpstreamError::Invalid("its response is longer than the Content-Length that it states".to_owned())
    } else if err.kind() == io::ErrorKind::InvalidInput {
        // actix-http reports a chunk with an invalid size in this way.
        UpstreamError::Invalid("the chunks of its response break the rules of HTTP".to_owned())
    } else if inner.is_some_and(|inner| inner.is::<TooMuch>()) {
        UpstreamError::Invalid(err.to_string())
    } else {
        UpstreamError::Disconnected
    }
}
