//! `hearken check`: explains a configuration, without its secrets, and reports whether a server would start with it.

use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use super::serve::{self, StartRefusal, refuse_stored_keys, try_addresses};
use super::{USAGE, complain, print, unwritten};
use crate::channel::{BreakerRule, Capability, RetryRule};
use crate::config::{Config, Flags, MetricsListen};
use crate::fetch::FetchConfig;
use crate::server::{BindError, Certificate, StartError};
use crate::store::{self, LostCommits};
use crate::upstream::Timeouts;

/// The text below the options in `--help`.
const HELP: &str = "\
Like `hearken serve`, this command reads the configuration file and the HEARKEN_... variables of the environment. Then
it tries the first steps of a start, and undoes them. It may run beside a running server: an address in use is only a
warning.

EXIT STATUS
  0  the server would start
  1  the data directory holds data that hearken cannot use
  2  the configuration is wrong; the message names the variable or the line, and what to write";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Configuration file (TOML) [default: no file, only the built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let config = match Config::load(&Flags { config: arguments.config, ..Flags::default() }) {
        Ok(config) => config,
        Err(err) => return complain(err, USAGE),
    };
    let findings = match check_start(&config) {
        Ok(findings) => findings,
        Err(StartRefusal { problem, status }) => return complain(problem, status),
    };
    match describe(&config).and_then(|()| describe_findings(&findings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => unwritten(&err),
    }
}

/// What was found when a start was tried.
struct Findings {
    certificate: Option<Certificate>,
    /// Addresses that other processes listen on now.
    taken: Vec<BindError>,
    /// Commits that the database has lost.
    lost: Option<LostCommits>,
}

/// Performs the steps of a start that can be undone, and undoes them. An error that would stop a start is returned. An
/// address in use is no error, because a server that is about to be restarted may still listen on it.
fn check_start(config: &Config) -> Result<Findings, StartRefusal> {
    // A start performs these steps in the same order.
    let taken = try_addresses(config)?;
    let store::StartCheck { keys, lost } = store::check_start(&config.data_dir)
        .map_err(|err| StartRefusal::of_store(&config.places.data_dir, err))?;
    refuse_stored_keys(config, &keys)?;
    let certificate = config.tls.as_ref().map(Certificate::load).transpose().map_err(StartError::from);
    let certificate = certificate.map_err(|err| StartRefusal::of(err, &config.places.data_dir))?;
    Ok(Findings { certificate, taken, lost })
}

fn describe(config: &Config) -> io::Result<()> {
    let Config { uploads, tasks, retention, .. } = config;
    print(format_args!("listens on        {}", config.listen))?;
    match &config.metrics {
        MetricsListen::Off => {}
        MetricsListen::Main => {
            print("serves metrics    on the same address, at /metrics, to every client without a key")?;
        }
        MetricsListen::Own(listen) => {
            print(format_args!(
                "serves metrics    on {listen}, at /metrics, over plain HTTP and without a key"
            ))?;
        }
    }
    print(format_args!("keeps its data in {}", config.data_dir.display()))?;
    print(format_args!("drains for        {} s", config.drain.as_secs()))?;
    print(format_args!("accepts bodies of {} bytes at most", uploads.max_body_bytes))?;
    print(format_args!("queues            {} tasks at most", tasks.max_pending_tasks))?;
    print(format_args!("holds answers of  {} bytes at most", tasks.max_answer_bytes))?;
    print(format_args!(
        "calls upstreams   {} times per task at most, each call begun within {} s of the first",
        config.retry_budget.calls,
        config.retry_budget.time.as_secs()
    ))?;
    print(format_args!("holds uploads of  {} bytes at most in total", uploads.max_payload_memory_bytes))?;
    match config.max_connections_per_address {
        Some(most) => print(format_args!("accepts           {most} connections per address at most"))?,
        None => {
            print("accepts           from one address at most seven eighths of all possible connections")?
        }
    }
    print(format_args!("holds responses of {} bytes at most in total", config.max_response_memory_bytes))?;
    print(format_args!("keeps in memory   {} bytes of streams at most", tasks.max_stream_memory_bytes))?;
    print(format_args!("spools audio of   {} bytes at most", config.store.max_spool_bytes))?;
    if !config.store.sync {
        print(
            "commits           without waiting for the disk: accepted tasks survive a crash of hearken, but not one of \
             the machine",
        )?;
    }
    print(format_args!(
        "keeps chunks      {} s, tasks {} s, idempotency keys {} s",
        retention.chunks.as_secs(),
        retention.tasks.as_secs(),
        retention.idempotency.as_secs()
    ))?;
    print(format_args!("sends keep-alives every {} s", config.stream.keep_alive.as_secs()))?;
    print(format_args!(
        "disconnects       stalled clients {} s after the last byte that they received, clients without a key after {} s",
        config.stream.send_timeout.as_secs(),
        config.stream.keyless_send_timeout.min(config.stream.send_timeout).as_secs()
    ))?;
    if !config.stream.hand_over {
        print("serves streams    through the HTTP server: connections are not handed over")?;
    }
    describe_fetch(&config.fetch)?;
    if let Some(traces) = &config.traces {
        print(format_args!(
            "exports spans     as {} to {}, for {} % of the traces that start in hearken",
            traces.service_name,
            traces.endpoint,
            traces.sample_ratio * 100.0
        ))?;
    }
    for key in &config.keys {
        print(format_args!(
            "key {}: models {}, {} submits per minute, {} tasks at once",
            key.name,
            key.models.join(", "),
            at_most(key.limits.requests_per_minute),
            at_most(key.limits.max_running_tasks),
        ))?;
    }
    for channel in &config.channels {
        let capabilities: Vec<_> = channel.capabilities.iter().copied().map(Capability::as_str).collect();
        print(format_args!(
            "channel {}: kind {}, models {}, accepts {}, audio as {}, requests of {} bytes at most, priority {}, \
             weight {}, at most {} tasks at once, {}, {}, {}",
            channel.name,
            channel.kind.name,
            channel.models.join(", "),
            capabilities.join(" and "),
            list(channel.provider.formats()),
            channel.max_request_bytes,
            channel.priority,
            channel.weight,
            channel.max_running_tasks,
            times(channel.timeouts),
            retries(channel.retry),
            rests(channel.breaker),
        ))?;
    }
    if let Some(advice) = serve::advice(config) {
        print(format_args!("note: {}", advice.replace('\n', " ")))?;
    }
    for warning in &config.warnings {
        print(format_args!("warning: {warning}"))?;
    }
    Ok(())
}

