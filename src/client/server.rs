//! The client's calls to a server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_tls::connect::rustls_0_23::webpki_roots_cert_store;
use awc::error::PayloadError;
use awc::http::StatusCode;
use awc::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use awc::{ClientRequest, ClientResponse};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::LocalBoxStream;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::address::BaseUrl;
use super::call_error::{CallError, plain};
use super::profile::Profile;
use super::replies::{Models, Task};
use super::upload::{Upload, UploadProgress};
use crate::deadline::timeout;
use crate::net::{HTTP_1_1, HttpClient};
use crate::secret::Secret;

/// Time limit for the name look-up, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for a call without audio.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An upload that makes no progress for this long has failed. A server may pause an upload for a shorter time.
const STALL_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a call waits for the end of a task, in seconds. A server allows a minute.
const WAIT_SECONDS: u64 = 25;
/// Largest reply that is read, in bytes: the JSON of the longest answer that a server holds.
const MAX_REPLY_BYTES: usize = 512 << 20;
/// The media type of a stream.
const EVENT_STREAM: &str = "text/event-stream";

/// The body of a stream.
pub(super) type StreamBody = LocalBoxStream<'static, Result<Bytes, PayloadError>>;

/// A file that cannot be used as certificate authorities.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be used as certificate authorities: {reason}; name a PEM file with certificates")]
pub struct BadAuthority {
    path: String,
    reason: String,
}

/// A server, with the key for its calls.
pub struct Server {
    client: HttpClient,
    url: BaseUrl,
    key: Secret,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.url)
    }
}

impl Server {
    /// Creates the client for a profile's server, without connecting yet.
    ///
    /// # Errors
    /// When the certificates that the profile trusts cannot be read.
    pub fn of(profile: &Profile) -> Result<Self, BadAuthority> {
        let roots = match &profile.ca {
            Some(path) => authorities(path)?,
            None => webpki_roots_cert_store(),
        };
        let mut trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        trust.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let client = HttpClient::trusting(&Arc::new(trust), CONNECT_TIMEOUT);
        Ok(Self { client, url: profile.url.clone(), key: profile.key.clone() })
    }

    /// Returns the base of the server's URLs.
    #[must_use]
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Returns the names of the models that the key may use.
    ///
    /// # Errors
    /// As for all calls: the server is unreachable, refuses the call, or is not hearken.
    pub async fn models(&self) -> Result<Vec<String>, CallError> {
        let reply = with_timeout(ANSWER_TIMEOUT, self.request("GET", "/v1/models").send()).await?;
        let (models, _) = read::<Models>(reply).await?;
        Ok(models.data.into_iter().map(|model| model.id).collect())
    }

    /// Submits a task. The same `idempotency_key` with the same body is the same task, however often it is sent.
    ///
    /// # Errors
    /// As for all calls; if the connection breaks or stalls, the task may or may not exist.
    pub async fn submit(
        &self,
        body: Bytes,
        idempotency_key: &str,
        sent: UploadProgress,
    ) -> Result<Task, CallError> {
        let request = self
            .request("POST", "/v1/llm/generations")
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header(("Idempotency-Key", idempotency_key));
        let sending = request.send_body(Upload::new(body, sent.clone()));
        tokio::pin!(sending);
        let reply = tokio::select! {
            reply = &mut sending => reply?,
            () = stalled(&sent) => return Err(CallError::Disconnected("the upload has stalled".to_owned())),
        };
        task(reply).await
    }

