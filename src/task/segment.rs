//! Segments: parts of the speech in the audio, with the times that a channel has measured.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A part of the speech in the audio.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(as = TaskSegment)]
pub struct Segment {
    /// The beginning of the segment, in milliseconds.
    #[schema(rename = "start", value_type = f64, minimum = 0)]
    pub start_ms: u64,
    /// The end of the segment, in milliseconds.
    #[schema(rename = "end", value_type = f64, minimum = 0)]
    pub end_ms: u64,
    /// The words of the segment.
    pub text: String,
    /// The speaker's name, if the channel distinguishes speakers.
    #[schema(required = false, nullable = false)]
    pub speaker: Option<String>,
}

impl Segment {
    /// Returns the bytes that the segment takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.speaker.as_ref().map_or(0, String::len)
    }
}

/// Writes the segment as clients read it.
impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let mut segment = serializer.serialize_struct("Segment", 3 + usize::from(self.speaker.is_some()))?;
        segment.serialize_field("start", &seconds(self.start_ms))?;
        segment.serialize_field("end", &seconds(self.end_ms))?;
        segment.serialize_field("text", &self.text)?;
        if let Some(speaker) = &self.speaker {
            segment.serialize_field("speaker", speaker)?;
        }
        segment.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_reads_as_the_contract_shows_it() {
        let segment = |speaker: Option<&str>| {
            let segment = Segment {
                start_ms: 0,
                end_ms: 1_240,
                text: "Hello.".into(),
                speaker: speaker.map(ToOwned::to_owned),
            };
            serde_json::to_string(&segment).unwrap()
        };
        assert_eq!(segment(None), r#"{"start":0.0,"end":1.24,"text":"Hello."}"#);
        assert_eq!(segment(Some("A")), r#"{"start":0.0,"end":1.24,"text":"Hello.","speaker":"A"}"#);
    }
}
