//! Reads the usage of an answer, in every place and under every name that servers use.

use serde_json::Value;

use crate::upstream::lenient::{all_values, count};
use crate::wire::completion::{CompletionTokensDetails, PromptTokensDetails, Usage};

/// The counts so far. A newer event overwrites the counts that it has; a value that is not a count changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    audio: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    audio_seconds: Option<u64>,
}

impl Counts {
    /// Takes the usage of an event, if it has any.
    pub(crate) fn overwrite(&mut self, event: &Value) {
        let Some(usage) = all_values(event, "usage").find(|usage| usage.is_object()) else { return };
        // The names of chat completions, then those of transcriptions.
        let prompt = first_count(usage, &["prompt_tokens", "input_tokens"]);
        let completion = first_count(usage, &["completion_tokens", "output_tokens"]);
        let total = first_count(usage, &["total_tokens"]);
        if prompt.or(completion).or(total).is_some() {
            // The total belongs to the other counts of the same event.
            self.total = total;
        }
        let part = |details: &[&str], field: &str| {
            let details = details.iter().filter_map(|details| usage.get(*details));
            details.filter_map(|details| first_count(details, &[field])).max()
        };
        let of_prompt = ["prompt_tokens_details", "input_token_details", "input_tokens_details"];
        let of_completion = ["completion_tokens_details", "output_token_details", "output_tokens_details"];
        for (newer, older) in [
            (prompt, &mut self.prompt),
            (completion, &mut self.completion),
            (part(&of_prompt, "audio_tokens"), &mut self.audio),
            (part(&of_prompt, "cached_tokens"), &mut self.cached),
            (part(&of_completion, "reasoning_tokens"), &mut self.reasoning),
            (first_count(usage, &["prompt_audio_seconds"]), &mut self.audio_seconds),
        ] {
            *older = newer.or(*older);
        }
    }

    /// Returns the counts in the terms of the contract.
    #[must_use]
    pub(crate) fn in_our_terms(&self) -> Usage {
        let or_none = Option::unwrap_or_default;
        let (mut prompt, mut completion) = (or_none(self.prompt), or_none(self.completion));
        let (mut audio, mut reasoning) = (or_none(self.audio), or_none(self.reasoning));
        // A total that is more than its parts omits a part: Mistral counts audio apart from the prompt, and sends its
        // seconds; Google's compatible endpoint leaves the thoughts out of the completion.
        let missing = or_none(self.total).saturating_sub(prompt.saturating_add(completion));
        if missing > 0 && or_none(self.audio_seconds) > 0 {
            prompt = prompt.saturating_add(missing);
            audio = audio.max(missing);
        } else if missing > 0 {
            completion = completion.saturating_add(missing);
            reasoning = reasoning.max(missing);
        }
        Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_tokens_details: PromptTokensDetails {
                audio_tokens: audio,
                cached_tokens: or_none(self.cached),
            },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: reasoning },
        }
    }
}

