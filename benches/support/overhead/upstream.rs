//! An upstream that answers each call on its own schedule: after a delay, and then text by text.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::chunks::{EVENTS_HEAD, gemini, gemini_end};
use super::super::clock::{now, sleep_until};
use super::super::helper::Director;
use super::super::kit::server::{Line, listen};
use super::super::stamp::Stamp;
use super::super::statistics::Durations;

/// The time from the last text to the end of the answer, so that the end of a task does not coincide with a text.
const END_AFTER: Duration = Duration::from_millis(20);

/// The configuration of the upstream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Upstream {
    /// The time from the whole request to the head and the first text.
    pub(crate) answers_after: Duration,
    /// The texts of each answer.
    pub(crate) texts: u64,
    /// The time from one text to the next.
    pub(crate) interval: Duration,
}

impl Upstream {
    /// Sends its address; and when it is told to continue, how late its texts were.
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        let late = Arc::new(Mutex::new(Durations::new()?));
        let theirs = Arc::clone(&late);
        // If a call breaks off, the caller reports it.
        let listener = listen(Ipv4Addr::LOCALHOST, move |mut line| drop(self.serve(&mut line, &theirs)))?;
        director.say(&listener.address)?;
        director.wait()?;
        let late = late.lock().unwrap_or_else(PoisonError::into_inner).spread();
        director.say(&late)
    }

    fn serve(&self, line: &mut Line, late: &Mutex<Durations>) -> Outcome<()> {
        while line.request()?.is_some() {
            let begin = now() + nanoseconds(self.answers_after);
            let mut bytes = EVENTS_HEAD.to_vec();
            for index in 0..self.texts {
                let due = begin + index * nanoseconds(self.interval);
                sleep_until(due);
                let made = now();
                gemini(Stamp { made, index }, &mut bytes);
                line.write(&bytes)?;
                late.lock().unwrap_or_else(PoisonError::into_inner).add(made - due);
                bytes.clear();
            }
            thread::sleep(END_AFTER);
            gemini_end(self.texts, &mut bytes);
            line.write(&bytes)?;
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
