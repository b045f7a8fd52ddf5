//! OpenAI's chat completion formats: the chunk of a stream and the complete answer.
//!
//! The fields follow OpenAI's API reference. `reasoning_content` is the field that DeepSeek introduced and that clients
//! of reasoning models read.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::schema::{self, words};

/// Why the model stopped, in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model had finished its answer.
    Stop,
    /// The token limit was reached.
    Length,
    /// The upstream withheld the rest of the answer.
    ContentFilter,
}

/// Tokens as OpenAI counts them: `completion_tokens` includes reasoning, and `total_tokens` is the sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens of prompt, system prompt and audio.
    pub prompt_tokens: u64,
    /// Tokens of the answer, including the reasoning.
    pub completion_tokens: u64,
    /// Tokens of prompt and completion together.
    pub total_tokens: u64,
    /// Details of the prompt's tokens.
    pub prompt_tokens_details: PromptTokensDetails,
    /// Details of the completion's tokens.
    pub completion_tokens_details: CompletionTokensDetails,
}

/// Details of the prompt's tokens, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromptTokensDetails {
    /// Tokens of the audio.
    pub audio_tokens: u64,
    /// Tokens of the prompt that the upstream had in its cache.
    pub cached_tokens: u64,
}

/// Details of the completion's tokens, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CompletionTokensDetails {
    /// Tokens of the reasoning.
    pub reasoning_tokens: u64,
}

/// The fields that identify an answer. They are the same in each chunk and in the complete answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionHead {
    /// `chatcmpl-...`
    pub id: String,
    /// The time of creation, in Unix seconds.
    pub created: u64,
    /// The model as the client named it.
    pub model: String,
}

/// The parts of a stored answer that are needed for the end of its stream. Its chunks contain the other parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionEnd {
    /// The fields that identify the answer.
    pub head: CompletionHead,
    /// Why the model stopped.
    pub reason: FinishReason,
    /// The tokens that the answer took.
    pub usage: Usage,
}

impl CompletionEnd {
    /// Reads these parts from the JSON of a [`ChatCompletion`].
    ///
    /// # Errors
    /// Returns an error of serde_json for JSON that hearken did not write.
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

/// The text that one chunk adds to the answer.
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
    /// The id of the answer, the same in every chunk and in the complete answer.
    id: &'a str,
    /// Always `chat.completion.chunk`.
    #[schema(schema_with = chunk_word)]
    object: &'static str,
    /// The time of creation, in Unix seconds.
    created: u64,
    /// The model as the client named it.
    model: &'a str,
    /// Always exactly one choice.
    #[schema(value_type = Vec<ChunkChoice<'_>>, min_items = 1, max_items = 1)]
    choices: [ChunkChoice<'a>; 1],
    /// The tokens that the answer took; in the last chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<Usage>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ChunkChoice<'a> {
    /// Always 0.
    #[schema(maximum = 0)]
    index: u8,
    /// The text that the chunk adds; empty in the last chunk.
    delta: Delta<'a>,
    /// Why the model stopped; null except in the last chunk.
    #[schema(required)]
    finish_reason: Option<FinishReason>,
}

impl<'a> Chunk<'a> {
    /// Makes a chunk that adds text.
    #[must_use]
    pub fn delta(head: &'a CompletionHead, delta: Delta<'a>) -> Self {
        Self::new(head, delta, None, None)
    }

    /// Makes the last chunk with a choice. It adds no text, states why the model stopped, and may contain the usage.
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

/// The chunk of a chat that contains only the usage.
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
    /// Makes the chunk that contains this usage.
    #[must_use]
    pub fn new(head: &'a CompletionHead, usage: Usage) -> Self {
        let CompletionHead { id, created, model } = head;
        Self { id, object: "chat.completion.chunk", created: *created, model, choices: [], usage }
    }
}

/// A complete `chat.completion`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatCompletion<'a> {
    /// `chatcmpl-...`
    id: &'a str,
    /// Always `chat.completion`.
    #[schema(schema_with = completion_word)]
    object: &'static str,
    /// The time of creation, in Unix seconds.
    created: u64,
    /// The model as the client named it.
    model: &'a str,
    /// Always exactly one choice.
    #[schema(value_type = Vec<Choice<'_>>, min_items = 1, max_items = 1)]
    choices: [Choice<'a>; 1],
    /// The tokens that the answer took.
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
    content: TextPieces<'a>,
    /// The text of the reasoning, if it was requested and the model returned any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<&str>, nullable = false)]
    reasoning_content: Option<TextPieces<'a>>,
    /// The model's explanation why it does not answer, if it refuses; otherwise null.
    #[schema(value_type = Option<&str>, required)]
    refusal: Option<TextPieces<'a>>,
}

/// A text in pieces. It is written piece by piece, so that the whole text is not copied.
#[derive(Debug, Default)]
pub struct TextPieces<'a>(Vec<&'a str>);

impl<'a> FromIterator<&'a str> for TextPieces<'a> {
    fn from_iter<T: IntoIterator<Item = &'a str>>(pieces: T) -> Self {
        Self(pieces.into_iter().collect())
    }
}

impl fmt::Display for TextPieces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl Serialize for TextPieces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TextPieces<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|piece| piece.is_empty())
    }
}

/// The texts of a complete answer.
#[derive(Debug, Default)]
pub struct Texts<'a> {
    /// The answer.
    pub content: TextPieces<'a>,
    /// The reasoning; empty if there is none.
    pub reasoning: TextPieces<'a>,
    /// The refusal; empty if the model answers.
    pub refusal: TextPieces<'a>,
}

impl<'a> ChatCompletion<'a> {
    /// Makes a complete answer. Empty reasoning is left out, and an empty refusal is null.
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
