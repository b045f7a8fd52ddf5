//! Google's Gemini API: `generateContent` in one piece, `streamGenerateContent` as events or as one array.
//!
//! Framing, order and error bodies are those of recorded traffic: CRLF, usage as a running snapshot in each event, no
//! end marker. Errors are pretty-printed, and have the content type of an event stream if one was requested.

mod errors;
mod request;
mod writer;

use actix_web::{HttpRequest, HttpResponse, web};

use super::call_flow::{Refusal, ScriptRunner, refuse};
use super::intake::{self, BodyError};
use super::ledger::CountedCall;
use super::script::Dialect;
use super::server::{CallContext, KeyCheck};
use errors::Errors;
use writer::GeminiWriter;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `alt=sse`: events.
    Events,
    /// A stream without `alt=sse`: an array, element by element.
    Array,
    /// One object.
    Whole,
}

/// Handles `POST /v1beta/models/{model}:{method}`.
pub(super) async fn generate(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    context: web::Data<CallContext>,
    runner: web::Data<ScriptRunner>,
) -> HttpResponse {
    let call = CountedCall::arrived(&context.counters, Dialect::Gemini);
    let events = query(&request, "alt").is_some_and(|alt| alt == "sse");
    let (model, form) = match path.rsplit_once(':') {
        Some((model, "streamGenerateContent")) if events => (model, Form::Events),
        Some((model, "streamGenerateContent")) => (model, Form::Array),
        Some((model, "generateContent")) => (model, Form::Whole),
        _ => return refuse(call, &Errors { form: Form::Whole }, &Refusal::Status(404, None), &path),
    };
    let errors = Errors { form };
    let body = match intake::read(payload).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return refuse(call, &errors, &Refusal::TooLarge, model),
        Err(BodyError::BrokenOff) => return HttpResponse::BadRequest().finish(),
    };
    if let Some(refusal) = refused_key(&request, &context) {
        return refuse(call, &errors, &refusal, model);
    }
    let Some(checked) = intake::examine(body, request::audio_bytes).await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    match checked {
        Err(problem) => refuse(call, &errors, &Refusal::Invalid(problem), model),
        Ok(bytes) => {
            call.brought_audio(bytes);
            runner
                .play(&request, call, &errors, model, |context| Box::new(GeminiWriter::new(form, context)))
                .await
        }
    }
}

fn refused_key(request: &HttpRequest, context: &CallContext) -> Option<Refusal> {
    let header = request.headers().get("x-goog-api-key").and_then(|value| value.to_str().ok());
    let key = header.map(str::to_owned).or_else(|| query(request, "key"));
    match context.check_key(key.as_deref()) {
        KeyCheck::Right => None,
        KeyCheck::Wrong => Some(Refusal::WrongKey),
        // A bearer token is the wrong kind of credential here.
        KeyCheck::Missing if request.headers().contains_key("authorization") => {
            Some(Refusal::Status(401, None))
        }
        KeyCheck::Missing => Some(Refusal::NoKey),
    }
}

fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
