//! OpenAI's chat completion formats: the chunk of a stream and the whole answer.
//!
//! Shapes after OpenAI's API reference; `reasoning_content` is the field that DeepSeek introduced and
//! that clients of thinking models read.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::schema::{self, words};

/// Why the model stopped, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The token limit was reached.
    Length,
    /// The upstream withheld the rest.
    ContentFilter,
}

/// Tokens as OpenAI counts them: `completion_tokens` includes reasoning, `total_tokens` is the sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens of prompt, system prompt and audio.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Prompt and completion together.
    pub total_tokens: u64,
    /// What the prompt's tokens were.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What the completion's tokens were.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// Parts of the prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromptTokensDetails {
    /// Tokens that the audio took.
    pub audio_tokens: u64,
    /// Tokens that the upstream had in its cache.
    pub cached_tokens: u64,
}

/// Parts of the completion's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Tokens that went into reasoning.
    pub reasoning_tokens: u64,
}

/// What identifies one answer: the same in each chunk and in the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionHead {
    /// `chatcmpl-...`
    pub id: String,
    /// Unix seconds.
    pub created: u64,
    /// The model as the client named it.
    pub model: String,
}

/// What the end of a stream needs of a whole answer that was stored: the rest stands in the chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionEnd {
    /// What identifies the answer.
    pub head: CompletionHead,
    /// Why the model stopped.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

impl CompletionEnd {
    /// Reads it from a [`ChatCompletion`]'s JSON.
    ///
    /// # Errors
    /// Those of serde_json, for JSON that is none of ours.
    pub fn of(completion: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Stored {
            id: String,
            created: u64,
            model: String,
            choices: [StoredChoice; 1],
            usage: Usage,
        }
        #[derive(Deserialize)]
        struct StoredChoice {
            finish_reason: FinishReason,
        }
        let Stored { id, created, model, choices: [choice], usage } = serde_json::from_str(completion)?;
        Ok(Self { head: CompletionHead { id, created, model }, reason: choice.finish_reason, usage })
    }
}

/// What one chunk adds to the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delta<'a> {
    /// `assistant`, in the first chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = assistant, required = false)]
    pub role: Option<&'static str>,
    /// Text of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub content: Option<&'a str>,
    /// Text of the reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reasoning_content: Option<&'a str>,
    /// Text of the model's refusal to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub refusal: Option<&'a str>,
}

impl<'a> Delta<'a> {
    /// Returns a delta of the answer's text.
    #[must_use]
    pub fn content(text: &'a str) -> Self {
        Self { content: Some(text), ..Self::default() }
    }
}

/// A `chat.completion.chunk`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChatCompletionChunk)]
pub struct Chunk<'a> {
    /// The same in every chunk and in the whole answer.
    id: &'a str,
    /// Always `chat.completion.chunk`.
    #[schema(schema_with = chunk_word)]
    object: &'static str,
    /// Unix seconds.
    created: u64,
    /// The model as the client named it.
    model: &'a str,
    /// Always one.
    #[schema(value_type = Vec<ChunkChoice<'_>>, min_items = 1, max_items = 1)]
    choices: [ChunkChoice<'a>; 1],
    /// What the answer took; in the last chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice<'a> {
    /// Always 0.
    #[schema(maximum = 0)]
    index: u8,
    /// What the chunk adds; empty in the last one.
    delta: Delta<'a>,
    /// Why the model stopped; null but in the last chunk.
    #[schema(required)]
    finish_reason: Option<FinishReason>,
}

impl<'a> Chunk<'a> {
    /// A chunk that adds something.
    #[must_use]
    pub fn delta(head: &'a CompletionHead, delta: Delta<'a>) -> Self {
        Self::new(head, delta, None, None)
    }

    /// Returns the last chunk with a choice: it adds nothing, says why the model stopped and may carry the usage.
    #[must_use]
    pub fn finish(head: &'a CompletionHead, reason: FinishReason, usage: Option<Usage>) -> Self {
        Self::new(head, Delta::default(), Some(reason), usage)
    }

