//! OpenAI's audio transcriptions, and the ways in which others stream them.

mod form;
mod stream;
mod whole;

use actix_web::{HttpRequest, HttpResponse, web};

use super::course::{Occasion, Refusal, Stage, refuse};
use super::ledger::Call;
use super::openai::{Errors, refused_key};
use super::score::Voice;
use super::script::{Dialect, Style};
use super::server::Desk;
use form::{Form, Format, Unfit};

/// Handles `POST /v1/audio/transcriptions`.
pub(super) async fn transcribe(
    request: HttpRequest,
    payload: web::Payload,
    desk: web::Data<Desk>,
    stage: web::Data<Stage>,
) -> HttpResponse {
    let call = Call::arrived(&desk.counters, Dialect::Transcription);
    let errors = Errors(Dialect::Transcription);
    let form = form::read(&request, payload).await;
    if let Some(refusal) = refused_key(&request, &desk) {
        return refuse(call, &errors, &refusal, "");
    }
    match form {
        Err(Unfit::BrokenOff) => HttpResponse::BadRequest().finish(),
        Err(Unfit::Refused(refusal)) => refuse(call, &errors, &refusal, ""),
        Err(Unfit::Wrong(problem)) => refuse(call, &errors, &Refusal::Invalid(problem), ""),
        Ok(form) => {
            call.brought_audio(form.audio_bytes);
            stage.play(&request, call, &errors, &form.model, |occasion| voice(&form, occasion)).await
        }
    }
}

fn voice(form: &Form, occasion: &Occasion<'_>) -> Box<dyn Voice> {
    let usual = if form.format == Format::Diarized { Style::Diarize } else { Style::OpenAi };
    let style = occasion.shape.style.unwrap_or(usual);
    if form.stream && !occasion.shape.plain {
        stream::voice(style, form, occasion)
    } else {
        whole::voice(form, occasion)
    }
}
