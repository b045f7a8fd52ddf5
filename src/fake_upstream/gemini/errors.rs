//! Google's errors, with the status, its name, the message and the details of real ones.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::{Value, json};

use super::Form;
use crate::fake_upstream::call_flow::{DialectErrors, Refusal};
use crate::fake_upstream::intake::MOST_BODY_BYTES;
use crate::fake_upstream::script::Dialect;

/// The hint for a used-up quota. Real ones name some seconds too, although the quota is used up for the day.
const USELESS_HINT: Duration = Duration::from_secs(45);
const QUOTA: &str = "You exceeded your current quota, please check your plan and billing details. For more \
    information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.";

/// The errors for one form of answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errors {
    pub(super) form: Form,
}

impl DialectErrors for Errors {
    fn dialect(&self) -> Dialect {
        Dialect::Gemini
    }

    fn refuse(&self, refusal: &Refusal, model: &str) -> HttpResponse {
        if *refusal == Refusal::Blocked {
            return self.respond(200, &blocked(model));
        }
        let (status, error) = error(refusal, model);
        let error = json!({ "error": error });
        self.respond(status, &if self.form == Form::Array { json!([error]) } else { error })
    }
}

impl Errors {
    /// Returns the response with this object. In a stream, the object is framed only with status 200.
    fn respond(self, status: u16, value: &Value) -> HttpResponse {
        let pretty = format!("{value:#}\n");
        let (content_type, body) = match self.form {
            Form::Events if status == 200 => ("text/event-stream", format!("data: {value}\r\n\r\n")),
            Form::Events => ("text/event-stream", pretty),
            Form::Array if status == 200 => (super::writer::JSON, format!("[{value}]")),
            Form::Array | Form::Whole => (super::writer::JSON, pretty),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        HttpResponseBuilder::new(status).insert_header((header::CONTENT_TYPE, content_type)).body(body)
    }
}

/// Returns the answer to a prompt that the content filter refuses: it has no candidates.
fn blocked(model: &str) -> Value {
    json!({
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 125, "totalTokenCount": 125},
        "modelVersion": model,
    })
}

/// Returns the model's error for a status, without further details.
pub(super) fn plain(status: u16, message: &str) -> Value {
    json!({"code": status, "message": message, "status": name(status)})
}

fn error(refusal: &Refusal, model: &str) -> (u16, Value) {
    let with_details = |status, message: &str, details: Value| {
        let mut error = plain(status, message);
        if let Some(members) = error.as_object_mut() {
            members.insert("details".to_owned(), details);
        }
        (status, error)
    };
    match refusal {
        Refusal::Status(429, Some(hint)) => {
            let message = format!(
                "{QUOTA} \n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count, \
                 limit: 1000000, model: {model}\nPlease retry in {}s.",
                hint.as_secs_f64()
            );
            let quota = violation(model, "GenerateContentPaidTierInputTokensPerModelPerMinute", "1000000");
            with_details(429, &message, json!([help(), quota, retry_info(*hint)]))
        }
        Refusal::Daily => {
            let message = format!("{QUOTA}\nPlease retry in {}s.", USELESS_HINT.as_secs());
            let quota = violation(model, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250");
            with_details(429, &message, json!([help(), quota, retry_info(USELESS_HINT)]))
        }
        Refusal::Status(status, Some(hint)) => {
            with_details(*status, words(*status), json!([retry_info(*hint)]))
        }
        Refusal::Status(404, None) => {
            let message = format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. \
                 CountedCall ListModels to see the list of available models and their supported methods."
            );
            (404, plain(404, &message))
        }
        Refusal::Status(status, None) => (*status, plain(*status, words(*status))),
        Refusal::WrongKey => {
            let message = "API key not valid. Please pass a valid API key.";
            with_details(
                400,
                message,
                json!([
                    {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                        "domain": "googleapis.com",
                        "metadata": {"service": "generativelanguage.googleapis.com"}},
                    {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US",
                        "message": message},
                ]),
            )
        }
        Refusal::Region => {
            let mut error = plain(400, "User location is not supported for the API use.");
            error["status"] = "FAILED_PRECONDITION".into();
            (400, error)
        }
        Refusal::NoKey => {
            let message = "Method doesn't allow unregistered callers (callers without established identity). \
                Please use API Key or other form of API consumer identity to call this API.";
            (403, plain(403, message))
        }
        Refusal::TooLarge | Refusal::Blocked => {
            (400, plain(400, &format!("Request payload size exceeds the limit: {MOST_BODY_BYTES} bytes.")))
        }
        Refusal::Invalid(problem) => {
            let field = json!({"description": problem});
            let bad =
                json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [field]});
            with_details(400, problem, json!([bad]))
        }
    }
}

fn help() -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.Help", "links": [{
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]})
}

fn violation(model: &str, quota: &str, limit: &str) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count",
        "quotaId": quota,
        "quotaDimensions": {"model": model, "location": "global"},
        "quotaValue": limit}]})
}

fn retry_info(hint: Duration) -> Value {
    json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{}s", hint.as_secs_f64())})
}

/// Returns Google's name of a status.
fn name(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        400..=498 => "INVALID_ARGUMENT",
        500 => "INTERNAL",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    }
}

/// Returns Google's message for a status.
fn words(status: u16) -> &'static str {
    match status {
        401 => {
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
             valid authentication credential."
        }
        403 => "The caller does not have permission",
        429 => "Resource has been exhausted (e.g. check quota).",
        499 => "The operation was cancelled.",
        400..=498 => "Request contains an invalid argument.",
        503 => {
            "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try \
             again later."
        }
        504 => "The request timed out. Please try again.",
        _ => {
            "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting"
        }
    }
}
