//! A subscription as `text/event-stream`: where it starts, what keeps it alive, how it ends.
//!
//! The body is a position in the task's chunk log. It takes what there is in one piece, and waits when there
//! is nothing; nobody pushes to it and no queue stands between.

use std::fmt;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use actix_web_lab::header::{CacheControl, CacheDirective};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use tokio::time::{Instant, timeout_at};

use super::caller::Caller;
use super::tasks::task_id;
use crate::actors::Tasks;
use crate::error::Failure;
use crate::task::chunk_log::LogReader;
use crate::wire::event_stream::{KEEP_ALIVE, RETRY};

/// What all streams share.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// A comment line is sent after this long without data.
    pub keep_alive: Duration,
}

/// Most bytes that a reader who is behind gets in one write; also what a stuck reader costs at most.
const MOST_IN_A_WRITE: usize = 64 * 1024;

/// Handles a subscription.
///
/// # Errors
/// `task_not_found`, `stream_not_enabled`, `stream_expired`, or `invalid_param` for an offset.
pub async fn subscribe(
    request: HttpRequest,
    caller: Caller,
    path: web::Path<String>,
    tasks: web::Data<Tasks>,
    settings: web::Data<StreamSettings>,
) -> Result<HttpResponse, Failure> {
    let id = task_id(&path)?;
    request.extensions_mut().insert(id.clone());
    let offset = offset(request.query_string())?;
    let log = tasks.subscribe(&id, caller.hash).await?;
    let Some(last) = last_event_id(&request) else {
        return Ok(response(log, offset, &settings));
    };
    let mark = log.mark();
    if mark.ended && last + 1 >= mark.len {
        // Tells a browser to stop reconnecting.
        return Ok(HttpResponse::NoContent().finish());
    }
    Ok(response(log, last + 1, &settings))
}

/// The response of a subscription that starts at `position`.
#[must_use]
pub fn response(log: LogReader, position: usize, settings: &StreamSettings) -> HttpResponse {
    let no_transform = CacheDirective::Extension("no-transform".to_owned(), None);
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header(CacheControl(vec![CacheDirective::NoCache, no_transform]))
        .insert_header(("X-Accel-Buffering", "no"))
        // The connection closes with the stream: readers that know no framing see its end, too.
        .force_close()
        .streaming(frames(log, position, settings.keep_alive))
}

/// `?offset=N`; 0 where there is none. A number too large for this machine is one that is never reached.
fn offset(query: &str) -> Result<usize, Failure> {
    let offset = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "offset");
    let Some((_, text)) = offset else { return Ok(0) };
    number(&text).ok_or_else(|| {
        Failure::invalid_param("offset", "offset must be the index of a chunk: a whole number of at least 0")
    })
}

/// `Last-Event-ID`; one that is no number is ignored.
fn last_event_id(request: &HttpRequest) -> Option<usize> {
    number(request.headers().get("Last-Event-ID")?.to_str().ok()?.trim())
}

/// A non-negative integer; one that is too large becomes the largest that leaves room for a successor.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX).min(usize::MAX - 1))
}

struct Subscription {
    log: LogReader,
    position: usize,
    stage: Stage,
    last_write: Instant,
}

#[derive(PartialEq)]
enum Stage {
    /// Nothing was sent yet.
    Opening,
    /// No frame was sent yet.
    BeforeFirst,
    Flowing,
    /// The terminal frame was sent.
    Ended,
}

/// The server stops and the task has not ended: the connection breaks off, so that no reader takes this for
/// the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server stops before the task has ended")
    }
}

impl std::error::Error for BrokenOff {}

fn frames(
    log: LogReader,
    position: usize,
    keep_alive: Duration,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + 'static {
    let subscription = Subscription { log, position, stage: Stage::Opening, last_write: Instant::now() };
    stream::unfold(subscription, move |mut subscription| async move {
        let piece = subscription.next(keep_alive).await?;
        subscription.last_write = Instant::now();
        Some((piece, subscription))
    })
}

impl Subscription {
    async fn next(&mut self, keep_alive: Duration) -> Option<Result<Bytes, BrokenOff>> {
        match self.stage {
            Stage::Opening => {
                self.stage = Stage::BeforeFirst;
                return Some(Ok(KEEP_ALIVE));
            }
            Stage::Ended => return None,
            Stage::BeforeFirst | Stage::Flowing => {}
        }
        let wake = timeout_at(self.last_write + keep_alive, self.log.reached(self.position)).await;
        let Ok(mark) = wake else { return Some(Ok(KEEP_ALIVE)) };
        if mark.parked && mark.len <= self.position {
            self.stage = Stage::Ended;
            return Some(Err(BrokenOff));
        }
        if mark.ended {
            // Beyond the end there is the terminal frame, whatever position was asked for.
            self.position = self.position.min(mark.len.saturating_sub(1));
        }
        let (piece, next) = self.log.read(self.position, MOST_IN_A_WRITE)?;
        self.position = next;
        let first = std::mem::replace(&mut self.stage, Stage::Flowing) == Stage::BeforeFirst;
        // Asked anew: the end may have come since.
        let mark = self.log.mark();
        if mark.ended && next >= mark.len {
            self.stage = Stage::Ended;
        }
        Some(Ok(if first { with_retry(&piece) } else { piece }))
    }
}

