//! A subscription over HTTP: the chunk where it starts, and its response of the type `text/event-stream`.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::{Method, Version, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use actix_web_lab::header::{CacheControl, CacheDirective};
use bytes::Bytes;
use futures_util::stream;

use super::caller::Caller;
use super::request_log::RequestId;
use super::tasks::task_id;
use crate::actors::Tasks;
use crate::error::Failure;
use crate::fanout::{Framing, HandOver, SubscriberInfo, SubscriptionFactory};
use crate::task::{Format, FrameReader, TaskId};

/// Handles a subscription.
///
/// # Errors
/// `task_not_found`, `stream_not_enabled`, `stream_expired`, or `invalid_param` for an offset.
pub(super) async fn subscribe(
    request: HttpRequest,
    caller: Caller,
    tasks: web::Data<Tasks>,
    subscriptions: web::Data<SubscriptionFactory>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&request)?;
    let mut position = offset(request.query_string())?;
    let log = tasks.subscribe(&id, caller.hash).await?.in_format(Format::Tasks);
    if let Some(last) = last_event_id(&request) {
        let mark = log.mark();
        if mark.ended && last + 1 >= mark.len {
            // After a `204`, a browser stops reconnecting.
            return Ok(HttpResponse::NoContent().finish());
        }
        position = last + 1;
    }
    if request.method() == Method::HEAD {
        let (mut head, _) = head(&request);
        return Ok(head.streaming(stream::empty::<Result<Bytes, Failure>>()));
    }
    Ok(response(&request, &subscriptions, &caller, id, log, position))
}

/// Returns the response to `request`: a subscription that starts at `position`.
#[must_use]
pub(super) fn response(
    request: &HttpRequest,
    subscriptions: &SubscriptionFactory,
    caller: &Caller,
    task_id: TaskId,
    log: FrameReader,
    position: usize,
) -> HttpResponse {
    let (mut head, framing) = head(request);
    let subscriber = SubscriberInfo {
        request_id: RequestId::of(request).into(),
        task_id,
        key: Arc::clone(&caller.revocation),
    };
    let hand_over = request.conn_data::<Rc<HandOver>>().map(Rc::clone);
    let mut response = head.streaming(subscriptions.body(log, position, framing, subscriber, hand_over));
    response.head_mut().no_chunking(framing == Framing::UntilClose);
    response
}

/// Returns the head of a stream's response, and the framing of its body.
fn head(request: &HttpRequest) -> (HttpResponseBuilder, Framing) {
    let framing = if request.version() < Version::HTTP_11 { Framing::UntilClose } else { Framing::Chunked };
    let no_transform = CacheDirective::Extension("no-transform".to_owned(), None);
    let mut head = HttpResponse::Ok();
    head.insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header(CacheControl(vec![CacheDirective::NoCache, no_transform]))
        .insert_header(("X-Accel-Buffering", "no"))
        // The connection closes with the stream, so that a client that does not know the framing sees the end, too.
        .force_close();
    (head, framing)
}

/// Returns the number in `?offset=N`, or 0 without it. A number too large for this machine becomes an offset that is
/// never reached.
fn offset(query: &str) -> Result<usize, Failure> {
    let offset = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "offset");
    let Some((_, text)) = offset else { return Ok(0) };
    number(&text).ok_or_else(|| {
        Failure::invalid_param("offset", "offset must be the number of a chunk: a whole number of at least 0")
    })
}

/// Returns the number in `Last-Event-ID`. Returns nothing if the value is not a number.
fn last_event_id(request: &HttpRequest) -> Option<usize> {
    number(request.headers().get("Last-Event-ID")?.to_str().ok()?.trim())
}

/// Parses a number of at least 0. A number that is too large becomes the largest number that has a successor.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX).min(usize::MAX - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_whole_numbers() {
        assert_eq!(offset("").unwrap(), 0);
        assert_eq!(offset("x=1&offset=7").unwrap(), 7);
        assert_eq!(offset("offset=99999999999999999999999").unwrap(), usize::MAX - 1);
        for query in ["offset=", "offset=-1", "offset=1.5", "offset=x", "offset=+1", "offset=%201"] {
            assert!(offset(query).is_err(), "{query}");
        }
    }
}
