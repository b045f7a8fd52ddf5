//! The `Caller` extractor: who sent this request. A handler that takes one cannot be reached without a key.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::request_log::KeyName;
use crate::error::{ErrorCode, Failure};
use crate::keys::{Keys, KnownKey};
use crate::trace::Recognition;

/// A request's API key, which is known.
#[derive(Debug, Clone)]
pub struct Caller(Arc<KnownKey>);

impl Caller {
    /// What `work` brings, unless the key is revoked before. What is done at once costs nothing more.
    ///
    /// # Errors
    /// `invalid_api_key` when the key is revoked.
    pub async fn unless_revoked<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.revocation.revoked() => {
                Err(Failure::new(ErrorCode::InvalidApiKey, "The API key was revoked: send another one"))
            }
        }
    }
}

impl Deref for Caller {
    type Target = KnownKey;

    fn deref(&self) -> &KnownKey {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = Failure;
    type Future = Ready<Result<Self, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(recognise(request))
    }
}

fn recognise(request: &HttpRequest) -> Result<Caller, Failure> {
    let keys = request.app_data::<web::Data<Keys>>().ok_or_else(Failure::internal)?;
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(header) = headers.next() else {
        return Err(Failure::new(
            ErrorCode::InvalidApiKey,
            "An API key is missing: send it as Authorization: Bearer sk-...",
        ));
    };
    if headers.any(|other| other != header) {
        // A proxy and hearken could each take another one for the caller's.
        return Err(Failure::new(
            ErrorCode::InvalidApiKey,
            "The request has two different Authorization headers: send one, as Authorization: Bearer sk-...",
        ));
    }
    let key = header.to_str().ok().and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let known = key.and_then(|key| keys.current().find(key)).ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidApiKey,
            "The API key is invalid: send a valid one as Authorization: Bearer sk-...",
        )
    })?;
    let mut extensions = request.extensions_mut();
    extensions.insert(KeyName(known.name.clone()));
    if let Some(recognition) = extensions.get::<Recognition>() {
        recognition.recognised();
    }
    drop(extensions);
    Ok(Caller(known))
}
