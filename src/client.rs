//! A client of hearken's own HTTP interface: what `hearken submit` and `hearken login` are made of.
//!
//! It knows a server as any stranger does, by its contract, and prints nothing: what a person reads is made in
//! [`cli`](crate::cli).

pub mod address;
pub mod audio;
pub mod following;
mod handshake;
pub mod login;
pub mod patience;
pub mod problem;
pub mod profile;
pub mod replies;
pub mod request;
pub mod server;
pub mod upload;
