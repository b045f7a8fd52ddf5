//! `GET /metrics`: where it is served, and that its values are true.

use std::io::Read;
use std::net::TcpListener;

use hearken::metrics::ALL;
use serde_json::{Value, json};

use crate::support::hearken::{Builder, Hearken, run};
use crate::support::host::Host;
use crate::support::metrics::Scraped;
use crate::support::upstream::FakeUpstream;
use crate::support::{fixture, until};
use crate::tidy::root;

const OWN: &str = "[metrics]\nlisten = \"127.0.0.1:0\"";
const SUBMITS: &str = "method=\"POST\",route=\"/v1/llm/generations\"";

fn watched(upstream: &FakeUpstream) -> Builder {
    Hearken::before(upstream).set(OWN)
}

/// Returns the label of the transport that writes to subscribers in this run.
fn transport() -> &'static str {
    if std::env::var("HEARKEN_TEST_HAND_OVER").is_err() { "pump" } else { "body" }
}

#[test]
fn metrics_are_served_only_at_the_configured_address() {
    let off = Hearken::builder().local().start();
    off.get("/metrics").error(404, "not_found");
    off.call("POST", "/metrics", &[], Some(b"")).error(405, "method_not_allowed");

    let main = Hearken::builder().local().set("[metrics]\nlisten = \"main\"").start();
    let anonymous = main.without_key();
    let reply = anonymous.get("/metrics").expect(200);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(anonymous.call("HEAD", "/metrics", &[], None).expect(200).body.is_empty());
    anonymous.call("POST", "/metrics", &[], Some(b"")).error(405, "method_not_allowed");

    let own = Hearken::builder().local().set(OWN).start();
    own.get("/metrics").error(404, "not_found");
    let watcher = own.watcher();
    assert!(watcher.get("/metrics").expect(200).text().contains("hearken_build_info{version="));
    watcher.get("/healthz").expect(200);
    for path in ["/", "/v1/tasks", "/v1/models"] {
        watcher.get(path).expect(404);
    }
}

#[test]
fn idle_connections_do_not_block_a_scrape() {
    let hearken = Hearken::builder().local().set(OWN).start();
    let watcher = hearken.watcher();
    let request = watcher.head("GET", "/metrics", &[]);
    let idle: Vec<_> = (0..40)
        .map(|_| {
            let mut connection = watcher.send_raw(request.as_bytes());
            connection.read_exact(&mut [0; 12]).unwrap();
            connection
        })
        .collect();
    watcher.get("/metrics").expect(200);
    // Clients that send many requests and read no reply do not block it, either.
    let greedy: Vec<_> = (0..40).map(|_| watcher.send_raw(request.repeat(64).as_bytes())).collect();
    watcher.get("/metrics").expect(200);
    drop((idle, greedy));
}

#[test]
fn an_address_that_cannot_be_bound_is_named_with_its_config_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let start = |listen: &str, metrics: &str| {
        let file = directory.path().join("h.toml");
        let data = directory.path().join("data");
        let text = format!(
            "listen = \"{listen}\"\ndata_dir = \"{}\"\n[metrics]\nlisten = \"{metrics}\"\n",
            data.display()
        );
        std::fs::write(&file, text).unwrap();
        let output = run(&["serve", "--config", file.to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let address = taken.local_addr().unwrap().to_string();
    let (status, said) = start("127.0.0.1:0", &address);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("metrics.listen: cannot listen on {address}: ")), "{said}");
    let (status, said) = start(&address, &address);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("h.toml:4: metrics.listen: ") && said.contains("the service itself listens on"),
        "{said}"
    );
}

