//! The JSON, the event streams and the trace headers that clients and upstreams see: types and framing, no behaviour.

pub mod completion;
pub mod error;
pub mod event_stream;
pub mod json_text;
pub mod path;
pub mod schema;
pub mod submit;
pub mod task;
pub mod trace_context;
