//! `[traces]`: whether spans are exported, and to whom.

use percent_encoding::percent_decode_str;
use url::Url;

use super::TracesConfig;
use super::file;
use super::problem::Problem;
use super::variables::Variables;
use crate::secret::Secret;

/// What the OTLP standard adds to a base address.
const SIGNAL_PATH: [&str; 2] = ["v1", "traces"];

/// Checks the section; `None` where nothing is exported.
pub(super) fn traces(
    entry: file::Traces,
    warnings: &mut Vec<String>,
    variables: &Variables,
) -> Result<Option<TracesConfig>, Problem> {
    let sample_ratio = entry.sample_ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample_ratio) {
        let reason = format!(
            "a number from 0 to 1 is needed, the share of traces that are recorded, and this is {sample_ratio}"
        );
        return Err(Problem::value("traces.sample_ratio", reason));
    }
    let service_name = entry.service_name.unwrap_or_else(|| "hearken".to_owned());
    if service_name.is_empty() {
        let problem = Problem::value("traces.service_name", "it is empty");
        return Err(problem.advise("remove it, or give the service a name"));
    }
    let headers = headers(entry.otlp_headers, entry.otlp_headers_env.as_deref(), variables)?;
    let Some(text) = entry.otlp_endpoint.filter(|text| !text.is_empty()) else {
        if !headers.is_empty() {
            warnings
                .push("traces.otlp_headers is set, but nothing is exported without otlp_endpoint".to_owned());
        }
        return Ok(None);
    };
    Ok(Some(TracesConfig { endpoint: endpoint(&text)?, headers, sample_ratio, service_name }))
}

fn endpoint(text: &str) -> Result<Url, Problem> {
    const KEY: &str = "traces.otlp_endpoint";
    let parsed = Url::parse(text).ok();
    let Some(mut url) = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    else {
        // It is not repeated: many write a name and a password in it.
        return Err(Problem::value(KEY, "it is no http(s) URL"));
    };
    // Secrets in it might be shown.
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !is_bare || url.fragment().is_some() {
        let reason = "a name, a password, a query or a fragment cannot be part of it";
        return Err(Problem::new(KEY, reason).advise("remove it, and write credentials as otlp_headers"));
    }
    // Many write the whole address, and twice the same path is nobody's.
    let is_whole = url.path().trim_end_matches('/').ends_with("/v1/traces");
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty();
        if !is_whole {
            path.extend(SIGNAL_PATH);
        }
    }
    Ok(url)
}

/// Reads `name=value,name=value` with percent-encoded values, as `OTEL_EXPORTER_OTLP_HEADERS` is written. No message
/// holds a value.
fn headers(
    written: Option<String>,
    named: Option<&str>,
    variables: &Variables,
) -> Result<Vec<(String, Secret)>, Problem> {
    const KEY: &str = "traces.otlp_headers";
    const KEY_ENV: &str = "traces.otlp_headers_env";
    let (key, text) = match (written.filter(|text| !text.is_empty()), named) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(KEY, "set either it or traces.otlp_headers_env, not both"));
        }
        (Some(text), None) => (KEY, text),
        (None, Some(name)) => {
            let unset = || {
                Problem::new(KEY_ENV, format!("{name} is not set in the environment"))
                    .advise("set it, or remove this key")
            };
            (KEY_ENV, variables.text(name)?.ok_or_else(unset)?.to_owned())
        }
        (None, None) => return Ok(Vec::new()),
    };
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    let headers = members.enumerate().map(|(index, member)| {
        header(member).ok_or_else(|| {
            let number = index + 1;
            Problem::new(key, format!("header {number} is malformed"))
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
    // These are the message's own.
    let is_ours = matches!(name.as_str(), "content-type" | "content-length" | "transfer-encoding" | "host");
    (is_name && is_value && !is_ours).then(|| (name, Secret::new(value.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Subject;

    fn read(entry: file::Traces) -> Result<Option<TracesConfig>, Problem> {
        traces(entry, &mut Vec::new(), &[("SET", "a=1")].into_iter().collect())
    }

    fn to(endpoint: &str) -> file::Traces {
        file::Traces { otlp_endpoint: Some(endpoint.to_owned()), ..file::Traces::default() }
    }

    #[test]
    fn nothing_is_exported_unless_somebody_says_where() {
        assert!(read(file::Traces::default()).unwrap().is_none());
        assert!(read(to("")).unwrap().is_none());
        let mut warnings = Vec::new();
        let entry = file::Traces { otlp_headers: Some("a=1".to_owned()), ..file::Traces::default() };
        assert!(traces(entry, &mut warnings, &Variables::default()).unwrap().is_none());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn the_path_of_the_signal_is_added_to_the_endpoint() {
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
    fn headers_are_read_as_other_exporters_read_them() {
        let text = "Authorization=Basic%20YTpi==, X-Scope=a b,";
        let entry = file::Traces { otlp_headers: Some(text.to_owned()), ..to("http://h:1") };
        let config = read(entry).unwrap().unwrap();
        let headers: Vec<_> =
            config.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Basic YTpi=="), ("x-scope", "a b")]);
        assert!(!format!("{config:?}").contains("YTpi"));
        let entry = file::Traces { otlp_headers_env: Some("SET".to_owned()), ..to("http://h:1") };
        assert_eq!(read(entry).unwrap().unwrap().headers.len(), 1);
    }

    #[test]
    fn a_malformed_header_is_refused_without_being_told() {
        for text in ["secret", "a=%0Asecret", "a=1,b c=secret", "=secret", "host=secret", "a=%FFsecret"] {
            let entry = file::Traces { otlp_headers: Some(text.to_owned()), ..to("http://h:1") };
            let problem = read(entry).unwrap_err();
            assert_eq!(problem.subject, Subject::Key("traces.otlp_headers".to_owned()));
            assert!(!problem.reason.contains("secret"), "{}", problem.reason);
        }
    }
}