    fn new(
        head: &'a CompletionHead,
        delta: Delta<'a>,
        finish_reason: Option<FinishReason>,
        usage: Option<Usage>,
    ) -> Self {
        Self {
            id: &head.id,
            object: "chat.completion.chunk",
            created: head.created,
            model: &head.model,
            choices: [ChunkChoice { index: 0, delta, finish_reason }],
            usage,
        }
    }
}

/// The chunk of a chat that carries nothing but the usage.
#[derive(Debug, Serialize)]
pub struct UsageChunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [(); 0],
    usage: Usage,
}

impl<'a> UsageChunk<'a> {
    /// Returns the chunk that tells this usage.
    #[must_use]
    pub fn new(head: &'a CompletionHead, usage: Usage) -> Self {
        let CompletionHead { id, created, model } = head;
        Self { id, object: "chat.completion.chunk", created: *created, model, choices: [], usage }
    }
}

/// A whole `chat.completion`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatCompletion<'a> {
    /// `chatcmpl-...`
    id: &'a str,
    /// Always `chat.completion`.
    #[schema(schema_with = completion_word)]
    object: &'static str,
    /// Unix seconds.
    created: u64,
    /// The model as the client named it.
    model: &'a str,
    /// Always one.
    #[schema(value_type = Vec<Choice<'_>>, min_items = 1, max_items = 1)]
    choices: [Choice<'a>; 1],
    /// What the answer took.
    usage: Usage,
}

#[derive(Debug, Serialize, ToSchema)]
struct Choice<'a> {
    /// Always 0.
    #[schema(maximum = 0)]
    index: u8,
    /// The answer.
    message: Message<'a>,
    /// Why the model stopped.
    finish_reason: FinishReason,
    /// Always null.
    #[schema(schema_with = schema::null)]
    logprobs: Option<()>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Message<'a> {
    /// Always `assistant`.
    #[schema(schema_with = assistant)]
    role: &'static str,
    /// The text of the answer.
    #[schema(value_type = &str)]
    content: Pieces<'a>,
    /// The text of the reasoning, where it was asked for and the model gave any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<&str>, nullable = false)]
    reasoning_content: Option<Pieces<'a>>,
    /// The model's words on why it does not answer, where it refuses; else null.
    #[schema(value_type = Option<&str>, required)]
    refusal: Option<Pieces<'a>>,
}

/// A text in pieces, which are not copied together before they are written.
#[derive(Debug, Default)]
pub struct Pieces<'a>(Vec<&'a str>);

impl<'a> FromIterator<&'a str> for Pieces<'a> {
    fn from_iter<T: IntoIterator<Item = &'a str>>(pieces: T) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl fmt::Display for Pieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl Serialize for Pieces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Pieces<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.is_empty())
    }
}

/// The texts of a whole answer.
#[derive(Debug, Default)]
pub struct Texts<'a> {
    /// The answer.
    pub content: Pieces<'a>,
    /// The reasoning; empty where there is none.
    pub reasoning: Pieces<'a>,
    /// The refusal; empty where the model answers.
    pub refusal: Pieces<'a>,
}

impl<'a> ChatCompletion<'a> {
    /// The whole answer. Empty reasoning is left out, an empty refusal is null.
    #[must_use]
    pub fn new(
        head: &'a CompletionHead,
        texts: Texts<'a>,
        finish_reason: FinishReason,
        usage: Usage,
    ) -> Self {
        Self {
            id: &head.id,
            object: "chat.completion",
            created: head.created,
            model: &head.model,
            choices: [Choice {
                index: 0,
                message: Message {
                    role: "assistant",
                    content: texts.content,
                    reasoning_content: Some(texts.reasoning).filter(|text| !text.is_empty()),
                    refusal: Some(texts.refusal).filter(|text| !text.is_empty()),
                },
                finish_reason,
                logprobs: None,
            }],
            usage,
        }
    }
}

fn assistant() -> Object {
    words(["assistant"])
}

fn chunk_word() -> Object {
    words(["chat.completion.chunk"])
}

fn completion_word() -> Object {
    words(["chat.completion"])
}
