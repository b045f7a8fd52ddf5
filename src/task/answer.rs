//! The answer, made from the upstream's events: numbered entries while it arrives, and a ChatCompletion at its end.

use std::sync::Arc;

use super::chunk_log::ChunkLog;
use super::cold_log::{EndedStream, KeptEntries};
use super::completion::Completion;
use super::entry::{Entry, TextKind};
use super::format::Format;
use super::outcome::{Completed, Outcome};
use super::segment::Segment;
use super::snapshot::State;
use crate::wire::completion::{CompletionHead, FinishReason, TextPieces, Texts, Usage};

/// An answer that is arriving.
#[derive(Debug)]
pub struct Answer {
    head: Arc<CompletionHead>,
    log: ChunkLog,
    segments: Vec<Segment>,
    segment_bytes: usize,
}

impl Answer {
    /// Makes an empty answer. Its log is encoded in this format; without a format, the log cannot be read.
    #[must_use]
    pub fn new(head: CompletionHead, format: Option<Format>) -> Self {
        Self::resumed(head, ChunkLog::new(format))
    }

    /// Continues the answer of an earlier actor. The answer keeps the head with which it began.
    #[must_use]
    pub fn resumed(head: CompletionHead, log: ChunkLog) -> Self {
        let head = log.head().unwrap_or_else(|| Arc::new(head));
        Self { head, log, segments: Vec::new(), segment_bytes: 0 }
    }

    /// Restores the stream of a task that ended in an earlier process, from its journal and its outcome. A reader sees
    /// the same bytes as in that process. Returns `None` if `state` has no outcome.
    #[must_use]
    pub fn replay(kept: KeptEntries, state: &State) -> Option<EndedStream> {
        let outcome = state.outcome().ok()??;
        let tail = end_of(&outcome, kept.entries() > 0);
        Some(EndedStream::new(kept, tail, None))
    }

    /// Returns the log of this answer.
    #[must_use]
    pub fn log(&self) -> &ChunkLog {
        &self.log
    }

    /// Adds a piece of text. Readers see it after the next [`publish`](Self::publish).
    pub fn push(&mut self, kind: TextKind, text: String) {
        if self.log.head().is_none() {
            self.log.append(Entry::Open(Arc::clone(&self.head)));
        }
        self.log.append(Entry::Delta { kind, text: text.into() });
    }

    /// Adds a segment, which is kept with the answer.
    pub fn push_segment(&mut self, segment: Segment) {
        self.segment_bytes += segment.bytes();
        self.segments.push(segment);
    }

    /// Returns the entries that were pushed and not yet published.
    pub fn unpublished(&self) -> impl Iterator<Item = &Entry> {
        self.log.unpublished()
    }

    /// Returns true if no chunk has been published yet.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.log.published() == 0
    }

    /// Notifies readers that nothing follows in this process.
    pub fn park(&mut self) {
        self.log.park();
    }

    /// Shows readers the first `entries` entries.
    pub fn publish(&mut self, entries: usize) {
        self.log.publish(entries);
    }

    /// Drops the segments of a call that failed before any text came. The next call brings its own segments.
    pub fn drop_segments(&mut self) {
        self.segments.clear();
        self.segment_bytes = 0;
    }

    /// Returns the bytes that this answer holds in memory: its entries, its segments, and its frames in the format of its
    /// log.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.log.held_bytes() + self.segment_bytes
    }

    /// Returns the complete answer.
    #[must_use]
    pub fn complete(&self, reason: FinishReason, usage: Usage) -> Completed {
        let pieces = |wanted: TextKind| -> TextPieces<'_> {
            let texts = self.log.entries().filter_map(Entry::text);
            texts.filter(|(kind, _)| *kind == wanted).map(|(_, text)| text).collect()
        };
        let texts = Texts {
            content: pieces(TextKind::Content),
            reasoning: pieces(TextKind::Reasoning),
            refusal: pieces(TextKind::Refusal),
        };
        let completion = Completion::new(&self.head, texts, reason, usage, &self.segments);
        Completed { completion, head: CompletionHead::clone(&self.head), reason, usage }
    }

    /// Ends the stream with the finish chunk and the `done` frame, or with the `error` frame. Readers must not see
    /// these before the outcome is durable, so this call comes last. The text that has arrived stays readable.
    pub fn end(&mut self, outcome: &Outcome) {
        let entries = end_of(outcome, self.log.head().is_some());
        entries.into_iter().for_each(|entry| self.log.append(entry));
        self.log.end();
    }
}

