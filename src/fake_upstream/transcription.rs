//! OpenAI's audio transcriptions, and the stream formats of other servers.

mod form;
mod stream;
mod whole;

use actix_web::{HttpRequest, HttpResponse, web};

use super::acts::DialectWriter;
use super::call_flow::{CallInfo, Refusal, ScriptRunner, refuse};
use super::ledger::CountedCall;
use super::openai::{Errors, refused_key};
use super::script::{Dialect, Style};
use super::server::CallContext;
use form::{Form, FormError, Format};

/// Handles `POST /v1/audio/transcriptions`.
pub(super) async fn transcribe(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<CallContext>,
    runner: web::Data<ScriptRunner>,
) -> HttpResponse {
    let call = CountedCall::arrived(&context.counters, Dialect::Transcription);
    let errors = Errors(Dialect::Transcription);
    let form = form::read(&request, payload).await;
    if let Some(refusal) = refused_key(&request, &context) {
        return refuse(call, &errors, &refusal, "");
    }
    match form {
        Err(FormError::BrokenOff) => HttpResponse::BadRequest().finish(),
        Err(FormError::Refused(refusal)) => refuse(call, &errors, &refusal, ""),
        Err(FormError::Wrong(problem)) => refuse(call, &errors, &Refusal::Invalid(problem), ""),
        Ok(form) => {
            call.brought_audio(form.audio_bytes);
            runner.play(&request, call, &errors, &form.model, |context| writer(&form, context)).await
        }
    }
}

fn writer(form: &Form, context: &CallInfo<'_>) -> Box<dyn DialectWriter> {
    let usual = if form.format == Format::Diarized { Style::Diarize } else { Style::OpenAi };
    let style = context.shape.style.unwrap_or(usual);
    if form.stream && !context.shape.plain {
        stream::writer(style, form, context)
    } else {
        whole::writer(form, context)
    }
}
