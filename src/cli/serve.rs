//! `hearken serve`: runs the service, and creates the first API key with instructions for a new user.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output::print_once;
use super::sample::{self, SampleServer};
use super::submit::word;
use super::{FAILED, USAGE, complain, say};
use crate::channel::ChannelConfig;
use crate::config::{Config, Flags, MetricsListen};
use crate::keys::{self, KeyLimits, KeyRecord};
use crate::logging::Log;
use crate::secret::KeyHash;
use crate::server::{self, BindError, Certificate, StartError};
use crate::store::{self, KeyStore, StoreError};

/// The name of the key that is created when there is none.
const FIRST_KEY: &str = "default";

/// The text below the options in `--help`.
const HELP: &str = "\
Every setting of the configuration file can be set in the environment as HEARKEN_ and its path, as in
HEARKEN_STREAM__KEEP_ALIVE_SECONDS=15. HEARKEN_LOG=debug writes more to the log on standard error;
HEARKEN_LOG_FORMAT=json writes one JSON object per line. After SIGTERM or SIGINT, running tasks may finish, and the
server stops; a second signal stops it at once. SIGHUP makes it read the certificate of [tls] again.";

#[derive(Debug, Default, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Configuration file (TOML) [default: no file, only the built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Data directory, where the tasks are stored [default: ./hearken-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { config, listen, data_dir } = arguments;
    let config = match Config::load(&Flags { config, listen, data_dir }) {
        Ok(config) => config,
        Err(err) => return complain(err, USAGE),
    };
    // The addresses are checked first, because later steps create things that would have to be undone.
    match try_addresses(&config).map(|taken| taken.into_iter().next()) {
        Ok(None) => {}
        Ok(Some(err)) => {
            let StartRefusal { problem, status } = StartRefusal::of(err.into(), &config.places.data_dir);
            return complain(problem, status);
        }
        Err(StartRefusal { problem, status }) => return complain(problem, status),
    }
    let log = match Log::start(&config.log) {
        Ok(log) => log,
        Err(err) => return complain(format_args!("the log cannot be started: {err}"), FAILED),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let served = serve(config, &log);
    log.finish();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        // This line must not be lost, so it does not go to the log, which may drop lines when its reader is slow.
        Err(StartRefusal { problem, status }) => complain(problem, status),
    }
}

/// Why a server does not start, with the exit status.
#[derive(Debug)]
pub(super) struct StartRefusal {
    pub(super) problem: String,
    pub(super) status: u8,
}

fn serve(config: Config, log: &Log) -> Result<(), StartRefusal> {
    let place = config.places.data_dir.clone();
    let data_dir = config.data_dir.clone();
    let of_store = |err| StartRefusal::of_store(&place, err);
    let opened = server::open(&config).map_err(|err| StartRefusal::of(err, &place))?;
    let system = actix_rt::System::new();
    let keys = opened.keys();
    let (_, stored) = system.block_on(keys.list()).map_err(of_store)?;
    refuse_stored_keys(&config, &stored)?;
    let is_first = config.keys.is_empty() && stored.is_empty();
    let first_key = if is_first { system.block_on(first_key(&*keys)).map_err(of_store)? } else { None };
    drop(keys);
    let mut is_key_unshown = first_key.is_some();
    let welcome = Welcome::new(&config, first_key);
    let served = server::run(config, opened, log.lost_lines(), async |addresses| {
        if welcome.print(addresses).is_ok() {
            is_key_unshown = false;
        } else if is_key_unshown {
            is_key_unshown = false;
            if revoke_first_key(&data_dir).await {
                tracing::warn!(
                    "the first API key was revoked, because standard output could not be written to; create another \
                     with `hearken keys create NAME`"
                );
            }
        }
    });
    let served = system.block_on(served);
    if is_key_unshown {
        // The server has not started, so the key was not shown. The next start creates another key, and shows it.
        system.block_on(revoke_first_key(&data_dir));
    }
    served.map_err(|err| StartRefusal::of(err, &place))
}

impl StartRefusal {
    /// Explains why a server does not start. `data_dir_place` is the place where the data directory was set.
    pub(super) fn of(err: StartError, data_dir_place: &str) -> Self {
        let status = match &err {
            StartError::Certificate(_) => USAGE,
            StartError::Listen(err) if !err.is_taken() => USAGE,
            _ => FAILED,
        };
        match err {
            StartError::Store(err) => Self::of_store(data_dir_place, err),
            err => Self { problem: err.to_string(), status },
        }
    }

    /// Explains that the store cannot be opened. An unusable data directory counts as a wrong configuration.
    pub(super) fn of_store(data_dir_place: &str, err: StoreError) -> Self {
        match err {
            StoreError::Directory { .. } => {
                let advice = "choose a directory that this user may write to";
                let problem = format!("{data_dir_place}: the data directory cannot be used: {err}; {advice}");
                Self { problem, status: USAGE }
            }
            err => Self { problem: err.to_string(), status: FAILED },
        }
    }
}

/// Checks whether a server could listen on its addresses. Returns those that other processes listen on now.
pub(super) fn try_addresses(config: &Config) -> Result<Vec<BindError>, StartRefusal> {
    let own = match &config.metrics {
        MetricsListen::Own(listen) => Some((&config.places.metrics_listen, listen)),
        MetricsListen::Off | MetricsListen::Main => None,
    };
    let mut taken = Vec::new();
    for (place, listen) in std::iter::once((&config.places.listen, &config.listen)).chain(own) {
        match server::try_bind(place, listen) {
            Ok(()) => {}
            Err(err) if err.is_taken() => taken.push(err),
            Err(err) => return Err(StartRefusal::of(err.into(), &config.places.data_dir)),
        }
    }
    Ok(taken)
}

