//! The common parts of OpenAI's APIs and of the many servers that imitate them: addresses and keys, chunks of a chat,
//! counts of tokens, errors.
//!
//! The facts are from recorded traffic, the sources of servers and SDKs, and public issues. For almost every field,
//! some server uses another place or type than OpenAI's description. So JSON is searched and not parsed into types,
//! which an unexpected value would break. Everything else in it is ignored.

pub(super) mod chunk;
pub(super) mod usage;

use awc::http::header;
use url::Url;

use super::UpstreamError;
use super::exchange::KeyHeader;
use crate::secret::Secret;

/// Returns an endpoint below a base address. It keeps the query of the base: Azure needs its `api-version` there.
#[must_use]
pub(super) fn endpoint(base_url: &Url, path: &[&str]) -> Url {
    let mut url = base_url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.set_fragment(None);
    url
}

/// Returns the header with a channel's key.
///
/// # Errors
/// The errors of [`KeyHeader::new`].
pub(super) fn bearer(api_key: &Secret) -> Result<KeyHeader, UpstreamError> {
    KeyHeader::new(header::AUTHORIZATION, "Bearer ", api_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_below_its_base_and_keeps_the_query() {
        for (base, expected) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("http://h:8000/v1/", "http://h:8000/v1/chat/completions"),
            ("http://h:8000", "http://h:8000/chat/completions"),
            (
                "https://r.example/openai/deployments/d/?api-version=2025-01-01#x",
                "https://r.example/openai/deployments/d/chat/completions?api-version=2025-01-01",
            ),
        ] {
            let url = endpoint(&Url::parse(base).unwrap(), &["chat", "completions"]);
            assert_eq!(url.as_str(), expected);
        }
    }
}
