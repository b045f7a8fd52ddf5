//! One question over a separate connection, and when its texts arrived.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::super::Outcome;
use super::super::clock::now;
use super::super::kit::client::Connection;
use super::super::kit::frames::{Ends, Frames};
use super::super::proc::{Attention, Stretch};
use super::super::stamp::Stamp;

/// How long the client waits until the connection is established on both ends.
const ACCEPTED: Duration = Duration::from_millis(5);

/// The question, and the server that receives it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) server: SocketAddr,
    pub(crate) request: Vec<u8>,
    /// How the frames of the answer end.
    pub(crate) ends: Ends,
    /// The number of texts that must come.
    pub(crate) texts: u64,
}

/// When the texts of an answer came.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    /// The time from the request's first byte to the first text, ns.
    pub(crate) first: u64,
    /// The times from when each of the other texts was made until it came, ns.
    pub(crate) others: Vec<u64>,
    /// The time account of the asking thread.
    pub(crate) attention: Attention,
}

impl Question {
    /// Sends the question, and reads the answer to its end. Texts that are missing or come again are an error.
    pub(crate) fn ask(&self) -> Outcome<Answered> {
        let mut connection = Connection::open(self.server)?;
        let mut frames = Frames::default();
        let (mut seen, mut came) = (Vec::new(), 0);
        thread::sleep(ACCEPTED);

        let stretch = Stretch::begin()?;
        let sent = now();
        connection.send(&self.request)?;
        while !connection.response().has_ended() {
            // All bytes of one read get the same time.
            let mut read = None;
            connection.receive(|data| {
                let at = *read.get_or_insert_with(now);
                frames.take(data, &self.ends, |frame| {
                    let Some(stamp) = Stamp::find(frame) else { return };
                    came += u64::from(stamp.index == came);
                    seen.push((stamp, at));
                });
            })?;
            connection.response().must_be_ok()?;
        }
        let attention = stretch.end()?;

        if came != self.texts || seen.len() as u64 != self.texts {
            let count = seen.len();
            return Err(format!("of {} texts {came} came in order, {count} in all", self.texts).into());
        }
        let (_, first) = seen.first().ok_or("an answer without a text")?;
        let others = seen.iter().skip(1).map(|(stamp, at)| at.saturating_sub(stamp.made));
        Ok(Answered { first: first - sent, others: others.collect(), attention })
    }
}