#[test]
fn a_completed_task_is_counted_with_its_times_tokens_and_frames() {
    let upstream = FakeUpstream::gemini().say("a").say("b").start();
    let hearken = watched(&upstream).start();
    let id = hearken.submit(json!({"stream": true}));
    let frames = hearken.stream(&id).rest().len() as f64;
    let said = hearken.metrics();
    said.holds(&[
        ("hearken_tasks_submitted_total", 1.0),
        ("hearken_tasks_ended_total{channel=\"fake\",outcome=\"completed\"}", 1.0),
        ("hearken_upstream_attempts_total{channel=\"fake\",class=\"ok\"}", 1.0),
        ("hearken_upstream_attempts_total{channel=\"fake\",class=\"error\"}", 0.0),
        ("hearken_upstream_tokens_total{channel=\"fake\",kind=\"prompt\"}", 11.0),
        ("hearken_upstream_tokens_total{channel=\"fake\",kind=\"completion\"}", 8.0),
        ("hearken_task_queue_wait_seconds_count", 1.0),
        ("hearken_task_first_chunk_seconds_count{channel=\"fake\"}", 1.0),
        ("hearken_upstream_first_chunk_seconds_count{channel=\"fake\"}", 1.0),
        ("hearken_task_duration_seconds_count{channel=\"fake\",result=\"completed\"}", 1.0),
        ("hearken_frames_published_total", frames),
        ("hearken_channel_breaker_state{channel=\"fake\",state=\"closed\"}", 1.0),
        ("hearken_store_commits_failed_total", 0.0),
        ("hearken_spool_bytes", 0.0),
        ("hearken_payload_memory_bytes", 0.0),
        (&format!("hearken_http_requests_total{{{SUBMITS},status=\"200\"}}"), 1.0),
        (&format!("hearken_http_request_duration_seconds_count{{{SUBMITS}}}"), 1.0),
    ]);
    assert!(said.value("hearken_store_commit_duration_seconds_count") >= 2.0);
    assert!(said.value("hearken_frames_published_bytes_total") > frames * 20.0);
    assert!(said.value("hearken_streams_kept") <= 1.0);
    hearken.metrics_say("hearken_subscriptions_ended_total{reason=\"complete\"}", 1.0).holds(&[
        ("hearken_frames_sent_total", frames),
        ("hearken_subscribers{transport=\"body\"}", 0.0),
        ("hearken_subscribers{transport=\"pump\"}", 0.0),
    ]);
    for series in said.series() {
        assert!(
            !series.contains("gemini-test") && !series.contains("main") && !series.contains(&id),
            "{series}"
        );
    }
}

#[test]
fn retries_and_failovers_are_counted_separately() {
    let first =
        FakeUpstream::error(503, &json!({"error": {"code": 503, "message": "m", "status": "X"}})).start();
    let second = FakeUpstream::gemini().say("x").start();
    let hearken = Hearken::builder()
        .gemini_named("first", &first.base_url())
        .channel("priority = 5\nmax_retries = 1\nmax_retry_wait_ms = 10\nbreaker_failures = 2\nbreaker_rest_ms = 60000")
        .gemini_named("second", &second.base_url())
        .set(OWN)
        .start();
    hearken.wait(&hearken.submit(json!({})));
    hearken.metrics().holds(&[
        ("hearken_upstream_attempts_total{channel=\"first\",class=\"error\"}", 2.0),
        ("hearken_upstream_attempts_total{channel=\"second\",class=\"ok\"}", 1.0),
        ("hearken_upstream_retries_total{channel=\"first\"}", 1.0),
        ("hearken_upstream_failovers_total{channel=\"first\"}", 1.0),
        ("hearken_upstream_failovers_total{channel=\"second\"}", 0.0),
        ("hearken_tasks_ended_total{channel=\"second\",outcome=\"completed\"}", 1.0),
        ("hearken_channel_breaker_state{channel=\"first\",state=\"open\"}", 1.0),
        ("hearken_channel_breaker_state{channel=\"first\",state=\"closed\"}", 0.0),
    ]);
}

#[test]
fn each_failure_has_its_code_and_its_class() {
    for (script, code, class) in [
        (FakeUpstream::error(401, &json!({})), "upstream_auth_error", "auth"),
        (FakeUpstream::error(400, &json!({})), "upstream_rejected", "rejected"),
        (FakeUpstream::error(429, &json!({})), "upstream_rate_limited", "rate_limited"),
        (FakeUpstream::gemini().say("half").cut(), "upstream_disconnected", "disconnected"),
    ] {
        let upstream = script.start();
        let hearken = watched(&upstream).start();
        hearken.wait(&hearken.submit(json!({})));
        hearken.metrics().holds(&[
            (&format!("hearken_tasks_ended_total{{channel=\"fake\",outcome=\"{code}\"}}"), 1.0),
            (&format!("hearken_upstream_attempts_total{{channel=\"fake\",class=\"{class}\"}}"), 1.0),
            ("hearken_upstream_attempts_total{channel=\"fake\",class=\"ok\"}", 0.0),
            ("hearken_task_duration_seconds_count{channel=\"fake\",result=\"failed\"}", 1.0),
        ]);
    }
}

