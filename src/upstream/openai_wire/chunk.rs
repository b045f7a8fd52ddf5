//! Reads a chunk of a chat completion, or a whole completion.

use serde_json::Value;

use crate::task::TextKind;
use crate::upstream::lenient::{FieldText, Reason, first_of, reason, text, words};
use crate::upstream::{Fault, UpstreamError};
use crate::wire::completion::FinishReason;

/// The content of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    /// The texts in order, none of them empty. Consecutive texts are of different kinds.
    pub texts: Vec<(TextKind, String)>,
    /// The finish reason, in the server's word.
    pub finish: Option<&'a str>,
    /// True if there is a finish reason that is not a text.
    pub is_odd_finish: bool,
    /// True if there is a choice.
    pub is_choice: bool,
    /// True if the choice is a piece of an answer and not the whole answer.
    pub is_delta: bool,
    /// True if there is content in an unknown form.
    pub is_unreadable: bool,
    /// The transcript of the speech of a model that answers in audio.
    pub transcript: Option<&'a str>,
    /// True if the model calls a tool or a function.
    pub is_call: bool,
}

/// Reads an event.
#[must_use]
pub(crate) fn read(event: &Value) -> Chunk<'_> {
    let mut chunk = Chunk::default();
    // The first chunk (Azure) or the last one (OpenAI) may have no choice.
    let Some(choice) = first_of(event, "choices") else { return chunk };
    chunk.is_choice = true;
    match reason(choice, "finish_reason") {
        Some(Reason::Word(word)) => chunk.finish = Some(word),
        Some(Reason::Odd) => chunk.is_odd_finish = true,
        None => {}
    }
    let said = |field: &str| choice.get(field).filter(|value| !value.is_null());
    chunk.is_delta = said("delta").is_some();
    // Perplexity repeats the whole message beside each delta. `text` is the field of completions, from before chats.
    let message = said("delta").or_else(|| said("message"));
    if let Some(message) = message.filter(|message| message.is_object()) {
        chunk.add_reasoning(message);
        chunk.add_content(message.get("content").unwrap_or_default());
        let refusal = message.get("refusal").filter(|refusal| !refusal.is_number() && !refusal.is_boolean());
        chunk.add_words(TextKind::Refusal, refusal.unwrap_or_default());
        chunk.transcript = message.get("audio").and_then(|audio| text(audio, "transcript"));
        let calls = message.get("tool_calls").and_then(Value::as_array);
        chunk.is_call = calls.is_some_and(|calls| !calls.is_empty())
            || message.get("function_call").is_some_and(Value::is_object);
    } else if let Some(content) = message.or_else(|| said("text")) {
        chunk.add_content(content);
    }
    chunk
}

impl Chunk<'_> {
    fn add(&mut self, kind: TextKind, text: &str) {
        if text.is_empty() {
            return;
        }
        match self.texts.last_mut() {
            Some((last, so_far)) if *last == kind => so_far.push_str(text),
            _ => self.texts.push((kind, text.to_owned())),
        }
    }

    /// Adds the reasoning, in the fields of DeepSeek and its followers, vLLM and Groq, or OpenRouter. A server that
    /// sends two of these fields repeats the same text.
    fn add_reasoning(&mut self, message: &Value) {
        let named = text(message, "reasoning_content").or_else(|| text(message, "reasoning"));
        if let Some(reasoning) = named {
            return self.add(TextKind::Reasoning, reasoning);
        }
        for detail in message.get("reasoning_details").and_then(Value::as_array).into_iter().flatten() {
            let words = text(detail, "text").or_else(|| text(detail, "summary"));
            self.add(TextKind::Reasoning, words.unwrap_or_default());
        }
    }

    fn add_words(&mut self, kind: TextKind, value: &Value) {
        match words(value) {
            FieldText::Text(text) => self.add(kind, &text),
            FieldText::Unreadable => self.is_unreadable = true,
        }
    }

    /// Adds a text, a part, or a list of parts (Mistral's thinking parts hold another list).
    fn add_content(&mut self, content: &Value) {
        // Some servers write `false` for nothing. If there is no other text, it may have been the answer.
        self.is_unreadable |= *content == Value::Bool(false);
        self.add_part(TextKind::Content, content);
    }

    fn add_part(&mut self, kind: TextKind, part: &Value) {
        match part {
            Value::Array(parts) => parts.iter().for_each(|part| self.add_part(kind, part)),
            Value::Object(fields) => {
                let named = |field: &str| fields.get(field).filter(|value| !value.is_null());
                if let Some(thinking) = named("thinking") {
                    return self.add_part(TextKind::Reasoning, thinking);
                }
                if let Some(refusal) = named("refusal") {
                    return self.add_words(TextKind::Refusal, refusal);
                }
                let kind = match text(part, "type") {
                    Some(named) if named.starts_with("reasoning") => TextKind::Reasoning,
                    Some("refusal") => TextKind::Refusal,
                    _ => kind,
                };
                match named("text").or_else(|| named("transcript")) {
                    Some(inner) => self.add_words(kind, inner),
                    None => self.add_words(kind, part),
                }
            }
            part => self.add_words(kind, part),
        }
    }
}

