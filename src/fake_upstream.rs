//! A fault upstream: one HTTP/1.1 server that speaks the dialects of real upstreams and has their accidents, as the
//! names of the models tell it to. The tests use it, and whoever wants to see hearken under load or in trouble.
//!
//! | where | what |
//! |---|---|
//! | `script` | what is to happen: the steps behind a model's name |
//! | [`text`] | what an answer says, computable by whoever checks it |
//! | `tokens` | what it is said to cost |
//! | `score` | the acts of an answer, in order: the frames of a dialect and what a script makes of them |
//! | `body` | plays them: pauses, pieces, cuts |
//! | `zipped` | compresses them on the way |
//! | `ledger` | who is faulty, and what is counted |
//! | `course` | the way of a call through all of these |
//! | `gemini`, `chat`, `transcription` | the dialects: what they refuse, and their words |
//! | `server` | routes and signals |
//!
//! It knows nothing of the rest of hearken, and nothing but the command line knows it.

mod body;
mod chat;
mod clock;
mod course;
mod gemini;
mod intake;
mod ledger;
mod openai;
mod score;
mod script;
mod server;
pub mod text;
mod tokens;
mod transcription;
mod zipped;

pub use script::{Script, ScriptError};
pub use server::{Settings, run};
