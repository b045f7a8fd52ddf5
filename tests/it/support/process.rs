//! A process that says where it listens, everything that it writes, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use super::{PATIENCE, until};

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it, and reads its address behind `announcement` in its first line.
    pub(crate) fn start(command: &mut Command, announcement: &str) -> (Self, SocketAddr) {
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let (first_line, first) = mpsc::channel();
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&stdout), Some(first_line)),
            collect(child.stderr.take().unwrap(), Arc::clone(&stderr), None),
        ];
        let process = Self { child, stdout, stderr, readers, ended: None };
        let line = first
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("it does not start:\n{}", process.complaints()));
        let address = line
            .strip_prefix(announcement)
            .and_then(|address| address.trim_end().parse().ok())
            .unwrap_or_else(|| panic!("the first line on standard output: {line:?}"));
        (process, address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// What it has written to standard error so far.
    pub(crate) fn complaints(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end, and for its last words.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            return status;
        }
        let status = until("the program ends", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.ended = Some(status);
        status
    }

    /// Kills it, if it has not ended, and waits for its last words.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Collects what the program writes, and tells its first line.
fn collect(
    pipe: impl Read + Send + 'static,
    into: Arc<Mutex<Vec<u8>>>,
    first_line: Option<mpsc::Sender<String>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut first_line = first_line;
        loop {
            let mut line = Vec::new();
            if pipe.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return;
            }
            into.lock().unwrap().extend_from_slice(&line);
            if let Some(sender) = first_line.take() {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        }
    })
}
