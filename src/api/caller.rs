//! The `Caller` extractor: identifies the API key of a request. A handler that takes a `Caller` runs only for requests
//! with a known key.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::{Either, LocalBoxFuture};

use super::request_log::KeyName;
use super::wrong_keys::WrongKeys;
use crate::error::{ErrorCode, Failure};
use crate::fanout::SendTimeout;
use crate::keys::{KeyringHandle, KnownKey};
use crate::trace::Recognition;

/// The known API key of a request.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<KnownKey>);

impl Caller {
    /// Returns the result of `work`, unless the key is revoked first. The check costs nothing if `work` is ready at
    /// once.
    ///
    /// # Errors
    /// `invalid_api_key` when the key is revoked.
    pub(super) async fn unless_revoked<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.revocation.revoked() => {
                Err(Failure::new(ErrorCode::InvalidApiKey, "The API key was revoked: send another key"))
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
    type Future = Either<Ready<Result<Self, Failure>>, LocalBoxFuture<'static, Result<Self, Failure>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = recognise(request);
        let is_wrong = caller.is_err() && request.headers().contains_key(header::AUTHORIZATION);
        match request.app_data::<web::Data<WrongKeys>>().filter(|_| is_wrong) {
            None => Either::Left(ready(caller)),
            Some(wrong_keys) => {
                let (wrong_keys, request) = (wrong_keys.clone(), request.clone());
                Either::Right(Box::pin(async move {
                    wrong_keys.delay(&request).await;
                    caller
                }))
            }
        }
    }
}

fn recognise(request: &HttpRequest) -> Result<Caller, Failure> {
    let keys = request.app_data::<web::Data<KeyringHandle>>().ok_or_else(Failure::internal)?;
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(header) = headers.next() else {
        return Err(Failure::new(
            ErrorCode::InvalidApiKey,
            "An API key is missing: send it as Authorization: Bearer sk-...",
        ));
    };
    if headers.any(|other| other != header) {
        // Of two headers, a proxy and hearken might use different ones.
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
    if let Some(send_timeout) = extensions.get::<SendTimeout>() {
        send_timeout.key_is_valid();
    }
    drop(extensions);
    Ok(Caller(known))
}

#[cfg(test)]
mod tests {
    use std::task::Poll;
    use std::time::Duration;

    use actix_web::test::TestRequest;
    use futures_util::poll;
    use tokio::time::{advance, pause};

    use super::*;
    use crate::api::wrong_keys::{CloseConnection, MAX_WAITING};
    use crate::keys::{KeyLimits, KeyRecord, Keyring};
    use crate::secret::KeyHash;

    fn recognised(key: &str, wrong_keys: &WrongKeys) -> (HttpRequest, <Caller as FromRequest>::Future) {
        let record = KeyRecord {
            name: "main".into(),
            hash: KeyHash::of("sk-right"),
            models: vec!["*".into()],
            limits: KeyLimits::default(),
        };
        let (_, keys) = KeyringHandle::new(Keyring::new([record]));
        let request = TestRequest::default()
            .insert_header((header::AUTHORIZATION, format!("Bearer {key}")))
            .app_data(web::Data::new(keys))
            .app_data(web::Data::new(wrong_keys.clone()))
            .to_http_request();
        let caller = Caller::from_request(&request, &mut Payload::None);
        (request, caller)
    }

    #[actix_rt::test]
    async fn a_wrong_key_waits_and_a_valid_key_never_does() {
        pause();
        let wrong_keys = WrongKeys::new();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| recognised("sk-wrong", &wrong_keys).1).collect();
        for refusal in &mut waiting {
            assert!(poll!(refusal).is_pending());
        }
        let (_, mut valid) = recognised("sk-right", &wrong_keys);
        assert!(matches!(poll!(&mut valid), Poll::Ready(Ok(_))));
        // The limit is reached: the next request does not wait, and its connection is closed.
        let (request, mut beyond) = recognised("sk-wrong", &wrong_keys);
        assert!(matches!(poll!(&mut beyond), Poll::Ready(Err(_))));
        assert!(request.extensions().contains::<CloseConnection>());
        // When a client disconnects, another request can wait.
        drop(waiting.pop());
        let (_, mut next) = recognised("sk-wrong", &wrong_keys);
        assert!(poll!(&mut next).is_pending());
        advance(Duration::from_millis(101)).await;
        for refusal in waiting {
            assert!(refusal.await.is_err());
        }
    }
}
