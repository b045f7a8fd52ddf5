//! Google's format for each part of an answer.

use serde_json::{Map, Value, json};

use super::{Form, errors};
use crate::fake_upstream::acts::{DialectWriter, Finish, inside_a_string};
use crate::fake_upstream::call_flow::CallInfo;
use crate::fake_upstream::script::ErrorForm;
use crate::fake_upstream::tokens::{AUDIO_TOKENS, PROMPT_TOKENS, TEXT_TOKENS, Tokens};

pub(super) const JSON: &str = "application/json; charset=UTF-8";

/// The writer of one answer.
#[derive(Debug)]
pub(super) struct GeminiWriter {
    form: Form,
    model: String,
    response_id: String,
    tokens: Tokens,
    /// For an array: true if it has an element.
    begun: bool,
    /// For an answer in one piece: true if the open part holds thoughts.
    thinking: bool,
}

impl GeminiWriter {
    pub(super) fn new(form: Form, context: &CallInfo<'_>) -> Self {
        Self {
            form,
            model: context.model.to_owned(),
            response_id: format!("fake-{}", context.number),
            tokens: Tokens::default(),
            begun: false,
            thinking: false,
        }
    }

    /// Returns a snapshot of the tokens used so far.
    fn usage(&self) -> Value {
        let Tokens { texts, thoughts } = self.tokens;
        let mut usage = Map::new();
        usage.insert("promptTokenCount".to_owned(), PROMPT_TOKENS.into());
        if texts > 0 {
            usage.insert("candidatesTokenCount".to_owned(), texts.into());
        }
        if thoughts > 0 {
            usage.insert("thoughtsTokenCount".to_owned(), thoughts.into());
        }
        usage.insert("totalTokenCount".to_owned(), self.tokens.total().into());
        let details = json!([{"modality": "TEXT", "tokenCount": TEXT_TOKENS},
            {"modality": "AUDIO", "tokenCount": AUDIO_TOKENS}]);
        usage.insert("promptTokensDetails".to_owned(), details);
        Value::Object(usage)
    }

    /// Returns a response with this candidate.
    fn response(&self, candidate: Value) -> Value {
        let mut response = json!({"usageMetadata": self.usage(), "modelVersion": self.model,
            "responseId": self.response_id});
        response["candidates"] = json!([candidate]);
        response
    }

    fn frame(&mut self, value: &Value) -> String {
        match self.form {
            Form::Events => format!("data: {value}\r\n\r\n"),
            Form::Array | Form::Whole => {
                let separator = if std::mem::replace(&mut self.begun, true) { ",\r\n" } else { "[" };
                format!("{separator}{value:#}\n")
            }
        }
    }

    fn part(&mut self, part: Value) -> String {
        let candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
        let response = self.response(candidate);
        self.frame(&response)
    }

    /// For an answer in one piece: ends the part of thoughts, if one is open, and opens the text's.
    fn text_part(&mut self) -> &'static str {
        if std::mem::take(&mut self.thinking) { r#"","thought":true},{"text":""# } else { "" }
    }
}

impl DialectWriter for GeminiWriter {
    fn content_type(&self) -> &'static str {
        if self.form == Form::Events { "text/event-stream" } else { JSON }
    }

    fn is_stream(&self) -> bool {
        self.form != Form::Whole
    }

    fn opening(&mut self) -> String {
        let whole = self.form == Form::Whole;
        (if whole { r#"{"candidates":[{"content":{"parts":[{"text":""# } else { "" }).to_owned()
    }

    fn thought(&mut self, thought: &str) -> String {
        self.tokens.think();
        if self.form == Form::Whole {
            self.thinking = true;
            return inside_a_string(thought);
        }
        self.part(json!({"text": thought, "thought": true}))
    }

    fn text(&mut self, _: u64, text: &str) -> String {
        self.tokens.say();
        if self.form == Form::Whole {
            return self.text_part().to_owned() + &inside_a_string(text);
        }
        self.part(json!({ "text": text }))
    }

    fn nonsense(&mut self) -> String {
        match self.form {
            Form::Events => "data: {\"candidates\": [{\"content\": <<<<<<< HEAD\r\n\r\n".to_owned(),
            Form::Array | Form::Whole => "\"<<<<<<< HEAD\r\n".to_owned(),
        }
    }

    fn finish(&mut self, reason: Finish) -> String {
        let reason = match reason {
            Finish::Stop => "STOP",
            Finish::Length => "MAX_TOKENS",
            Finish::Filtered => "SAFETY",
        };
        if self.form == Form::Whole {
            let text = self.text_part();
            let (usage, model, id) = (self.usage(), json!(self.model), json!(self.response_id));
            return format!(
                r#"{text}"}}],"role":"model"}},"finishReason":"{reason}","index":0}}],"usageMetadata":{usage},"modelVersion":{model},"responseId":{id}"#
            );
        }
        let candidate = if reason == "SAFETY" {
            // In streams, this chunk has no content.
            json!({"content": {}, "finishReason": reason, "index": 0, "safetyRatings": [
                {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}]})
        } else {
            json!({"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason, "index": 0})
        };
        let response = self.response(candidate);
        self.frame(&response)
    }

    fn error(&mut self, form: ErrorForm) -> String {
        let error = errors::plain(503, "The model is overloaded. Please try again later.");
        if self.form == Form::Whole {
            return format!(r#","error":{error}"#);
        }
        let error = json!({ "error": error });
        if form == ErrorForm::Bare { format!("{error:#}\n") } else { self.frame(&error) }
    }

    fn closing(&mut self, error: Option<ErrorForm>) -> String {
        match self.form {
            Form::Array if error == Some(ErrorForm::Bare) => String::new(),
            // An array without elements is still sent as an array.
            Form::Array if self.begun => "]".to_owned(),
            Form::Array => "[]".to_owned(),
            Form::Whole => "}".to_owned(),
            Form::Events => String::new(),
        }
    }
}
