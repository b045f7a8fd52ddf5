//! Downloads the audio behind a URL that a client has chosen, to the spool. The gate decides which hosts may be
//! reached, and limits apply to size and time.
//!
//! A server's statement about its content is only a hint; the bytes decide. An error message for the submitter contains
//! the status or the limit, but never the content of the response.

mod error;
mod intake;
mod settings;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix_rt::task::spawn_blocking;
use actix_web::error::ParseError;
use awc::ClientResponse;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderMap};
use awc::http::{Method, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use percent_encoding::{CONTROLS, percent_encode};
use rand::RngExt;
use tokio::time::sleep;
use url::Url;

use crate::audio::Audio;
use crate::deadline::{Clock, timeout_at};
use crate::net::{BadHead, Flood, Forbidden, HttpClient, Reach, Resolve, Surplus, System, is_timeout};
use crate::store::Store;

pub use error::FetchError;
use intake::{Bounds, Coding, Intake};
pub use settings::{FetchConfig, FetchKeys};

/// The number of times that a download is retried after a failure of the network or the server.
const RETRIES: u32 = 2;
/// The pause before the first retry; each further pause is four times as long. A random part of up to half of the pause
/// is added.
const PAUSE: Duration = Duration::from_millis(250);
/// The number of bytes that are collected before they are passed on to another thread.
const PIECE_BYTES: usize = 64 * 1024;
/// The bytes that a connection may receive in addition to twice the largest file, for heads, interim responses and
/// framing.
const BESIDE_THE_FILE: u64 = 1 << 20;
/// The name that hearken sends to servers.
const USER_AGENT: &str = concat!("hearken/", env!("CARGO_PKG_VERSION"));

/// Downloads audio; cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    config: Arc<FetchConfig>,
    reach: Reach,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fetcher").field(&self.config).finish()
    }
}

/// Audio that was downloaded.
#[derive(Debug)]
pub struct Fetched {
    /// The audio.
    pub audio: Audio,
    /// The length of the file, in bytes.
    pub file_bytes: u64,
    /// The media type that the server stated, in lower case and without parameters.
    pub declared: Option<String>,
}

impl Fetcher {
    /// Makes a fetcher that looks up addresses with the operating system.
    #[must_use]
    pub fn new(config: FetchConfig) -> Self {
        Self::with_resolver(config, Arc::new(System))
    }

    /// Makes a fetcher that looks up addresses with this resolver.
    #[must_use]
    pub fn with_resolver(config: FetchConfig, resolver: Arc<dyn Resolve>) -> Self {
        let gate = Arc::new(config.gate.clone());
        let most_bytes = config.max_bytes.saturating_mul(2).saturating_add(BESIDE_THE_FILE);
        Self { config: Arc::new(config), reach: Reach::Through { gate, resolver, most_bytes } }
    }

    /// Downloads the audio behind a URL. `max_text_bytes` is the longest base64 text that the audio may have.
    ///
    /// # Errors
    /// Returns [`FetchError`] if the gate refuses the URL, a limit is exceeded, or the server or the network fails.
    pub async fn fetch(&self, store: &Store, url: &Url, max_text_bytes: u64) -> Result<Fetched, FetchError> {
        let most = self.config.total_timeout;
        let clock = Clock::of_this_thread();
        let end = clock.now() + most;
        let mut retries = 0;
        loop {
            let attempt = timeout_at(end, self.attempt(store, url, max_text_bytes)).await;
            let pause = (PAUSE * 4_u32.pow(retries)).mul_f64(rand::rng().random_range(1.0..1.5));
            match attempt.unwrap_or(Err(FetchError::Timeout(most))) {
                // If there is no time for a retry, this error is returned and not a timeout, because it says more.
                Err(err) if err.may_succeed_later() && retries < RETRIES && clock.now() + pause < end => {
                    tracing::debug!(host = url.host_str(), %err, "a download failed and is tried again");
                    sleep(pause).await;
                    retries += 1;
                }
                settled => {
                    if let Err(FetchError::Store(err)) = &settled {
                        err.log();
                    }
                    return settled;
                }
            }
        }
    }

    async fn attempt(&self, store: &Store, url: &Url, max_text_bytes: u64) -> Result<Fetched, FetchError> {
        // Each download has its own client, so that a connection is used only for the download whose gate has checked
        // its address.
        let client = HttpClient::new(self.config.connect_timeout, self.reach.clone());
        let mut url = url.clone();
        for hop in 0..=self.config.max_redirects {
            self.config.gate.check(&url).map_err(|refusal| match hop {
                0 => FetchError::Refused(refusal),
                // The error does not show the target of a redirect, because the target is content of the response.
                _ => FetchError::RedirectRefused,
            })?;
            let response = self.ask(&client, &url).await?;
            let status = response.status();
            if let Some(target) = redirected(status.as_u16(), response.headers()) {
                let target = target.ok_or(FetchError::Redirect)?;
                url = url.join(&target).map_err(|_| FetchError::RedirectTarget)?;
                url.set_fragment(None);
            } else if status.is_success() {
                if status == StatusCode::PARTIAL_CONTENT && !is_all(response.headers()) {
                    return Err(FetchError::Partial);
                }
                return self.receive(store, response, max_text_bytes).await;
            } else {
                return Err(FetchError::Status(status.as_u16()));
            }
        }
        Err(FetchError::Redirects(self.config.max_redirects))
    }

