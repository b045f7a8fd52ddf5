//! Sockets that a publisher writes to: when a server takes nothing more, that is known, and is no fault of the
//! publisher's.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::Outcome;
use super::super::clock::now;
use super::schedule::Schedule;

/// A server that neither reads nor answers for this long hangs.
const PATIENCE_SECONDS: i64 = 60;

/// Writes all of it to a socket that does not block. For as long as it is full the schedule is held.
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

/// Reads what has come on a socket that does not block; 0: nothing yet.
pub(crate) fn read_some(mut socket: &TcpStream, to: &mut [u8]) -> Outcome<usize> {
    match socket.read(to) {
        Ok(0) => Err("the server closed a publisher's connection".into()),
        Ok(length) => Ok(length),
        Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(err) => Err(err.into()),
    }
}

/// Waits for the server, which holds the schedule.
pub(crate) fn held(socket: &TcpStream, until: PollFlags, schedule: &mut Schedule) -> Outcome<()> {
    let began = now();
    wait_for(socket, until)?;
    schedule.held_since(began);
    Ok(())
}

/// Waits until something can be done with a socket, which must be soon.
pub(crate) fn wait_for(socket: impl AsFd, until: PollFlags) -> Outcome<()> {
    let patience = Timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 };
    match poll(&mut [PollFd::new(&socket, until)], Some(&patience))? {
        0 => Err("the server does nothing that its publisher could see".into()),
        _ => Ok(()),
    }
}