#[test]
fn a_made_up_model_is_no_failure_of_the_channel() {
    for channels in [1, 2] {
        let upstream =
            FakeUpstream::error(404, &json!({"error": {"code": 404, "message": "no such model"}})).start();
        let names = &["one", "two"][..channels];
        let hearken = names.iter().fold(Hearken::builder().set(OWN), |builder, name| {
            builder.gemini_named(name, &upstream.base_url())
        });
        let hearken = hearken.start();
        let code = if channels == 1 { "upstream_error" } else { "all_channels_exhausted" };
        let made_up = hearken.submit(json!({"model": "gemini-typo"}));
        assert_eq!(hearken.wait(&made_up)["error"]["code"], code);
        let ended = |said: &Scraped, outcome: &str| -> f64 {
            let series =
                |name| format!("hearken_tasks_ended_total{{channel=\"{name}\",outcome=\"{outcome}\"}}");
            names.iter().filter_map(|name| said.find(&series(name))).sum()
        };
        let said = hearken.metrics();
        for name in names {
            said.holds(&[
                (&format!("hearken_upstream_attempts_total{{channel=\"{name}\",class=\"not_served\"}}"), 1.0),
                (&format!("hearken_upstream_attempts_total{{channel=\"{name}\",class=\"error\"}}"), 0.0),
            ]);
        }
        assert_eq!((ended(&said, "not_served"), ended(&said, code)), (1.0, 0.0));
        // A model that the operator has listed must exist, so this is a failure of the channel.
        hearken.wait(&hearken.submit(json!({"model": "gemini-test"})));
        for name in names {
            let series = format!("hearken_upstream_attempts_total{{channel=\"{name}\",class=\"error\"}}");
            hearken.metrics_say(&series, 1.0);
        }
        let said = hearken.metrics();
        assert_eq!((ended(&said, "not_served"), ended(&said, code)), (1.0, 1.0));
    }
}

#[test]
fn running_and_waiting_tasks_are_counted() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let hearken =
        watched(&upstream).channel("max_running_tasks = 1").set("[limits]\nmax_pending_tasks = 1").start();
    let runs = hearken.submit(json!({}));
    upstream.held(1);
    let waits = hearken.submit(json!({}));
    hearken.try_submit(json!({})).error(429, "queue_full");
    let said = hearken.metrics();
    said.holds(&[
        ("hearken_tasks_running{channel=\"fake\"}", 1.0),
        ("hearken_tasks_running_limit{channel=\"fake\"}", 1.0),
        ("hearken_tasks_pending", 1.0),
        ("hearken_tasks_pending_limit", 1.0),
        ("hearken_tasks_submitted_total", 2.0),
        ("hearken_task_queue_wait_seconds_count", 1.0),
        ("hearken_http_requests_refused_total{code=\"queue_full\",route=\"/v1/llm/generations\"}", 1.0),
    ]);
    assert!(said.value("hearken_tasks_pending_oldest_seconds") > 0.0);
    assert!(said.value("hearken_spool_bytes") > 0.0);
    assert_eq!(hearken.cancel(&runs)["error"]["code"], "task_cancelled");
    upstream.held(2);
    upstream.release();
    hearken.wait(&waits);
    hearken.metrics_say("hearken_tasks_running{channel=\"fake\"}", 0.0).holds(&[
        ("hearken_tasks_pending", 0.0),
        ("hearken_tasks_pending_oldest_seconds", 0.0),
        ("hearken_tasks_ended_total{channel=\"fake\",outcome=\"task_cancelled\"}", 1.0),
        ("hearken_task_duration_seconds_count{channel=\"fake\",result=\"cancelled\"}", 1.0),
        ("hearken_upstream_attempts_total{channel=\"fake\",class=\"abandoned\"}", 1.0),
        ("hearken_task_queue_wait_seconds_count", 2.0),
    ]);
}

#[test]
fn subscribers_are_counted_while_connected_and_by_how_they_end() {
    let upstream = FakeUpstream::gemini().say("a").hold().say("b").start();
    let hearken = watched(&upstream).start();
    let id = hearken.submit(json!({"stream": true}));
    let (mut stays, mut leaves) = (hearken.stream(&id), hearken.stream(&id));
    for reader in [&mut stays, &mut leaves] {
        assert_eq!([reader.frame().id, reader.frame().id], [0, 1]);
    }
    let present = format!("hearken_subscribers{{transport=\"{}\"}}", transport());
    hearken.metrics_say(&present, 2.0);
    drop(leaves);
    hearken
        .metrics_say("hearken_subscriptions_ended_total{reason=\"left\"}", 1.0)
        .holds(&[(&present, 1.0), ("hearken_frames_published_total", 2.0)]);
    if transport() == "pump" {
        hearken.metrics().holds(&[
            ("hearken_frames_behind", 0.0),
            ("hearken_subscribers_behind", 0.0),
            ("hearken_frames_sent_total", 4.0),
        ]);
    }
    upstream.release();
    let rest = stays.rest().len() as f64;
    hearken
        .metrics_say("hearken_subscriptions_ended_total{reason=\"complete\"}", 1.0)
        .holds(&[(&present, 0.0), ("hearken_frames_sent_total", 4.0 + rest)]);
}

