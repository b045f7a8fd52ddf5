//! The real program: started on a free port with a data directory of its own, and searched for secrets at its end.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;

use tempfile::{TempDir, tempfile};

use super::certificate::Pair;
use super::http::Client;
use super::small_disk::SmallDisk;
use super::upstream::FakeUpstream;
use super::{MODEL, decoded, until};
use crate::kit::process::{self, Process};

/// The key that tests use when nothing depends on the key.
pub(crate) const KEY: &str = "sk-main-2f6d1c0e9b";
/// Another caller's key.
pub(crate) const OTHER_KEY: &str = "sk-other-77aa01bc3d";
/// A key that may use `gemini-other` only.
pub(crate) const NARROW_KEY: &str = "sk-narrow-5e8812f0aa";
/// The channel's key, which must never show.
pub(crate) const UPSTREAM_KEY: &str = "upstream-key-c0ffee-4711";

/// The program before it is started.
#[derive(Debug)]
pub(crate) struct Builder {
    directory: Arc<TempDir>,
    top: String,
    channels: String,
    sections: String,
    environment: Vec<(String, String)>,
    secrets: Vec<String>,
    disk: Option<Arc<SmallDisk>>,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Hearken {
    process: Process,
    client: Client,
    directory: Arc<TempDir>,
    environment: Vec<(String, String)>,
    disk: Option<Arc<SmallDisk>>,
}

/// Returns the program with this command line, and without the environment variables that it reads.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = process::hearken(arguments);
    // `tests/run` runs the tests a second time without the hand-over.
    if let Some(hand_over) = std::env::var_os("HEARKEN_TEST_HAND_OVER") {
        command.env("HEARKEN_STREAM__HAND_OVER", hand_over);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

impl Hearken {
    /// Builds a program without channels.
    pub(crate) fn builder() -> Builder {
        Builder {
            directory: Arc::new(TempDir::new().unwrap()),
            top: "drain_seconds = 10\n".to_owned(),
            channels: String::new(),
            sections: String::new(),
            environment: Vec::new(),
            secrets: vec![UPSTREAM_KEY.to_owned()],
            disk: None,
        }
    }

    /// Builds a program with a channel of this upstream's kind.
    pub(crate) fn before(upstream: &FakeUpstream) -> Builder {
        Self::builder().upstream("fake", upstream.kind(), &upstream.base_url())
    }

    /// Starts a program with the settings that most tests need.
    pub(crate) fn start(upstream: &FakeUpstream) -> Self {
        Self::before(upstream).start()
    }

    /// Returns a client that calls the program with the main key.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.directory.path().join("data"), |disk| disk.path())
    }

    /// Returns the disk of the data directory, if the program was given a small one.
    pub(crate) fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().unwrap()
    }