    async fn ask(&self, client: &HttpClient, url: &Url) -> Result<ClientResponse, FetchError> {
        client
            .request(Method::GET, url.as_str())
            .insert_header((header::USER_AGENT, USER_AGENT))
            .insert_header((header::ACCEPT, "audio/*, */*;q=0.5"))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .no_decompress()
            // Each hop has its own connection, so that no connection is used that its server is about to close.
            .force_close()
            .send()
            .await
            .map_err(|err| send_error(&err, self.config.connect_timeout))
    }

    async fn receive(
        &self,
        store: &Store,
        response: ClientResponse,
        max_text_bytes: u64,
    ) -> Result<Fetched, FetchError> {
        let coding = Coding::of(response.headers());
        let bounds = Bounds::new(self.config.max_bytes, max_text_bytes);
        let length = content_length(response.headers());
        if let Some(length) = length.filter(|_| coding != Coding::Gzip) {
            bounds.check(length)?;
        }
        let declared = media_type(response.headers());
        let intake = Intake::new(store.download().await?, coding, bounds);
        let (audio, file_bytes) = take_in(response, intake).await?;
        Ok(Fetched { audio, file_bytes, declared })
    }
}

/// Receives a body, and never holds more than one piece of it. Returns the audio and the length of its file.
async fn take_in(
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    mut intake: Intake,
) -> Result<(Audio, u64), FetchError> {
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|err| match err {
            PayloadError::Io(err) | PayloadError::Incomplete(Some(err)) => broken_off(&err),
            _ => FetchError::Disconnected,
        })?;
        piece.extend_from_slice(&bytes);
        if piece.len() >= PIECE_BYTES {
            (intake, piece) = blocking(move || {
                let intake = intake.take(&piece)?;
                piece.clear();
                Ok((intake, piece))
            })
            .await?;
        }
    }
    blocking(move || intake.take(&piece)?.finish()).await
}

/// Returns the meaning of a failed read.
fn broken_off(err: &std::io::Error) -> FetchError {
    let inner = err.get_ref();
    if let Some(bad) = inner.and_then(|inner| inner.downcast_ref::<BadHead>()) {
        return FetchError::BadHead(*bad);
    }
    match inner {
        Some(inner) if inner.is::<Surplus>() => FetchError::Surplus,
        Some(inner) if inner.is::<Flood>() => FetchError::Flood,
        // actix-http reports a chunk with an invalid size as this error.
        _ if err.kind() == std::io::ErrorKind::InvalidInput => FetchError::Framing,
        _ => FetchError::Disconnected,
    }
}

/// Runs work that takes long, as with files, on a thread where it blocks no other task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    spawn_blocking(work).await.map_err(|_| FetchError::Crashed)?
}

/// Returns the target of a response that is a redirect; the inner `None` means that the target is missing. Bytes of the
/// target that are not ASCII are kept unchanged, because the server has chosen their encoding.
fn redirected(status: u16, headers: &HeaderMap) -> Option<Option<String>> {
    matches!(status, 301 | 302 | 303 | 307 | 308).then(|| {
        let target = headers.get(header::LOCATION)?.as_bytes().trim_ascii();
        (!target.is_empty()).then(|| percent_encode(target, CONTROLS).to_string())
    })
}

/// Returns true if the part that a server sends is the whole file, as in `bytes 0-99/100`.
fn is_all(headers: &HeaderMap) -> bool {
    let whole = || {
        let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.trim();
        let (part, length) = range.strip_prefix("bytes")?.trim_start().split_once('/')?;
        let last: u64 = part.strip_prefix("0-")?.parse().ok()?;
        Some(Some(last.checked_add(1)?) == length.parse().ok())
    };
    whole() == Some(true)
}

/// Returns the length of the body, if the head states it and the body has no framing of its own.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(|value| value.trim().to_ascii_lowercase())
}

/// Returns the meaning of a failed request.
fn send_error(err: &SendRequestError, connect_timeout: Duration) -> FetchError {
    match err {
        SendRequestError::Connect(err) if is_timeout(err) => FetchError::ConnectTimeout(connect_timeout),
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords) => {
            FetchError::Unresolved
        }
        SendRequestError::Connect(ConnectError::Io(err)) => {
            if err.get_ref().is_some_and(|inner| inner.is::<Forbidden>()) {
                FetchError::Forbidden
            } else if err.kind() == std::io::ErrorKind::InvalidData {
                // rustls reports an untrusted certificate, and every other failed handshake, as this error.
                FetchError::Tls
            } else {
                FetchError::Connect
            }
        }
        SendRequestError::Connect(ConnectError::Disconnected) => FetchError::Disconnected,
        SendRequestError::Connect(_) => FetchError::Connect,
        SendRequestError::Response(ParseError::Io(err)) => broken_off(err),
        SendRequestError::Response(ParseError::Incomplete) => FetchError::Disconnected,
        SendRequestError::Response(ParseError::TooLarge) => FetchError::Head,
        SendRequestError::Response(ParseError::Header) => FetchError::Fields,
        SendRequestError::Response(_) => FetchError::NotHttp,
        _ => FetchError::Disconnected,
    }
}
