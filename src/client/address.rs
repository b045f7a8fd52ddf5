//! The address of a server: the part that all of its URLs share.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Default address of a server: where `hearken serve` listens by default.
pub(super) const DEFAULT: &str = "http://127.0.0.1:8080";

/// The base of a server's URLs, without a slash at its end. It has a path if a proxy serves hearken below that path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

/// A text that is not a base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a server's address: {reason}; write it as {example}")]
pub struct NotABaseUrl {
    text: String,
    reason: &'static str,
    example: String,
}

impl BaseUrl {
    /// Returns the URL of one of the API's paths, which begin with a slash.
    #[must_use]
    pub fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Returns true if a path follows the host and port.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.0.split_once("://").is_some_and(|(_, rest)| rest.contains('/'))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = NotABaseUrl;

    fn from_str(text: &str) -> Result<Self, NotABaseUrl> {
        // A message must not repeat a password that the address contains.
        let wrong = |reason| {
            let text = text.trim().rsplit('@').next().unwrap_or_default().to_owned();
            NotABaseUrl { example: example(&text), text, reason }
        };
        let url = Url::parse(text.trim()).map_err(|_| wrong("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("it does not begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the key belongs in --key or HEARKEN_API_KEY, not in the address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let base = url.as_str().trim_end_matches('/');
        // A user may copy the base URL of OpenAI's client libraries, which ends with the version.
        Ok(Self(base.strip_suffix("/v1").unwrap_or(base).to_owned()))
    }
}

/// Returns an example of a right address: the text with the missing scheme, or the default address.
fn example(text: &str) -> String {
    let meant = format!("http://{text}");
    if !text.contains("://") && meant.parse::<BaseUrl>().is_ok() {
        format!("{meant} or https://{text}")
    } else {
        DEFAULT.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_base_in_every_spelling() {
        for text in
            ["http://h:8080", "http://h:8080/", "http://h:8080/v1", "http://h:8080/v1/", " http://h:8080 "]
        {
            assert_eq!(
                text.parse::<BaseUrl>().unwrap().of("/v1/models"),
                "http://h:8080/v1/models",
                "{text:?}"
            );
        }
        let below = "https://example.org/hearken/".parse::<BaseUrl>().unwrap();
        assert_eq!(below.of("/v1/models"), "https://example.org/hearken/v1/models");
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_reason() {
        for (text, reason) in [
            ("127.0.0.1:8080", "not a URL"),
            ("localhost:8080", "does not begin with"),
            ("ftp://h", "does not begin with"),
            ("http://h/?a=b", "query"),
            ("", "not a URL"),
        ] {
            let err = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(err.contains(reason), "{text}: {err}");
        }
        for (text, example) in [
            ("example.org:8080", "as http://example.org:8080 or https://example.org:8080"),
            ("localhost:8080/v1", "as http://localhost:8080/v1 or https://localhost:8080/v1"),
            ("ftp://h", "as http://127.0.0.1:8080"),
            ("a b", "as http://127.0.0.1:8080"),
        ] {
            let err = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(err.ends_with(example), "{text}: {err}");
        }
        let err = "http://me:sk-secret@h".parse::<BaseUrl>().unwrap_err().to_string();
        assert!(err.contains("--key") && !err.contains("sk-secret"), "{err}");
    }
}
