//! A client of hearken's own HTTP interface: what `hearken submit` and `hearken login` are made of.
//!
//! It knows a server as any stranger does, by its contract, and prints nothing: what a person reads is made in
//! [`cli`](crate::cli).

mod address;
mod audio;
mod following;
mod handshake;
mod login;
mod patience;
mod problem;
mod profile;
mod replies;
mod request;
mod server;
mod upload;

pub use address::BaseUrl;
pub use audio::{Audio, is_local};
pub use following::{Following, Heard};
pub use login::Login;
pub use patience::Patience;
pub use problem::Problem;
pub use profile::{Profile, Said};
pub use replies::{Chunk, Completion, Status, Task, TaskError};
pub use request::Question;
pub use server::Server;
pub use upload::Sent;
