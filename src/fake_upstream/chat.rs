//! OpenAI's chat completions: a stream of chunks, or one object.

mod request;
mod writer;

use actix_web::{HttpRequest, HttpResponse, web};

use super::call_flow::{Refusal, ScriptRunner, refuse};
use super::intake::{self, BodyError};
use super::ledger::CountedCall;
use super::openai::{Errors, refused_key};
use super::script::Dialect;
use super::server::CallContext;
use writer::ChatWriter;

/// Handles `POST /v1/chat/completions`.
pub(super) async fn complete(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<CallContext>,
    runner: web::Data<ScriptRunner>,
) -> HttpResponse {
    let call = CountedCall::arrived(&context.counters, Dialect::Chat);
    let errors = Errors(Dialect::Chat);
    let body = match intake::read(payload).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return refuse(call, &errors, &Refusal::TooLarge, ""),
        Err(BodyError::BrokenOff) => return HttpResponse::BadRequest().finish(),
    };
    if let Some(refusal) = refused_key(&request, &context) {
        return refuse(call, &errors, &refusal, "");
    }
    let Some(checked) = intake::examine(body, request::examine).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    match checked {
        Err(problem) => refuse(call, &errors, &Refusal::Invalid(problem), ""),
        Ok(valid) => {
            call.brought_audio(valid.audio_bytes);
            runner
                .play(&request, call, &errors, &valid.model, |context| {
                    Box::new(ChatWriter::new(&valid, context))
                })
                .await
        }
    }
}
