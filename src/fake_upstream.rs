//! The fake upstream: an HTTP/1.1 server that speaks the dialects of real upstreams. The name of the model sets its
//! answers and faults. Tests use it. Operators can use it to try hearken under load or with failing upstreams.
//!
//! | module | content |
//! |---|---|
//! | `script` | the script: the steps behind a model's name |
//! | [`text`] | the texts of an answer, which a test can compute |
//! | `tokens` | the usage of an answer |
//! | `acts` | the steps of sending an answer, in order: a dialect's frames, changed by a script |
//! | `body` | the response body that carries out the steps: pauses, pieces, cuts |
//! | `zipped` | a body that is compressed on the way |
//! | `ledger` | decides which calls are faulty, and counts |
//! | `call_flow` | the way of a call through all of these |
//! | `gemini`, `chat`, `transcription` | the dialects: their checks, errors and frames |
//! | `server` | routes and signals |
//!
//! It uses nothing of the rest of hearken, and only the command line uses it.

mod acts;
mod body;
mod call_flow;
mod chat;
mod clock;
mod gemini;
mod intake;
mod ledger;
mod openai;
mod script;
mod server;
pub mod text;
mod tokens;
mod transcription;
mod zipped;

pub use script::{Script, ScriptError};
pub use server::{Settings, run};
