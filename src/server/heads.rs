//! Converts heads of requests and replies between HTTP/2 and actix, which use types from two versions of the `http`
//! crate.

use std::time::SystemTime;

use actix_http::body::BodySize;
use actix_http::header::{HeaderName, HeaderValue};
use actix_http::{Method, RequestHead, ResponseHead, Uri, Version};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};

/// Headers that are not copied. HTTP/2 does not allow headers about the connection
/// ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)), and the length is taken from the body itself.
const NOT_COPIED: [http::HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    http::HeaderName::from_static("keep-alive"),
    http::HeaderName::from_static("proxy-connection"),
];

/// Copies the head of a request. Returns `None` for a value that only one of the two versions accepts.
pub(super) fn copy_request_head(parts: &http::request::Parts, head: &mut RequestHead) -> Option<()> {
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = Uri::try_from(parts.uri.to_string()).ok()?;
    head.version = Version::HTTP_2;
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(())
}

/// Returns the head of a reply with a body of this size.
pub(super) fn response_head(head: &ResponseHead, size: BodySize) -> http::Response<()> {
    let mut response = http::Response::new(());
    if let Ok(status) = http::StatusCode::from_u16(head.status.as_u16()) {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    for (name, value) in head.headers() {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        // Both versions accept the same values.
        if let (Ok(name), Ok(value)) = (name, value)
            && !NOT_COPIED.contains(&name)
        {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(bytes) = size {
        headers.insert(CONTENT_LENGTH, http::HeaderValue::from(bytes));
    }
    if let Ok(now) = http::HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.entry(DATE).or_insert(now);
    }
    response
}
