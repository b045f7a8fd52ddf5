//! Accepts TLS on new connections, and finds out which protocol client and server agree on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::Certificate;
use super::entrance::DISCONNECT_TIMEOUT;
use crate::deadline::timeout;
use crate::fanout::Socket;

/// How long a client may take for the TLS handshake, from the beginning of the connection on. The number of handshakes
/// at once is limited only by the number of connections ([`OpenFiles`](super::open_files::OpenFiles)); each takes some
/// 10 KB. With a lower limit, clients that send one byte and no more could block all handshakes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of plain text that wait to be encrypted: as many as one record holds. The rest stays with its owner.
const UNSENT_BYTES: usize = 16 * 1024;
/// The names by which client and server agree on a protocol.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// The answer to a client that sends plain HTTP to a TLS port.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 35\r\n\
    connection: close\r\n\r\nThis port speaks TLS: use https://\n";
/// Most bytes that are read of a request in plain HTTP, so that the client can read the answer.
const NO_TLS_BYTES: u64 = 64 * 1024;

/// Accepts TLS on connections.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
}

/// The protocol that client and server have agreed on.
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Tls {
    /// Accepts TLS 1.2 and 1.3, with the newest certificate at the time of the connection.
    pub(super) fn new(certificates: watch::Receiver<Arc<Certificate>>) -> Self {
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(NewestCertificate(certificates)));
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Self { acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Waits for the client's first byte, and then for the handshake. `socket` converts the connection to the type that
    /// the HTTP server needs.
    ///
    /// # Errors
    /// When the client disconnects, takes too long or does not use TLS.
    pub(super) async fn accept(
        &self,
        mut stream: TcpStream,
        socket: impl FnOnce(TcpStream) -> Socket,
    ) -> io::Result<(TlsStream<Socket>, Protocol)> {
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? > 0 && first[0].is_ascii_alphabetic() {
                refuse_plain_http(&mut stream).await?;
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client sends plain HTTP to a TLS port",
                ));
            }
            let secure =
                self.acceptor.accept_with(socket(stream), |tls| tls.set_buffer_limit(Some(UNSENT_BYTES)));
            secure.await
        };
        let stream = timeout(HANDSHAKE_TIMEOUT, handshake).await??;
        let (_, tls) = stream.get_ref();
        let spoken = if tls.alpn_protocol() == Some(HTTP_2) { Protocol::Http2 } else { Protocol::Http1 };
        Ok((stream, spoken))
    }
}

async fn refuse_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(NO_TLS).await?;
    stream.shutdown().await?;
    // If the connection is closed while it has unread bytes, the system resets it, and the answer is lost.
    let mut rest = stream.take(NO_TLS_BYTES);
    let _ = timeout(DISCONNECT_TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

/// Gives each new connection the newest certificate.
#[derive(Debug)]
struct NewestCertificate(watch::Receiver<Arc<Certificate>>);

impl ResolvesServerCert for NewestCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_the_length_in_its_head() {
        let text = std::str::from_utf8(NO_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
