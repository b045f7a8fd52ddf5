//! `hearken serve`: logs, the first API key, and what a new user sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use super::sample::{self, Server};
use super::{FAILED, USAGE, complain, say};
use crate::config::{ChannelKind, Config, Flags};
use crate::keys::{self, KeyHash, KeyLimits, KeyRecord};
use crate::server::certificate::Certificate;
use crate::server::{self, StartError};
use crate::store::{KeyTable, StoreError};

/// The name of the key that is made when there is none.
const FIRST_KEY: &str = "default";

/// What is logged when nobody says otherwise. The dispatcher would call it an error that a stream is broken off
/// on purpose, once for each reader, at every deploy. And h2 would warn of each connection that it ends because its client
/// resets one stream after the other, without a word of whose it is.
const LOG_FILTER: &str = "hearken=info,warn,actix_http::h1::dispatcher=off,h2=error,symphonia=off";

/// What `--help` says below the options.
const HELP: &str = "\
Every key of the configuration file can be set from the environment as HEARKEN_ and its path, as in
HEARKEN_STREAM__KEEP_ALIVE_SECONDS=15. HEARKEN_LOG=debug shows more in the log on standard error,
HEARKEN_LOG_FORMAT=json writes an object per line. SIGTERM and SIGINT drain; a second one ends at once. SIGHUP has the
certificate of [tls] read again at once.";

#[derive(Debug, Default, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Configuration file (TOML); without one, the embedded defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where the store lives [default: ./hearken-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { config, listen, data_dir } = arguments;
    let config = match Config::load(&Flags { config, listen, data_dir }) {
        Ok(config) => config,
        Err(err) => return complain(err, USAGE),
    };
    start_logging();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let place = config.data_dir_place.clone();
    let first_key = match first_key(&config) {
        Ok(key) => key,
        Err(err) => return refuse(&place, err),
    };
    let welcome = Welcome::new(&config, first_key);
    match actix_rt::System::new().block_on(server::run(config, |addresses| welcome.print(addresses))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Store(err)) => refuse(&place, err),
        Err(err @ StartError::Certificate(_)) => complain(err, USAGE),
        Err(err) => complain(err, FAILED),
    }
}

/// A store that cannot be opened: a data directory that is of no use is the configuration's fault.
pub(super) fn refuse(data_dir_place: &str, err: StoreError) -> ExitCode {
    match err {
        StoreError::Directory { .. } => {
            let mend = "choose a directory that this user may write to";
            complain(
                format_args!("{data_dir_place}: the data directory cannot be used: {err}; {mend}"),
                USAGE,
            )
        }
        err => complain(err, FAILED),
    }
}

/// `HEARKEN_LOG` filters (as `info`, `debug`, `hearken=debug,actix=warn`), `HEARKEN_LOG_FORMAT=json` writes
/// an object per line.
fn start_logging() {
    let filter = std::env::var("HEARKEN_LOG").unwrap_or_else(|_| LOG_FILTER.to_owned());
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let json = std::env::var("HEARKEN_LOG_FORMAT").is_ok_and(|format| format == "json");
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first one's log.
    let _ = if json { logs.json().flatten_event(true).try_init() } else { logs.with_ansi(false).try_init() };
}

/// Makes an API key if neither the configuration nor the store has one.
fn first_key(config: &Config) -> Result<Option<String>, StoreError> {
    if !config.keys.is_empty() {
        return Ok(None);
    }
    let mut table = KeyTable::open(&config.data_dir)?;
    if !table.list()?.is_empty() {
        return Ok(None);
    }
    let key = keys::generate();
    let record = KeyRecord {
        name: FIRST_KEY.to_owned(),
        hash: KeyHash::of(&key),
        models: vec!["*".to_owned()],
        limits: KeyLimits::default(),
    };
    Ok(table.create(&record)?.then_some(key))
}

/// What a started server prints on standard output.
struct Welcome {
    first_key: Option<String>,
    /// A request about real audio, to be sent by the `curl` line; none where it cannot be answered.
    sample: Option<PathBuf>,
    /// Where TLS is spoken, the certificate's file and a name that it is for.
    tls: Option<(PathBuf, String)>,
}

impl Welcome {
    fn new(config: &Config, first_key: Option<String>) -> Self {
        let local = config.channels.iter().find(|channel| matches!(channel.kind, ChannelKind::Local));
        let model = local.and_then(|channel| channel.models.first()).filter(|_| first_key.is_some());
        let sample = model.and_then(|model| match sample::write_request(&config.data_dir, model) {
            Ok(path) => Some(path),
            Err(err) => {
                tracing::warn!(%err, "the sample request cannot be written");
                None
            }
        });
        let tls = config.tls.as_ref().map(|tls| {
            // If it cannot be read the server does not start.
            let name = Certificate::load(tls).ok().and_then(|certificate| certificate.host());
            (tls.certificate.path.clone(), name.unwrap_or_else(|| "localhost".to_owned()))
        });
        Self { first_key, sample, tls }
    }

    fn print(&self, addresses: &[SocketAddr]) {
        let Some(first) = addresses.first() else { return };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        say(format_args!("hearken listening on {scheme}://{first}"));
        let Some(key) = &self.first_key else { return };
        say(format_args!("\nThere was no API key, so this one was made. It is shown this once:\n\n  {key}"));
        let server = match &self.tls {
            Some((certificate, name)) => Server::Secure { name, certificate },
            None => Server::Plain,
        };
        let address = reachable(*first);
        if let Some(sample) = &self.sample {
            say("\nTry it: this sends a spoken sentence and streams what hearken hears in it.\n");
            say(server.curl_line(address, key, sample));
        }
        let open = if self.sample.is_some() { "Or open" } else { "Open" };
        say(format_args!("\n{open} {}/ in a browser, and sign in with the key.", server.url(address)));
    }
}

/// The address as someone on this machine reaches it.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
