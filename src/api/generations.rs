//! `POST /v1/llm/generations`: asynchronous, blocking, streaming.

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::body::{read_json, refuse};
use super::caller::Caller;
use super::reply::task_failed;
use super::stream::{self, StreamSettings};
use crate::actors::{Accepted, Leash, NewTask, Tasks};
use crate::audio::source::AudioSource;
use crate::channel::Channels;
use crate::channel::choose::{Wanted, choose};
use crate::error::{ErrorCode, Failure};
use crate::task::id::TaskId;
use crate::task::snapshot::{Snapshot, State};
use crate::task::submission::{Delivery, Submission};
use crate::task::{Task, Timestamp};

/// What a submit is judged by.
#[derive(Debug, Clone, Copy)]
pub struct SubmitSettings {
    /// `limits.max_body_bytes`
    pub max_body_bytes: usize,
    /// `fetch.allow_private_networks`
    pub allow_private_networks: bool,
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
    stream_settings: web::Data<StreamSettings>,
    channels: web::Data<Channels>,
    tasks: web::Data<Tasks>,
) -> Result<HttpResponse, Failure> {
    // A stranger's upload is thrown away, so that the stranger gets to read why.
    let caller = match caller {
        Ok(caller) => caller,
        Err(failure) => return Ok(refuse(&failure, payload)),
    };
    let body = match read_json(&request, payload, settings.max_body_bytes).await {
        Ok(body) => body,
        Err(response) => return Ok(response),
    };
    let submission = parse(body, settings.allow_private_networks).await?;
    let delivery = submission.delivery;
    let mut new = new_task(submission, &caller, &channels)?;
    // The one place where leaving means cancelling: a blocking call whose caller goes away drops the leash.
    let leash: Option<Leash> = (delivery == Delivery::Blocking).then(|| {
        let (leash, presence) = oneshot::channel();
        new.presence = Some(presence);
        leash
    });
    let Accepted { snapshot, log } = tasks.submit(new).await?;
    request.extensions_mut().insert(snapshot.id.clone());

    match delivery {
        Delivery::Asynchronous => Ok(HttpResponse::Ok()
            .insert_header((header::LOCATION, format!("/v1/tasks/{}", snapshot.id)))
            .json(snapshot.object())),
        Delivery::Blocking => {
            let mut log = log;
            log.ended().await;
            let reply = ended(&tasks.describe(&snapshot.id, caller.hash).await?);
            drop(leash);
            Ok(reply)
        }
        Delivery::Streaming => {
            let mut log = log;
            let mark = log.reached(0).await;
            // A lone entry is the terminal frame of a failure: as long as nothing was sent, it can still be
            // an HTTP error.
            if mark.ended && mark.len <= 1 {
                return Ok(ended(&tasks.describe(&snapshot.id, caller.hash).await?));
            }
            let mut response = stream::response(log, 0, &stream_settings);
            mark_with(&mut response, &snapshot.id);
            Ok(response)
        }
    }
}

async fn parse(body: Bytes, allow_private_networks: bool) -> Result<Submission, Failure> {
    if body.len() <= LARGE_BODY {
        return Submission::parse(&body, allow_private_networks);
    }
    web::block(move || Submission::parse(&body, allow_private_networks))
        .await
        .map_err(|_| Failure::internal())?
}

fn new_task(submission: Submission, caller: &Caller, channels: &Channels) -> Result<NewTask, Failure> {
    let Submission { question, audio, stream, .. } = submission;
    if !caller.may_use(&question.model) {
        return Err(Failure::new(
            ErrorCode::ModelNotAllowed,
            "This API key may not use this model; GET /v1/configs/llm_generations_models lists what it may",
        )
        .with_param("model"));
    }
    let audio_bytes = match &audio {
        AudioSource::Inline(audio) => audio.base64.len(),
        AudioSource::Url(_) => 0,
    };
    let text_bytes = question.prompt.len() + question.system_prompt.as_ref().map_or(0, String::len);
    let wanted = Wanted { model: &question.model, request_bytes: text_bytes + audio_bytes };
    let candidates = choose(channels, wanted, &mut rand::rng())?;
    let created = Timestamp::now();
    let task =
        Task { id: TaskId::generate(created.seconds()), owner: caller.hash, created, stream, question };
    if let AudioSource::Inline(audio) = &audio
        && audio.is_mislabelled()
    {
        let (declared, found) = (&audio.declared, audio.container.mime());
        tracing::warn!(task_id = %task.id, declared, found, "the audio is not what its label says");
    }
    Ok(NewTask { task, audio, candidates, presence: None, key_name: caller.name.clone() })
}

/// The reply of a synchronous call whose task has ended.
fn ended(snapshot: &Snapshot) -> HttpResponse {
    let mut response = match &snapshot.state {
        State::Completed { completion } => HttpResponse::Ok().json(completion.as_ref()),
        State::Failed { failure, .. } => task_failed(failure),
        State::Pending | State::Processing { .. } => Failure::internal().error_response(),
    };
    mark_with(&mut response, &snapshot.id);
    response
}

fn mark_with(response: &mut HttpResponse, id: &TaskId) {
    if let Ok(value) = header::HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(header::HeaderName::from_static("x-task-id"), value);
    }
}