#[test]
fn a_subscriber_that_reads_nothing_is_shown_behind_and_then_stuck() {
    if transport() != "pump" {
        // The HTTP server does not report how much it has written.
        return;
    }
    let upstream = FakeUpstream::gemini().say_often(12, &"x".repeat(1024 * 1024)).hold().start();
    let hearken =
        watched(&upstream).set("[stream]\nsend_timeout_seconds = 3\nkeep_alive_seconds = 1").start();
    let id = hearken.submit(json!({"stream": true}));
    upstream.held(1);
    // The first chunk, which names the role, is sent with the head; the next one does not fit into the system's
    // buffers.
    let stuck = hearken.stream(&id);
    let behind = until("a subscriber is behind", || {
        let said = hearken.metrics();
        (said.value("hearken_subscribers_behind") == 1.0).then_some(said)
    });
    let most = behind.value("hearken_frames_behind_max");
    assert!((1.0..=12.0).contains(&most), "{most}");
    assert_eq!(behind.value("hearken_frames_behind"), most);
    hearken
        .metrics_say("hearken_subscriptions_ended_total{reason=\"stuck\"}", 1.0)
        .holds(&[("hearken_subscribers_behind", 0.0), ("hearken_subscribers{transport=\"pump\"}", 0.0)]);
    drop(stuck);
    upstream.release();
}

#[test]
fn downloads_are_timed_by_how_they_end() {
    let upstream = FakeUpstream::gemini().say("x").start();
    let host = Host::of_file("audio/wav", fixture("audio/speech.wav"));
    let hearken = watched(&upstream).set("[fetch]\nallow_hosts = [\"127.0.0.1\"]").start();
    let good = hearken.submit(json!({"audio_url": host.url("/a.wav")}));
    assert_eq!(hearken.wait(&good)["status"], "completed");
    drop(host);
    let (_taken, closed) = crate::support::closed_port();
    let bad = hearken.submit(json!({"audio_url": format!("http://{closed}/a.wav")}));
    assert_eq!(hearken.wait(&bad)["error"]["code"], "audio_fetch_failed");
    let said = hearken.metrics();
    said.holds(&[
        ("hearken_audio_fetch_seconds_count{outcome=\"completed\"}", 1.0),
        ("hearken_audio_fetch_seconds_count{outcome=\"audio_fetch_failed\"}", 1.0),
        ("hearken_tasks_ended_total{channel=\"none\",outcome=\"audio_fetch_failed\"}", 1.0),
    ]);
    let bytes = fixture("audio/speech.wav").len() as f64;
    said.holds(&[("hearken_audio_fetched_bytes_total", bytes)]);
    let seconds = said.value("hearken_audio_seconds_total{channel=\"fake\"}");
    assert!((1.0..10.0).contains(&seconds), "{seconds}");
}

#[test]
fn tasks_left_by_an_earlier_process_are_counted_as_recovered() {
    let upstream = FakeUpstream::gemini().never().then().say("x").start();
    let mut hearken = watched(&upstream).start();
    let id = hearken.submit(json!({}));
    upstream.request(0);
    hearken.crash();
    assert_eq!(hearken.wait(&id)["status"], "completed");
    hearken.metrics().holds(&[
        ("hearken_tasks_recovered_total{fate=\"run\"}", 1.0),
        ("hearken_tasks_submitted_total", 0.0),
        ("hearken_tasks_ended_total{channel=\"fake\",outcome=\"completed\"}", 1.0),
        // The earlier process gave the task its first slot.
        ("hearken_task_queue_wait_seconds_count", 0.0),
    ]);
}

#[test]
fn a_wait_is_counted_once_and_without_the_downtime() {
    let upstream = FakeUpstream::gemini().never().then().say("x").then().say("y").start();
    let mut hearken = watched(&upstream).channel("max_running_tasks = 1").start();
    let ran = hearken.submit(json!({}));
    upstream.request(0);
    let waited = hearken.submit(json!({}));
    hearken.crash();
    for id in [ran, waited] {
        assert_eq!(hearken.wait(&id)["status"], "completed");
    }
    hearken.metrics().holds(&[
        ("hearken_tasks_recovered_total{fate=\"run\"}", 2.0),
        ("hearken_task_queue_wait_seconds_count", 1.0),
    ]);
}

