//! Formats: how the entries of a log become the frames of a stream. Each door that serves streams has its own format.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use serde::Serialize;

use super::entry::{Entry, TextKind};
use crate::wire::completion::{Chunk, CompletionHead, Delta, FinishReason, Usage, UsageChunk};
use crate::wire::error::{ErrorBody, TaskError};
use crate::wire::event_stream::{DATA, FrameKind, RETRY, encode_frame, put_id};

/// A format of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The streams of `/v1/llm/generations`: named events with ids. The last chunk carries the usage.
    Tasks,
    /// The streams of OpenAI's chat completions: bare `data:` lines.
    Chat {
        /// True if the stream reports the usage, in a separate chunk.
        usage: bool,
    },
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Tasks, Self::Chat { usage: false }, Self::Chat { usage: true }];

    /// Returns the format's place in [`Format::ALL`].
    #[must_use]
    pub(super) fn place(self) -> usize {
        match self {
            Self::Tasks => 0,
            Self::Chat { usage: false } => 1,
            Self::Chat { usage: true } => 2,
        }
    }

    /// Returns the name by which the format is recorded.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Chat { usage: false } => "chat",
            Self::Chat { usage: true } => "chat_with_usage",
        }
    }

    /// Returns the format with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns the text that opens the first block of a response.
    #[must_use]
    pub fn retry(self) -> &'static [u8] {
        match self {
            Self::Tasks => RETRY,
            // OpenAI's clients read every field as a part of a chunk.
            Self::Chat { .. } => b"",
        }
    }

    /// Returns the text of a chunk after the fields of its delta.
    fn closing(self) -> &'static [u8] {
        match self {
            Self::Tasks | Self::Chat { usage: false } => b"},\"finish_reason\":null}]}\n\n",
            Self::Chat { usage: true } => b"},\"finish_reason\":null}],\"usage\":null}\n\n",
        }
    }
}

/// An encoder for the entries of one log in one format. The part that all chunks share is built once, because a chunk's
/// text is short in comparison.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    head: Arc<CompletionHead>,
    /// The text of a chunk before the fields of its delta; in [`Format::Tasks`], it follows the id.
    opening: Box<[u8]>,
}

