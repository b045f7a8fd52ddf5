//! A client of hearken's HTTP interface, used by `hearken submit` and `hearken login`.
//!
//! It uses a server only through the documented interface, as third-party clients do. It prints nothing:
//! [`cli`](crate::cli) writes the texts for the user.

mod address;
mod audio;
mod backoff;
mod call_error;
mod handshake;
mod login;
mod profile;
mod replies;
mod request;
mod server;
mod stream_reader;
mod upload;

pub use address::BaseUrl;
pub use audio::{AudioInput, is_local};
pub use backoff::Backoff;
pub use call_error::CallError;
pub use login::Login;
pub use profile::{Profile, ProfileInput};
pub use replies::{Chunk, Completion, Status, Task, TaskError};
pub use request::SubmitOptions;
pub use server::Server;
pub use stream_reader::{StreamEvent, StreamReader};
pub use upload::UploadProgress;
