//! An upstream in memory, for tests of its callers, and a body in memory, for tests of its readers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::to_bytes;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};

use super::body::{BodyPiece, PiecedBody};
use super::deadlines::Timeouts;
use super::reading::{BodyReader, events};
use super::remote::RemoteKeys;
use super::{Batch, Hold, Terms, Upstream, UpstreamError, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::audio::{Audio, Container};
use crate::channel::{Breaker, BreakerRule, Capability, Channel, RetryRule};
use crate::pattern::ModelPattern;
use crate::setting::{Keys, Problem, Section, UnreadSection, Variables};
use crate::task::{Question, TextKind};
use crate::wire::completion::{FinishReason, Usage};

/// An upstream that answers with what a function returns for the request.
pub(crate) struct Scripted<F>(pub(crate) F);

impl<F> Upstream for Scripted<F>
where
    F: Fn(UpstreamRequest) -> UpstreamStream + Send + Sync,
{
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        (self.0)(request)
    }
}

/// Returns a call that brings these batches at once.
pub(crate) fn batches(items: Vec<Result<Batch, UpstreamError>>) -> UpstreamStream {
    stream::iter(items).boxed_local()
}

/// Returns a request with this question, and with audio in these containers.
pub(crate) fn request(question: Question, audio: &[(Container, &'static [u8])]) -> UpstreamRequest {
    let sent = |(container, bytes): &(Container, &'static [u8])| Audio {
        container: *container,
        bytes: Bytes::from_static(bytes).into(),
        duration: None,
    };
    let (connect_timeout, idle_timeout) = (Duration::from_secs(1), Duration::from_secs(1));
    UpstreamRequest {
        question,
        audio: audio.iter().map(sent).collect(),
        terms: Terms { connect_timeout, idle_timeout, trace: None },
        slot: Hold::default(),
    }
}

/// Makes a provider from the keys of a channel, written in TOML beside its API key.
pub(super) fn with_keys<K: Keys, P>(
    make: impl FnOnce(&Section<'_>, &RemoteKeys, K) -> Result<P, Problem>,
    text: &str,
) -> P {
    let mut written = UnreadSection::root(format!("api_key = \"k\"\n{text}").parse().unwrap());
    let (remote, keys) = (written.take().unwrap(), written.take_all().unwrap());
    make(&Section::new("channels[0]", &Variables::default()), &remote, keys).unwrap()
}

/// Returns the body that these pieces make together. All of them are in memory.
pub(super) fn written(pieces: Vec<BodyPiece>) -> String {
    let body = to_bytes(PiecedBody::new(pieces)).now_or_never().unwrap().unwrap();
    String::from_utf8(body.into()).unwrap()
}

/// Returns a channel with generous limits over the given upstream.
pub(crate) fn channel_over(name: &str, models: &[&str], upstream: Arc<dyn Upstream>) -> Channel {
    let hour = Duration::from_secs(3600);
    let now = Instant::now();
    Channel {
        name: name.to_owned(),
        models: models.iter().map(|model| ModelPattern::new(model)).collect(),
        capabilities: vec![Capability::Text, Capability::Audio],
        takes_one_audio: true,
        formats: Container::all().to_vec(),
        max_temperature: 2.0,
        priority: 0,
        weight: 1,
        max_running_tasks: 8,
        place: 0,
        breaker: Arc::new(Breaker::new(BreakerRule { failures: 0, rest: hour }, now)),
        retry: RetryRule { max_retries: 0, max_wait: hour },
        timeouts: Timeouts {
            connect: hour,
            first_chunk: hour,
            idle: hour,
            total: hour,
            total_audio_factor: 0.0,
        },
        max_request_bytes: 1 << 20,
        upstream,
    }
}

/// Returns a channel with an upstream that never sends anything.
pub(crate) fn silent_channel(name: &str, models: &[&str]) -> Channel {
    channel_over(name, models, Arc::new(Scripted(|_| stream::pending().boxed_local())))
}

/// The outcome of a body: its texts, with reasoning and refusals in different brackets, and its end.
pub(crate) type Outcome = (String, Result<(FinishReason, Usage), UpstreamError>);

/// Reads a body in pieces of this many bytes.
pub(crate) fn read_body(reader: impl BodyReader, body: &[u8], piece: usize) -> Outcome {
    let cuts: Vec<usize> = (0..body.len()).step_by(piece.max(1)).skip(1).collect();
    read_cut_body(reader, body, &cuts)
}

/// Reads a body in pieces that end at these places, in order, and at its end.
pub(crate) fn read_cut_body(reader: impl BodyReader, body: &[u8], cuts: &[usize]) -> Outcome {
    let ends = cuts.iter().copied().chain([body.len()]);
    let pieces = ends.scan(0, |from, to| {
        let piece = Bytes::copy_from_slice(&body[*from..to]);
        *from = to;
        Some(Ok(piece))
    });
    let pieces: Vec<_> = pieces.collect();
    let batches =
        events(stream::iter(pieces).boxed_local(), reader, Duration::from_secs(60)).collect::<Vec<_>>();
    // Nothing waits here, but code that could wait needs timers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    outcome(runtime.block_on(batches))
}

/// Returns the outcome of a call's batches.
pub(crate) fn outcome(mut batches: Vec<Result<Batch, UpstreamError>>) -> Outcome {
    let failed = batches.pop_if(|batch| batch.is_err()).map(|batch| batch.unwrap_err());
    let (mut text, mut kind_so_far, mut end) = (String::new(), TextKind::Content, None);
    let brackets = |kind| match kind {
        TextKind::Content => ("", ""),
        TextKind::Reasoning => ("(", ")"),
        TextKind::Refusal => ("<", ">"),
    };
    for event in batches.into_iter().flat_map(Result::unwrap) {
        assert!(end.is_none(), "an event after the end: {event:?}");
        match event {
            UpstreamEvent::Text(kind, piece) => {
                assert!(!piece.is_empty());
                if kind != kind_so_far {
                    text += brackets(kind_so_far).1;
                    text += brackets(kind).0;
                    kind_so_far = kind;
                }
                text += &piece;
            }
            UpstreamEvent::Finished { reason, usage } => end = Some((reason, usage)),
            UpstreamEvent::Segment(_) | UpstreamEvent::Progress(_) => {}
        }
    }
    text += brackets(kind_so_far).1;
    match (failed, end) {
        (Some(err), None) => (text, Err(err)),
        (None, Some(end)) => (text, Ok(end)),
        other => panic!("expected exactly one end or error: {other:?}"),
    }
}
