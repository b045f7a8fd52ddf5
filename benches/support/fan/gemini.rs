//! hearken's upstream: speaks Gemini's dialect, holds every call until all calls have arrived and the director orders
//! it to begin, then publishes on schedule.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::event::PollFlags;
use serde::{Deserialize, Serialize};

use super::super::Outcome;
use super::super::chunks::{EVENTS_HEAD, gemini, gemini_end};
use super::super::helper::Director;
use super::super::kit::server::Line;
use super::publishing::{wait_for, write_all};
use super::schedule::Schedule;
use super::workload::Workload;

/// The time from the last stamped event to the end of the answers: the cost of an event must not include the cost of a
/// task's end.
const END_AFTER: Duration = Duration::from_millis(500);

/// The configuration of the upstream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) workload: Workload,
}

impl Upstream {
    /// Sends its address, then that all calls have arrived. Begins on the director's order; when all is published,
    /// sends how that went.
    pub(crate) fn play(self, director: &Director) -> Outcome<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        director.say(&listener.local_addr()?)?;
        let calls = (0..self.workload.tasks).map(|_| call(&listener)).collect::<Outcome<Vec<_>>>()?;
        director.say(&())?;
        director.wait()?;

        let mut schedule = Schedule::begin(&self.workload)?;
        let mut event = Vec::new();
        while let Some((due, stamp)) = schedule.wait() {
            event.clear();
            gemini(stamp, &mut event);
            write_all(&calls[due.task], &event, &mut schedule)?;
        }
        let published = schedule.published();
        thread::sleep(END_AFTER);
        event.clear();
        gemini_end(self.workload.events(), &mut event);
        for call in &calls {
            write_all(call, &event, &mut schedule)?;
        }
        director.say(&published)?;
        // A slow reader still receives the end.
        director.wait()
    }
}

/// Accepts a call, and sends the head of its answer.
fn call(listener: &TcpListener) -> Outcome<TcpStream> {
    wait_for(listener, PollFlags::IN)?;
    let (socket, _): (TcpStream, SocketAddr) = listener.accept()?;
    let mut line = Line::new(0, socket);
    let request = line.request()?.ok_or("a call without a request")?;
    if !request.target.ends_with(":streamGenerateContent?alt=sse") {
        return Err(format!("an upstream was asked for {:?}", request.target).into());
    }
    line.write(EVENTS_HEAD)?;
    let socket = line.into_socket();
    socket.set_nonblocking(true)?;
    Ok(socket)
}
