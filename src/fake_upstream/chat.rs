//! OpenAI's chat completions: a stream of chunks, or one object.

mod request;
mod voice;

use actix_web::{HttpRequest, HttpResponse, web};

use super::course::{Refusal, Stage, refuse};
use super::intake::{self, Unread};
use super::ledger::Call;
use super::openai::{Errors, refused_key};
use super::script::Dialect;
use super::server::Desk;
use voice::ChatVoice;

/// Handles `POST /v1/chat/completions`.
pub(super) async fn complete(
    request: HttpRequest,
    payload: web::Payload,
    desk: web::Data<Desk>,
    stage: web::Data<Stage>,
) -> HttpResponse {
    let call = Call::arrived(&desk.counters, Dialect::Chat);
    let errors = Errors(Dialect::Chat);
    let body = match intake::read(payload).await {
        Ok(body) => body,
        Err(Unread::TooLarge) => return refuse(call, &errors, &Refusal::TooLarge, ""),
        Err(Unread::BrokenOff) => return HttpResponse::BadRequest().finish(),
    };
    if let Some(refusal) = refused_key(&request, &desk) {
        return refuse(call, &errors, &refusal, "");
    }
    let Some(asked) = intake::examine(body, request::examine).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    match asked {
        Err(problem) => refuse(call, &errors, &Refusal::Invalid(problem), ""),
        Ok(asked) => {
            call.brought_audio(asked.audio_bytes);
            stage
                .play(&request, call, &errors, &asked.model, |occasion| {
                    Box::new(ChatVoice::new(&asked, occasion))
                })
                .await
        }
    }
}