impl Encoder {
    /// Makes an encoder for the answer with this head. An answer without a head has no chunks.
    #[must_use]
    pub fn new(format: Format, head: Option<Arc<CompletionHead>>) -> Self {
        let head = head.unwrap_or_default();
        let mut opening = if format == Format::Tasks { vec![b'\n'] } else { Vec::new() };
        opening.extend_from_slice(DATA);
        opening.extend_from_slice(&json(&Chunk::delta(&head, Delta::default())));
        opening.truncate(opening.len().saturating_sub(br#"},"finish_reason":null}]}"#.len()));
        Self { format, head, opening: opening.into() }
    }

    /// Encodes the entry with this number.
    #[must_use]
    pub fn encode(&self, number: usize, entry: &Entry) -> Bytes {
        match entry {
            Entry::Open(_) => self.open(number),
            Entry::Delta { kind, text } => {
                // The capacity is exact if the text needs no escapes, because frames stay in memory for a long time.
                let mut frame = Vec::with_capacity(self.around_text(number, *kind) + text.len() + 2);
                self.put_before_text(number, *kind, &mut frame);
                // Strings always serialise, and a write to memory never fails.
                let _ = serde_json::to_writer(&mut frame, &**text);
                frame.extend_from_slice(self.format.closing());
                exact(frame)
            }
            Entry::Finish { reason, usage } => self.finish(number, *reason, **usage),
            Entry::Done => self.frame(FrameKind::Done, number, b"[DONE]"),
            Entry::Error(failure) => {
                let error = ErrorBody { error: TaskError::from(&**failure) };
                self.frame(FrameKind::Error, number, &json(&error))
            }
        }
    }

    /// Encodes the first entry, which states the role of the author.
    #[must_use]
    pub fn open(&self, number: usize) -> Bytes {
        let mut frame = Vec::new();
        self.put_before_delta(number, &mut frame);
        frame.extend_from_slice(br#""role":"assistant","content":"""#);
        frame.extend_from_slice(self.format.closing());
        exact(frame)
    }

    /// Returns the length of a text's frame without the text.
    #[must_use]
    pub fn around_text(&self, number: usize, kind: TextKind) -> usize {
        let id = if self.format == Format::Tasks { FrameKind::Chunk.id_length(number) } else { 0 };
        id + self.opening.len() + field(kind).len() + self.format.closing().len()
    }

    /// Appends the part of a text's frame before the text, which is a JSON string.
    pub fn put_before_text(&self, number: usize, kind: TextKind, frame: &mut impl BufMut) {
        self.put_before_delta(number, frame);
        frame.put_slice(field(kind));
    }

    /// Returns the part of a text's frame after the text.
    #[must_use]
    pub fn after_text(&self) -> &'static [u8] {
        self.format.closing()
    }

    fn put_before_delta(&self, number: usize, frame: &mut impl BufMut) {
        if self.format == Format::Tasks {
            put_id(FrameKind::Chunk, number, frame);
        }
        frame.put_slice(&self.opening);
    }

    fn finish(&self, number: usize, reason: FinishReason, usage: Usage) -> Bytes {
        match self.format {
            Format::Tasks => {
                self.frame(FrameKind::Chunk, number, &json(&Chunk::finish(&self.head, reason, Some(usage))))
            }
            Format::Chat { usage: is_told } => {
                let mut data = json(&Chunk::finish(&self.head, reason, None));
                if is_told {
                    data.pop();
                    data.extend_from_slice(b",\"usage\":null}\n\n");
                    data.extend_from_slice(DATA);
                    data.extend_from_slice(&json(&UsageChunk::new(&self.head, usage)));
                }
                self.frame(FrameKind::Chunk, number, &data)
            }
        }
    }

    fn frame(&self, kind: FrameKind, number: usize, data: &[u8]) -> Bytes {
        match self.format {
            Format::Tasks => encode_frame(kind, number, data),
            Format::Chat { .. } => [DATA, data, b"\n\n"].concat().into(),
        }
    }
}

/// Returns the part of a delta before its text.
fn field(kind: TextKind) -> &'static [u8] {
    match kind {
        TextKind::Content => br#""content":"#,
        TextKind::Reasoning => br#""reasoning_content":"#,
        TextKind::Refusal => br#""refusal":"#,
    }
}

/// Encodes a value as JSON. Strings and numbers always serialise, and an empty frame would still be well-formed.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Releases the memory that the frame does not need.
fn exact(frame: Vec<u8>) -> Bytes {
    frame.into_boxed_slice().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{ErrorCode, Failure};

    fn head() -> Arc<CompletionHead> {
        Arc::new(CompletionHead { id: "chatcmpl-1".into(), created: 7, model: "m".into() })
    }

    fn entries() -> Vec<Entry> {
        let delta = |kind, text: &str| Entry::Delta { kind, text: text.into() };
        let usage = Box::new(Usage { total_tokens: 3, ..Usage::default() });
        vec![
            Entry::Open(head()),
            delta(TextKind::Reasoning, "hm"),
            delta(TextKind::Content, "\"é\"\n"),
            Entry::Finish { reason: FinishReason::Stop, usage },
            Entry::Done,
        ]
    }

    fn encoded(format: Format, entries: &[Entry]) -> String {
        let encoder = Encoder::new(format, Some(head()));
        let frames = entries.iter().enumerate().map(|(number, entry)| encoder.encode(number, entry));
        String::from_utf8(frames.collect::<Vec<_>>().concat()).unwrap()
    }

    /// The chunks of [`entries`] up to the finish, and their usage.
    const HEAD: &str =
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":["#;
    const CHUNKS: [&str; 4] = [
        r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#,
        r#"{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}]"#,
        r#"{"index":0,"delta":{"content":"\"é\"\n"},"finish_reason":null}]"#,
        r#"{"index":0,"delta":{},"finish_reason":"stop"}]"#,
    ];
    const USAGE: &str = r#","usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":3,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;

    #[test]
    fn frames_of_tasks_are_named_and_numbered() {
        let mut expected = String::new();
        for (id, chunk) in CHUNKS.iter().enumerate() {
            let usage = if id == 3 { USAGE } else { "}" };
            expected += &format!("event: chunk\nid: {id}\ndata: {HEAD}{chunk}{usage}\n\n");
        }
        expected += "event: done\nid: 4\ndata: [DONE]\n\n";
        assert_eq!(encoded(Format::Tasks, &entries()), expected);
        assert_eq!(Format::Tasks.retry(), b"retry: 2000\n");
    }

    #[test]
    fn frames_of_a_chat_are_bare_and_report_the_usage_on_request() {
        let chunks = |usage: &str| CHUNKS.map(|chunk| format!("data: {HEAD}{chunk}{usage}}}\n\n")).concat();
        let done = "data: [DONE]\n\n";
        assert_eq!(encoded(Format::Chat { usage: false }, &entries()), chunks("") + done);
        let usage = format!("data: {HEAD}]{USAGE}\n\n");
        let expected = chunks(",\"usage\":null") + &usage + done;
        assert_eq!(encoded(Format::Chat { usage: true }, &entries()), expected);
        assert_eq!(Format::Chat { usage: true }.retry(), b"");
    }

    #[test]
    fn a_failure_is_the_last_frame_of_each_format() {
        let entry = Entry::Error(Box::new(Failure::new(ErrorCode::UpstreamDisconnected, "gone")));
        let data = r#"data: {"error":{"code":"upstream_disconnected","message":"gone","type":"upstream_error","retryable":true}}"#;
        let entries = [entry];
        assert_eq!(encoded(Format::Tasks, &entries), format!("event: error\nid: 0\n{data}\n\n"));
        assert_eq!(encoded(Format::Chat { usage: true }, &entries), format!("{data}\n\n"));
    }

    proptest! {
        #[test]
        fn a_frame_holds_its_chunk_as_json(
            (id, model) in any::<(String, String)>(),
            texts in prop::collection::vec((0usize..3, any::<String>()), 1..4),
            number in any::<u32>(),
        ) {
            let head = CompletionHead { id, created: 1_776_874_565, model };
            let encoder = Encoder::new(Format::Tasks, Some(Arc::new(head.clone())));
            for (kind, text) in texts {
                let kind = TextKind::ALL[kind];
                let delta = match kind {
                    TextKind::Content => Delta { content: Some(&text), ..Delta::default() },
                    TextKind::Reasoning => Delta { reasoning_content: Some(&text), ..Delta::default() },
                    TextKind::Refusal => Delta { refusal: Some(&text), ..Delta::default() },
                };
                let expected = encode_frame(FrameKind::Chunk, number as usize, &json(&Chunk::delta(&head, delta)));
                let entry = Entry::Delta { kind, text: text.as_str().into() };
                prop_assert_eq!(encoder.encode(number as usize, &entry), &expected);
                let length = encoder.around_text(number as usize, kind) + json(&text).len();
                prop_assert_eq!(length, expected.len());
            }
        }
    }
}