/// Refuses a configuration with an API key that the data directory also has. The two have different names and limits,
/// and only one of them could apply.
pub(super) fn refuse_stored_keys(config: &Config, stored: &[KeyRecord]) -> Result<(), StartRefusal> {
    for key in &config.keys {
        if let Some(KeyRecord { name, .. }) = stored.iter().find(|stored| stored.hash == key.hash) {
            let problem = format!(
                "the configuration's API key {:?} is also stored in {}, under the name {name:?}; remove it from the \
                 configuration, or revoke the stored one with `hearken keys revoke {} --data-dir {}`",
                key.name,
                config.data_dir.display(),
                word(name),
                word(&config.data_dir.display().to_string())
            );
            return Err(StartRefusal { problem, status: USAGE });
        }
    }
    Ok(())
}

/// Creates an API key, unless `hearken keys` has just created one of the same name.
async fn first_key(keys: &dyn KeyStore) -> Result<Option<String>, StoreError> {
    let key = keys::generate();
    let record = KeyRecord {
        name: FIRST_KEY.to_owned(),
        hash: KeyHash::of(&key),
        models: vec!["*".to_owned()],
        limits: KeyLimits::default(),
    };
    Ok(keys.create(record).await?.then_some(key))
}

/// Revokes the first API key, which was not shown and cannot be shown later. Returns false, and logs why, if that
/// fails.
async fn revoke_first_key(data_dir: &Path) -> bool {
    let revoked = async {
        match store::find_keys(data_dir)? {
            Some(keys) => keys.revoke(FIRST_KEY.to_owned()).await,
            None => Ok(false),
        }
    };
    if let Err(err) = revoked.await {
        tracing::error!(%err, "the first API key cannot be revoked");
        return false;
    }
    true
}

/// The text that a started server prints on standard output.
struct Welcome {
    first_key: Option<String>,
    /// The file with a request about real audio, for the `curl` line; `None` if no channel can answer it.
    sample: Option<PathBuf>,
    /// The file of the certificate, and a name in the certificate; `None` without TLS.
    tls: Option<(PathBuf, String)>,
    /// Advice on how to get a provider's models, if no channel has any.
    advice: Option<&'static str>,
}

/// Tells a new user why there is no transcript: the answers describe the sound, not the words.
const NO_PROVIDER: &str = "\
No provider's API key is set, so hearken only measures sound and transcribes nothing. To use models of Gemini or OpenAI,
set GEMINI_API_KEY or OPENAI_API_KEY and start hearken again, or add [[channels]] to a configuration file (--config).";
/// The same advice for a server with a configuration file. The file alone names the channels, and variables add none.
const NO_PROVIDER_IN_FILE: &str = "\
All channels are of kind local, so hearken only measures sound and transcribes nothing. To use models of Gemini, OpenAI
or another server, add [[channels]] with an API key to the configuration file.";

/// Returns advice on how to get an upstream, if no channel has one.
pub(super) fn advice(config: &Config) -> Option<&'static str> {
    let only_local = !config.channels.is_empty() && config.channels.iter().all(ChannelConfig::is_embedded);
    let text = if config.model_hints.is_empty() { NO_PROVIDER_IN_FILE } else { NO_PROVIDER };
    only_local.then_some(text)
}

impl Welcome {
    fn new(config: &Config, first_key: Option<String>) -> Self {
        let local = config.channels.iter().find(|channel| channel.is_embedded());
        let model = local.and_then(|channel| channel.models.first()).filter(|_| first_key.is_some());
        let sample = model.and_then(|model| match sample::write_request(&config.data_dir, model) {
            Ok(path) => Some(path),
            Err(err) => {
                tracing::warn!(%err, "the sample request cannot be written");
                None
            }
        });
        let tls = config.tls.as_ref().map(|tls| {
            // If the certificate cannot be read, the server does not start.
            let name = Certificate::load(tls).ok().and_then(|certificate| certificate.host());
            (tls.certificate.path.clone(), name.unwrap_or_else(|| "localhost".to_owned()))
        });
        Self { first_key, sample, tls, advice: advice(config) }
    }

    /// Prints the address, and the first key with its instructions.
    ///
    /// # Errors
    /// When the key cannot be shown.
    fn print(&self, addresses: &[SocketAddr]) -> io::Result<()> {
        let Some(first) = addresses.first() else { return Ok(()) };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        say(format_args!("hearken listening on {scheme}://{first}"));
        let shown = self.print_key(*first);
        if let Some(advice) = self.advice {
            say(format_args!("\n{advice}"));
        }
        shown
    }

    fn print_key(&self, first: SocketAddr) -> io::Result<()> {
        let Some(key) = &self.first_key else { return Ok(()) };
        print_once(format_args!(
            "\nThere was no API key, so hearken created this one. It is shown only once:\n\n  {key}"
        ))?;
        let server = match &self.tls {
            Some((certificate, name)) => SampleServer::Secure { name, certificate },
            None => SampleServer::Plain,
        };
        let address = local_address(first);
        if let Some(sample) = &self.sample {
            say("\nTry it: this command sends a spoken sentence and streams the answer.\n");
            say(server.curl_line(address, key, sample));
        }
        let open = if self.sample.is_some() { "Or open" } else { "Open" };
        say(format_args!("\n{open} {}/ in a browser, and sign in with the key.", server.url(address)));
        Ok(())
    }
}

/// Returns the address that clients on this machine use.
fn local_address(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
