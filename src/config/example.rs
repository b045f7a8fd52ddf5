//! What a good value of each key looks like, for messages about a wrong one.

/// Returns an example of a key's value, in TOML; none where any would be misleading.
pub(super) fn of(key: &str) -> Option<&'static str> {
    let plain: String =
        key.split('[').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit())).collect();
    let plain = plain.replace(']', "");
    Some(match plain.as_str() {
        "listen" => "\"127.0.0.1:8080\"",
        "metrics.listen" => "\"127.0.0.1:9464\"",
        "data_dir" => "\"/var/lib/hearken\"",
        "keys.name" => "\"alice\"",
        "keys.key" | "channels.api_key" => "\"sk-...\"",
        "keys.key_env" => "\"DEMO_KEY\"",
        "keys.models" | "channels.models" => "[\"gemini-*\"]",
        "channels.kind" | "channels.name" => "\"gemini\"",
        "channels.base_url" => "\"https://api.openai.com/v1\"",
        "channels.api_key_env" => "\"GEMINI_API_KEY\"",
        "channels.capabilities" => "[\"text\", \"audio\"]",
        "channels.audio_formats" => "[\"wav\", \"mp3\"]",
        "channels.audio_part" => "\"input_audio\"",
        "channels.max_tokens_field" => "\"max_tokens\"",
        "channels.language" => "\"de\"",
        "channels.response_format" => "\"json\"",
        "channels.priority" | "channels.weight" => "1",
        "channels.total_timeout_audio_factor" => "2.5",
        "channels.max_retries" | "channels.breaker_failures" | "fetch.max_redirects" => "3",
        "fetch.allow_hosts" => "[\"files.example.com\"]",
        "fetch.allow_ports" => "[443, 8443]",
        "channels.stream"
        | "channels.stream_options"
        | "fetch.allow_private_networks"
        | "stream.hand_over"
        | "store.sync" => "true",
        "store.kind" => "\"sqlite\"",
        "tls.certificate" => "\"/etc/hearken/fullchain.pem\"",
        "tls.key" => "\"/etc/hearken/privkey.pem\"",
        "traces.otlp_endpoint" => "\"http://127.0.0.1:4318\"",
        "traces.otlp_headers" => "\"X-Scope=a\"",
        "traces.otlp_headers_env" => "\"OTEL_EXPORTER_OTLP_HEADERS\"",
        "traces.sample_ratio" => "0.5",
        "traces.service_name" => "\"hearken\"",
        "keys.requests_per_minute" | "keys.max_running_tasks" | "channels.max_running_tasks" => "60",
        "limits.max_pending_tasks" | "limits.max_connections_per_address" => "1000",
        "limits.max_task_calls" => "12",
        seconds if seconds.ends_with("_seconds") => "30",
        milliseconds if milliseconds.ends_with("_ms") => "5000",
        bytes if bytes.ends_with("_bytes") => "20000000",
        _ => return None,
    })
}
