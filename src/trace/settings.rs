//! `[traces]`: the settings for the export of spans.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::Url;

use crate::secret::Secret;
use crate::setting::{Keys, Problem, Section};

/// The path that the OTLP standard appends to a base address.
const SIGNAL_PATH: [&str; 2] = ["v1", "traces"];

/// The address and the options of the export.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// The URL for OTLP messages, with the path.
    pub endpoint: Url,
    /// Headers of each message, with names in lower case. Some values are credentials.
    pub headers: Vec<(String, Secret)>,
    /// The share of the traces begun by hearken that are recorded, from 0 to 1. For other traces, the service that
    /// began them decides.
    pub sample_ratio: f64,
    /// The name of the service in the spans.
    pub service_name: String,
}

/// `[traces]`, as written in the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesKeys {
    otlp_endpoint: Option<String>,
    otlp_headers: Option<String>,
    otlp_headers_env: Option<String>,
    sample_ratio: Option<f64>,
    service_name: Option<String>,
}

impl Keys for TracesKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("otlp_endpoint", "\"http://127.0.0.1:4318\""),
        ("otlp_headers", "\"X-Scope=a\""),
        ("otlp_headers_env", "\"OTEL_EXPORTER_OTLP_HEADERS\""),
        ("sample_ratio", "0.5"),
        ("service_name", "\"hearken\""),
    ];
}

impl TracesKeys {
    /// Checks the keys. Returns `None` if nothing is exported.
    ///
    /// # Errors
    /// [`Problem`] with the first value that is wrong.
    pub fn checked(
        self,
        at: &Section<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<TracesConfig>, Problem> {
        let sample_ratio = self.sample_ratio.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&sample_ratio) {
            let reason = format!(
                "a number from 0 to 1 is needed, the share of traces that are recorded, and this is {sample_ratio}"
            );
            return Err(at.wrong("sample_ratio", reason));
        }
        let service_name = self.service_name.unwrap_or_else(|| "hearken".to_owned());
        if service_name.is_empty() {
            let problem = at.wrong("service_name", "it is empty");
            return Err(problem.advise("remove it, or give the service a name"));
        }
        let headers = headers(at, self.otlp_headers, self.otlp_headers_env.as_deref())?;
        let Some(text) = self.otlp_endpoint.filter(|text| !text.is_empty()) else {
            if !headers.is_empty() {
                warnings.push(
                    "traces.otlp_headers is set, but nothing is exported: set traces.otlp_endpoint, too"
                        .to_owned(),
                );
            }
            return Ok(None);
        };
        Ok(Some(TracesConfig { endpoint: endpoint(at, &text)?, headers, sample_ratio, service_name }))
    }
}

fn endpoint(at: &Section<'_>, text: &str) -> Result<Url, Problem> {
    const KEY: &str = "otlp_endpoint";
    let parsed = Url::parse(text).ok();
    let Some(mut url) = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    else {
        // The message does not repeat the text, which may contain a name and a password.
        return Err(at.wrong(KEY, "it is not an http(s) URL"));
    };
    // A log or a message might show a secret in the URL.
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !is_bare || url.fragment().is_some() {
        let reason = "it has a name, a password, a query or a fragment";
        return Err(at.problem(KEY, reason).advise("remove it, and write credentials as otlp_headers"));
    }
    // Many operators write the whole address with this path. Then the path is not added again.
    let is_whole = url.path().trim_end_matches('/').ends_with("/v1/traces");
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !is_whole {
            path.extend(SIGNAL_PATH);
        }
    }
    Ok(url)
}

/// Reads `name=value,name=value` with percent-encoded values, the format of `OTEL_EXPORTER_OTLP_HEADERS`. No message
/// contains a value.
fn headers(
    at: &Section<'_>,
    written: Option<String>,
    named: Option<&str>,
) -> Result<Vec<(String, Secret)>, Problem> {
    const KEY: &str = "otlp_headers";
    const KEY_ENV: &str = "otlp_headers_env";
    let (key, text) = match (written.filter(|text| !text.is_empty()), named) {
        (Some(_), Some(_)) => {
            return Err(at
                .problem(KEY, "traces.otlp_headers_env is also set")
                .advise("remove one of the two"));
        }
        (Some(text), None) => (KEY, text),
        (None, Some(name)) => {
            let unset = || {
                at.problem(KEY_ENV, format!("{name} is not set in the environment"))
                    .advise("set it, or remove this key")
            };
            (KEY_ENV, at.variables().text(name)?.ok_or_else(unset)?.to_owned())
        }
        (None, None) => return Ok(Vec::new()),
    };
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let headers = members.enumerate().map(|(index, member)| {
        header(member).ok_or_else(|| {
            let number = index + 1;
            at.problem(key, format!("header {number} is malformed"))
                .advise("write Name=value, and commas between headers")
        })
    });
    headers.collect()
}

fn header(member: &str) -> Option<(String, Secret)> {
    let (name, value) = member.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    let is_value = value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    // The exporter sets these headers itself.
    let is_ours = matches!(name.as_str(), "content-type" | "content-length" | "transfer-encoding" | "host");
    (is_name && is_value && !is_ours).then(|| (name, Secret::new(value.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::{Mistake, Subject, Variables};

    fn read(keys: TracesKeys) -> Result<Option<TracesConfig>, Problem> {
        let variables: Variables = [("SET", "a=1")].into_iter().collect();
        keys.checked(&Section::new("traces", &variables), &mut Vec::new())
    }

    fn to(endpoint: &str) -> TracesKeys {
        TracesKeys { otlp_endpoint: Some(endpoint.to_owned()), ..TracesKeys::default() }
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert!(read(TracesKeys::default()).unwrap().is_none());
        assert!(read(to("")).unwrap().is_none());
        let mut warnings = Vec::new();
        let entry = TracesKeys { otlp_headers: Some("a=1".to_owned()), ..TracesKeys::default() };
        assert!(
            entry.checked(&Section::new("traces", &Variables::default()), &mut warnings).unwrap().is_none()
        );
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn the_path_of_traces_is_added_to_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://o.example/otlp/", "https://o.example/otlp/v1/traces"),
            ("https://o.example/otlp/v1/traces", "https://o.example/otlp/v1/traces"),
        ] {
            assert_eq!(read(to(endpoint)).unwrap().unwrap().endpoint.as_str(), url);
        }
    }

    #[test]
    fn headers_are_parsed_as_in_other_exporters() {
        let text = "Authorization=Basic%20YTpi==, X-Scope=a b,";
        let entry = TracesKeys { otlp_headers: Some(text.to_owned()), ..to("http://h:1") };
        let config = read(entry).unwrap().unwrap();
        let headers: Vec<_> =
            config.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Basic YTpi=="), ("x-scope", "a b")]);
        assert!(!format!("{config:?}").contains("YTpi"));
        let entry = TracesKeys { otlp_headers_env: Some("SET".to_owned()), ..to("http://h:1") };
        assert_eq!(read(entry).unwrap().unwrap().headers.len(), 1);
    }

    #[test]
    fn a_malformed_header_is_refused_and_not_repeated() {
        for text in ["secret", "a=%0Asecret", "a=1,b c=secret", "=secret", "host=secret", "a=%FFsecret"] {
            let entry = TracesKeys { otlp_headers: Some(text.to_owned()), ..to("http://h:1") };
            let problem = read(entry).unwrap_err();
            assert_eq!(problem.subject, Subject::Key("traces.otlp_headers".to_owned()));
            assert!(
                matches!(&problem.mistake, Mistake::Reason(reason) if !reason.contains("secret")),
                "{problem}"
            );
        }
    }
}
