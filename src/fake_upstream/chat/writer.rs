//! OpenAI's format for each part of a chat completion.

use serde_json::{Value, json};

use super::request::ValidRequest;
use crate::fake_upstream::acts::{DialectWriter, Finish, inside_a_string};
use crate::fake_upstream::call_flow::CallInfo;
use crate::fake_upstream::clock::now;
use crate::fake_upstream::openai::{done_comes_after, error_frame, error_member};
use crate::fake_upstream::script::{ErrorForm, UsagePlace};
use crate::fake_upstream::tokens::{AUDIO_TOKENS, PROMPT_TOKENS, Tokens};

/// The writer of one answer.
#[derive(Debug)]
pub(super) struct ChatWriter {
    stream: bool,
    /// True if each chunk of the stream has a field for the usage, and a separate chunk holds it.
    usage_apart: bool,
    usage_beside: bool,
    id: String,
    model: String,
    created: u64,
    tokens: Tokens,
    /// For an answer in one piece: true if its text has begun.
    content_open: bool,
}

impl ChatWriter {
    pub(super) fn new(request: &ValidRequest, context: &CallInfo<'_>) -> Self {
        let place = context.shape.usage.unwrap_or(UsagePlace::Apart);
        Self {
            stream: request.stream,
            usage_apart: request.include_usage && place == UsagePlace::Apart,
            usage_beside: if request.stream {
                place == UsagePlace::Beside
            } else {
                place != UsagePlace::Nowhere
            },
            id: format!("chatcmpl-fake-{}", context.number),
            model: context.model.to_owned(),
            created: now(),
            tokens: Tokens::default(),
            content_open: false,
        }
    }

    fn usage(&self) -> Value {
        json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": self.tokens.completion(),
            "total_tokens": self.tokens.total(),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": AUDIO_TOKENS},
            "completion_tokens_details": {"reasoning_tokens": self.tokens.thoughts, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
    }

    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = json!({"id": self.id, "object": "chat.completion.chunk", "created": self.created,
            "model": self.model, "system_fingerprint": null});
        chunk["choices"] = choices;
        if self.usage_apart {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    fn delta(&self, delta: Value, finish_reason: Option<&str>) -> Value {
        let mut choice = json!({"index": 0, "logprobs": null, "finish_reason": finish_reason});
        choice["delta"] = delta;
        self.chunk(json!([choice]))
    }

    /// For an answer in one piece: ends the string of thoughts and opens the text's, unless that is open.
    fn content(&mut self) -> &'static str {
        if std::mem::replace(&mut self.content_open, true) {
            ""
        } else if self.tokens.thoughts > 0 {
            r#"","content":""#
        } else {
            r#""content":""#
        }
    }
}

fn frame(value: &Value) -> String {
    format!("data: {value}\n\n")
}

impl DialectWriter for ChatWriter {
    fn content_type(&self) -> &'static str {
        if self.stream { "text/event-stream; charset=utf-8" } else { "application/json" }
    }

    fn is_stream(&self) -> bool {
        self.stream
    }

    fn opening(&mut self) -> String {
        if self.stream {
            return frame(&self.delta(json!({"role": "assistant", "content": "", "refusal": null}), None));
        }
        let (id, model, created) = (json!(self.id), json!(self.model), self.created);
        format!(
            r#"{{"id":{id},"object":"chat.completion","created":{created},"model":{model},"system_fingerprint":null,"choices":[{{"index":0,"message":{{"role":"assistant","refusal":null,"annotations":[],"#
        )
    }

    fn thought(&mut self, thought: &str) -> String {
        let first = self.tokens.thoughts == 0;
        self.tokens.think();
        if self.stream {
            return frame(&self.delta(json!({ "reasoning_content": thought }), None));
        }
        (if first { r#""reasoning_content":""# } else { "" }).to_owned() + &inside_a_string(thought)
    }

    fn text(&mut self, _: u64, text: &str) -> String {
        self.tokens.say();
        if self.stream {
            return frame(&self.delta(json!({ "content": text }), None));
        }
        self.content().to_owned() + &inside_a_string(text)
    }

    fn nonsense(&mut self) -> String {
        let nonsense = "\"<<<<<<< HEAD\n";
        if self.stream {
            format!("data: {{\"choices\": [{{\"delta\": {nonsense}\n")
        } else {
            nonsense.to_owned()
        }
    }

    fn finish(&mut self, reason: Finish) -> String {
        let reason = match reason {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Filtered => "content_filter",
        };
        if !self.stream {
            let content = self.content();
            let mut rest = format!(r#"{content}"}},"logprobs":null,"finish_reason":"{reason}"}}]"#);
            if self.usage_beside {
                rest += &format!(r#","usage":{}"#, self.usage());
            }
            return rest;
        }
        let mut last = self.delta(json!({}), Some(reason));
        if self.usage_beside {
            last["usage"] = self.usage();
        }
        let mut frames = frame(&last);
        if self.usage_apart {
            let mut apart = self.chunk(json!([]));
            apart["usage"] = self.usage();
            frames += &frame(&apart);
        }
        frames
    }

    fn error(&mut self, form: ErrorForm) -> String {
        if !self.stream {
            return error_member();
        }
        error_frame(form, "\n", self.delta(json!({"content": ""}), None))
    }

    fn closing(&mut self, error: Option<ErrorForm>) -> String {
        let closing = match (self.stream, done_comes_after(error)) {
            (false, _) => "}",
            (true, true) => "data: [DONE]\n\n",
            (true, false) => "",
        };
        closing.to_owned()
    }
}