#[test]
fn a_task_called_by_an_earlier_process_counts_for_its_channel() {
    let upstream = FakeUpstream::gemini().say("half").hold().start();
    let mut hearken = watched(&upstream).start();
    let id = hearken.submit(json!({"stream": true}));
    let mut reader = hearken.stream(&id);
    assert_eq!([reader.frame().id, reader.frame().id], [0, 1]);
    hearken.crash();
    assert_eq!(hearken.wait(&id)["error"]["code"], "task_interrupted");
    hearken.metrics().holds(&[
        ("hearken_tasks_ended_total{channel=\"fake\",outcome=\"task_interrupted\"}", 1.0),
        ("hearken_tasks_ended_total{channel=\"none\",outcome=\"task_interrupted\"}", 0.0),
        ("hearken_tasks_recovered_total{fate=\"end\"}", 1.0),
    ]);
}

#[test]
fn a_drain_can_be_watched_to_its_end() {
    let upstream = FakeUpstream::gemini().hold().say("x").start();
    let mut hearken = watched(&upstream).start();
    hearken.submit(json!({}));
    upstream.held(1);
    // The upstream may be called before the task runs. A drain does not wait for a task that does not run yet.
    hearken.running();
    hearken.signal("TERM");
    until("it drains", || (hearken.get("/readyz").status == 503).then_some(()));
    hearken.metrics().holds(&[
        ("hearken_tasks_running{channel=\"fake\"}", 1.0),
        ("hearken_http_requests_refused_total{code=\"shutting_down\",route=\"/readyz\"}", 1.0),
    ]);
    upstream.release();
    assert!(hearken.exit_status().success());
}

#[test]
fn the_metrics_describe_the_process() {
    let hearken = Hearken::builder().local().set(OWN).start();
    let said = hearken.metrics();
    assert!(said.value("process_resident_memory_bytes") > 1e6);
    assert!(said.value("process_open_fds") > 3.0);
    assert!(said.value("process_start_time_seconds") > 1e9);
    let free = said.value("hearken_data_dir_free_bytes");
    assert!(0.0 < free && free < said.value("hearken_data_dir_size_bytes"), "{free}");
    assert!(said.value("hearken_http_connections_limit") > 0.0);
}

/// The head of the document's table of all metrics.
const HEAD: &str = "| metric | kind | labels | says |\n|---|---|---|---|\n";

/// Returns the rows of that table.
fn table() -> String {
    let mut table = String::new();
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        table +=
            &format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind, labels.join(", "), metric.help);
    }
    table
}

fn project(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// `HEARKEN_UPDATE_DOCUMENTS=1 cargo test --test it metrics` writes the table of metrics.
#[test]
fn the_documents_list_every_metric_and_every_alert() {
    let page = project("docs/observability.md");
    let (before, rest) = page.split_once(HEAD).expect("the page has a table of metrics");
    let told: String = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    let table = table();
    if told != table && std::env::var_os("HEARKEN_UPDATE_DOCUMENTS").is_some() {
        let after = rest.strip_prefix(told.as_str()).unwrap_or_default();
        std::fs::write(root().join("docs/observability.md"), format!("{before}{HEAD}{table}{after}"))
            .unwrap();
        return;
    }
    assert!(told == table, "docs/observability.md has:\n{told}\nbut the metrics are:\n{table}");
    let rules = project("deploy/prometheus/alerts.yml");
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let explained: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("### Hearken")).map(str::trim).collect();
    assert_eq!(explained, alerts.map(|name| name.trim_start_matches("Hearken")).collect::<Vec<_>>());
}

#[test]
fn dashboard_alerts_and_documents_use_existing_metrics() {
    let known: Vec<String> = ALL
        .iter()
        .flat_map(|metric| match metric.kind {
            "histogram" => {
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name)).to_vec()
            }
            _ => vec![metric.name.to_owned()],
        })
        .collect();
    let dashboard: Value = serde_json::from_str(&project("deploy/grafana/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: String =
        targets.map(|target| format!("{}\n", target["expr"].as_str().unwrap())).collect();
    queries += &project("deploy/prometheus/alerts.yml");
    let page = project("docs/observability.md");
    queries.extend(page.split("```promql\n").skip(1).filter_map(|rest| rest.split("```").next()));
    let words = queries.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let mut asked: Vec<&str> =
        words.filter(|word| word.starts_with("hearken_") || word.starts_with("process_")).collect();
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.len() > 40, "{asked:?}");
    for name in asked {
        let family = ALL.iter().any(|metric| metric.name == name);
        assert!(family || known.iter().any(|metric| metric == name), "there is no metric {name}");
    }
}