/// `retry:` rides in the first block of a response and nowhere else.
fn with_retry(piece: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(RETRY.len() + piece.len());
    bytes.extend_from_slice(RETRY);
    bytes.extend_from_slice(piece);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::task::chunk_log::ChunkLog;

    #[test]
    fn offsets_are_whole_numbers() {
        assert_eq!(offset("").unwrap(), 0);
        assert_eq!(offset("x=1&offset=7").unwrap(), 7);
        assert_eq!(offset("offset=99999999999999999999999").unwrap(), usize::MAX - 1);
        for query in ["offset=", "offset=-1", "offset=1.5", "offset=x", "offset=+1", "offset=%201"] {
            assert!(offset(query).is_err(), "{query}");
        }
    }

    async fn text(stream: impl Stream<Item = Result<Bytes, BrokenOff>>) -> String {
        let pieces: Vec<Bytes> = stream.map(|piece| piece.unwrap()).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn log_of(frames: &[&'static str]) -> ChunkLog {
        let mut log = ChunkLog::default();
        for frame in frames {
            log.append(Bytes::from_static(frame.as_bytes()));
        }
        log.publish();
        log
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn any_position_brings_the_rest_and_the_terminal_frame_once() {
        let mut log = log_of(&["data: a\n\n", "data: b\n\n", "data: end\n\n"]);
        log.end();
        for (position, expected) in [
            (0, ": keep-alive\nretry: 2000\ndata: a\n\ndata: b\n\ndata: end\n\n"),
            (1, ": keep-alive\nretry: 2000\ndata: b\n\ndata: end\n\n"),
            (2, ": keep-alive\nretry: 2000\ndata: end\n\n"),
            (3, ": keep-alive\nretry: 2000\ndata: end\n\n"),
            (900, ": keep-alive\nretry: 2000\ndata: end\n\n"),
        ] {
            assert_eq!(text(frames(log.reader(), position, LONG)).await, expected, "{position}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_position_beyond_a_running_task_waits_for_it() {
        let mut log = log_of(&["data: a\n\n"]);
        let mut waiting = Box::pin(frames(log.reader(), 2, LONG));
        assert_eq!(waiting.next().await, Some(Ok(KEEP_ALIVE)));
        log.append(Bytes::from_static(b"data: b\n\n"));
        log.publish();
        assert!(futures_util::poll!(waiting.next()).is_pending());
        log.append(Bytes::from_static(b"data: c\n\n"));
        log.append(Bytes::from_static(b"data: end\n\n"));
        log.end();
        assert_eq!(text(waiting).await, "retry: 2000\ndata: c\n\ndata: end\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_left_to_the_next_start_breaks_its_readers_off() {
        let mut log = log_of(&["data: a\n\n"]);
        let mut stream = Box::pin(frames(log.reader(), 0, LONG));
        assert_eq!(stream.next().await, Some(Ok(KEEP_ALIVE)));
        log.park();
        assert_eq!(stream.next().await, Some(Ok(Bytes::from_static(b"retry: 2000\ndata: a\n\n"))));
        assert_eq!(stream.next().await, Some(Err(BrokenOff)));
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_comments_and_only_silence() {
        let mut log = log_of(&[]);
        let mut stream = Box::pin(frames(log.reader(), 0, Duration::from_secs(15)));
        assert_eq!(stream.next().await, Some(Ok(KEEP_ALIVE)));
        let started = Instant::now();
        assert_eq!(stream.next().await, Some(Ok(KEEP_ALIVE)));
        assert_eq!(started.elapsed().as_secs(), 15);
        tokio::time::advance(Duration::from_secs(10)).await;
        log.append(Bytes::from_static(b"data: a\n\n"));
        log.publish();
        assert_eq!(stream.next().await, Some(Ok(Bytes::from_static(b"retry: 2000\ndata: a\n\n"))));
        let started = Instant::now();
        assert_eq!(stream.next().await, Some(Ok(KEEP_ALIVE)));
        assert_eq!(started.elapsed().as_secs(), 15);
    }
}
