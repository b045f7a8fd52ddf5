//! The real program: started on a data directory, killed, told to stop.

use std::fmt::Write as _;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::kit::Outcome;
use crate::kit::process::{Process, SERVES, hearken};
use crate::plan::Caller;
use crate::upstream::{self, Upstream};

/// The longest time for a start or an end.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(1);
/// How many lines of a log are shown.
const TAIL_LINES: usize = 25;

/// A data directory and the configuration of every server on it.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
    pub(crate) slots: usize,
    /// The seconds for which chunks and tasks are kept.
    pub(crate) retention: Option<(u64, u64)>,
}

/// A process of the program.
#[derive(Debug)]
pub(crate) struct Server(Process);

impl Site {
    /// Creates an empty directory.
    pub(crate) fn new(slots: usize, retention: Option<(u64, u64)>) -> Self {
        Self { directory: TempDir::new().unwrap(), slots, retention }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self, epoch: u32) -> String {
        let bytes = std::fs::read(self.log_file(epoch)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self, epoch: u32) -> PathBuf {
        self.path(&format!("{epoch}.log"))
    }

    /// Returns what all servers up to this epoch logged about a task, and the last lines of the newest.
    pub(crate) fn log_of(&self, task: Option<&str>, newest: u32) -> String {
        let mut text = String::new();
        for epoch in 0..=newest {
            for line in self.log(epoch).lines().filter(|line| task.is_some_and(|task| line.contains(task))) {
                let _ = writeln!(text, "{epoch}: {line}");
            }
        }
        let log = self.log(newest);
        let lines: Vec<&str> = log.lines().collect();
        text + "...\n" + &lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Returns the line in which the server of this epoch panicked.
    pub(crate) fn panic_of(&self, epoch: u32) -> Option<String> {
        self.log(epoch).lines().find(|line| line.contains("panicked")).map(str::to_owned)
    }

    /// Returns how many pieces of audio are in the store, in rows or in files; `None` if its database cannot be read.
    pub(crate) fn audios(&self) -> Option<u64> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = self.path("data").join("hearken.sqlite");
        let database = rusqlite::Connection::open_with_flags(database, flags).ok()?;
        let rows: u64 = database
            .query_row("SELECT count(*) FROM blobs WHERE data IS NOT NULL", [], |row| row.get(0))
            .ok()?;
        Some(rows + self.files("spool").len() as u64)
    }

    /// Returns the files below a folder of the data directory, or none if the folder does not exist.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.path("data").join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if path.is_dir() { &mut folders } else { &mut files }.push(path);
            }
        }
        files
    }

    /// Returns how many bytes these files hold.
    pub(crate) fn bytes(&self, folder: &str) -> u64 {
        let sizes = self.files(folder).into_iter().filter_map(|file| Some(file.metadata().ok()?.len()));
        sizes.sum()
    }

    /// Starts the program, without waiting until it listens.
    pub(crate) fn spawn(&self, upstream: &Upstream, epoch: u32, drain_seconds: u64) -> Server {
        let config = self.path(&format!("{epoch}.toml"));
        std::fs::write(&config, self.config(upstream, epoch, drain_seconds)).unwrap();
        let mut command = hearken(&["serve", "--config"]);
        command.arg(&config).current_dir(self.directory.path());
        if let Some((chunks, tasks)) = self.retention {
            command.env("HEARKEN_RETENTION__CHUNKS_SECONDS", chunks.to_string());
            command.env("HEARKEN_RETENTION__TASKS_SECONDS", tasks.to_string());
        }
        let log = File::create_new(self.log_file(epoch)).unwrap();
        Server(Process::spawn(&mut command, log).unwrap())
    }

    fn config(&self, upstream: &Upstream, epoch: u32, drain_seconds: u64) -> String {
        let mut text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\ndrain_seconds = {drain_seconds}\n",
            self.path("data").display()
        );
        for caller in Caller::ALL {
            let _ = write!(text, "[[keys]]\nname = \"{}\"\nkey = \"{}\"\n", caller.name(), caller.key());
        }
        let _ = write!(
            text,
            "[[channels]]\nname = \"fake\"\nkind = \"gemini\"\nbase_url = \"{}\"\napi_key = \"{}\"\n\
             models = [\"gemini-*\"]\nmax_running_tasks = {}\nmax_retries = 1\n\
             breaker_failures = 0\n",
            upstream.base_url(epoch),
            upstream::KEY,
            self.slots
        );
        // The host of the audio is on this machine.
        text += "[fetch]\nallow_hosts = [\"127.0.0.1\"]\n";
        text
    }
}

impl Server {
    /// Waits until the server listens.
    pub(crate) async fn ready(&mut self) -> Result<SocketAddr, String> {
        self.until("start", |process| process.address(SERVES)).await
    }

    /// Kills the server (SIGKILL) and waits until it has ended.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// Tells the server to stop (SIGTERM) and waits until it has ended.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus, String> {
        self.0.signal("TERM").unwrap();
        self.until("end", Process::ended).await
    }

    /// Calls a function until it returns a value; the clients continue during that time.
    async fn until<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&mut Process) -> Outcome<Option<T>>,
    ) -> Result<T, String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(answer) = ask(&mut self.0).map_err(|err| err.to_string())? {
                return Ok(answer);
            }
            sleep(GLANCE).await;
        }
        Err(format!("the server does not {what}"))
    }
}
