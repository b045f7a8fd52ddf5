//! The configuration file as serde reads it: every key there is, all of them optional.

use std::path::PathBuf;

use serde::Deserialize;

use super::Capability;
use super::kind::{AudioPart, MaxTokensField, ResponseFormat};
use crate::audio::container::Container;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileConfig {
    pub(super) listen: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) drain_seconds: Option<u64>,
    #[serde(default)]
    pub(super) keys: Vec<KeyEntry>,
    #[serde(default)]
    pub(super) channels: Vec<ChannelEntry>,
    #[serde(default)]
    pub(super) fetch: Fetch,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) retention: Retention,
    #[serde(default)]
    pub(super) stream: Stream,
    #[serde(default)]
    pub(super) metrics: Metrics,
    #[serde(default)]
    pub(super) traces: Traces,
    #[serde(default)]
    pub(super) store: Store,
    #[serde(default)]
    pub(super) tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub(super) name: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_env: Option<String>,
    pub(super) key_sha256: Option<String>,
    pub(super) models: Option<Vec<String>>,
    pub(super) requests_per_minute: Option<u32>,
    pub(super) max_running_tasks: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelEntry {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) api_key_env: Option<String>,
    pub(super) models: Option<Vec<String>>,
    pub(super) capabilities: Option<Vec<Capability>>,
    pub(super) audio_formats: Option<Vec<Container>>,
    pub(super) audio_part: Option<AudioPart>,
    pub(super) max_tokens_field: Option<MaxTokensField>,
    pub(super) stream_options: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) language: Option<String>,
    pub(super) response_format: Option<ResponseFormat>,
    pub(super) priority: Option<i64>,
    pub(super) weight: Option<u32>,
    pub(super) max_running_tasks: Option<usize>,
    pub(super) connect_timeout_ms: Option<u64>,
    pub(super) first_chunk_timeout_ms: Option<u64>,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) total_timeout_ms: Option<u64>,
    pub(super) total_timeout_audio_factor: Option<f64>,
    pub(super) max_retries: Option<u32>,
    pub(super) max_retry_wait_ms: Option<u64>,
    pub(super) breaker_failures: Option<u32>,
    pub(super) breaker_rest_ms: Option<u64>,
    pub(super) max_request_bytes: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    pub(super) allow_private_networks: Option<bool>,
    pub(super) allow_hosts: Option<Vec<String>>,
    pub(super) allow_ports: Option<Vec<u16>>,
    pub(super) max_bytes: Option<u64>,
    pub(super) connect_timeout_ms: Option<u64>,
    pub(super) total_timeout_ms: Option<u64>,
    pub(super) max_redirects: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) max_body_bytes: Option<usize>,
    pub(super) max_pending_tasks: Option<usize>,
    pub(super) max_answer_bytes: Option<usize>,
    pub(super) max_payload_memory_bytes: Option<usize>,
    pub(super) max_response_memory_bytes: Option<usize>,
    pub(super) max_stream_memory_bytes: Option<usize>,
    pub(super) max_spool_bytes: Option<u64>,
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) max_task_calls: Option<u32>,
    pub(super) max_task_retry_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) chunks_seconds: Option<u64>,
    pub(super) tasks_seconds: Option<u64>,
    pub(super) idempotency_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) keep_alive_seconds: Option<u64>,
    pub(super) hand_over: Option<bool>,
    pub(super) send_timeout_seconds: Option<u64>,
    pub(super) keyless_send_timeout_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Traces {
    pub(super) otlp_endpoint: Option<String>,
    pub(super) otlp_headers: Option<String>,
    pub(super) otlp_headers_env: Option<String>,
    pub(super) sample_ratio: Option<f64>,
    pub(super) service_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) kind: Option<String>,
    pub(super) url: Option<String>,
    pub(super) sync: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}
