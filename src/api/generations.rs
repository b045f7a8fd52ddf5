//! `POST /v1/llm/generations`: asynchronous, blocking, streaming.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, oneshot};
use tracing::field::display;

use super::body::{Body, read_json, refuse};
use super::caller::Caller;
use super::payload_memory::PayloadMemory;
use super::reply::{forbid_repeat, held, json, task_failed};
use super::stream;
use crate::actors::{Accepted, HELD_BYTES, Leash, NewTask, Tasks};
use crate::audio::gate::Gate;
use crate::audio::label;
use crate::audio::source::AudioSource;
use crate::channel::Channels;
use crate::channel::choose::{Wanted, choose};
use crate::error::{ErrorCode, Failure};
use crate::fanout::Reception;
use crate::memory::Held;
use crate::net::pieces::Pieces;
use crate::task::chunk_log::LogReader;
use crate::task::id::TaskId;
use crate::task::idempotency::{Fingerprint, Idempotency, IdempotencyKey};
use crate::task::snapshot::{Snapshot, State};
use crate::task::submission::{Delivery, Submission, invalid_json};
use crate::task::{Task, Timestamp};
use crate::wire::trace_context::TraceContext;

/// Says that a reply is about a task that an earlier submit with the same key started.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a submit is judged by.
#[derive(Debug, Clone)]
pub struct SubmitSettings {
    /// `limits.max_body_bytes`
    pub max_body_bytes: usize,
    /// `limits.max_payload_memory_bytes`
    pub memory: PayloadMemory,
    /// `[fetch]`: which URLs may be fetched from.
    pub gate: Arc<Gate>,
    /// How many large bodies may be parsed at once: whoever is left without a core waits for the parsing of all.
    pub parsing: Arc<Semaphore>,
}

/// Bodies above this many bytes are parsed off the event loop: their requests can wait a moment, the others
/// of this worker cannot.
const LARGE_BODY: usize = 256 * 1024;

/// Handles a submit.
///
/// # Errors
/// Any refusal of the contract.
pub async fn submit(
    request: HttpRequest,
    caller: Result<Caller, Failure>,
    payload: web::Payload,
    settings: web::Data<SubmitSettings>,
    reception: web::Data<Reception>,
    channels: web::Data<Channels>,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    // A stranger's upload is thrown away, so that the stranger gets to read why.
    let caller = match caller {
        Ok(caller) => caller,
        Err(failure) => return Ok(refuse(&request, &failure, payload).await),
    };
    let key = match idempotency_key(&request) {
        Ok(key) => key,
        Err(failure) => return Ok(refuse(&request, &failure, payload).await),
    };
    let body = read_json(&request, payload, settings.max_body_bytes, &settings.memory);
    let body = match caller.unless_revoked(body).await? {
        Ok(body) => body,
        Err(response) => return Ok(response),
    };
    let (submission, idempotency) = parse(body, key, &settings).await?;
    let delivery = submission.delivery;
    if let Some(idempotency) = &idempotency
        && let Some(id) = tasks.submitted(caller.hash, idempotency).await?
    {
        request.extensions_mut().insert(id.clone());
        let mut response = match delivery {
            Delivery::Asynchronous => {
                task_object(&tasks, &caller, tasks.describe(&id, caller.hash).await?).await?
            }
            Delivery::Blocking => outcome(&tasks, &id, &caller).await?,
            Delivery::Streaming => {
                let log = tasks.subscribe(&id, caller.hash).await?;
                streaming(&request, &tasks, &reception, id, &caller, log).await?
            }
        };
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        return Ok(response);
    }

    let trace = request.extensions().get::<TraceContext>().cloned();
    let mut new = new_task(submission, idempotency, trace, &caller, &channels)?;
    // The one place where leaving means cancelling: a blocking call whose caller goes away drops the leash.
    let leash: Option<Leash> = (delivery == Delivery::Blocking).then(|| {
        let (leash, presence) = oneshot::channel();
        new.presence = Some(presence);
        leash
    });
    let Accepted { snapshot, log } = tasks.submit(new).await?;
    request.extensions_mut().insert(snapshot.id.clone());
    match delivery {
        Delivery::Asynchronous => task_object(&tasks, &caller, Held::small(snapshot)).await,
        Delivery::Blocking => {
            let reply = outcome(&tasks, &snapshot.id, &caller).await?;
            drop(leash);
            Ok(reply)
        }
        Delivery::Streaming => streaming(&request, &tasks, &reception, snapshot.id, &caller, log).await,
    }
}

