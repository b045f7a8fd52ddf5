//! Model names and globs, as channels and keys list them.

use wildmatch::WildMatch;

/// A model's name, or a glob with `*` for any characters and `?` for one.
#[derive(Debug, Clone)]
pub struct ModelPattern {
    text: String,
    glob: WildMatch,
}

impl ModelPattern {
    /// Reads a name or a glob. Every text is valid.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), glob: WildMatch::new(text) }
    }

    /// Returns true if the pattern is this name or matches it. Case matters.
    #[must_use]
    pub fn matches(&self, model: &str) -> bool {
        self.glob.matches(model)
    }

    /// Returns the name, if the pattern has no wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.text.contains(['*', '?'])).then_some(&self.text)
    }
}
