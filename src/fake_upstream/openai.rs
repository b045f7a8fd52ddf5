//! The common parts of chat completions and transcriptions: bearer keys, and OpenAI's errors.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde_json::{Value, json};

use super::call_flow::{DialectErrors, Refusal};
use super::intake::MOST_BODY_BYTES;
use super::script::{Dialect, ErrorForm};
use super::server::{CallContext, KeyCheck};

/// The errors of this dialect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errors(pub(super) Dialect);

/// Returns the refusal of the request's key, unless the key is accepted.
pub(super) fn refused_key(request: &HttpRequest, context: &CallContext) -> Option<Refusal> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match context.check_key(header.and_then(|value| value.strip_prefix("Bearer "))) {
        KeyCheck::Right => None,
        KeyCheck::Wrong => Some(Refusal::WrongKey),
        KeyCheck::Missing => Some(Refusal::NoKey),
    }
}

impl DialectErrors for Errors {
    fn dialect(&self) -> Dialect {
        self.0
    }

    fn refuse(&self, refusal: &Refusal, model: &str) -> HttpResponse {
        let (status, error) = error(refusal, model);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponseBuilder::new(status);
        if let Refusal::Status(_, Some(hint)) = refusal {
            add_hint(&mut response, *hint);
        }
        response
            .insert_header((header::CONTENT_TYPE, "application/json"))
            .body(format!("{:#}\n", json!({ "error": error })))
    }
}

/// Adds the retry hint. `Retry-After` has whole seconds only; Azure sends finer values in another header.
fn add_hint(response: &mut HttpResponseBuilder, hint: Duration) {
    if hint.subsec_nanos() > 0 {
        response.insert_header(("retry-after-ms", hint.as_millis().to_string()));
    }
    let seconds = hint.as_secs() + u64::from(hint.subsec_nanos() > 0);
    response.insert_header((header::RETRY_AFTER, seconds.to_string()));
}

fn error(refusal: &Refusal, model: &str) -> (u16, Value) {
    match refusal {
        Refusal::Status(status, _) => (*status, of_status(*status, model)),
        Refusal::Daily => {
            let message = "You exceeded your current quota, please check your plan and billing details. For more \
                information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.";
            (429, plain(message, "insufficient_quota", "insufficient_quota".into()))
        }
        Refusal::Region => (403, of_status(403, model)),
        Refusal::WrongKey => (401, of_status(401, model)),
        Refusal::NoKey => {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization \
                header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            (401, plain(message, "invalid_request_error", Value::Null))
        }
        Refusal::Blocked => (400, filtered_by_azure()),
        Refusal::TooLarge => {
            let message = format!("Maximum content size limit ({MOST_BODY_BYTES}) exceeded");
            (413, plain(&message, "server_error", Value::Null))
        }
        Refusal::Invalid(problem) => (400, plain(problem, "invalid_request_error", Value::Null)),
    }
}

fn plain(message: &str, kind: &str, code: Value) -> Value {
    json!({"message": message, "type": kind, "param": null, "code": code})
}

fn of_status(status: u16, model: &str) -> Value {
    let (message, kind, code) = match status {
        401 => {
            let message = "Incorrect API key provided: sk-*****fake. You can find your API key at \
                https://platform.openai.com/account/api-keys.";
            (message.to_owned(), "invalid_request_error", Value::from("invalid_api_key"))
        }
        403 => {
            let message = "Country, region, or territory not supported".to_owned();
            (message, "request_forbidden", Value::from("unsupported_country_region_territory"))
        }
        404 => {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            (message, "invalid_request_error", Value::from("model_not_found"))
        }
        429 => {
            let message = format!(
                "Rate limit reached for {model} on requests per min (RPM): Limit 3, Used 3, Requested 1."
            );
            (message, "requests", Value::from("rate_limit_exceeded"))
        }
        400..=499 => {
            let message = "The request was refused by the script.".to_owned();
            (message, "invalid_request_error", Value::Null)
        }
        503 => {
            let message = "The engine is currently overloaded, please try again later".to_owned();
            (message, "service_unavailable_error", Value::from("server_is_overloaded"))
        }
        _ => {
            let message =
                "The server had an error while processing your request. Sorry about that!".to_owned();
            (message, "server_error", Value::Null)
        }
    };
    plain(&message, kind, code)
}

/// Returns the error of Azure's content filter. OpenAI itself answers such a prompt.
fn filtered_by_azure() -> Value {
    let message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. \
        Please modify your prompt and retry. To learn more about our content filtering policies please read our \
        documentation: https://go.microsoft.com/fwlink/?linkid=2198766";
    let safe = json!({"filtered": false, "severity": "safe"});
    json!({"message": message, "type": null, "param": "prompt", "code": "content_filter", "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {
            "hate": safe, "self_harm": safe, "sexual": safe, "violence": {"filtered": true, "severity": "high"}}}})
}

/// The message of an error after the answer has begun.
const LOST: &str = "The engine died. Please try again.";

/// Returns an error as a frame of a stream; `beside` is the chunk for the form `beside`.
pub(super) fn error_frame(form: ErrorForm, line_end: &str, mut beside: Value) -> String {
    let error = json!({"message": LOST, "type": "InternalServerError", "param": null, "code": 500});
    match form {
        ErrorForm::Data | ErrorForm::Bare => format!("data: {{\"error\":{error}}}{line_end}{line_end}"),
        ErrorForm::Event => {
            let error = json!({"message": LOST, "type": "server_error", "code": null, "status_code": 500});
            format!("event: error{line_end}data: {{\"error\":{error}}}{line_end}{line_end}")
        }
        ErrorForm::Field => {
            let error = json!({"detail": LOST, "error": {"message": LOST}});
            format!("error: {error}{line_end}{line_end}")
        }
        ErrorForm::Beside => {
            beside["error"] = json!({"code": 502, "message": LOST});
            format!("data: {beside}{line_end}{line_end}")
        }
    }
}

/// Returns an error as the last member of an object.
pub(super) fn error_member() -> String {
    format!(r#","error":{}"#, json!({"code": 502, "message": LOST}))
}

/// Returns true if `[DONE]` follows. A server that sends errors as named events ends with them.
pub(super) fn done_comes_after(error: Option<ErrorForm>) -> bool {
    match error {
        None | Some(ErrorForm::Data | ErrorForm::Beside | ErrorForm::Bare) => true,
        Some(ErrorForm::Event | ErrorForm::Field) => false,
    }
}
