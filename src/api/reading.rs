//! Reads a submit: its headers, and its body, for which each API has its own parser.

use std::sync::Arc;

use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::body::Body;
use super::payload_memory::{PayloadMemory, Share};
use crate::actors::HELD_BYTES;
use crate::audio::{AudioSource, Gate};
use crate::error::Failure;
use crate::task::{Fingerprint, Idempotency, IdempotencyKey, Submission, invalid_json};

/// Settings for reading submits.
#[derive(Debug, Clone)]
pub struct SubmitSettings {
    /// `limits.max_body_bytes`
    pub max_body_bytes: usize,
    /// `limits.max_payload_memory_bytes`
    pub memory: PayloadMemory,
    /// Checks from which URLs audio may be fetched: a part of `[fetch]`.
    pub gate: Arc<Gate>,
    /// The permits to parse large bodies. They limit how many are parsed at the same time, so that other requests find
    /// free cores.
    pub parsing: Arc<Semaphore>,
}

/// A body with more bytes than this is parsed on another thread, so that the other requests of this worker do not wait.
const LARGE_BODY: usize = 256 * 1024;

/// Returns the client's `Idempotency-Key`, if it sent one.
///
/// # Errors
/// `invalid_param`, with the rule that it breaks.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Failure> {
    let mut values = request.headers().get_all("Idempotency-Key");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::invalid_param("Idempotency-Key", "Idempotency-Key must be sent once"));
    }
    IdempotencyKey::parse(value.as_bytes()).map(Some)
}

/// Parses a body into a submission, in the format of one API.
pub(super) type Parse = fn(BytesMut, &Gate) -> Result<Submission, Failure>;

/// Parses a body into a submission with `parse`. Its audio keeps the body's share of the memory.
///
/// # Errors
/// The refusal of `parse`, or `invalid_json` for a body that has no [`Fingerprint`].
pub(super) async fn read(
    body: Body,
    key: Option<IdempotencyKey>,
    settings: &SubmitSettings,
    parse: Parse,
) -> Result<(Submission, Option<Idempotency>), Failure> {
    let Body { bytes, share } = body;
    let is_small = bytes.len() <= LARGE_BODY;
    let gate = Arc::clone(&settings.gate);
    let read = move || {
        let fingerprint = key.map(|key| (key, Fingerprint::of(&bytes)));
        // `parse` is not stricter with an `Idempotency-Key` than without one: every body that it accepts has a
        // fingerprint.
        let mut submission = parse(bytes, &gate)?;
        let idempotency = match fingerprint {
            Some((key, Ok(fingerprint))) => Some(Idempotency { key, fingerprint }),
            Some((_, Err(err))) => return Err(invalid_json(&err)),
            None => None,
        };
        if let Some(share) = share {
            keep_share(&mut submission, share);
        }
        Ok((submission, idempotency))
    };
    if is_small {
        return read();
    }
    let turn = Arc::clone(&settings.parsing).acquire_owned().await.map_err(|_| Failure::internal())?;
    let read = move || {
        // The permit is held until the parsing ends, even if the client disconnects before that.
        let _turn = turn;
        read()
    };
    web::block(read).await.map_err(|_| Failure::internal())?
}

/// Lets the audio keep the share of its body. Small audio is copied out of the body instead.
fn keep_share(submission: &mut Submission, share: Share) {
    let inline = submission.audio.iter_mut().filter_map(AudioSource::inline_mut);
    let mut files: Vec<_> = inline.map(|audio| &mut audio.bytes).collect();
    if files.iter().map(|file| file.len()).sum::<usize>() <= HELD_BYTES {
        // A task may hold its audio as long as it runs. Small audio must not keep a whole large body in memory.
        files.iter_mut().for_each(|file| **file = Bytes::copy_from_slice(file));
    } else {
        share.hold_all(files);
    }
}