/// The client's `Idempotency-Key`, if it sent one.
fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Failure> {
    let mut values = request.headers().get_all("Idempotency-Key");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::invalid_param("Idempotency-Key", "Idempotency-Key must be sent once"));
    }
    IdempotencyKey::parse(value.as_bytes()).map(Some)
}

async fn parse(
    body: Body,
    key: Option<IdempotencyKey>,
    settings: &SubmitSettings,
) -> Result<(Submission, Option<Idempotency>), Failure> {
    let Body { bytes, share } = body;
    let small = bytes.len() <= LARGE_BODY;
    let gate = Arc::clone(&settings.gate);
    let parse = move || {
        let fingerprint = key.map(|key| (key, Fingerprint::of(&bytes)));
        // One judgement, with and without a key: whatever is accepted here has a fingerprint.
        let mut submission = Submission::parse(bytes, &gate)?;
        let idempotency = match fingerprint {
            Some((key, Ok(fingerprint))) => Some(Idempotency { key, fingerprint }),
            Some((_, Err(err))) => return Err(invalid_json(&err)),
            None => None,
        };
        if let Some(share) = share {
            let inline = submission.audio.iter_mut().filter_map(AudioSource::inline_mut);
            let mut files: Vec<_> = inline.map(|audio| &mut audio.bytes).collect();
            if files.iter().map(|file| file.len()).sum::<usize>() <= HELD_BYTES {
                // A task may hold them as long as it runs: not with all of a large body around them.
                files.iter_mut().for_each(|file| **file = Bytes::copy_from_slice(file));
            } else {
                share.hold_all(files);
            }
        }
        Ok((submission, idempotency))
    };
    if small {
        return parse();
    }
    let turn = Arc::clone(&settings.parsing).acquire_owned().await.map_err(|_| Failure::internal())?;
    let parse = move || {
        // Held to the end, also when the client leaves before.
        let _turn = turn;
        parse()
    };
    web::block(parse).await.map_err(|_| Failure::internal())?
}

/// The reply of an asynchronous submit: the task.
async fn task_object(tasks: &Tasks, caller: &Caller, task: Held<Snapshot>) -> Result<HttpResponse, Failure> {
    let Held { value: snapshot, share } = task;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::LOCATION, format!("/v1/tasks/{}", snapshot.id)));
    let object = snapshot.object();
    let mut response =
        json(response, &object, snapshot.weight(), share, tasks.responses(), caller.hash).await?;
    mark_with(&mut response, &snapshot.id);
    Ok(response)
}

/// The reply of a blocking call: waits until the task has ended.
async fn outcome(tasks: &Tasks, id: &TaskId, caller: &Caller) -> Result<HttpResponse, Failure> {
    let answer = async {
        let task = caller.unless_revoked(tasks.outcome(id, caller.hash)).await??;
        ended(tasks, task, caller).await
    };
    match answer.await {
        Err(crowded) if crowded.code == ErrorCode::QueueFull => Ok(not_sent(id, crowded)),
        Err(failure) if matches!(failure.code, ErrorCode::StorageFull | ErrorCode::StorageUnavailable) => {
            Ok(unanswered(&failure, id))
        }
        answer => answer,
    }
}

