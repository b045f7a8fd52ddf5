//! Errors as OpenAI and its imitators write them: which object is one, whose fault it tells of, and its words.

use serde_json::Value;

use super::{text, told};
use crate::upstream::exchange::Refusal;
use crate::upstream::redact::redact;
use crate::upstream::{Fault, UpstreamError};

/// An error that was found in what a server sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// What it says to a person.
    message: Option<String>,
    /// Its codes and types, the most telling first.
    words: Vec<String>,
    /// The HTTP status that it tells.
    status: Option<u16>,
}

/// What an error response means.
#[must_use]
pub fn refusal(refusal: &Refusal, secret: &str) -> UpstreamError {
    let body: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
    Found::declared(&body).judge(Some(refusal), secret)
}

/// The error that an event is, or that stands beside its choices.
#[must_use]
pub fn in_event(event: &Value, secret: &str) -> Option<UpstreamError> {
    find(event).map(|found| found.judge(None, secret))
}

/// What is an error because it is called one: the data of `event: error`, or what stands behind `error:`.
#[must_use]
pub fn declared(data: &str, secret: &str) -> UpstreamError {
    let found = match serde_json::from_str::<Value>(data) {
        Ok(Value::String(message)) => Found { message: Some(message), ..Found::default() },
        Ok(value) => Found::declared(&value),
        Err(_) => Found { message: Some(data.to_owned()), ..Found::default() },
    };
    found.judge(None, secret)
}

fn find(object: &Value) -> Option<Found> {
    for error in told(object, "error") {
        match error {
            Value::Null | Value::Bool(false) | Value::Number(_) => {}
            Value::String(message) if message.is_empty() => {}
            Value::Array(nothing) if nothing.is_empty() => {}
            Value::Object(nothing) if nothing.is_empty() => {}
            Value::String(message) => {
                let message = Some(message.clone());
                return Some(Found { message, ..Found::of(object, object) });
            }
            error => return Some(Found::of(error, object)),
        }
    }
    let holds = |field: &str| object.get(field).is_some_and(|value| !value.is_null());
    let named = |field: &str| text(object, field) == Some("error");
    // FastAPI's servers, old vLLM, gateways: objects that hold words and nothing of an answer.
    let is_answer = ["choices", "text", "delta", "segments"].into_iter().any(holds);
    let is_error = named("object")
        || named("type")
        || holds("detail")
        || (holds("message") && ["code", "status", "status_code"].into_iter().any(holds));
    (is_error && !is_answer).then(|| Found::of(object, object))
}

impl Found {
    /// Reads what is an error because it is called one.
    fn declared(json: &Value) -> Self {
        // Google's compatible endpoint puts its error into an array.
        let object = json.as_array().and_then(|items| items.first()).unwrap_or(json);
        find(object).unwrap_or_else(|| Self::of(object, object))
    }

    /// Reads the error's own object, and what stands around it.
    fn of(error: &Value, around: &Value) -> Self {
        let message = ["message", "msg", "detail", "error_description"];
        let message = [error, around]
            .into_iter()
            .flat_map(|object| message.iter().filter_map(|field| object.get(*field)))
            .find_map(words_of);
        let status = [error, around]
            .into_iter()
            .flat_map(|object| {
                ["status_code", "code", "status"].into_iter().filter_map(|field| object.get(field))
            })
            .find_map(status_of);
        let reasons = error.get("details").and_then(Value::as_array).into_iter().flatten();
        let inner = error.get("innererror").or_else(|| error.get("inner_error"));
        let words = [text(error, "code"), inner.and_then(|inner| text(inner, "code"))]
            .into_iter()
            .chain(reasons.map(|detail| text(detail, "reason")))
            .chain([text(error, "type"), text(error, "status")])
            .flatten()
            .map(str::to_owned)
            .collect();
        Self { message, words, status }
    }

    /// `response`: the error response that it came with, if it did not come in an answer.
    fn judge(self, response: Option<&Refusal>, secret: &str) -> UpstreamError {
        let status = response.map(|response| response.status).or(self.status);
        let meaning = self.words.iter().find_map(|word| decisive(&bare(word), status));
        let by_status = || status.map(Fault::of_status).map(Meaning::Fault);
        let by_type = || self.words.iter().find_map(|word| hint(&bare(word))).map(Meaning::Fault);
        let meaning = meaning.or_else(by_status).or_else(by_type).unwrap_or(Meaning::Fault(Fault::Upstream));
        let message = match (&self.message, self.words.first(), status) {
            (Some(message), ..) if !message.trim().is_empty() => redact(message, secret),
            (_, Some(word), _) => redact(word, secret),
            (.., Some(status)) => format!("it answered with status {status}"),
            _ => redact("", secret),
        };
        match meaning {
            Meaning::Blocked => UpstreamError::Blocked(message),
            Meaning::Fault(fault) => UpstreamError::Refused {
                fault,
                status,
                message,
                retry_after: response.and_then(|response| response.retry_after),
            },
        }
    }
}

