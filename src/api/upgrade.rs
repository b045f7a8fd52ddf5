//! Requests that ask for WebSocket (`Upgrade: websocket`), be it because a client tries that first or because a proxy
//! adds it to all. hearken speaks plain HTTP with them, as
//! [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-7.8) allows.
//!
//! actix-web takes them for what they ask for, whatever is answered: it neither ends their body nor frames that of
//! a response. So the body ends by its `Content-Length`, a stream with its connection, and no other request is
//! read from that.

use actix_web::HttpRequest;
use actix_web::http::header;

/// Does the request ask for WebSocket?
#[must_use]
pub fn is_asked(request: &HttpRequest) -> bool {
    let protocol = request.headers().get(header::UPGRADE);
    protocol.is_some_and(|protocol| protocol.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}