/// The reply of a call whose task has completed, and whose answer finds no memory to be sent from. A repeat of the call
/// would pay for a second answer.
fn not_sent(id: &TaskId, crowded: Failure) -> HttpResponse {
    let message = format!(
        "The task has completed, and too many large answers are being sent; GET /v1/tasks/{id} has its answer"
    );
    let mut response = Failure { message: message.into(), ..crowded }.error_response();
    forbid_repeat(&mut response);
    mark_with(&mut response, id);
    response
}

/// The reply of a synchronous call whose task goes on without it.
fn unanswered(failure: &Failure, id: &TaskId) -> HttpResponse {
    let mut response = task_failed(failure);
    mark_with(&mut response, id);
    response
}

/// The reply of a streaming call. As long as nothing of the answer is there, a failure is an HTTP error.
async fn streaming(
    request: &HttpRequest,
    tasks: &Tasks,
    reception: &Reception,
    id: TaskId,
    caller: &Caller,
    mut log: LogReader,
) -> Result<HttpResponse, Failure> {
    let mark = caller.unless_revoked(log.reached_or_stalled(0)).await?;
    if mark.stalled && mark.len == 0 {
        return Ok(unanswered(&tasks.unrecorded(&id), &id));
    }
    // A lone entry is the terminal frame of a failure.
    if mark.is_final() && mark.len <= 1 {
        return ended(tasks, tasks.describe(&id, caller.hash).await?, caller).await;
    }
    let mut response = stream::response(request, reception, caller, id.clone(), log, 0);
    mark_with(&mut response, &id);
    Ok(response)
}

fn new_task(
    submission: Submission,
    idempotency: Option<Idempotency>,
    trace: Option<TraceContext>,
    caller: &Caller,
    channels: &Channels,
) -> Result<NewTask, Failure> {
    let Submission { question, audio, stream, .. } = submission;
    if !caller.may_use(&question.model) {
        return Err(Failure::new(
            ErrorCode::ModelNotAllowed,
            "This API key may not use this model; GET /v1/configs/llm_generations_models lists what it may",
        )
        .with_param("model"));
    }
    let inline = || audio.iter().filter_map(AudioSource::inline);
    let known = inline().map(|audio| (audio.container, audio.text_len())).collect();
    let candidates = choose(channels, &Wanted::of(&question, known), &mut rand::rng())?;
    let created = Timestamp::now();
    let id = TaskId::generate(created.seconds());
    let task = Task { id, owner: caller.hash, created, stream, question, trace };
    for audio in inline().filter(|audio| label::contradicts(&audio.declared, audio.container)) {
        let (declared, found) = (&audio.declared, audio.container.mime());
        let trace_id = task.trace_id().map(display);
        tracing::warn!(task_id = %task.id, trace_id, declared, found, "the audio is not what its label says");
    }
    Ok(NewTask {
        task,
        audio,
        candidates,
        presence: None,
        key_name: caller.name.clone(),
        allowance: Arc::clone(&caller.allowance),
        idempotency,
    })
}

/// The reply of a synchronous call whose task has ended, or which is left to the next start.
async fn ended(tasks: &Tasks, task: Held<Snapshot>, caller: &Caller) -> Result<HttpResponse, Failure> {
    let Held { value: snapshot, share } = task;
    let mut response = match snapshot.state {
        State::Completed { completion } => {
            let bytes =
                held(Bytes::from_owner(Completion(completion)), share, tasks.responses(), caller.hash)
                    .await?;
            HttpResponse::Ok().content_type(header::ContentType::json()).body(Pieces::of(bytes))
        }
        State::Failed { failure, .. } => task_failed(&failure),
        State::Pending | State::Processing { .. } => Failure::shutting_down().error_response(),
    };
    mark_with(&mut response, &snapshot.id);
    Ok(response)
}

/// A ChatCompletion as the bytes that it is stored in.
struct Completion(Arc<RawValue>);

impl AsRef<[u8]> for Completion {
    fn as_ref(&self) -> &[u8] {
        self.0.get().as_bytes()
    }
}

fn mark_with(response: &mut HttpResponse, id: &TaskId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-task-id"), value);
    }
}
