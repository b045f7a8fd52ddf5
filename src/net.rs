//! Outgoing connections: which hosts they may reach, how many bytes they may receive, and how a response over them
//! ends. Also the bodies in pieces that requests and answers have.
//!
//! Every request that hearken sends to another server goes through an [`HttpClient`] of this room.

mod client;
mod honest_stream;
mod metered;
mod pieces;
mod reach;
mod response_head;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{HTTP_1_1, HttpClient, is_timeout};
pub use metered::Flood;
pub use pieces::{PIECE, Pieces};
pub use reach::{Forbidden, Reach, Resolve, System};
pub use response_head::{BadHead, Surplus};
