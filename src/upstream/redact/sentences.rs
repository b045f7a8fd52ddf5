//! Joins an upstream's words to sentences. Drops sentences that only point to a removed address, and repeated
//! sentences.

/// The text in place of a removed word.
const REMOVED: &str = "[removed]";

/// Words before an address to which a sentence points.
const LEADS: &[&str] = &[
    "at",
    "check",
    "contact",
    "details",
    "docs",
    "documentation",
    "guide",
    "here",
    "information",
    "link",
    "mail",
    "page",
    "read",
    "see",
    "to",
    "via",
    "visit",
    "visiting",
];
/// Words of a sentence that points to another place.
const GUIDES: &[&str] = &[
    "consult",
    "contact",
    "details",
    "docs",
    "documentation",
    "email",
    "find",
    "go",
    "head",
    "information",
    "learn",
    "mail",
    "manage",
    "monitor",
    "read",
    "refer",
    "see",
    "upgrade",
    "visit",
    "visiting",
];
/// Words of a sentence that describes a failure. Such a sentence stays, whatever else it contains.
const FAULTS: &[&str] = &[
    "cannot", "can't", "could", "couldn't", "denied", "failed", "failure", "invalid", "not", "refused",
    "unable",
];
/// Words that begin a clause that points to another place.
const POINTING_VERBS: &[&str] = &["see", "visit", "read", "refer", "learn"];

/// A word of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    /// The word as the upstream sent it.
    pub(super) original: &'a str,
    /// True if the word is not passed on.
    pub(super) is_removed: bool,
}

/// Joins words to a text that is readable without the removed words.
pub(super) fn readable(words: &[Word<'_>]) -> String {
    let mut kept: Vec<String> = Vec::new();
    for sentence in words.split_inclusive(|word| word.ends_a_sentence()) {
        let text = without_pointer(sentence);
        kept.extend(text.filter(|text| !kept.contains(text)));
    }
    kept.join(" ")
}

impl Word<'_> {
    fn ends_a_sentence(&self) -> bool {
        let end = self.original.trim_end_matches(['"', '\'', ')', ']', '`']);
        end.ends_with(['.', '!', '?']) && !matches!(self.original, "e.g." | "i.e.")
    }

    fn bare(&self) -> String {
        super::bare(self.original).to_ascii_lowercase()
    }

    fn is_one_of(&self, words: &[&str]) -> bool {
        !self.is_removed && words.contains(&self.bare().as_str())
    }

    /// Returns the word as it is passed on. The punctuation at its end stays.
    fn text(&self) -> String {
        if !self.is_removed {
            return self.original.to_owned();
        }
        let end = self.original.chars().next_back().filter(|end| ".,;!?".contains(*end));
        REMOVED.chars().chain(end).collect()
    }
}

/// Returns the sentence without a clause like `(see [removed])` or `, see [removed]` at its end. Returns `None` if the
/// whole sentence only points to a removed address.
fn without_pointer(sentence: &[Word<'_>]) -> Option<String> {
    let turn = (1..sentence.len()).find(|&at| {
        let (before, rest) = sentence.split_at(at);
        let begins = before.last().is_some_and(|word| word.original.ends_with([',', ';', ':']))
            || rest.first().is_some_and(|word| word.original.starts_with('('));
        begins
            && rest.first().is_some_and(|word| word.is_one_of(POINTING_VERBS))
            && rest.iter().any(|word| word.is_removed)
    });
    let kept = turn.and_then(|at| sentence.get(..at)).unwrap_or(sentence);
    if only_points(kept) {
        return None;
    }
    let text = kept.iter().map(Word::text).collect::<Vec<_>>().join(" ");
    if turn.is_none() {
        return Some(text);
    }
    let end = if sentence.last().is_some_and(Word::ends_a_sentence) { "." } else { "" };
    Some(format!("{}{end}", text.trim_end_matches([',', ';', ':'])))
}

/// Returns true for a sentence like `For more information, head to [removed]`: without the address it has no use.
fn only_points(sentence: &[Word<'_>]) -> bool {
    let Some(first) = sentence.iter().position(|word| word.is_removed) else { return false };
    let leads = first.checked_sub(1).and_then(|before| sentence.get(before));
    leads.is_some_and(|word| word.is_one_of(LEADS))
        && sentence.iter().any(|word| word.is_one_of(GUIDES))
        && !sentence.iter().any(|word| word.is_one_of(FAULTS))
}

#[cfg(test)]
mod tests {
    use crate::upstream::redact::redact;

    #[test]
    fn sentences_that_only_point_to_an_address_are_dropped() {
        for (original, kept) in [
            (
                "You exceeded your current quota, please check your plan and billing details. For more information on \
                 this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, \
                 head to: https://ai.dev/usage?tab=rate-limit.\nPlease retry in 48.9s.",
                "You exceeded your current quota, please check your plan and billing details. Please retry in 48.9s.",
            ),
            (
                "Incorrect API key provided: sk-proj-1234567890. You can find your API key at \
                 https://platform.openai.com/account/api-keys.",
                "Incorrect API key provided: [removed].",
            ),
            (
                "Please try again in 20s. Visit https://platform.openai.com/account/rate-limits to learn more.",
                "Please try again in 20s.",
            ),
            ("Too long (see https://a.example/limits).", "Too long."),
            (
                "The audio is too long; see https://a.example/limits for what is taken.",
                "The audio is too long.",
            ),
            ("See https://a.example", "no reason given"),
        ] {
            assert_eq!(redact(original, ""), kept, "{original}");
        }
    }

    #[test]
    fn sentences_that_tell_what_failed_stay() {
        for (original, kept) in [
            ("Could not find the file at https://a.example/x.wav.", "Could not find the file at [removed]."),
            ("Failed to connect to worker-3:8000, giving up", "Failed to connect to [removed], giving up"),
            ("The model `x` is gone, learn more here: https://a.example", "The model `x` is gone"),
            ("In project my-project-42, the limit is 3.", "In project [removed], the limit is 3."),
            ("See chapter 3.", "See chapter 3."),
        ] {
            assert_eq!(redact(original, ""), kept, "{original}");
        }
    }

    #[test]
    fn a_repeated_sentence_is_kept_once() {
        assert_eq!(redact("Overloaded. Try later. Overloaded.", ""), "Overloaded. Try later.");
    }
}
