//! Sockets that a publisher writes to. If a server accepts nothing more, the schedule records it, so that it does not
//! count as a delay of the publisher.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::Outcome;
use super::super::clock::now;
use super::schedule::Schedule;

/// The seconds without a read or an answer after which a server counts as hanging.
const PATIENCE_SECONDS: i64 = 60;

/// Writes all bytes to a non-blocking socket. While the socket is full, the schedule is held.
pub(crate) fn write_all(mut socket: &TcpStream, mut bytes: &[u8], schedule: &mut Schedule) -> Outcome<()> {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(err) if err.kind() == ErrorKind::WouldBlock => held(socket, PollFlags::OUT, schedule)?,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Reads the available bytes from a non-blocking socket; returns 0 if there are none yet.
pub(crate) fn read_some(mut socket: &TcpStream, to: &mut [u8]) -> Outcome<usize> {
    match socket.read(to) {
        Ok(0) => Err("the server closed a publisher's connection".into()),
        Ok(length) => Ok(length),
        Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(err) => Err(err.into()),
    }
}

/// Waits for the server, and holds the schedule until then.
pub(crate) fn held(socket: &TcpStream, until: PollFlags, schedule: &mut Schedule) -> Outcome<()> {
    let began = now();
    wait_for(socket, until)?;
    schedule.held_since(began);
    Ok(())
}

/// Waits until the socket is ready, which must be soon.
pub(crate) fn wait_for(socket: impl AsFd, until: PollFlags) -> Outcome<()> {
    let patience = Timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
    match poll(&mut [PollFd::new(&socket, until)], Some(&patience))? {
        0 => Err("the server neither reads nor answers".into()),
        _ => Ok(()),
    }
}