/// A text, or the texts of FastAPI's list of what is wrong.
fn words_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(message) => Some(message.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(words_of).collect();
            Some(texts.join("; "))
        }
        Value::Object(_) => ["message", "msg", "detail", "error"]
            .into_iter()
            .filter_map(|field| value.get(field))
            .find_map(words_of),
        other => Some(other.to_string()),
    }
    .filter(|words| !words.is_empty())
}

/// A number or its digits, where they are the status of an error. Others' own numbers are not.
fn status_of(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// A word without its case and signs: what one server calls `rate_limit_exceeded`, another calls `RateLimitExceeded`.
fn bare(word: &str) -> String {
    word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Blocked,
    Fault(Fault),
}

/// What a word says that knows more than the status.
fn decisive(word: &str, status: Option<u16>) -> Option<Meaning> {
    Some(Meaning::Fault(match word {
        "contentfilter" | "contentpolicyviolation" | "responsibleaipolicyviolation" | "moderationblocked" => {
            return Some(Meaning::Blocked);
        }
        "insufficientquota"
        | "quotaexceeded"
        | "insufficientbalance"
        | "insufficientcredits"
        | "paymentrequired" => Fault::Quota,
        word if word.contains("billing") => Fault::Quota,
        "invalidapikey" | "incorrectapikey" | "apikeyinvalid" | "authenticationerror" => Fault::Credentials,
        "ratelimitexceeded" | "ratelimitreached" | "ratelimiterror" | "toomanyrequests" | "slowdown" => {
            Fault::RateLimit
        }
        "modelnotfound" | "deploymentnotfound" => Fault::NotServed,
        "contextlengthexceeded" => Fault::Request,
        // A limit's status says more than that somebody is busy.
        "servererror" | "overloaded" | "overloadederror" | "serverisoverloaded" if status != Some(429) => {
            Fault::Upstream
        }
        _ => return None,
    }))
}

/// What a word says where there is no status.
fn hint(word: &str) -> Option<Fault> {
    match word {
        "invalidrequesterror" | "badrequesterror" | "badrequest" | "invalidargument" | "validationerror" => {
            Some(Fault::Request)
        }
        "permissionerror" | "permissiondenied" | "unauthorized" | "unauthenticated" => {
            Some(Fault::Credentials)
        }
        "notfounderror" | "notfound" => Some(Fault::NotServed),
        "resourceexhausted" => Some(Fault::RateLimit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(status: u16, body: &str) -> UpstreamError {
        refusal(&Refusal { status, retry_after: None, body: body.into() }, "hush")
    }

    fn told(err: UpstreamError) -> (Fault, Option<u16>, String) {
        match err {
            UpstreamError::Refused { fault, status, message, .. } => (fault, status, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn error_responses_are_read_in_every_shape() {
        for (status, body, fault, words) in [
            (
                400,
                r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}"#,
                Fault::Request,
                "bad",
            ),
            (
                401,
                r#"{"error":{"message":"no","code":"invalid_api_key","type":"invalid_request_error"}}"#,
                Fault::Credentials,
                "no",
            ),
            (
                429,
                r#"{"error":{"code":"RateLimitReached","message":"slow","details":"slow"}}"#,
                Fault::RateLimit,
                "slow",
            ),
            (
                429,
                r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"pay"}}"#,
                Fault::Quota,
                "pay",
            ),
            (
                402,
                r#"{"error":{"code":402,"message":"credits","metadata":{}},"user_id":"u"}"#,
                Fault::Quota,
                "credits",
            ),
            (401, r#"{"detail":"Invalid API Key"}"#, Fault::Credentials, "Invalid API Key"),
            (
                422,
                r#"{"detail":[{"loc":["body","file"],"msg":"Field required"},{"msg":"Too long"}]}"#,
                Fault::Request,
                "Field required; Too long",
            ),
            (500, r#"{"error":"it broke"}"#, Fault::Upstream, "it broke"),
            (
                400,
                r#"{"object":"error","message":"old","type":"BadRequestError","code":400}"#,
                Fault::Request,
                "old",
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"key","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
                Fault::Credentials,
                "key",
            ),
            (404, r#"{"message":"no route"}"#, Fault::NotServed, "no route"),
            (404, r#"{"error":{"message":"no such","code":"model_not_found"}}"#, Fault::NotServed, "no such"),
            (502, "<html>Bad Gateway</html>", Fault::Upstream, "it answered with status 502"),
            (503, "", Fault::Upstream, "it answered with status 503"),
            (
                503,
                r#"{"error":{"message":"","code":"server_is_overloaded"}}"#,
                Fault::Upstream,
                "server_is_overloaded",
            ),
            (429, r#"{"error":{"message":"busy","type":"server_error"}}"#, Fault::RateLimit, "busy"),
            (500, r#"{"error":{"message":{"detail":"deep"}}}"#, Fault::Upstream, "deep"),
        ] {
            assert_eq!(told(response(status, body)), (fault, Some(status), words.to_owned()), "{body}");
        }
    }

    #[test]
    fn refused_content_is_not_a_fault_of_the_request_only() {
        for body in [
            r#"{"error":{"code":"content_filter","message":"filtered","status":400}}"#,
            r#"{"error":{"code":"content_policy_violation","message":"filtered"}}"#,
            r#"{"error":{"code":null,"innererror":{"code":"ResponsibleAIPolicyViolation"},"message":"filtered"}}"#,
        ] {
            assert_eq!(response(400, body), UpstreamError::Blocked("filtered".into()), "{body}");
        }
    }

    #[test]
    fn an_error_in_an_answer_tells_its_own_status() {
        let of = |event: Value| told(in_event(&event, "hush").unwrap());
        let both =
            json!({"error": {"code": 400, "message": "limit"}, "choices": [{"delta": {"content": ""}}]});
        assert_eq!(of(both), (Fault::Request, Some(400), "limit".into()));
        assert_eq!(of(json!({"error": {"status_code": 503, "message": "m"}})).1, Some(503));
        assert_eq!(of(json!({"error": {"code": "429", "message": "m"}})).0, Fault::RateLimit);
        assert_eq!(
            of(json!({"error": {"code": "1302", "message": "m"}})),
            (Fault::Upstream, None, "m".into())
        );
        assert_eq!(
            of(json!({"error": "hush, it broke"})),
            (Fault::Upstream, None, "[removed], it broke".into())
        );
        assert_eq!(of(json!({"error": {"type": "invalid_request_error", "message": "m"}})).0, Fault::Request);
        assert_eq!(
            of(json!({"error": {"type": "server_error", "message": "m", "code": null}})).0,
            Fault::Upstream
        );
        assert_eq!(of(json!({"object": "error", "message": "m", "code": 500})).1, Some(500));
        assert_eq!(of(json!({"detail": "m"})).2, "m");
        assert_eq!(of(json!({"detail": {}, "error": {"message": "inner"}})).2, "inner");
        assert_eq!(of(json!({"code": 500, "message": "m"})).1, Some(500));
        assert_eq!(of(json!({"error": true})).2, "no reason given");
        assert_eq!(of(json!({"choices": [{"error": {"code": 502, "message": "m"}}]})).1, Some(502));
        assert_eq!(of(json!({"choices": [], "x_groq": {"id": "r", "error": "m"}})).2, "m");
        for chunk in [
            json!({"choices": [], "error": null}),
            json!({"choices": [{"delta": {}}], "detail": "x"}),
            json!({"error": ""}),
            json!({"error": {}, "choices": []}),
            json!({"choices": [{"error": null}], "x_groq": {"error": null}}),
            json!({"type": "transcript.text.delta", "delta": "x"}),
            json!({"usage": {}}),
            json!({"message": "hello"}),
        ] {
            assert_eq!(in_event(&chunk, "hush"), None, "{chunk}");
        }
    }

    #[test]
    fn what_is_called_an_error_is_one_whatever_it_holds() {
        for (data, words) in [
            (r#"{"error":{"message":"a"}}"#, "a"),
            (r#"{"message":"a"}"#, "a"),
            (r#"[{"error":{"message":"a"}}]"#, "a"),
            (r#""a""#, "a"),
            ("a", "a"),
            ("", "no reason given"),
            ("{}", "no reason given"),
            ("[1,2]", "no reason given"),
            (r#"{"detail":{"x":1},"error":{"message":"a"}}"#, "a"),
        ] {
            assert_eq!(told(declared(data, "hush")), (Fault::Upstream, None, words.to_owned()), "{data}");
        }
    }
}
