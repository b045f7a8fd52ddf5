//! Serves content that does not change while the server runs. A client that already has it gets `304`.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use actix_web::http::header::{
    self, AcceptEncoding, Encoding, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use bytes::Bytes;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::error::Failure;
use crate::net::Pieces;

/// Content with its version.
#[derive(Debug, Clone)]
pub(super) struct StaticContent {
    content_type: &'static str,
    bytes: Bytes,
    /// For compressed content: the decompressed content, once a client has requested it. The inner `None` means that it
    /// cannot be decompressed.
    unpacked: Option<Arc<OnceLock<Option<Bytes>>>>,
    tag: EntityTag,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl StaticContent {
    /// Creates content of this type.
    #[must_use]
    pub(super) fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        // Half of the digest is enough to distinguish all versions.
        let name = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { content_type, bytes, unpacked: None, tag: EntityTag::new_weak(name), headers: Vec::new() }
    }

    /// Creates content that is compressed with gzip and sent as it is. For clients that do not accept gzip it is
    /// decompressed once, and all of them share the same memory.
    #[must_use]
    pub(super) fn packed(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self { unpacked: Some(Arc::default()), ..Self::new(content_type, bytes) }
    }

    /// Adds a header to each response.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// Returns the response to a GET or HEAD.
    #[must_use]
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        if self.is_known_to(request) {
            return self.head(HttpResponse::NotModified()).finish();
        }
        let mut response = self.head(HttpResponse::Ok());
        response.content_type(self.content_type);
        let Some(unpacked) = &self.unpacked else { return response.body(Pieces::of(self.bytes.clone())) };
        if takes_gzip(request) {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
            return response.body(Pieces::of(self.bytes.clone()));
        }
        match unpacked.get_or_init(|| unpack(&self.bytes)) {
            Some(bytes) => response.body(Pieces::of(bytes.clone())),
            None => Failure::internal().error_response(),
        }
    }

    fn is_known_to(&self, request: &HttpRequest) -> bool {
        match IfNoneMatch::parse(request) {
            // Without the header the list of tags is empty.
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Ok(IfNoneMatch::Any) => true,
            Err(_) => false,
        }
    }

    fn head(&self, mut response: HttpResponseBuilder) -> HttpResponseBuilder {
        response
            // Clients check for a new version at each use, at the cost of a `304`, so that they notice an update of the
            // server at once.
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::ETAG, self.tag.to_string()))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if self.unpacked.is_some() {
            response.insert_header((header::VARY, "Accept-Encoding"));
        }
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response
    }
}

fn unpack(packed: &[u8]) -> Option<Bytes> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut unpacked).ok()?;
    unpacked.shrink_to_fit();
    Some(unpacked.into())
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let wanted = request.headers().contains_key(header::ACCEPT_ENCODING);
    let accepted = AcceptEncoding::parse(request).ok().filter(|_| wanted);
    accepted.is_some_and(|accepted| {
        accepted.negotiate([Encoding::gzip(), Encoding::identity()].iter()) == Some(Encoding::gzip())
    })
}
