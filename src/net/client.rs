//! awc clients: how they connect, and what they never do.
//!
//! A client cannot leave its thread. Redirects are never followed here, since they lead elsewhere than whoever asks
//! has looked; proxies of the environment are unknown to awc; and its one timeout for everything is switched off,
//! because those who ask have better ones.

use std::sync::Arc;
use std::time::Duration;

use actix_tls::connect::tcp::TcpConnectorService;
use actix_tls::connect::{
    ConnectError as TcpConnectError, ConnectInfo, Connection, Connector as TcpConnector, ConnectorService,
};
use actix_web::dev::{Service, fn_service};
use awc::http::Uri;
use awc::{Client, Connector};
use rustls::ClientConfig;

use super::honest_stream::HonestStream;
use super::metered::Metered;
use super::reach::{Reach, judged};

/// A client that connects to whom it may reach. Name look-up and TCP together, and TLS, may take `connect_timeout`
/// each.
#[must_use]
pub fn client(connect_timeout: Duration, reach: Reach) -> Client {
    finished(Connector::new().connector(tcp(reach)), connect_timeout)
}

/// A client that connects to whomever it is told to, and trusts in TLS whom `trust` says.
#[must_use]
pub fn trusting(trust: Arc<ClientConfig>, connect_timeout: Duration) -> Client {
    finished(Connector::new().connector(tcp(Reach::Anybody)).rustls_0_23(trust), connect_timeout)
}

fn finished<S>(connector: Connector<S>, connect_timeout: Duration) -> Client
where
    S: Service<ConnectInfo<Uri>, Response = Connection<Uri, HonestStream>, Error = TcpConnectError>
        + Clone
        + 'static,
{
    // How many connections there are is bounded by the tasks that run, not here.
    let connector = connector.timeout(connect_timeout).handshake_timeout(connect_timeout).limit(0);
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// Connects, over streams that tell how a response ends.
fn tcp(
    reach: Reach,
) -> impl Service<ConnectInfo<Uri>, Response = Connection<Uri, HonestStream>, Error = TcpConnectError>
+ Clone
+ 'static {
    let anybody: ConnectorService = TcpConnector::default().service();
    fn_service(move |target: ConnectInfo<Uri>| {
        let (anybody, reach) = (anybody.clone(), reach.clone());
        async move {
            let (connected, most_bytes) = match reach {
                Reach::Anybody => (anybody.call(target).await?, u64::MAX),
                Reach::Through { gate, resolver, most_bytes } => {
                    let (host, port) = (target.hostname().to_owned(), target.port());
                    let addresses = judged(&gate, &*resolver, &host, port).await?;
                    (TcpConnectorService::default().call(target.set_addrs(addresses)).await?, most_bytes)
                }
            };
            let (tcp, uri) = connected.into_parts();
            // A request goes out at once; where the system refuses, it goes out a little later.
            let _ = tcp.set_nodelay(true);
            let plain = uri.scheme_str() == Some("http");
            Ok(Connection::new(uri, HonestStream::new(Metered::new(tcp, most_bytes), plain)))
        }
    })
}