fn describe_findings(findings: &Findings) -> io::Result<()> {
    if let Some(certificate) = &findings.certificate {
        print(format_args!("uses TLS          with a certificate {certificate}"))?;
        if let Some(warning) = certificate.warning(SystemTime::now()) {
            print(format_args!("warning: {warning}"))?;
        }
    }
    for err in &findings.taken {
        print(format_args!("warning: {err}"))?;
    }
    if let Some(lost) = &findings.lost {
        print(format_args!("warning: {lost}"))?;
    }
    Ok(())
}

fn retries(rule: RetryRule) -> String {
    match rule.max_retries {
        0 => "never retried".to_owned(),
        times => {
            format!("retried {times} times at most, each after {} s at most", rule.max_wait.as_secs_f64())
        }
    }
}

fn rests(rule: BreakerRule) -> String {
    match rule.failures {
        0 => "never rests".to_owned(),
        failures => {
            format!("rests for {} s after {failures} failures in a row", rule.rest.as_secs_f64())
        }
    }
}

fn describe_fetch(fetch: &FetchConfig) -> io::Result<()> {
    let gate = &fetch.gate;
    let networks =
        if gate.allow_private_networks { "public and private networks" } else { "public networks only" };
    let ports = match gate.allow_ports.as_slice() {
        [] => "at any port".to_owned(),
        ports => format!("at ports {}", list(ports)),
    };
    let hosts = match gate.allow_hosts.as_slice() {
        [] => String::new(),
        hosts => format!("; from {} on any network and port", list(hosts)),
    };
    print(format_args!("fetches audio     from {networks}, {ports}{hosts}"))?;
    print(format_args!(
        "fetches files of  {} bytes at most, over {} redirects at most, within {} s, each connection within {} s",
        fetch.max_bytes,
        fetch.max_redirects,
        fetch.total_timeout.as_secs_f64(),
        fetch.connect_timeout.as_secs_f64(),
    ))
}

fn times(timeouts: Timeouts) -> String {
    let [connect, first_chunk, idle, total] =
        [timeouts.connect, timeouts.first_chunk, timeouts.idle, timeouts.total]
            .map(|time| time.as_secs_f64());
    let total = match timeouts.total_audio_factor {
        0.0 => format!("{total} s"),
        factor => format!("{total} s or {factor} times the audio's duration, whichever is longer"),
    };
    format!(
        "connects within {connect} s, first chunk within {first_chunk} s, pauses of {idle} s at most, each call within \
         {total}"
    )
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn at_most(limit: Option<NonZeroU32>) -> String {
    limit.map_or_else(|| "any number of".to_owned(), |most| format!("at most {most}"))
}
