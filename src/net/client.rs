//! HTTP clients, and how they connect.
//!
//! A client cannot be sent to another thread. It never follows redirects, because they may lead to a host that the
//! caller has not checked. awc does not support proxies from the environment. awc's timeouts are switched off: the
//! callers limit the time of the whole request, and this module limits the time to connect, by a clock that stops while
//! this process is frozen.
//!
//! HTTP/1.1 is also used over TLS. awc gets a connection that is already encrypted, and a URL without TLS, so that
//! [`HonestStream`] is between awc and TLS. Each call has its own connection, so HTTP/2 would only save handshakes.

use std::fmt;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use actix_tls::connect::rustls_0_23::webpki_roots_cert_store;
use actix_tls::connect::tcp::TcpConnectorService;
use actix_tls::connect::{
    ConnectError, ConnectInfo, Connection, Connector as TcpConnector, ConnectorService,
};
use actix_web::dev::{Service, fn_service};
use awc::http::{Method, Uri};
use awc::{Client, ClientRequest, Connector};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::honest_stream::HonestStream;
use super::metered::Metered;
use super::reach::{Reach, allowed_addresses};
use super::wire::Wire;
use crate::deadline::{Passed, timeout};

/// The settings of TLS for clients that trust the authorities that browsers trust.
static PUBLIC_TRUST: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let roots = webpki_roots_cert_store();
    let mut trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    trust.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Arc::new(trust)
});

/// The name of HTTP/1.1 in the TLS handshake.
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// A client for `http` and `https` URLs; cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    plain: Client,
    secure: Client,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// Makes a client that connects within `reach`. Name look-up, TCP and TLS together may take `connect_timeout`.
    #[must_use]
    pub fn new(connect_timeout: Duration, reach: Reach) -> Self {
        Self::with(connect_timeout, &reach, &PUBLIC_TRUST)
    }

    /// Makes a client that connects to every host and, in TLS, trusts the authorities of `trust`, which must offer
    /// [HTTP/1.1](HTTP_1_1) alone.
    #[must_use]
    pub fn trusting(trust: &Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        Self::with(connect_timeout, &Reach::AnyHost, trust)
    }

    fn with(connect_timeout: Duration, reach: &Reach, trust: &Arc<ClientConfig>) -> Self {
        let client = |tls: Option<&Arc<ClientConfig>>| {
            let connector = Connector::new().connector(connect(reach.clone(), tls.cloned(), connect_timeout));
            // The number of connections needs no limit here, because it is limited by that of running tasks.
            let connector = connector.timeout(Duration::MAX).limit(0);
            Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
        };
        Self { plain: client(None), secure: client(Some(trust)) }
    }

    /// Begins a request. An invalid URL causes an error when the request is sent.
    #[must_use]
    pub fn request(&self, method: Method, url: &str) -> ClientRequest {
        match url.parse().ok().and_then(without_tls) {
            Some(url) => self.secure.request(method, url),
            None => self.plain.request(method, url),
        }
    }
}

/// Returns true if connecting took longer than the client allows.
#[must_use]
pub fn is_timeout(err: &awc::error::ConnectError) -> bool {
    use awc::error::ConnectError::Io;
    matches!(err, Io(err) if err.get_ref().is_some_and(|inner| inner.is::<Passed>()))
}

/// Returns an `https` URL as an `http` URL with the same port, because awc would encrypt `https` itself. Returns `None`
/// for any other URL.
fn without_tls(url: Uri) -> Option<Uri> {
    let mut parts = url.into_parts();
    if parts.scheme.as_ref()?.as_str() != "https" {
        return None;
    }
    let authority = parts.authority.take()?;
    let is_explicit = authority.port_u16().is_some();
    parts.authority = Some(if is_explicit { authority } else { format!("{authority}:443").parse().ok()? });
    parts.scheme = Some(awc::http::uri::Scheme::HTTP);
    Uri::from_parts(parts).ok()
}

/// Connects, and wraps the connection so that awc notices how a response ends.
fn connect(
    reach: Reach,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
) -> impl Service<ConnectInfo<Uri>, Response = Connection<Uri, HonestStream>, Error = ConnectError> + Clone + 'static
{
    let any_host: ConnectorService = TcpConnector::default().service();
    fn_service(move |target: ConnectInfo<Uri>| {
        let (any_host, reach, tls) = (any_host.clone(), reach.clone(), tls.clone());
        let connecting = async move {
            let host = target.hostname().to_owned();
            let (connected, most_bytes) = match reach {
                Reach::AnyHost => (any_host.call(target).await?, u64::MAX),
                Reach::Through { gate, resolver, most_bytes } => {
                    let addresses = allowed_addresses(&gate, &*resolver, &host, target.port()).await?;
                    (TcpConnectorService::default().call(target.set_addrs(addresses)).await?, most_bytes)
                }
            };
            let (tcp, uri) = connected.into_parts();
            // With this option a request is sent at once. If the system refuses the option, it is sent a little later.
            let _ = tcp.set_nodelay(true);
            let tcp = Metered::new(tcp, most_bytes);
            let wire = match tls {
                None => Wire::Plain(tcp),
                Some(trust) => encrypted(trust, &host, tcp).await.map_err(ConnectError::Io)?,
            };
            Ok(Connection::new(uri, HonestStream::new(wire)))
        };
        async move {
            let connected = timeout(connect_timeout, connecting).await;
            connected.unwrap_or_else(|passed| Err(ConnectError::Io(passed.into())))
        }
    })
}

async fn encrypted(trust: Arc<ClientConfig>, host: &str, tcp: Metered) -> io::Result<Wire> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|err| io::Error::new(io::ErrorKind::InvalidInput, err))?;
    Ok(Wire::Tls(Box::new(TlsConnector::from(trust).connect(name, tcp).await?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_url_keeps_its_host_port_and_path() {
        for (url, expected) in [
            ("https://h.example/a?b=c%20d", Some("http://h.example:443/a?b=c%20d")),
            ("https://h.example:8443/", Some("http://h.example:8443/")),
            ("https://[::1]/x", Some("http://[::1]:443/x")),
            ("https://u:p@h/x", Some("http://u:p@h:443/x")),
            ("http://h/x", None),
            ("/x", None),
        ] {
            let found = without_tls(url.parse().unwrap()).map(|url| url.to_string());
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }
}
