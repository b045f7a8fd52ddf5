//! What the upstream says becomes the answer: numbered chunks while it comes, a ChatCompletion at its end.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::to_raw_value;

use super::chunk_log::ChunkLog;
use super::cold_log::{EndedStream, Kept};
use super::outcome::{Completed, Outcome};
use super::snapshot::State;
use crate::wire::chunk_frames::{ChunkFrames, finish_frame};
use crate::wire::completion::{ChatCompletion, CompletionHead, Delta, FinishReason, Texts, Usage};
use crate::wire::error::{ErrorBody, TaskError};
use crate::wire::event_stream::{FrameKind, encode_frame};

/// Which text a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// The answer.
    Content,
    /// The model's reasoning about it.
    Reasoning,
    /// The model's words on why it does not answer.
    Refusal,
}

impl TextKind {
    /// All kinds of text.
    pub const ALL: [Self; 3] = [Self::Content, Self::Reasoning, Self::Refusal];
}

/// An answer that is coming in.
#[derive(Debug)]
pub struct Answer {
    head: CompletionHead,
    content: String,
    reasoning: String,
    refusal: String,
    /// Makes chunks; `None` for a task without `stream`, of which only the texts are kept.
    frames: Option<ChunkFrames>,
    log: ChunkLog,
}

impl Answer {
    /// An answer of which nothing has come yet.
    #[must_use]
    pub fn new(head: CompletionHead, stream: bool) -> Self {
        let frames = stream.then(|| ChunkFrames::of(&head));
        Self {
            head,
            content: String::new(),
            reasoning: String::new(),
            refusal: String::new(),
            frames,
            log: ChunkLog::default(),
        }
    }

    /// The rest of an answer whose task crashed: its chunks stay readable, its texts are lost.
    #[must_use]
    pub fn wreck(head: CompletionHead, stream: bool, log: ChunkLog) -> Self {
        Self { log, ..Self::new(head, stream) }
    }

    /// The stream of a task of an earlier process that ended, from its journalled chunks and its outcome:
    /// the end is encoded as it was then, so a reader sees the same bytes. `None` where chunks are missing. `kept` is where
    /// the chunks were read from.
    #[must_use]
    pub fn replay(
        chunks: Vec<Bytes>,
        count: usize,
        state: &State,
        kept: Option<Arc<dyn Kept>>,
    ) -> Option<EndedStream> {
        if chunks.len() != count {
            return None;
        }
        let outcome = state.outcome().ok()??;
        // The end has its own head.
        let head = CompletionHead { id: String::new(), created: 0, model: String::new() };
        let mut answer = Self::wreck(head, true, ChunkLog::of(chunks));
        answer.end(&outcome);
        Some(answer.log.cold(kept))
    }

    /// The log of this answer's frames.
    #[must_use]
    pub fn log(&self) -> &ChunkLog {
        &self.log
    }

    /// Takes a piece of text. Readers see it with the next [`publish`](Self::publish).
    pub fn push(&mut self, kind: TextKind, text: &str) {
        match kind {
            TextKind::Content => {
                self.content.push_str(text);
                self.append(Delta::content(text));
            }
            TextKind::Reasoning => {
                self.reasoning.push_str(text);
                self.append(Delta::reasoning(text));
            }
            TextKind::Refusal => {
                self.refusal.push_str(text);
                self.append(Delta::refusal(text));
            }
        }
    }

    /// Frames that were pushed and not yet shown.
    pub fn unpublished(&self) -> impl Iterator<Item = &Bytes> {
        self.log.unpublished()
    }

    /// Has no chunk been shown yet?
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.log.published() == 0
    }

    /// Tells readers that nothing follows in this process.
    pub fn park(&mut self) {
        self.log.park();
    }

    /// Shows readers what was pushed.
    pub fn publish(&mut self) {
        self.log.publish();
    }

    /// Bytes that this answer holds: its texts and its frames.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.content.len() + self.reasoning.len() + self.refusal.len() + self.log.bytes()
    }

    /// Returns the whole answer.
    ///
    /// # Errors
    /// Those of serde_json, which this type does not provoke.
    pub fn complete(&self, reason: FinishReason, usage: Usage) -> serde_json::Result<Completed> {
        let texts = Texts { content: &self.content, reasoning: &self.reasoning, refusal: &self.refusal };
        let json = to_raw_value(&ChatCompletion::new(&self.head, texts, reason, usage))?;
        Ok(Completed { json: json.into(), head: self.head.clone(), reason, usage })
    }

    /// Ends the stream: with the finish chunk and the `done` frame, or with the `error` frame. None of them may be seen
    /// before the outcome is durable, so this comes last. What had come stays readable.
    pub fn end(&mut self, outcome: &Outcome) {
        if self.frames.is_some() {
            match outcome {
                Outcome::Completed(completed) => self.append_finish(completed),
                Outcome::Failed(failure) => {
                    let body = ErrorBody { error: TaskError::from(failure) };
                    let data = serde_json::to_vec(&body).unwrap_or_default();
                    self.log.append(encode_frame(FrameKind::Error, self.log.len(), &data));
                }
            }
        }
        self.log.end();
    }

    fn append_finish(&mut self, Completed { head, reason, usage, .. }: &Completed) {
        // Not of this answer's own head: the end may be that of an actor that crashed, which had another.
        if self.log.is_empty() {
            open(&mut ChunkFrames::of(head), &mut self.log);
        }
        self.log.append(finish_frame(head, self.log.len(), *reason, *usage));
        self.log.append(encode_frame(FrameKind::Done, self.log.len(), b"[DONE]"));
    }

    fn append(&mut self, delta: Delta<'_>) {
        if let Some(frames) = &mut self.frames {
            open(frames, &mut self.log);
            self.log.append(frames.delta(self.log.len(), delta));
        }
    }
}

