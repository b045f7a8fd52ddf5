//! What OpenAI's APIs, and the many servers that imitate them, have in common on the wire: addresses and keys,
//! chunks of a chat, counts of tokens, errors.
//!
//! Facts were taken from recorded traffic, from the sources of servers and SDKs and from public issues. Hardly a
//! field is where and what OpenAI's description says at all of these servers, so nothing here is parsed into types
//! that a surprising value would break: JSON is looked into, and what is not understood is passed over.

pub(super) mod chunk;
pub(super) mod usage;

use awc::http::header;
use url::Url;

use super::UpstreamError;
use super::exchange::KeyHeader;
use crate::secret::Secret;

/// An endpoint below a base address, whose query it keeps: Azure wants its `api-version` there.
#[must_use]
pub(super) fn endpoint(base_url: &Url, path: &[&str]) -> Url {
    let mut url = base_url.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.set_fragment(None);
    url
}

/// The header that carries a channel's key.
///
/// # Errors
/// As [`KeyHeader::new`].
pub(super) fn bearer(api_key: &Secret) -> Result<KeyHeader, UpstreamError> {
    KeyHeader::new(header::AUTHORIZATION, "Bearer ", api_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_stands_below_its_base_and_keeps_the_query() {
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
