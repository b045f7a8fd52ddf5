//! The kinds of input that a model takes, as model lists show them.

/// A kind of input that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum Capability {
    Text,
    Vision,
    Video,
    Audio,
    File,
}

impl Capability {
    /// Returns the word for this kind of input in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vision => "vision",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::File => "file",
        }
    }
}
