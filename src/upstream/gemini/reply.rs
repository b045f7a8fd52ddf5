//! Gemini's events in our terms: a pure reader that takes the pieces of the body and decides at its end.

use std::fmt::Write as _;

use serde::Deserialize;

use super::protobuf_duration;
use crate::config::Secret;
use crate::task::answer::TextKind;
use crate::upstream::exchange::Refusal;
use crate::upstream::reading::EventReader;
use crate::upstream::redact::redact;
use crate::upstream::{Batch, Fault, UpstreamError, UpstreamEvent};
use crate::wire::completion::{CompletionTokensDetails, FinishReason, PromptTokensDetails, Usage};
use crate::wire::event_stream::Piece;

/// Most text outside the event stream that is kept, in bytes: an error object, or a whole answer where
/// `alt=sse` was lost on the way.
const MAX_STRAY_BYTES: usize = 4 << 20;
/// How often it is tried before the body ends: each try reads all of it.
const STRAY_TRIES: u8 = 8;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    error: Option<GoogleError>,
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    parts: Option<Vec<Part>>,
}

/// A part; kinds other than text (images, code, calls) have none and are passed over.
#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
    thought: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

/// A snapshot of the counts. Each newer field overwrites the older one; they are not sums and may go down.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<ModalityCount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModalityCount {
    modality: Option<Modality>,
    token_count: Option<u64>,
}

/// What tokens are made of, as far as it is told on.
#[derive(Debug, PartialEq, Eq, Deserialize)]
enum Modality {
    #[serde(rename = "AUDIO")]
    Audio,
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct GoogleError {
    code: Option<u16>,
    message: Option<String>,
    status: Option<String>,
    details: Option<Vec<ErrorDetail>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorDetail {
    reason: Option<String>,
    retry_delay: Option<String>,
    violations: Option<Vec<QuotaViolation>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QuotaViolation {
    quota_id: Option<String>,
}

/// Everything that a body may hold where it is JSON and no event stream.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Event>),
    One(Box<Event>),
}

/// A reply that is coming in.
#[derive(Debug)]
pub(super) struct Reply {
    secret: Secret,
    /// Lines outside the event stream.
    stray: String,
    tries_left: u8,
    usage: UsageMetadata,
    finish_reason: Option<String>,
    finish_message: Option<String>,
    block: Option<PromptFeedback>,
    saw_candidate: bool,
    saw_content: bool,
}

impl Reply {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            stray: String::new(),
            tries_left: STRAY_TRIES,
            usage: UsageMetadata::default(),
            finish_reason: None,
            finish_message: None,
            block: None,
            saw_candidate: false,
            saw_content: false,
        }
    }
}

