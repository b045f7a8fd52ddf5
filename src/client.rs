//! A client of hearken's HTTP interface, used by `hearken submit` and `hearken login`.
//!
//! It knows a server only by its contract, as third-party clients do. It prints nothing: [`cli`](crate::cli) writes the
//! texts for the user.

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