/// Returns the entries with which a log ends, including the first entry if the log has not begun.
fn end_of(outcome: &Outcome, has_begun: bool) -> Vec<Entry> {
    match outcome {
        Outcome::Completed(completed) => {
            let Completed { head, reason, usage, .. } = &**completed;
            // The head comes from the outcome and not from this answer: the outcome may be that of a crashed actor,
            // which had another head.
            let open = (!has_begun).then(|| Entry::Open(Arc::new(head.clone())));
            let finish = Entry::Finish { reason: *reason, usage: Box::new(*usage) };
            open.into_iter().chain([finish, Entry::Done]).collect()
        }
        Outcome::Failed(failure) => vec![Entry::Error(Box::new(failure.clone()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorCode, Failure};
    use crate::task::chunk_log::{LogReader, Mark};

    fn answer() -> Answer {
        Answer::new(head(), Some(Format::Tasks))
    }

    fn head() -> CompletionHead {
        CompletionHead { id: "chatcmpl-1".into(), created: 7, model: "m".into() }
    }

    fn end(answer: &mut Answer, reason: FinishReason, usage: Usage) -> Arc<Completed> {
        let completed = Arc::new(answer.complete(reason, usage));
        answer.end(&Outcome::Completed(Arc::clone(&completed)));
        completed
    }

    fn text(answer: &Answer) -> String {
        let bytes = answer.log().frames().all();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_completed_answer_reads_as_the_contract_shows_it() {
        let mut answer = answer();
        answer.push(TextKind::Reasoning, "hm".into());
        answer.push(TextKind::Content, "\"é\"\n".into());
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
    fn a_refusal_has_its_own_field_in_chunks_and_message() {
        let mut answer = answer();
        answer.push(TextKind::Refusal, "I will ".into());
        answer.push(TextKind::Refusal, "not.".into());
        answer.publish(answer.log().len());
        assert!(text(&answer).contains(r#""delta":{"refusal":"not."}"#), "{}", text(&answer));
        let completion = answer.complete(FinishReason::Stop, Usage::default()).completion;
        let json = completion.chat();
        let message = r#""message":{"role":"assistant","content":"","refusal":"I will not."}"#;
        assert!(json.get().contains(message), "{json}");
    }

    #[test]
    fn a_failed_answer_keeps_the_text_that_had_arrived() {
        let mut answer = answer();
        answer.push(TextKind::Content, "half".into());
        answer.end(&Failure::new(ErrorCode::UpstreamDisconnected, "gone").into());
        let text = text(&answer);
        assert!(text.contains(r#"{"content":"half"}"#), "{text}");
        let end = "event: error\nid: 2\ndata: {\"error\":{\"code\":\"upstream_disconnected\",\"message\":\"gone\",\"type\":\"upstream_error\",\"retryable\":true}}\n\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_replay_has_the_same_bytes_as_the_original_stream() {
        for pieces in [&["a", "b"][..], &[]] {
            for fails in [false, true] {
                let mut answer = answer();
                pieces.iter().for_each(|piece| answer.push(TextKind::Content, (*piece).into()));
                let kept = KeptEntries::in_memory(answer.unpublished());
                let usage = Usage { total_tokens: 3, ..Usage::default() };
                let failure = Failure::new(ErrorCode::UpstreamDisconnected, "gone");
                let state = if fails {
                    answer.end(&failure.clone().into());
                    State::Failed { failure, progress: 7 }
                } else {
                    State::Completed(end(&mut answer, FinishReason::Length, usage).completion.clone())
                };
                let stream = Answer::replay(kept, &state).unwrap();
                let replay = stream.log();
                assert_eq!(replay.len(), answer.log().len());
                for format in Format::ALL {
                    let (then, now) = (answer.log().reader(), LogReader::from(replay.clone()));
                    assert_eq!(now.in_format(format).all(), then.in_format(format).all());
                }
            }
        }
    }

    #[test]
    fn a_resumed_answer_keeps_the_head_with_which_it_began() {
        let mut crashed = answer();
        crashed.push(TextKind::Content, "a".into());
        let other = CompletionHead { id: "chatcmpl-2".into(), ..head() };
        let mut resumed = Answer::resumed(other.clone(), ChunkLog::take_over(crashed.log().handle()));
        let completed = end(&mut resumed, FinishReason::Stop, Usage::default());
        assert!(!text(&resumed).contains("chatcmpl-2"), "{}", text(&resumed));
        let json = completed.completion.chat().get();
        assert!(json.contains(r#""id":"chatcmpl-1""#) && json.contains(r#""content":"a""#), "{json}");
        // An answer without any text takes the head from the stored outcome.
        let mut resumed = Answer::new(other, Some(Format::Tasks));
        resumed.end(&Outcome::Completed(completed));
        assert!(!text(&resumed).contains("chatcmpl-2"), "{}", text(&resumed));
    }

    #[test]
    fn the_memory_of_an_answer_includes_the_overhead_of_each_entry() {
        let mut answer = Answer::new(head(), None);
        for _ in 0..1000 {
            answer.push(TextKind::Content, "a".to_owned());
        }
        let slots = 1000 * size_of::<Entry>();
        assert!(answer.held_bytes() > slots, "{} bytes", answer.held_bytes());
    }

    #[test]
    fn dropped_segments_of_a_failed_call_take_no_memory() {
        let mut answer = Answer::new(head(), None);
        let segment = Segment { start_ms: 0, end_ms: 10, text: "a".into(), speaker: None };
        answer.push_segment(segment);
        answer.drop_segments();
        assert_eq!(answer.held_bytes(), 0);
        assert!(answer.complete(FinishReason::Stop, Usage::default()).completion.segments().is_none());
    }

    #[test]
    fn an_answer_without_a_stream_shows_only_its_end() {
        let mut answer = Answer::new(head(), None);
        answer.push(TextKind::Content, "text".into());
        answer.publish(answer.log().len());
        let completion = answer.complete(FinishReason::Stop, Usage::default()).completion;
        let json = completion.chat();
        let message = r#""message":{"role":"assistant","content":"text","refusal":null}"#;
        assert!(json.get().contains(message), "{json}");
        assert_eq!(answer.log().frame_bytes(), 0);
        end(&mut answer, FinishReason::Stop, Usage::default());
        assert_eq!(answer.log().frames().mark(), Mark { ended: true, ..Mark::default() });
    }
}
