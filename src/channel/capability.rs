//! What a model can take in, as model lists tell it.

/// What a model can take in.
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
    /// Returns the word for it on the wire.
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
