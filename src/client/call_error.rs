//! Why a request failed, and whether a retry may succeed.

use std::io;
use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;
use awc::http::header::{HeaderMap, LOCATION, RETRY_AFTER};

use super::handshake;
use super::replies::{ErrorBody, TaskError};
use crate::net::is_timeout;

/// Parts of the replies with which servers answer plain HTTP at a TLS port. The first is hearken's own.
const SPEAKS_TLS: [&str; 4] = ["port speaks tls", "to https port", "to an https server", "the https scheme"];

/// Why a request failed.
#[derive(Debug, Clone)]
pub enum CallError {
    /// No connection could be opened.
    Unreachable(String),
    /// The connection broke, or the server sent nothing for too long.
    Disconnected(String),
    /// The server refused the request.
    Refused(ErrorReply),
    /// The other side does not answer as hearken does: another program, a proxy, a wrong address or a wrong scheme.
    NotHearken(String),
}

/// A server's reply to a request that it refuses.
#[derive(Debug, Clone)]
pub struct ErrorReply {
    /// The HTTP status.
    pub status: u16,
    /// The error in the body.
    pub error: TaskError,
    /// The pause before a retry that the server asks for.
    pub retry_after: Option<Duration>,
    /// The reply's body as one line of JSON.
    pub json: String,
}

impl CallError {
    /// Returns the problem that a reply with an error status reports.
    #[must_use]
    pub fn of_reply(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Ok(ErrorBody { error }) = serde_json::from_slice(body) {
            let retry_after = text(RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok());
            return Self::Refused(ErrorReply {
                status: status.as_u16(),
                error,
                retry_after: retry_after.map(Duration::from_secs),
                json: String::from_utf8_lossy(body).trim().replace(['\r', '\n'], " "),
            });
        }
        match (status, text(LOCATION)) {
            // Sent by a proxy in front of a server that restarts.
            (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT, _) => {
                Self::Disconnected(format!("a proxy in front of the server answered {status}"))
            }
            (StatusCode::PAYLOAD_TOO_LARGE, _) => Self::NotHearken(
                "a proxy in front of the server refuses a body of this size; raise its limit, or pass a URL"
                    .to_owned(),
            ),
            (StatusCode::BAD_REQUEST, _) if speaks_tls(body) => Self::NotHearken(
                "the server uses TLS at this port; write https:// instead of http://".to_owned(),
            ),
            (status, Some(place)) if status.is_redirection() => {
                Self::NotHearken(format!("it redirects to {place}; pass that address with --url"))
            }
            (status, _) => {
                Self::NotHearken(format!("it answered {status}, and not as hearken does; check the address"))
            }
        }
    }

    /// Returns true if a later attempt may succeed.
    #[must_use]
    pub fn may_succeed_later(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Disconnected(_) => true,
            Self::Refused(refusal) => {
                matches!(refusal.status, 429 | 500 | 502 | 503 | 504)
                    || refusal.error.code == "idempotency_conflict"
            }
            Self::NotHearken(_) => false,
        }
    }

    /// Returns the pause before a retry that the server asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unreachable(_) | Self::Disconnected(_) | Self::NotHearken(_) => None,
        }
    }

    /// Returns the code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.error.code),
            Self::Unreachable(_) | Self::Disconnected(_) | Self::NotHearken(_) => None,
        }
    }
}

impl From<SendRequestError> for CallError {
    fn from(err: SendRequestError) -> Self {
        let connect = match err {
            SendRequestError::Connect(connect) => connect,
            SendRequestError::Url(err) => return Self::NotHearken(err.to_string()),
            SendRequestError::Response(_) => return Self::Disconnected("the reply was cut off".to_owned()),
            _ => return Self::Disconnected("the connection broke".to_owned()),
        };
        match connect {
            ConnectError::Resolver(_) | ConnectError::NoRecords => {
                Self::Unreachable("its name does not resolve".to_owned())
            }
            err if is_timeout(&err) => Self::Unreachable("it does not answer".to_owned()),
            // awc reports this error for a connection that was closed before the head of a response.
            ConnectError::Disconnected => Self::Disconnected("the connection broke".to_owned()),
            ConnectError::Io(err) => match err.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(err) => Self::NotHearken(handshake::explain(err)),
                None if err.kind() == io::ErrorKind::UnexpectedEof => {
                    Self::NotHearken(
                        "the server closed the connection during the TLS handshake; if it uses plain HTTP at this port, \
                         write http:// instead of https://"
                            .to_owned(),
                    )
                }
                None => Self::Unreachable(plain(&err)),
            },
            err => Self::Unreachable(err.to_string()),
        }
    }
}

fn speaks_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    SPEAKS_TLS.iter().any(|words| text.contains(words))
}

/// Returns a system error's text without its number.
pub(super) fn plain(err: &io::Error) -> String {
    let text = err.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_lowercase()
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Disconnected(why) | Self::NotHearken(why) => f.write_str(why),
            Self::Refused(ErrorReply { error, .. }) => write!(f, "{}: {}", error.code, error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_at_a_tls_port_gets_the_advice_to_write_https() {
        let problem = |body: &str| {
            CallError::of_reply(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes()).to_string()
        };
        for body in [
            "This port speaks TLS: use https://\n",
            "<center>The plain HTTP request was sent to HTTPS port</center>",
            "Client sent an HTTP request to an HTTPS server.\n",
        ] {
            assert!(problem(body).contains("write https://"), "{body}");
        }
        assert!(problem("<a href=\"https://h\">").contains("it answered 400"));
    }
}