impl EventReader for Reply {
    fn take(&mut self, piece: Piece, batch: &mut Batch) -> Result<(), UpstreamError> {
        match piece {
            // Some proxies end a stream as OpenAI does.
            Piece::Event { data, .. } if data.trim() == "[DONE]" || data.trim().is_empty() => Ok(()),
            Piece::Event { data, .. } => {
                let event = serde_json::from_str(&data)
                    .map_err(|_| UpstreamError::Invalid("an event that is not Gemini's JSON".to_owned()))?;
                self.take_event(event, batch)
            }
            Piece::Stray(line) => {
                if self.stray.len() + line.len() > MAX_STRAY_BYTES {
                    return Err(UpstreamError::Invalid("a long body that is no event stream".to_owned()));
                }
                self.stray.push_str(&line);
                self.stray.push('\n');
                // A pretty-printed object ends so: then its error need not wait for the end of the body.
                if line == "}" && self.stray.starts_with('{') && self.tries_left > 0 {
                    self.tries_left -= 1;
                    return self.take_stray(batch);
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        self.take_stray(batch)?;
        if let Some(block) = self.block.take().filter(|_| !self.saw_content) {
            let why = block.block_reason_message.or(block.block_reason).unwrap_or_default();
            return Err(UpstreamError::Blocked(redact(&why, self.secret.expose())));
        }
        if !self.stray.trim().is_empty() {
            return Err(UpstreamError::Invalid("a body that is no event stream".to_owned()));
        }
        let Some(reason) = self.finish_reason.take() else {
            return Err(if self.saw_candidate {
                UpstreamError::Disconnected
            } else {
                UpstreamError::Invalid("an empty response".to_owned())
            });
        };
        let reason = match finish_reason(&reason) {
            Some(reason) => reason,
            None if self.saw_content => FinishReason::Stop,
            None => {
                let mut why = format!("finished with {reason} and without text");
                if let Some(message) = &self.finish_message {
                    let _ = write!(why, ": {message}");
                }
                return Err(UpstreamError::Speechless(redact(&why, self.secret.expose())));
            }
        };
        batch.push(UpstreamEvent::Finished { reason, usage: self.usage.in_openai_terms() });
        Ok(())
    }
}

impl Reply {
    /// Reads what stands outside the event stream, once it is whole JSON: an error, or the answer itself where
    /// `alt=sse` was lost. What is not JSON stays where it is.
    fn take_stray(&mut self, batch: &mut Batch) -> Result<(), UpstreamError> {
        let Ok(found) = serde_json::from_str::<OneOrMany>(&self.stray) else { return Ok(()) };
        self.stray.clear();
        match found {
            OneOrMany::One(event) => self.take_event(*event, batch),
            OneOrMany::Many(events) => events.into_iter().try_for_each(|event| self.take_event(event, batch)),
        }
    }

    fn take_event(&mut self, event: Event, batch: &mut Batch) -> Result<(), UpstreamError> {
        if let Some(error) = event.error {
            return Err(error.refusal(None, self.secret.expose()));
        }
        if let Some(usage) = event.usage_metadata {
            self.usage.overwrite(usage);
        }
        if let Some(feedback) = event.prompt_feedback.filter(|feedback| feedback.block_reason.is_some()) {
            self.block = Some(feedback);
        }
        // There is one candidate: we never ask for more.
        let Some(candidate) = event.candidates.and_then(|candidates| candidates.into_iter().next()) else {
            return Ok(());
        };
        self.saw_candidate = true;
        if let Some(reason) = candidate.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason);
            self.finish_message = candidate.finish_message;
        }
        let first_of_event = batch.len();
        for part in candidate.content.and_then(|content| content.parts).unwrap_or_default() {
            let Some(text) = part.text.filter(|text| !text.is_empty()) else { continue };
            let kind = if part.thought == Some(true) { TextKind::Reasoning } else { TextKind::Content };
            self.saw_content |= kind == TextKind::Content;
            // Parts of one event that follow each other are one piece of text.
            match batch.get_mut(first_of_event..).and_then(<[_]>::last_mut) {
                Some(UpstreamEvent::Text(last, so_far)) if *last == kind => so_far.push_str(&text),
                _ => batch.push(UpstreamEvent::Text(kind, text)),
            }
        }
        Ok(())
    }
}

impl UsageMetadata {
    fn overwrite(&mut self, newer: Self) {
        fn set<T>(older: &mut Option<T>, newer: Option<T>) {
            if newer.is_some() {
                *older = newer;
            }
        }
        set(&mut self.prompt_token_count, newer.prompt_token_count);
        set(&mut self.candidates_token_count, newer.candidates_token_count);
        set(&mut self.thoughts_token_count, newer.thoughts_token_count);
        set(&mut self.tool_use_prompt_token_count, newer.tool_use_prompt_token_count);
        set(&mut self.cached_content_token_count, newer.cached_content_token_count);
        set(&mut self.prompt_tokens_details, newer.prompt_tokens_details);
    }

    /// Gemini's candidate tokens exclude thoughts, OpenAI's completion tokens include them.
    fn in_openai_terms(&self) -> Usage {
        let sum = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).saturating_add(b.unwrap_or(0));
        let prompt_tokens = sum(self.prompt_token_count, self.tool_use_prompt_token_count);
        let completion_tokens = sum(self.candidates_token_count, self.thoughts_token_count);
        let audio = |detail: &&ModalityCount| detail.modality == Some(Modality::Audio);
        let details = self.prompt_tokens_details.iter().flatten();
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: PromptTokensDetails {
                audio_tokens: details.filter(audio).filter_map(|detail| detail.token_count).sum(),
                cached_tokens: self.cached_content_token_count.unwrap_or(0),
            },
            completion_tokens_details: CompletionTokensDetails {
                reasoning_tokens: self.thoughts_token_count.unwrap_or(0),
            },
        }
    }
}

/// OpenAI's word for Gemini's; `None` for those that are a finish only where text came. The list is open.
fn finish_reason(reason: &str) -> Option<FinishReason> {
    match reason {
        "STOP" => Some(FinishReason::Stop),
        "MAX_TOKENS" => Some(FinishReason::Length),
        "SAFETY"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "RECITATION"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_OTHER"
        | "NO_IMAGE" => Some(FinishReason::ContentFilter),
        _ => None,
    }
}

