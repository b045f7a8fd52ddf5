//! What an answer took, wherever and under whichever names a server tells it, in the terms of the contract.

use serde_json::Value;

use crate::upstream::lenient::{self, told};
use crate::wire::completion::{CompletionTokensDetails, PromptTokensDetails, Usage};

/// The usage that an event tells. `null` is none.
#[must_use]
pub fn usage_in(event: &Value) -> Option<Usage> {
    told(event, "usage").find(|usage| usage.is_object()).map(in_our_terms)
}

fn in_our_terms(usage: &Value) -> Usage {
    // The names of chat completions, then those of transcriptions.
    let mut prompt = count(usage, &["prompt_tokens", "input_tokens"]);
    let mut completion = count(usage, &["completion_tokens", "output_tokens"]);
    let total = count(usage, &["total_tokens"]);
    let part = |details: &[&str], field: &str| {
        details.iter().filter_map(|details| usage.get(*details)).map(|details| count(details, &[field])).max()
    };
    let of_prompt = ["prompt_tokens_details", "input_token_details", "input_tokens_details"];
    let of_completion = ["completion_tokens_details", "output_token_details", "output_tokens_details"];
    let mut audio = part(&of_prompt, "audio_tokens").unwrap_or(0);
    let mut reasoning = part(&of_completion, "reasoning_tokens").unwrap_or(0);
    // A total that is more than its parts leaves one of them out: Mistral counts audio beside the prompt, and tells
    // its seconds; Google's compatible endpoint leaves the thoughts out of the completion.
    let missing = total.saturating_sub(prompt.saturating_add(completion));
    if missing > 0 && count(usage, &["prompt_audio_seconds"]) > 0 {
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
            cached_tokens: part(&of_prompt, "cached_tokens").unwrap_or(0),
        },
        completion_tokens_details: CompletionTokensDetails { reasoning_tokens: reasoning },
    }
}

/// Returns the first of the fields that counts something.
fn count(object: &Value, fields: &[&str]) -> u64 {
    fields.iter().filter_map(|field| object.get(*field)).find_map(lenient::count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Prompt, completion, audio, cached, reasoning.
    fn read(event: &Value) -> Option<[u64; 5]> {
        let usage = usage_in(event)?;
        assert_eq!(usage.total_tokens, usage.prompt_tokens.saturating_add(usage.completion_tokens));
        let Usage { prompt_tokens, completion_tokens, prompt_tokens_details: prompt, .. } = usage;
        let reasoning = usage.completion_tokens_details.reasoning_tokens;
        Some([prompt_tokens, completion_tokens, prompt.audio_tokens, prompt.cached_tokens, reasoning])
    }

    #[test]
    fn counts_are_found_where_servers_put_them() {
        let chat = json!({"prompt_tokens": 53, "completion_tokens": 123, "total_tokens": 176,
            "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 37},
            "completion_tokens_details": {"reasoning_tokens": 60}});
        let expected = Some([53, 123, 37, 3, 60]);
        assert_eq!(read(&json!({"choices": [], "usage": chat})), expected);
        assert_eq!(read(&json!({"choices": [{"usage": chat}], "usage": null})), expected);
        assert_eq!(read(&json!({"x_groq": {"id": "r", "usage": chat}})), expected);
        for nothing in [json!({}), json!({"usage": null}), json!({"usage": 7}), json!({"x_groq": {}})] {
            assert_eq!(read(&nothing), None);
        }
    }

    #[test]
    fn transcriptions_count_under_other_names() {
        let tokens = json!({"type": "tokens", "input_tokens": 37, "output_tokens": 12, "total_tokens": 49,
            "input_token_details": {"audio_tokens": 37, "text_tokens": 0}});
        assert_eq!(read(&json!({"usage": tokens})), Some([37, 12, 37, 0, 0]));
        assert_eq!(read(&json!({"usage": {"type": "duration", "seconds": 4}})), Some([0; 5]));
        let cost = json!({"seconds": 9.2, "input_tokens": 83, "output_tokens": 30, "total_tokens": 113, "cost": 0.1});
        assert_eq!(read(&json!({"usage": cost})), Some([83, 30, 0, 0, 0]));
    }

    #[test]
    fn a_total_above_its_parts_is_explained() {
        let audio = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 409,
            "prompt_audio_seconds": 3});
        assert_eq!(read(&json!({"usage": audio})), Some([379, 30, 375, 0, 0]));
        let thoughts = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 94});
        assert_eq!(read(&json!({"usage": thoughts})), Some([4, 90, 0, 0, 60]));
        let less = json!({"prompt_tokens": 4, "completion_tokens": 30, "total_tokens": 1, "prompt_audio_seconds": 3});
        assert_eq!(read(&json!({"usage": less})), Some([4, 30, 0, 0, 0]));
    }

    #[test]
    fn what_is_no_count_is_none() {
        let odd = json!({"prompt_tokens": {}, "completion_tokens": -3, "total_tokens": null,
            "prompt_tokens_details": null, "completion_tokens_details": []});
        assert_eq!(read(&json!({"usage": odd})), Some([0; 5]));
        let huge = json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX, "total_tokens": 1e300});
        assert_eq!(read(&json!({"usage": huge})), Some([0; 5]));
    }

    #[test]
    fn counts_may_be_strings_and_floats() {
        let odd = json!({"prompt_tokens": "7", "completion_tokens": 12.0, "total_tokens": "19",
            "prompt_tokens_details": {"audio_tokens": "3.0", "cached_tokens": -1}});
        assert_eq!(read(&json!({"usage": odd})), Some([7, 12, 3, 0, 0]));
    }
}
