//! A host on the internet, simulated on loopback: a server that replies to each request with the bytes that a test
//! writes.

use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};

use super::PATIENCE;
use crate::kit::head::RequestHead;
use crate::kit::server::{Line, listen, reply_head};

/// A running host.
#[derive(Debug)]
pub(crate) struct Host {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A connection on which a request has arrived.
#[derive(Debug)]
pub(crate) struct Asked {
    /// How many requests came before, on any connection.
    pub(crate) number: usize,
    /// The path and query.
    pub(crate) target: String,
    line: Line,
}

impl Host {
    /// Starts a host that replies to every request with this function, and then closes the connection.
    pub(crate) fn serve(answer: impl Fn(Asked) + Send + Sync + 'static) -> Self {
        Self::serve_at(Ipv4Addr::LOCALHOST, answer)
    }

    /// Starts a host as [`Host::serve`] does, at another address of this machine.
    pub(crate) fn serve_at(address: Ipv4Addr, answer: impl Fn(Asked) + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&requests);
        let listener = listen(address, move |mut line| {
            line.socket().set_write_timeout(Some(PATIENCE)).unwrap();
            let Ok(Some(head)) = line.head() else { return };
            let target = RequestHead::parse(&head).unwrap().unwrap().0.target.to_owned();
            let number = {
                let mut requests = theirs.lock().unwrap();
                requests.push(String::from_utf8(head).unwrap());
                requests.len() - 1
            };
            answer(Asked { number, target, line });
        });
        let address = listener.unwrap().address;
        Self { address, requests }
    }

    /// Starts a host with this file at any path.
    pub(crate) fn of_file(content_type: &'static str, file: Vec<u8>) -> Self {
        Self::serve(move |asked| asked.file(content_type, &file))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the heads of the requests that came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Asked {
    /// Writes bytes. A reader that has disconnected does not fail a test.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.line.write(bytes).is_ok()
    }

    /// Returns the address that the connection came to.
    pub(crate) fn here(&self) -> SocketAddr {
        self.line.socket().local_addr().unwrap()
    }

    /// Answers with a head of these lines, and this body.
    pub(crate) fn answer(mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        // One write, so that the other side reads it at once where it fits.
        self.write([reply_head(status, headers).as_bytes(), body].concat());
    }

    /// Answers with a file.
    pub(crate) fn file(self, content_type: &str, file: &[u8]) {
        let length = file.len().to_string();
        self.answer(200, &[("content-type", content_type), ("content-length", &length)], file);
    }

    /// Answers with a redirect.
    pub(crate) fn redirect(self, status: u16, location: &str) {
        self.answer(status, &[("location", location), ("content-length", "0")], b"");
    }

    /// Waits until the other side disconnects.
    pub(crate) fn until_they_leave(self) {
        let _ = self.line.rest(PATIENCE);
    }

    /// Ends the answer, and reads the rest of the request: unread bytes would turn the close into a reset.
    pub(crate) fn end(mut self) {
        let socket = self.line.socket();
        let _ = socket.shutdown(Shutdown::Write);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = std::io::copy(self.line.reader(), &mut std::io::sink());
    }

    /// Closes the connection so that the other side sees a reset.
    pub(crate) fn reset(self) {
        // The system sends a reset when a socket with unread data closes, or when a request was read only in part.
        let _ = self.line.socket().shutdown(Shutdown::Both);
    }
}