/// Returns true if a finish reason means that the model called a tool.
#[must_use]
pub(crate) fn is_call(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "tool_calls" | "tool_call" | "tool_use" | "function_call")
}

/// Returns what a server's finish reason means. The list is open: an unknown word is an ordinary end.
///
/// # Errors
/// If the word reports a failure.
pub(crate) fn finish_reason(word: &str) -> Result<FinishReason, UpstreamError> {
    match word.to_ascii_lowercase().as_str() {
        "length"
        | "max_tokens"
        | "max_length"
        | "max_output_tokens"
        | "model_length"
        | "model_context_window_exceeded" => Ok(FinishReason::Length),
        "content_filter" | "content_filtered" | "safety" | "sensitive" | "recitation"
        | "prohibited_content" | "blocklist" => Ok(FinishReason::ContentFilter),
        // The words of OpenRouter, SGLang, DeepSeek and Z.ai.
        "error" | "abort" | "insufficient_system_resource" | "network_error" => Err(UpstreamError::Refused {
            fault: Fault::Upstream,
            status: None,
            message: format!("it stopped with the finish reason {}", word.to_ascii_lowercase()),
            retry_after: None,
        }),
        _ => Ok(FinishReason::Stop),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the texts, with reasoning in brackets, and the finish.
    fn of_choice(choice: &Value) -> (String, Option<String>) {
        let event = json!({"choices": [choice]});
        let chunk = read(&event);
        let mut texts = String::new();
        for (kind, text) in chunk.texts {
            texts += &match kind {
                TextKind::Content => text,
                TextKind::Reasoning => format!("({text})"),
                TextKind::Refusal => format!("<{text}>"),
            };
        }
        (texts, chunk.finish.map(str::to_owned))
    }

    fn of_delta(delta: &Value) -> String {
        of_choice(&json!({"index": 0, "delta": delta, "finish_reason": null})).0
    }

    #[test]
    fn a_chunk_without_a_choice_adds_nothing() {
        for event in [
            json!({}),
            json!({"choices": null}),
            json!({"choices": []}),
            json!({"choices": [], "prompt_filter_results": []}),
            json!({"choices": [null, 7, "x", [{}]]}),
            json!({"choices": {"delta": {"content": "x"}}}),
        ] {
            assert_eq!(read(&event), Chunk::default(), "{event}");
        }
    }

    #[test]
    fn values_of_the_wrong_type_beside_the_text_are_ignored() {
        for odd in [json!(null), json!(1), json!(true), json!("x"), json!([1]), json!({"a": 1})] {
            let delta = json!({"role": odd, "content": "a", "tool_calls": odd, "audio": odd, "reasoning_details": odd});
            let choice =
                json!({"delta": delta, "logprobs": odd, "native_finish_reason": odd, "message": odd});
            let (texts, finish) = of_choice(&choice);
            assert_eq!((texts.as_str(), finish), ("a", None), "{odd}");
        }
        for (odd, expected) in [(json!(1), true), (json!(true), true), (json!(0), false), (json!({}), true)] {
            let event = json!({"choices": [{"finish_reason": odd}]});
            assert_eq!((read(&event).finish, read(&event).is_odd_finish), (None, expected), "{odd}");
        }
        for odd in [json!(["length"]), json!({"type": "length"})] {
            assert_eq!(read(&json!({"choices": [{"finish_reason": odd}]})).finish, Some("length"), "{odd}");
        }
    }

    #[test]
    fn a_text_of_another_json_type_is_shown_if_its_meaning_is_clear() {
        let text = json!({"type": "text", "text": "ok"});
        for (odd, expected) in [
            (json!(42), "42"),
            (json!(true), "true"),
            (json!(false), ""),
            (text.clone(), "ok"),
            (json!([text, {"type": "text", "text": 7}, 5]), "ok75"),
            (json!({"value": "ok"}), "ok"),
        ] {
            assert_eq!(of_delta(&json!({"content": odd})), expected, "{odd}");
            assert_eq!(of_choice(&json!({"text": odd})).0, expected, "{odd}");
            if !odd.is_object() {
                assert_eq!(of_choice(&json!({"delta": odd})).0, expected, "{odd}");
            }
        }
        for unclear in
            [json!(false), json!({"type": "image_url"}), json!([{"type": "text", "text": {"x": 1}}])]
        {
            let event = json!({"choices": [{"delta": {"content": unclear}}]});
            assert!(read(&event).is_unreadable, "{unclear}");
        }
        assert!(!read(&json!({"choices": [{"delta": {"content": {}}}]})).is_unreadable);
    }

    #[test]
    fn a_refusal_is_read_in_every_form() {
        for refusal in [
            json!({"content": [{"type": "refusal", "refusal": "I cannot"}]}),
            json!({"content": {"type": "refusal", "refusal": "I cannot"}}),
            json!({"content": [{"type": "refusal", "text": "I cannot"}]}),
            json!({"refusal": {"text": "I cannot"}}),
            json!({"refusal": ["I ", {"type": "text", "text": "cannot"}]}),
        ] {
            assert_eq!(of_delta(&refusal), "<I cannot>", "{refusal}");
        }
    }

    #[test]
    fn the_text_is_in_the_delta_or_in_the_message() {
        assert_eq!(of_delta(&json!({"role": "assistant"})), "");
        assert_eq!(of_delta(&json!({"content": null, "refusal": ""})), "");
        assert_eq!(of_delta(&json!({"content": "a"})), "a");
        assert_eq!(of_delta(&json!({"content": null, "refusal": "I will not."})), "<I will not.>");
        let whole = json!({"content": "the whole"});
        assert_eq!(of_choice(&json!({"delta": {"content": "le"}, "message": whole})), ("le".into(), None));
        assert_eq!(of_choice(&json!({"delta": {}, "message": whole})), (String::new(), None));
        let (text, finish) = of_choice(&json!({"delta": null, "message": whole, "finish_reason": "stop"}));
        assert_eq!((text.as_str(), finish.as_deref()), ("the whole", Some("stop")));
        assert_eq!(of_choice(&json!({"delta": {"content": "x"}, "finish_reason": ""})), ("x".into(), None));
    }

    #[test]
    fn content_may_be_a_list_with_thinking_in_it() {
        let thinking = |text: &str| json!({"type": "thinking", "thinking": [{"type": "text", "text": text}], "closed": true});
        assert_eq!(of_delta(&json!({"content": [thinking("h"), thinking("m")]})), "(hm)");
        assert_eq!(
            of_delta(
                &json!({"content": [thinking("hm"), {"type": "text", "text": "1"}, "2", {"type": "audio"}]})
            ),
            "(hm)12"
        );
        assert_eq!(of_delta(&json!({"content": [{"type": "thinking", "thinking": "plain"}]})), "(plain)");
        assert_eq!(of_delta(&json!({"content": {"type": "text", "text": "an object"}})), "an object");
        let output = json!([{"type": "output_text", "text": "a", "annotations": []},
            {"type": "refusal", "refusal": "no"}, {"type": "reasoning_text", "text": "hm", "thinking": null},
            {"type": "output_audio", "transcript": "spoken"}, 7]);
        assert_eq!(of_delta(&json!({"content": output})), "a<no>(hm)spoken7");
    }

    #[test]
    fn reasoning_has_three_names_and_is_sent_once() {
        assert_eq!(of_delta(&json!({"reasoning_content": "r", "content": "c"})), "(r)c");
        assert_eq!(of_delta(&json!({"reasoning": "r", "channel": "analysis"})), "(r)");
        assert_eq!(of_delta(&json!({"reasoning_content": "", "reasoning": "r"})), "(r)");
        let details = json!([{"type": "reasoning.text", "text": "r"}, {"type": "reasoning.summary", "summary": "s"},
            {"type": "reasoning.encrypted", "data": "x"}]);
        assert_eq!(of_delta(&json!({"content": "", "reasoning": "r", "reasoning_details": details})), "(r)");
        assert_eq!(of_delta(&json!({"reasoning": null, "reasoning_details": details})), "(rs)");
    }

    #[test]
    fn finish_reasons_are_translated_and_failures_are_errors() {
        for word in ["length", "max_tokens", "model_length", "MAX_TOKENS"] {
            assert_eq!(finish_reason(word), Ok(FinishReason::Length), "{word}");
        }
        for word in ["content_filter", "SAFETY", "sensitive"] {
            assert_eq!(finish_reason(word), Ok(FinishReason::ContentFilter), "{word}");
        }
        for word in ["stop", "eos", "end_turn", "tool_calls", "something_new"] {
            assert_eq!(finish_reason(word), Ok(FinishReason::Stop), "{word}");
        }
        for word in ["error", "abort", "insufficient_system_resource"] {
            assert!(finish_reason(word).is_err(), "{word}");
        }
    }
}
