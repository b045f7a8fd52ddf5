//! A submit is read: its headers, and its body, which each door reads in its own way.

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

/// What a submit is judged by.
#[derive(Debug, Clone)]
pub struct SubmitSettings {
    /// `limits.max_body_bytes`
    pub max_body_bytes: usize,
    /// `limits.max_payload_memory_bytes`
    pub memory: PayloadMemory,
    /// `[fetch]`: which URLs may be fetched from.
    pub gate: Arc<Gate>,
    /// How many large bodies may be parsed at once: the other requests share the cores that are left.
    pub parsing: Arc<Semaphore>,
}

/// Bodies above this many bytes are parsed off the event loop: their requests can wait a moment, the others
/// of this worker cannot.
const LARGE_BODY: usize = 256 * 1024;

/// Returns the client's `Idempotency-Key`, if it sent one.
///
/// # Errors
/// `invalid_param`, with the rule.
pub(super) fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Failure> {
    let mut values = request.headers().get_all("Idempotency-Key");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::invalid_param("Idempotency-Key", "Idempotency-Key must be sent once"));
    }
    IdempotencyKey::parse(value.as_bytes()).map(Some)
}

/// How a door makes a submission of a body.
pub(super) type Parse = fn(BytesMut, &Gate) -> Result<Submission, Failure>;

/// Makes a submission of a body, as `parse` says. Its audio keeps the body's share of the memory.
///
/// # Errors
/// What `parse` refuses, or `invalid_json` for a body that has no [`Fingerprint`].
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
        // One judgement, with and without a key: whatever is accepted here has a fingerprint.
        let mut submission = parse(bytes, &gate)?;
        let idempotency = match fingerprint {
            Some((key, Ok(fingerprint))) => Some(Idempotency { key, fingerprint }),
            Some((_, Err(err))) => return Err(invalid_json(&err)),
            None => None,
        };
        if let Some(share) = share {
            hold(&mut submission, share);
        }
        Ok((submission, idempotency))
    };
    if is_small {
        return read();
    }
    let turn = Arc::clone(&settings.parsing).acquire_owned().await.map_err(|_| Failure::internal())?;
    let read = move || {
        // Held to the end, also when the client leaves before.
        let _turn = turn;
        read()
    };
    web::block(read).await.map_err(|_| Failure::internal())?
}

/// Lets the audio keep the share of its body, or leave the body where the audio is small.
fn hold(submission: &mut Submission, share: Share) {
    let inline = submission.audio.iter_mut().filter_map(AudioSource::inline_mut);
    let mut files: Vec<_> = inline.map(|audio| &mut audio.bytes).collect();
    if files.iter().map(|file| file.len()).sum::<usize>() <= HELD_BYTES {
        // A task may hold them as long as it runs: not with all of a large body around them.
        files.iter_mut().for_each(|file| **file = Bytes::copy_from_slice(file));
    } else {
        share.hold_all(files);
    }
}