    /// Returns the task.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn task(&self, id: &str) -> Result<Task, CallError> {
        let reply =
            with_timeout(ANSWER_TIMEOUT, self.request("GET", &format!("/v1/tasks/{id}")).send()).await?;
        task(reply).await
    }

    /// Returns the task once it has ended. If it does not end within half a minute, returns it as it is then.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn wait(&self, id: &str) -> Result<Task, CallError> {
        let path = format!("/v1/tasks/{id}?wait={WAIT_SECONDS}");
        let backoff = ANSWER_TIMEOUT + Duration::from_secs(WAIT_SECONDS);
        task(with_timeout(backoff, self.request("GET", &path).send()).await?).await
    }

    /// Cancels the task, if it has not ended.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn cancel(&self, id: &str) -> Result<Task, CallError> {
        let request = self.request("POST", &format!("/v1/tasks/{id}/cancel"));
        task(with_timeout(ANSWER_TIMEOUT, request.send()).await?).await
    }

    /// Returns the task's stream from the chunk with this number on; `None` if the task ended before that chunk.
    ///
    /// # Errors
    /// As for all calls.
    pub async fn stream(&self, id: &str, from: u64) -> Result<Option<StreamBody>, CallError> {
        // The offset is also sent in the URL, because some proxies remove a header that they do not know.
        let mut request = self.request("GET", &format!("/v1/llm/generations/{id}/stream?offset={from}"));
        if let Some(last) = from.checked_sub(1) {
            request = request.insert_header(("Last-Event-ID", last.to_string()));
        }
        let request = request.insert_header((ACCEPT, EVENT_STREAM));
        let reply = with_timeout(ANSWER_TIMEOUT, request.send()).await?;
        if reply.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let reply = success(reply).await?;
        let media_type = reply.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(EVENT_STREAM) {
            return Err(CallError::NotHearken(format!(
                "it sent {essence:?} instead of an event stream; check the address"
            )));
        }
        Ok(Some(reply.boxed_local()))
    }

    fn request(&self, method: &'static str, path: &str) -> ClientRequest {
        // The callers' method names are always valid.
        let method = method.parse().unwrap_or_default();
        self.client
            .request(method, &self.url.of(path))
            .insert_header((AUTHORIZATION, format!("Bearer {}", self.key.expose())))
            .insert_header(("User-Agent", concat!("hearken/", env!("CARGO_PKG_VERSION"))))
    }
}

/// Reads the certificates of a PEM file.
fn authorities(path: &Path) -> Result<RootCertStore, BadAuthority> {
    let bad = |reason: String| BadAuthority { path: path.display().to_string(), reason };
    let unread = |err| match err {
        pem::Error::Io(err) => bad(plain(&err)),
        _ => bad("the file is broken".to_owned()),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        let broken = |_| bad("one of its certificates cannot be read".to_owned());
        roots.add(certificate.map_err(unread)?).map_err(broken)?;
    }
    if roots.is_empty() { Err(bad("it holds no certificate".to_owned())) } else { Ok(roots) }
}

/// Resolves when an upload has made no progress for too long. It counts checks instead of time, so that a freeze of
/// this process counts as one check.
async fn stalled(sent: &UploadProgress) {
    const LOOK: Duration = Duration::from_secs(1);
    let (mut last, mut still) = (sent.bytes(), Duration::ZERO);
    while still < STALL_TIMEOUT {
        sleep(LOOK).await;
        still += LOOK;
        if sent.bytes() != last {
            (last, still) = (sent.bytes(), Duration::ZERO);
        }
    }
}

async fn with_timeout<T, E: Into<CallError>>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, CallError> {
    match timeout(limit, call).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(CallError::Disconnected(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// Returns the reply, unless it has an error status.
async fn success<S>(mut reply: ClientResponse<S>) -> Result<ClientResponse<S>, CallError>
where
    S: futures_util::Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    let status = reply.status();
    if status == StatusCode::OK {
        return Ok(reply);
    }
    let body = timeout(ANSWER_TIMEOUT, reply.body()).await.ok().and_then(Result::ok).unwrap_or_default();
    Err(CallError::of_reply(status, reply.headers(), &body))
}

/// Reads a reply; returns its content and its bytes.
async fn read<T: DeserializeOwned>(
    reply: ClientResponse<impl futures_util::Stream<Item = Result<Bytes, PayloadError>> + Unpin>,
) -> Result<(T, Bytes), CallError> {
    let mut reply = success(reply).await?;
    let body = match timeout(STALL_TIMEOUT, reply.body().limit(MAX_REPLY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(PayloadError::Overflow)) => {
            return Err(CallError::NotHearken(
                "its reply is too large to be hearken's; check the address".to_owned(),
            ));
        }
        Ok(Err(_)) => return Err(CallError::Disconnected("the reply was cut off".to_owned())),
        Err(_) => return Err(CallError::Disconnected("the reply has stalled".to_owned())),
    };
    match serde_json::from_slice(&body) {
        Ok(value) => Ok((value, body)),
        Err(_) => {
            Err(CallError::NotHearken("it does not answer as hearken does; check the address".to_owned()))
        }
    }
}

async fn task(
    reply: ClientResponse<impl futures_util::Stream<Item = Result<Bytes, PayloadError>> + Unpin>,
) -> Result<Task, CallError> {
    let (mut task, body) = read::<Task>(reply).await?;
    let json = String::from_utf8(body.into()).map_err(io::Error::other);
    let json = json.map_err(|err| CallError::NotHearken(err.to_string()))?;
    // A line break outside a string is white space; within a string it is escaped.
    task.json = json.trim().replace(['\r', '\n'], " ");
    Ok(task)
}