/// What an error response means.
pub(super) fn refusal(refusal: &Refusal, secret: &str) -> UpstreamError {
    let events = match serde_json::from_slice(&refusal.body) {
        Ok(OneOrMany::One(event)) => vec![*event],
        Ok(OneOrMany::Many(events)) => events,
        Err(_) => Vec::new(),
    };
    let error = events.into_iter().find_map(|event| event.error);
    let error = error.unwrap_or(GoogleError { code: None, message: None, status: None, details: None });
    error.refusal(Some(refusal), secret)
}

impl GoogleError {
    /// `response`: the error response that it came with, if it did not come in mid-stream.
    fn refusal(self, response: Option<&Refusal>, secret: &str) -> UpstreamError {
        let status = response.map(|response| response.status).or(self.code);
        let details = self.details.unwrap_or_default();
        let bad_key = details.iter().any(|detail| detail.reason.as_deref() == Some("API_KEY_INVALID"));
        let mut quotas = details.iter().flat_map(|detail| detail.violations.iter().flatten());
        // The delay that comes with it is that of the shorter limits beside it.
        let daily = quotas
            .any(|violation| violation.quota_id.as_deref().is_some_and(|quota| quota.contains("PerDay")));
        let fault = match status {
            _ if bad_key => Fault::Credentials,
            Some(429) if daily => Fault::Quota,
            Some(status) => Fault::of_status(status),
            None => Fault::Upstream,
        };
        let message = match (&self.message, &self.status, status) {
            (Some(message), ..) if !message.trim().is_empty() => redact(message, secret),
            (_, Some(word), _) => redact(word, secret),
            (.., Some(status)) => format!("it answered with status {status}"),
            _ => redact("", secret),
        };
        let told = details.iter().find_map(|detail| protobuf_duration(detail.retry_delay.as_deref()?));
        // Google's own say it in the body; what stands before them may use the header.
        let retry_after = told.or(response.and_then(|response| response.retry_after));
        UpstreamError::Refused { fault, status, message, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::reading::{BodyReader, EventBody};

    /// The texts and the end of a body, read in pieces of the given size.
    fn read(body: &str, piece: usize) -> (String, Result<(FinishReason, Usage), UpstreamError>) {
        let mut body_reader = EventBody::new(Reply::new(Secret::new("hush".into())));
        let mut batch = Batch::new();
        let mut run = || {
            body.as_bytes().chunks(piece).try_for_each(|bytes| body_reader.take(bytes, &mut batch))?;
            body_reader.finish(&mut batch)
        };
        let end = run();
        let mut text = String::new();
        let mut finished = None;
        for event in batch {
            match event {
                UpstreamEvent::Text(TextKind::Content, piece) => text += &piece,
                UpstreamEvent::Text(TextKind::Reasoning, piece) => text += &format!("({piece})"),
                UpstreamEvent::Finished { reason, usage } => finished = Some((reason, usage)),
                UpstreamEvent::Progress(_) => {}
            }
        }
        (text, end.map(|()| finished.unwrap()))
    }

    fn event(json: &str) -> String {
        format!("data: {json}\r\n\r\n")
    }

    fn text(text: &str, reason: &str) -> String {
        event(&format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}{reason}}}]}}"#))
    }

    const STOP: &str = r#","finishReason":"STOP""#;

    #[test]
    fn the_last_word_on_usage_counts_field_by_field() {
        let body = event(
            r#"{"usageMetadata":{"promptTokenCount":15,"thoughtsTokenCount":5,"toolUsePromptTokenCount":2}}"#,
        ) + &text("a", STOP)
            + &event(
                r#"{"usageMetadata":{"promptTokenCount":13,"candidatesTokenCount":4,"cachedContentTokenCount":1,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9},{"modality":"TEXT","tokenCount":4}]}}"#,
            );
        let (_, end) = read(&body, 7);
        let usage = end.unwrap().1;
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (15, 9, 24));
        assert_eq!(usage.prompt_tokens_details, PromptTokensDetails { audio_tokens: 9, cached_tokens: 1 });
        assert_eq!(usage.completion_tokens_details.reasoning_tokens, 5);
    }

    #[test]
    fn stop_on_every_chunk_ends_nothing() {
        let body = text("a", STOP) + &text("b", STOP) + &text("c", r#","finishReason":"MAX_TOKENS""#);
        assert_eq!(read(&body, 3), ("abc".into(), Ok((FinishReason::Length, Usage::default()))));
    }

    #[test]
    fn thoughts_are_told_from_the_answer_and_parts_of_one_event_are_joined() {
        let body = event(
            r#"{"candidates":[{"content":{"parts":[{"text":"h","thought":true},{"text":"m","thought":true},{"text":"a"},{"inlineData":{}},{"text":"b","thoughtSignature":"x"}]},"finishReason":"STOP"}]}"#,
        );
        assert_eq!(read(&body, 1000).0, "(hm)ab");
    }

    #[test]
    fn every_way_to_end_is_decided() {
        let reason = |word: &str| {
            event(&format!(r#"{{"candidates":[{{"finishReason":"{word}","finishMessage":"why"}}]}}"#))
        };
        let ok = |reason| Ok((reason, Usage::default()));
        let invalid = |why: &str| Err(UpstreamError::Invalid(why.into()));
        for (body, expected) in [
            (reason("STOP"), ok(FinishReason::Stop)),
            (reason("MAX_TOKENS"), ok(FinishReason::Length)),
            (reason("SAFETY"), ok(FinishReason::ContentFilter)),
            (
                reason("OTHER"),
                Err(UpstreamError::Speechless("finished with OTHER and without text: why".into())),
            ),
            (text("a", "") + &reason("LANGUAGE"), ok(FinishReason::Stop)),
            (text("a", "") + &reason("NEW_REASON"), ok(FinishReason::Stop)),
            (text("a", ""), Err(UpstreamError::Disconnected)),
            (String::new(), invalid("an empty response")),
            (event("{}"), invalid("an empty response")),
            ("<html>busy</html>".into(), invalid("a body that is no event stream")),
            (event("nonsense"), invalid("an event that is not Gemini's JSON")),
            (text("a", "") + r#"data: {"candidates":[{"con"#, Err(UpstreamError::Disconnected)),
            (
                event(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#),
                Err(UpstreamError::Blocked("SAFETY".into())),
            ),
            (event(r#"{"promptFeedback":{"safetyRatings":[]}}"#) + &text("a", STOP), ok(FinishReason::Stop)),
        ] {
            for piece in [1, 5, 4096] {
                assert_eq!(read(&body, piece).1, expected, "{body}");
            }
        }
    }

    #[test]
    fn an_error_in_mid_stream_fails_the_reply_whatever_came_before() {
        let error = r#"{"error":{"code":503,"message":"overloaded hush","status":"UNAVAILABLE"}}"#;
        let pretty = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"overloaded hush\"\n  }\n}\n";
        for body in [text("a", STOP) + &event(error), text("a", STOP) + pretty, format!("[{error}]")] {
            let expected = UpstreamError::Refused {
                fault: Fault::Upstream,
                status: Some(503),
                message: "overloaded [removed]".into(),
                retry_after: None,
            };
            assert_eq!(read(&body, 6).1, Err(expected), "{body}");
        }
    }

    #[test]
    fn a_whole_answer_without_event_stream_is_read() {
        let body = r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},
            {"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}]}]"#;
        assert_eq!(read(body, 9), ("ab".into(), Ok((FinishReason::Stop, Usage::default()))));
    }

    #[test]
    fn refusals_are_told_apart() {
        let fault = |status, body: &str| {
            let refused = Refusal { status, retry_after: None, body: body.as_bytes().to_vec() };
            match refusal(&refused, "hush") {
                UpstreamError::Refused { fault, status, retry_after, .. } => {
                    (fault, status, retry_after.map(|d| d.as_secs()))
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            fault(400, r#"{"error":{"code":400,"message":"x","details":[{"reason":"API_KEY_INVALID"}]}}"#).0,
            Fault::Credentials
        );
        assert_eq!(fault(400, "{}"), (Fault::Request, Some(400), None));
        assert_eq!(fault(403, ""), (Fault::Credentials, Some(403), None));
        assert_eq!(fault(404, "<html>"), (Fault::NotServed, Some(404), None));
        assert_eq!(
            fault(429, r#"[{"error":{"details":[{"x":1},{"retryDelay":"34.4s"}]}}]"#),
            (Fault::RateLimit, Some(429), Some(34))
        );
        assert_eq!(fault(503, ""), (Fault::Upstream, Some(503), None));
    }

    #[test]
    fn a_days_quota_is_no_limit_that_passes() {
        let quota = |id: &str| {
            let body = format!(
                r#"{{"error":{{"code":429,"details":[{{"violations":[{{"quotaId":"{id}"}}]}},{{"retryDelay":"48s"}}]}}}}"#
            );
            match refusal(&Refusal { status: 429, retry_after: None, body: body.into() }, "hush") {
                UpstreamError::Refused { fault, .. } => fault,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), Fault::RateLimit);
        assert_eq!(quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), Fault::Quota);
    }
}
