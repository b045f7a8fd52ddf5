//! A real Prometheus with the real program: it scrapes the metrics, answers every query of the dashboard, and loads the
//! alerts. `tests/run` installs it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot continue has failed, and its output helps its reader"
)]

mod kit;

#[expect(dead_code, reason = "it is shared with the integration tests, which use all of it")]
#[path = "it"]
mod it {
    pub(crate) mod support;
}

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use it::support::hearken::Hearken;
use it::support::host::Host;
use it::support::http::Client;
use it::support::subscriber::Subscriber;
use it::support::upstream::FakeUpstream;
use it::support::{fixture, until};

/// Longest time until all queries have an answer.
const PATIENCE: Duration = Duration::from_secs(90);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs promtool with this on its standard input.
fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut promtool = Command::new("promtool")
        .args(arguments)
        .current_dir(project(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("promtool: {err}: run ./tests/run, which installs it"));
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    promtool.wait_with_output().unwrap()
}

#[test]
fn the_alerts_fire_when_they_should_and_not_otherwise() {
    for arguments in [
        &["check", "config", "deploy/prometheus/prometheus.yml"][..],
        &["test", "rules", "tests/prometheus/alerts_test.yml"],
    ] {
        let output = promtool(arguments, "");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// A service with all the events that the dashboard shows.
struct Service {
    hearken: Hearken,
    host: Host,
    /// A subscriber that stays all the time.
    _stays: Subscriber,
    _upstreams: [FakeUpstream; 2],
}

impl Service {
    fn start() -> Self {
        let broken =
            FakeUpstream::error(503, &json!({"error": {"code": 503, "message": "m", "status": "X"}})).start();
        // Its first answer does not end.
        let good = FakeUpstream::gemini().say("a").hold().then().say("a").say("b").start();
        let hearken = Hearken::builder()
            .gemini_named("broken", &broken.base_url())
            .channel("priority = 5\nmax_retries = 1\nmax_retry_wait_ms = 10\nbreaker_failures = 0")
            .gemini_named("good", &good.base_url())
            .local()
            .set("[fetch]\nallow_hosts = [\"127.0.0.1\"]")
            .set("[metrics]\nlisten = \"127.0.0.1:0\"")
            .start();
        let host = Host::of_file("audio/wav", fixture("audio/speech.wav"));
        let _stays = hearken.stream(&hearken.submit(json!({"stream": true})));
        good.held(1);
        Self { hearken, host, _stays, _upstreams: [broken, good] }
    }

    /// Causes all events again.
    fn go_on(&self) {
        let hearken = &self.hearken;
        let id = hearken.submit(json!({"stream": true}));
        hearken.stream(&id).rest();
        let local = hearken.submit(json!({
            "model": "local-inspect", "stream": true, "audio_url": self.host.url("/a.wav"),
        }));
        drop(hearken.stream(&local));
        hearken.wait(&local);
        let cancelled = hearken.submit(json!({"audio_url": "http://127.0.0.1:9/a.wav"}));
        hearken.cancel(&cancelled);
        hearken.try_submit(json!({"model": "unknown"})).error(422, "no_available_model");
    }
}

/// Debian's Prometheus, which scrapes one service each second.
struct Prometheus {
    process: Child,
    client: Client,
    directory: TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let directory = TempDir::new().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs: [{{job_name: hearken, static_configs: [{{targets: ['{target}']}}]}}]\n",
            project("deploy/prometheus/alerts.yml").display()
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // Prometheus does not report which port it took. The system does not assign this one again so soon.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|err| panic!("prometheus: {err}: run ./tests/run, which installs it"));
        let client = Client { address, key: None, secrets: Arc::default() };
        let prometheus = Self { process, client, directory };
        until("Prometheus listens", || std::net::TcpStream::connect(address).ok());
        until("Prometheus is ready", || (prometheus.client.get("/-/ready").status == 200).then_some(()));
        prometheus
    }

    fn ask(&self, path: &str) -> Value {
        let reply = self.client.get(&format!("/api/v1/{path}"));
        assert_eq!(reply.status, 200, "{path}: {reply}\n{}", self.log());
        reply.json()["data"].clone()
    }

    /// Returns the values that a query has now, without those that are not numbers.
    fn values(&self, query: &str) -> Vec<f64> {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let data = self.ask(&format!("query?query={encoded}"));
        let values = data["result"].as_array().unwrap_or_else(|| panic!("{query}: {data}")).iter();
        let values = values.map(|sample| sample["value"][1].as_str().unwrap().parse::<f64>().unwrap());
        values.filter(|value| !value.is_nan()).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns every query of the dashboard with its panel, as Grafana would send it.
fn queries() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(project("deploy/grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$instance", ".*").replace("$__rate_interval", "15s");
            assert!(!query.contains('$'), "a variable without a value: {query}");
            queries.insert(query, panel["title"].as_str().unwrap().to_owned());
        }
    }
    assert!(queries.len() > 50, "{}", queries.len());
    queries
}

#[test]
fn a_real_prometheus_answers_every_query_of_the_dashboard() {
    let service = Service::start();
    let prometheus = Prometheus::start(service.hearken.watcher().address);
    let mut unanswered = queries();
    let started = Instant::now();
    while !unanswered.is_empty() {
        assert!(started.elapsed() < PATIENCE, "without an answer: {unanswered:#?}\n{}", prometheus.log());
        service.go_on();
        unanswered.retain(|query, _| prometheus.values(query).is_empty());
    }
    for (query, least) in [
        ("sum(hearken_tasks_ended_total{channel=\"good\",outcome=\"completed\"})", 1.0),
        ("sum(hearken_upstream_failovers_total{channel=\"broken\"})", 1.0),
        ("sum(hearken_subscribers)", 1.0),
        ("sum(hearken_tasks_running)", 1.0),
        ("up{job=\"hearken\"}", 1.0),
    ] {
        let values = prometheus.values(query);
        assert!(values.first().is_some_and(|value| *value >= least), "{query}: {values:?}");
    }
    let rules = prometheus.ask("rules");
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 5);
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

#[test]
fn the_linter_of_prometheus_finds_no_problem() {
    let service = Service::start();
    service.go_on();
    let text = service.hearken.watcher().get("/metrics").expect(200).text();
    let output = promtool(&["check", "metrics"], &text);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