/// The first chunk carries the role.
fn open(frames: &mut ChunkFrames, log: &mut ChunkLog) {
    if log.is_empty() {
        log.append(frames.delta(0, Delta::ROLE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorCode, Failure};
    use crate::task::chunk_log::LogReader;

    fn answer(stream: bool) -> Answer {
        Answer::new(CompletionHead { id: "chatcmpl-1".into(), created: 7, model: "m".into() }, stream)
    }

    fn end(answer: &mut Answer, reason: FinishReason, usage: Usage) -> Arc<Completed> {
        let completed = Arc::new(answer.complete(reason, usage).unwrap());
        answer.end(&Outcome::Completed(Arc::clone(&completed)));
        completed
    }

    fn text(answer: &Answer) -> String {
        let bytes = answer.log().reader().all();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_completed_answer_reads_as_the_contract_shows_it() {
        let mut answer = answer(true);
        answer.push(TextKind::Reasoning, "hm");
        answer.push(TextKind::Content, "\"é\"\n");
        end(&mut answer, FinishReason::Stop, Usage { total_tokens: 3, ..Usage::default() });
        let head = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"#;
        let usage = r#""usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":3,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}"#;
        assert_eq!(
            text(&answer),
            [
                format!("event: chunk\nid: 0\n{head}\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"finish_reason\":null}}]}}\n\n"),
                format!("event: chunk\nid: 1\n{head}\"delta\":{{\"reasoning_content\":\"hm\"}},\"finish_reason\":null}}]}}\n\n"),
                format!("event: chunk\nid: 2\n{head}\"delta\":{{\"content\":\"\\\"é\\\"\\n\"}},\"finish_reason\":null}}]}}\n\n"),
                format!("event: chunk\nid: 3\n{head}\"delta\":{{}},\"finish_reason\":\"stop\"}}],{usage}\n\n"),
                "event: done\nid: 4\ndata: [DONE]\n\n".to_owned(),
            ]
            .concat()
        );
    }

    #[test]
    fn a_refusal_has_a_field_of_its_own_in_chunks_and_message() {
        let mut answer = answer(true);
        answer.push(TextKind::Refusal, "I will not.");
        answer.publish();
        assert!(text(&answer).contains(r#""delta":{"refusal":"I will not."}"#), "{}", text(&answer));
        let json = answer.complete(FinishReason::Stop, Usage::default()).unwrap().json;
        let message = r#""message":{"role":"assistant","content":"","refusal":"I will not."}"#;
        assert!(json.get().contains(message), "{json}");
    }

    #[test]
    fn a_failed_answer_keeps_what_had_come() {
        let mut answer = answer(true);
        answer.push(TextKind::Content, "half");
        answer.end(&Failure::new(ErrorCode::UpstreamDisconnected, "gone").into());
        let text = text(&answer);
        assert!(text.contains(r#"{"content":"half"}"#), "{text}");
        let end = "event: error\nid: 2\ndata: {\"error\":{\"code\":\"upstream_disconnected\",\"message\":\"gone\",\"type\":\"upstream_error\",\"retryable\":true}}\n\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_replay_has_the_bytes_of_the_stream_that_was() {
        let mut answers = Vec::new();
        for pieces in [&["a", "b"][..], &[]] {
            let mut answer = answer(true);
            for piece in pieces {
                answer.push(TextKind::Content, piece);
            }
            let chunks: Vec<Bytes> = answer.unpublished().cloned().collect();
            answer.publish();
            answers.push((answer, chunks));
        }
        for (mut answer, chunks) in answers {
            let usage = Usage { total_tokens: 3, ..Usage::default() };
            let completion = end(&mut answer, FinishReason::Length, usage).json.clone();
            let state = State::Completed { completion };
            let replay = Answer::replay(chunks.clone(), chunks.len(), &state, None).unwrap();
            let replay = replay.log().clone();
            assert_eq!(LogReader::from(replay.clone()).all(), answer.log().reader().all());
            assert_eq!(replay.len(), answer.log().len());
            assert!(Answer::replay(chunks.clone(), chunks.len() + 1, &state, None).is_none());
        }
    }

    #[test]
    fn without_stream_no_frames_are_kept() {
        let mut answer = answer(false);
        answer.push(TextKind::Content, "text");
        let json = answer.complete(FinishReason::Stop, Usage::default()).unwrap().json;
        assert!(
            json.get().contains(r#""message":{"role":"assistant","content":"text","refusal":null}"#),
            "{json}"
        );
        end(&mut answer, FinishReason::Stop, Usage::default());
        assert_eq!(
            answer.log().reader().mark(),
            crate::task::chunk_log::Mark { ended: true, ..Default::default() }
        );
    }
}