    /// Returns the folder where the program was started and where its configuration is.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("hearken.toml")
    }

    /// Returns what the program has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.process.complaints()
    }

    /// Waits for a line of the log that contains these words. The program writes its log on a thread of its own: a line
    /// may come after a reply that was sent later.
    pub(crate) fn log_line(&self, words: &str) -> String {
        let find = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        until(&format!("the log contains {words:?}"), find)
    }

    /// Sends the program a signal, by the signal's name.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name).unwrap();
    }

    /// Waits until the program ends.
    pub(crate) fn exit_status(&mut self) -> ExitStatus {
        until("the program ends", || self.process.ended().unwrap())
    }

    /// Stops the program as an operator would, and starts it again with the same data.
    pub(crate) fn restart(&mut self) {
        self.signal("TERM");
        assert!(self.exit_status().success());
        self.start_again();
    }

    /// Kills the program, so that it cannot reply or write anything more, and starts it again with the same data.
    pub(crate) fn crash(&mut self) {
        self.signal("KILL");
        assert!(!self.exit_status().success());
        self.start_again();
    }

    /// Starts the program with the same data, which it must refuse. Returns the output of this start.
    pub(crate) fn refused_start(&self) -> Output {
        let config = self.config_file();
        let mut serve = command(&["serve", "--config", config.to_str().unwrap()]);
        serve.current_dir(self.directory());
        if let Some(disk) = &self.disk {
            serve = disk.enter(&serve);
        }
        serve.output().unwrap()
    }

    /// Starts the program again with the same data, once it has ended.
    pub(crate) fn start_again(&mut self) {
        let secrets = Arc::clone(&self.client.secrets);
        let disk = self.disk.clone();
        let fresh = launch(Arc::clone(&self.directory), self.environment.clone(), secrets, disk);
        *self = fresh;
    }

    /// Returns everything in the data directory, as one text.
    pub(crate) fn data(&self) -> String {
        let mut all = String::new();
        for path in self.files("").into_iter().chain(self.files("spool")).chain(self.files("frames")) {
            // The side files of a database may appear and disappear.
            all += &String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default());
        }
        all
    }

    /// Returns the files in a folder of the data directory.
    pub(crate) fn files(&self, directory: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data_dir().join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    }

    /// Waits until a task runs, and returns its id. A call of the upstream may come earlier than that.
    pub(crate) fn running(&self) -> String {
        until("a task runs", || {
            let running = self.get("/v1/tasks?status=processing").expect(200).json();
            running["data"][0]["id"].as_str().map(str::to_owned)
        })
    }

    /// Counts how often the audio of this base64 text is in the store: in rows, and in files of the spool.
    pub(crate) fn spooled(&self, audio: &str) -> usize {
        let audio = decoded(audio);
        let files = self
            .files("spool")
            .into_iter()
            .filter(|path| std::fs::read(path).is_ok_and(|read| read == audio));
        let rows = "SELECT count(*) FROM blobs WHERE data = ?1";
        files.count() + self.database().query_row(rows, [&audio], |row| row.get::<_, usize>(0)).unwrap()
    }

    /// Counts the pieces of audio in the store: in rows, and in files of the spool.
    pub(crate) fn audios(&self) -> (usize, usize) {
        let rows = self.database().query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
        (rows, self.files("spool").len())
    }

    /// Opens the program's database.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.data_dir().join("hearken.sqlite")).unwrap()
    }

    /// Returns the CPU time that the program has used, in hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Returns how many connections the program holds open, including those that the other side has closed.
    pub(crate) fn open_connections(&self) -> usize {
        self.queues().len()
    }

    /// Returns, for each connection that the program holds open, the bytes that the kernel has not yet delivered to the
    /// other side.
    pub(crate) fn queues(&self) -> Vec<u64> {
        const ESTABLISHED: &str = "01";
        const CLOSE_WAIT: &str = "08";
        let ours = format!(":{:04X}", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let queue = |line: &str| {
            let [_, local, _, state, queues] = line.split_whitespace().take(5).collect::<Vec<_>>()[..] else {
                return None;
            };
            let is_open = local.ends_with(&ours) && [ESTABLISHED, CLOSE_WAIT].contains(&state);
            let unsent = queues.split(':').next()?;
            is_open.then(|| u64::from_str_radix(unsent, 16).unwrap())
        };
        table.lines().filter_map(queue).collect()
    }
}

impl Deref for Hearken {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Hearken {
    fn drop(&mut self) {
        let _ = self.process.kill();
        if std::thread::panicking() {
            show(&self.log());
            return;
        }
        let (log, data) = (self.log(), self.data());
        let said = self.process.said();
        for secret in self.client.secrets.iter().map(String::as_str).chain([KEY, OTHER_KEY, NARROW_KEY]) {
            assert!(!log.contains(secret), "the log contains {secret}:\n{log}");
            assert!(!said.contains(secret), "standard output contains {secret}:\n{said}");
            assert!(!data.contains(secret), "the data directory contains {secret}");
        }
        assert!(!log.contains("panicked"), "the program panicked:\n{log}");
    }
}

/// Prints the program's log, to show why a test failed.
fn show(log: &str) {
    println!("--- the program's log:\n{log}---");
}

impl Builder {
    /// Adds a gemini channel with this address, which [`Builder::channel`] then extends.
    pub(crate) fn gemini(self, base_url: &str) -> Self {
        self.upstream("fake", "gemini", base_url)
    }

