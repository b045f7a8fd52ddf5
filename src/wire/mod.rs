//! The JSON and the event streams that outsiders see: serde types and framing, no behaviour.

pub mod chunk_frames;
pub mod completion;
pub mod error;
pub mod event_stream;
pub mod json_text;
pub mod submit;
pub mod task;
