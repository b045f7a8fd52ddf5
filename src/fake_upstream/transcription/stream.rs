//! Transcriptions as streams, in the styles of OpenAI, Mistral, vLLM and speaches.

use serde_json::{Value, json};

use super::form::Form;
use super::whole::{segment, token_usage};
use crate::fake_upstream::acts::{DialectWriter, Finish};
use crate::fake_upstream::call_flow::CallInfo;
use crate::fake_upstream::clock::now;
use crate::fake_upstream::openai::{done_comes_after, error_frame};
use crate::fake_upstream::script::{ErrorForm, Style};
use crate::fake_upstream::tokens::{AUDIO_SECONDS, AUDIO_TOKENS, Tokens};

struct Streaming {
    style: Style,
    /// vLLM: true if a chunk with the usage was requested.
    include_usage: bool,
    id: String,
    model: String,
    created: u64,
    texts: u64,
    tokens: Tokens,
    /// The text so far, which most styles repeat at the end.
    text_so_far: String,
}

/// Returns the writer of a stream in this style.
pub(super) fn writer(style: Style, form: &Form, context: &CallInfo<'_>) -> Box<dyn DialectWriter> {
    Box::new(Streaming {
        style,
        include_usage: form.include_usage,
        id: format!("trsc-fake-{}", context.number),
        model: context.model.to_owned(),
        created: now(),
        texts: context.shape.chunks,
        tokens: Tokens::default(),
        text_so_far: String::new(),
    })
}

impl Streaming {
    fn line_end(&self) -> &'static str {
        match self.style {
            Style::OpenAi | Style::Diarize => "\r\n",
            Style::Mistral | Style::Vllm | Style::Speaches => "\n",
        }
    }

    /// Returns an event; Mistral's events have their type as a name, too.
    fn frame(&self, value: &Value) -> String {
        let end = self.line_end();
        match (self.style, value["type"].as_str()) {
            (Style::Mistral, Some(name)) => format!("event: {name}{end}data: {value}{end}{end}"),
            _ => format!("data: {value}{end}{end}"),
        }
    }

    fn vllm_chunk(&self, content: &str, finish_reason: Option<&str>) -> Value {
        let mut choice = json!({"delta": {"content": content}});
        if let Some(reason) = finish_reason {
            choice["finish_reason"] = reason.into();
            choice["stop_reason"] = Value::Null;
        }
        self.vllm_frame(json!([choice]))
    }

    fn vllm_frame(&self, choices: Value) -> Value {
        let mut chunk = json!({"id": self.id, "object": "transcription.chunk", "created": self.created,
            "model": self.model});
        chunk["choices"] = choices;
        chunk
    }
}

impl DialectWriter for Streaming {
    fn content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn opening(&mut self) -> String {
        if self.style != Style::Mistral {
            return String::new();
        }
        self.frame(&json!({"type": "transcription.language", "audio_language": "en"}))
    }

    fn text(&mut self, number: u64, text: &str) -> String {
        self.tokens.say();
        // An endless answer has no end that could repeat its text.
        if number <= self.texts {
            self.text_so_far += text;
        }
        let value = match self.style {
            Style::OpenAi | Style::Speaches => json!({"type": "transcript.text.delta", "delta": text}),
            Style::Diarize => segment(number, self.texts, text),
            Style::Mistral => json!({"type": "transcription.text.delta", "text": text}),
            Style::Vllm => self.vllm_chunk(text, None),
        };
        self.frame(&value)
    }

    fn nonsense(&mut self) -> String {
        let end = self.line_end();
        format!("data: {{\"type\": <<<<<<< HEAD{end}{end}")
    }

    fn finish(&mut self, reason: Finish) -> String {
        let text_so_far = std::mem::take(&mut self.text_so_far);
        let value = match self.style {
            Style::OpenAi | Style::Diarize | Style::Speaches => {
                json!({"type": "transcript.text.done", "text": text_so_far, "usage": token_usage(self.tokens)})
            }
            Style::Mistral => json!({"type": "transcription.done", "model": self.model, "text": text_so_far,
                "language": "en", "segments": [], "usage": {"prompt_audio_seconds": AUDIO_SECONDS,
                    "prompt_tokens": 0, "completion_tokens": self.tokens.texts,
                    "total_tokens": AUDIO_TOKENS + self.tokens.texts}}),
            Style::Vllm => {
                let reason = match reason {
                    Finish::Stop => "stop",
                    Finish::Length => "length",
                    Finish::Filtered => "content_filter",
                };
                let mut frames = self.frame(&self.vllm_chunk("", Some(reason)));
                if self.include_usage {
                    let mut apart = self.vllm_frame(json!([]));
                    apart["usage"] = json!({"prompt_tokens": AUDIO_TOKENS, "completion_tokens": self.tokens.texts,
                        "total_tokens": AUDIO_TOKENS + self.tokens.texts});
                    frames += &self.frame(&apart);
                }
                return frames;
            }
        };
        self.frame(&value)
    }

    fn error(&mut self, form: ErrorForm) -> String {
        error_frame(form, self.line_end(), Value::Null)
    }

    fn closing(&mut self, error: Option<ErrorForm>) -> String {
        let done = match self.style {
            Style::OpenAi | Style::Diarize | Style::Vllm => done_comes_after(error),
            Style::Mistral | Style::Speaches => false,
        };
        let end = self.line_end();
        if done { format!("data: [DONE]{end}{end}") } else { String::new() }
    }
}
