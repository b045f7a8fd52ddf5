//! Outgoing connections: where they may go, how much they may bring, how a response over them ends; and how bodies
//! leave, here and in answers.
//!
//! Everything that hearken asks of other servers goes through an [`HttpClient`] of this folder.

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
