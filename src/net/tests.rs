//! Tests the reading of responses as real servers send them, over sockets, with and without TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use awc::http::Method;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::client::HttpClient;

/// How a server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// The server sends TLS's close notification.
    Politely,
    /// The server closes only the TCP connection.
    Abruptly,
}

/// A server that answers the requests of each connection in turn with these bytes, and then closes the connection.
struct Server {
    port: u16,
    trust: Arc<ClientConfig>,
}

impl Server {
    fn start(is_secure: bool, answers: &[&str], leaves: Leaves) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.as_bytes().to_vec()).collect();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_nodelay(true).unwrap();
                if is_secure {
                    let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                    let mut stream = StreamOwned::new(tls, socket);
                    converse(&mut stream, &answers);
                    if leaves == Leaves::Politely {
                        stream.conn.send_close_notify();
                        let _ = stream.conn.write_tls(&mut stream.sock);
                    }
                } else {
                    let mut socket: TcpStream = socket;
                    converse(&mut socket, &answers);
                }
            }
        });
        Self { port, trust: Arc::new(trust) }
    }

    fn client(&self) -> HttpClient {
        HttpClient::trusting(&self.trust, Duration::from_secs(10))
    }
}

fn converse(stream: &mut (impl Read + Write), answers: &[Vec<u8>]) {
    for answer in answers {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        // The client may have closed the connection before the end.
        let _ = stream.write_all(answer).and_then(|()| stream.flush());
    }
}

/// Returns the status and the body of a response, or the error.
async fn ask(client: &HttpClient, is_secure: bool, port: u16) -> Result<(u16, String), String> {
    let scheme = if is_secure { "https" } else { "http" };
    let request = client.request(Method::GET, &format!("{scheme}://localhost:{port}/"));
    let mut response = request.no_decompress().send().await.map_err(|err| err.to_string())?;
    let body = response.body().await.map_err(|err| err.to_string())?;
    Ok((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

#[actix_rt::test]
async fn a_response_is_read_as_the_protocol_defines_it() {
    let whole = |body: &str| Ok((200, body.to_owned()));
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", whole("abc")),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            whole("abc"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", whole("abc")),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length:\r\n 3\r\n\r\nabc", whole("abc")),
        ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", whole("abc")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", whole("abc")),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", whole("abc")),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", Ok((204, String::new()))),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
            Err("two lengths that differ"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: three\r\n\r\nabc", Err("a length that is not a number")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: x, chunked\r\n\r\n",
            Err("a transfer coding that was not requested"),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd",
            Err("more bytes than the Content-Length states"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Err("")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Err("")),
        ("HTTP/1.1 100 Continue\r\n\r\n", Err("")),
    ] {
        for (is_secure, leaves) in
            [(false, Leaves::Abruptly), (true, Leaves::Abruptly), (true, Leaves::Politely)]
        {
            let server = Server::start(is_secure, &[answer], leaves);
            let read = ask(&server.client(), is_secure, server.port).await;
            match &expected {
                Ok(expected) => assert_eq!(read.as_ref(), Ok(expected), "{answer:?}, {is_secure}"),
                Err(why) => {
                    assert!(read.as_ref().is_err_and(|err| err.contains(why)), "{answer:?}: {read:?}")
                }
            }
        }
    }
}

#[actix_rt::test]
async fn a_body_without_a_length_is_whole_over_tls_only_after_close_notify() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nabc";
    for (is_secure, leaves, is_whole) in
        [(false, Leaves::Abruptly, true), (true, Leaves::Politely, true), (true, Leaves::Abruptly, false)]
    {
        let server = Server::start(is_secure, &[answer], leaves);
        let read = ask(&server.client(), is_secure, server.port).await;
        assert_eq!(read.is_ok_and(|(_, body)| body == "abc"), is_whole, "{is_secure}, {leaves:?}");
    }
}

#[actix_rt::test]
async fn an_answer_after_an_interim_response_belongs_to_its_own_request() {
    for is_secure in [false, true] {
        let first = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
        let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
        let server = Server::start(is_secure, &[first, second], Leaves::Politely);
        let client = server.client();
        for expected in ["first", "second"] {
            let read = ask(&client, is_secure, server.port).await;
            assert_eq!(read, Ok((200, expected.to_owned())), "{is_secure}");
        }
    }
}