/// Returns the first of the fields that holds a count.
fn first_count(object: &Value, fields: &[&str]) -> Option<u64> {
    fields.iter().filter_map(|field| object.get(*field)).find_map(count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the prompt, completion, audio, cached and reasoning tokens.
    fn read(event: &Value) -> [u64; 5] {
        read_all(std::slice::from_ref(event))
    }

    fn read_all(events: &[Value]) -> [u64; 5] {
        let mut counts = Counts::default();
        events.iter().for_each(|event| counts.overwrite(event));
        let usage = counts.in_our_terms();
        assert_eq!(usage.total_tokens, usage.prompt_tokens.saturating_add(usage.completion_tokens));
        let Usage { prompt_tokens, completion_tokens, prompt_tokens_details: prompt, .. } = usage;
        let reasoning = usage.completion_tokens_details.reasoning_tokens;
        [prompt_tokens, completion_tokens, prompt.audio_tokens, prompt.cached_tokens, reasoning]
    }

    #[test]
    fn counts_are_found_where_servers_put_them() {
        let chat = json!({"prompt_tokens": 53, "completion_tokens": 123, "total_tokens": 176,
            "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 37},
            "completion_tokens_details": {"reasoning_tokens": 60}});
        let expected = [53, 123, 37, 3, 60];
        assert_eq!(read(&json!({"choices": [], "usage": chat})), expected);
        assert_eq!(read(&json!({"choices": [{"usage": chat}], "usage": null})), expected);
        assert_eq!(read(&json!({"x_groq": {"id": "r", "usage": chat}})), expected);
        for nothing in [json!({}), json!({"usage": null}), json!({"usage": 7}), json!({"x_groq": {}})] {
            assert_eq!(read(&nothing), [0; 5]);
        }
    }

    #[test]
    fn transcriptions_count_under_other_names() {
        let tokens = json!({"type": "tokens", "input_tokens": 37, "output_tokens": 12, "total_tokens": 49,
            "input_token_details": {"audio_tokens": 37, "text_tokens": 0}});
        assert_eq!(read(&json!({"usage": tokens})), [37, 12, 37, 0, 0]);
        assert_eq!(read(&json!({"usage": {"type": "duration", "seconds": 4}})), [0; 5]);
        let cost = json!({"seconds": 9.2, "input_tokens": 83, "output_tokens": 30, "total_tokens": 113, "cost": 0.1});
        assert_eq!(read(&json!({"usage": cost})), [83, 30, 0, 0, 0]);
    }

    #[test]
    fn tokens_missing_from_the_parts_of_a_total_are_added() {
        let audio = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 409,
            "prompt_audio_seconds": 3});
        assert_eq!(read(&json!({"usage": audio})), [379, 30, 375, 0, 0]);
        let thoughts = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 94});
        assert_eq!(read(&json!({"usage": thoughts})), [4, 90, 0, 0, 60]);
        let less = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 1, "prompt_audio_seconds": 3});
        assert_eq!(read(&json!({"usage": less})), [4, 30, 0, 0, 0]);
    }

    #[test]
    fn values_that_are_not_counts_are_ignored() {
        let odd = json!({"prompt_tokens": {}, "completion_tokens": -3, "total_tokens": null,
            "prompt_tokens_details": null, "completion_tokens_details": []});
        assert_eq!(read(&json!({"usage": odd})), [0; 5]);
        let huge = json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX, "total_tokens": 1e300});
        assert_eq!(read(&json!({"usage": huge})), [0; 5]);
    }

    #[test]
    fn counts_may_be_strings_and_floats() {
        let odd = json!({"prompt_tokens": "7", "completion_tokens": 12.0, "total_tokens": "19",
            "prompt_tokens_details": {"audio_tokens": "3.0", "cached_tokens": -1}});
        assert_eq!(read(&json!({"usage": odd})), [7, 12, 3, 0, 0]);
    }

    #[test]
    fn an_event_without_counts_keeps_the_earlier_counts() {
        let good = json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
            "prompt_tokens_details": {"audio_tokens": 7}}});
        for odd in [
            json!(null),
            json!({}),
            json!("x"),
            json!({"prompt_tokens": null, "completion_tokens": null}),
            json!({"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -1}),
            json!({"total_tokens": 15}),
            json!({"prompt_tokens": 10, "prompt_tokens_details": {"audio_tokens": -1}}),
        ] {
            assert_eq!(read_all(&[good.clone(), json!({"usage": odd})]), [10, 5, 7, 0, 0], "{odd}");
        }
        let lower = json!({"usage": {"prompt_tokens": 4, "completion_tokens": 3}});
        assert_eq!(read_all(&[good.clone(), lower]), [4, 3, 7, 0, 0]);
        let zero = json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}});
        assert_eq!(read_all(&[good, zero]), [0, 0, 7, 0, 0]);
    }
}
