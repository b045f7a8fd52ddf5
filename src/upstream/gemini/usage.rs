//! The usage of an answer, as Gemini counts it.

use serde_json::Value;

use crate::upstream::lenient::{count, text};
use crate::wire::completion::{CompletionTokensDetails, PromptTokensDetails, Usage};

/// A snapshot of the counts. Each newer field overwrites the older one: the counts are not sums and may go down.
#[derive(Debug, Default)]
pub(super) struct Counts {
    prompt: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
    tool_use: Option<u64>,
    cached: Option<u64>,
    audio: Option<u64>,
}

impl Counts {
    /// Takes the counts of a newer snapshot. Counts that it does not have stay.
    pub(super) fn overwrite(&mut self, newer: &Value) {
        for (field, older) in [
            ("promptTokenCount", &mut self.prompt),
            ("candidatesTokenCount", &mut self.candidates),
            ("thoughtsTokenCount", &mut self.thoughts),
            ("toolUsePromptTokenCount", &mut self.tool_use),
            ("cachedContentTokenCount", &mut self.cached),
        ] {
            *older = newer.get(field).and_then(count).or(*older);
        }
        if let Some(details) = newer.get("promptTokensDetails").and_then(Value::as_array) {
            let of_audio = details.iter().filter(|detail| text(detail, "modality") == Some("AUDIO"));
            let counts = of_audio.filter_map(|detail| count(detail.get("tokenCount")?));
            self.audio = Some(counts.fold(0, u64::saturating_add));
        }
    }

    /// Returns the usage in OpenAI's terms. Gemini's candidate tokens exclude thoughts, OpenAI's completion tokens
    /// include them.
    pub(super) fn in_openai_terms(&self) -> Usage {
        let sum = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).saturating_add(b.unwrap_or(0));
        let prompt_tokens = sum(self.prompt, self.tool_use);
        let completion_tokens = sum(self.candidates, self.thoughts);
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: PromptTokensDetails {
                audio_tokens: self.audio.unwrap_or(0),
                cached_tokens: self.cached.unwrap_or(0),
            },
            completion_tokens_details: CompletionTokensDetails {
                reasoning_tokens: self.thoughts.unwrap_or(0),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_of_unexpected_types_are_read_or_ignored() {
        let mut counts = Counts::default();
        counts.overwrite(
            &json!({"promptTokenCount": "11", "candidatesTokenCount": 5.0, "thoughtsTokenCount": 3,
            "cachedContentTokenCount": -1, "promptTokensDetails": [7, {"modality": 2, "tokenCount": 9},
                {"modality": "AUDIO", "tokenCount": "7"}, {"modality": "AUDIO"}]}),
        );
        for odd in
            [json!(null), json!("x"), json!(7), json!({"promptTokenCount": null, "thoughtsTokenCount": {}})]
        {
            counts.overwrite(&odd);
        }
        let usage = counts.in_openai_terms();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (11, 8, 19));
        assert_eq!(usage.prompt_tokens_details, PromptTokensDetails { audio_tokens: 7, cached_tokens: 0 });
    }
}
