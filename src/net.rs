//! Outgoing connections: where they may go, how much they may bring, how a response over them ends; and how bodies
//! leave, here and in answers.
//!
//! Everything that hearken asks of other servers goes through an [`HttpClient`](client::HttpClient) of this folder.

pub mod client;
pub mod honest_stream;
pub mod metered;
pub mod pieces;
pub mod reach;
pub mod response_head;
#[cfg(test)]
mod tests;
pub mod wire;