    /// Adds a gemini channel with another name, and with the default retries.
    pub(crate) fn gemini_named(self, name: &str, base_url: &str) -> Self {
        self.retrying(name, "gemini", base_url)
    }

    /// Adds a channel of this name and kind with this address, which [`Builder::channel`] then extends.
    pub(crate) fn upstream(self, name: &str, kind: &str, base_url: &str) -> Self {
        self.retrying(name, kind, base_url).channel("max_retries = 0")
    }

    fn retrying(mut self, name: &str, kind: &str, base_url: &str) -> Self {
        let authority = base_url.split('/').nth(2).unwrap().to_owned();
        self.secrets.push(authority);
        self.channels += &format!(
            "[[channels]]\nname = \"{name}\"\nkind = \"{kind}\"\nbase_url = \"{base_url}\"\n\
             api_key = \"{UPSTREAM_KEY}\"\nmodels = [\"{MODEL}\", \"gemini-*\"]\n"
        );
        self
    }

    /// Adds the embedded channel.
    pub(crate) fn local(self) -> Self {
        self.channel("[[channels]]\nname = \"local\"\nkind = \"local\"")
    }

    /// Adds lines to the last channel.
    pub(crate) fn channel(mut self, lines: &str) -> Self {
        self.channels += lines;
        self.channels += "\n";
        self
    }

    /// Adds lines at the top, or a section.
    pub(crate) fn set(mut self, lines: &str) -> Self {
        let place = if lines.starts_with('[') { &mut self.sections } else { &mut self.top };
        *place += lines;
        *place += "\n";
        self
    }

    /// Puts the data directory on a disk of this many megabytes.
    pub(crate) fn small_disk(mut self, megabytes: u32) -> Self {
        self.disk = Some(Arc::new(SmallDisk::mount(&self.directory.path().join("data"), megabytes)));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the program speak TLS with this pair, in the files that [`Pair::put`] writes.
    pub(crate) fn tls(self, pair: &Pair) -> Self {
        pair.put(self.directory.path());
        self.set("[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")
    }

    pub(crate) fn start(self) -> Hearken {
        let directory = self.directory;
        let mut text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n{}",
            directory.path().join("data").display(),
            self.top
        );
        for (name, key, models) in
            [("main", KEY, "*"), ("other", OTHER_KEY, "*"), ("narrow", NARROW_KEY, "gemini-other")]
        {
            text += &format!("[[keys]]\nname = \"{name}\"\nkey = \"{key}\"\nmodels = [\"{models}\"]\n");
        }
        text += &self.channels;
        text += &self.sections;
        std::fs::write(directory.path().join("hearken.toml"), text).unwrap();
        launch(directory, self.environment, Arc::new(self.secrets), self.disk)
    }
}

fn launch(
    directory: Arc<TempDir>,
    environment: Vec<(String, String)>,
    secrets: Arc<Vec<String>>,
    disk: Option<Arc<SmallDisk>>,
) -> Hearken {
    let config = directory.path().join("hearken.toml");
    let mut serve = command(&["serve", "--config", config.to_str().unwrap()]);
    serve
        .envs(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .current_dir(Path::new(directory.path()));
    let is_secure = std::fs::read_to_string(&config).unwrap().contains("[tls]");
    let scheme = if is_secure { "https" } else { "http" };
    if let Some(disk) = &disk {
        serve = disk.enter(&serve);
    }
    let announcement = format!("hearken listening on {scheme}://");
    let (process, address) = Process::start(&mut serve, tempfile().unwrap(), &announcement).unwrap();
    let client = Client { address, key: Some(KEY.to_owned()), secrets };
    Hearken { process, client, directory, environment, disk }
}
