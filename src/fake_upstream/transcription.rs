//! OpenAI's audio transcriptions, and the stream formats of other servers.

mod form;
mod stream;
mod whole;

use actix_web::{HttpRequest, HttpResponse, web};

use super::acts::DialectWriter;
use super::course::{Occasion, Refusal, ScriptRunner, refuse};
use super::ledger::Call;
use super::openai::{Errors, refused_key};
use super::script::{Dialect, Style};
use super::server::CallContext;
use form::{Form, Format, Unfit};

/// Handles `POST /v1/audio/transcriptions`.
pub(super) async fn transcribe(
    request: HttpRequest,
    payload: web::Payload,
    context: web::Data<CallContext>,
    runner: web::Data<ScriptRunner>,
) -> HttpResponse {
    let call = Call::arrived(&context.counters, Dialect::Transcription);
    let errors = Errors(Dialect::Transcription);
    let form = form::read(&request, payload).await;
    if let Some(refusal) = refused_key(&request, &context) {
        return refuse(call, &errors, &refusal, "");
    }
    match form {
        Err(Unfit::BrokenOff) => HttpResponse::BadRequest().finish(),
        Err(Unfit::Refused(refusal)) => refuse(call, &errors, &refusal, ""),
        Err(Unfit::Wrong(problem)) => refuse(call, &errors, &Refusal::Invalid(problem), ""),
        Ok(form) => {
            call.brought_audio(form.audio_bytes);
            runner.play(&request, call, &errors, &form.model, |occasion| writer(&form, occasion)).await
        }
    }
}

fn writer(form: &Form, occasion: &Occasion<'_>) -> Box<dyn DialectWriter> {
    let usual = if form.format == Format::Diarized { Style::Diarize } else { Style::OpenAi };
    let style = occasion.shape.style.unwrap_or(usual);
    if form.stream && !occasion.shape.plain {
        stream::writer(style, form, occasion)
    } else {
        whole::writer(form, occasion)
    }
}
