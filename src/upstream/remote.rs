//! The providers of channels that are called over HTTP, and their keys.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::Upstream;
use super::kind::{Callee, Provider};
use crate::audio::Container;
use crate::secret::Secret;
use crate::setting::{Keys, Problem, Section};

/// The address of a channel's provider and its API key, as the operator writes them. Channels with a provider in this
/// process accept these keys, too, and do not use them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteKeys {
    base_url: Option<String>,
    api_key: Option<String>,
    api_key_env: Option<String>,
}

impl Keys for RemoteKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        ("base_url", "\"https://api.openai.com/v1\""),
        ("api_key", "\"sk-...\""),
        ("api_key_env", "\"GEMINI_API_KEY\""),
    ];
}

impl RemoteKeys {
    /// Returns keys that only name the environment variable with the API key.
    #[must_use]
    pub fn with_key_in(variable: &str) -> Self {
        Self { api_key_env: Some(variable.to_owned()), ..Self::default() }
    }

    /// Returns the base of the provider's URLs.
    ///
    /// # Errors
    /// [`Problem`] if it is not a URL, or if it has parts that would not be sent.
    pub fn base_url(&self, at: &Section<'_>, default: &str) -> Result<Url, Problem> {
        let text = self.base_url.as_deref().unwrap_or(default);
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| at.wrong("base_url", format!("{text:?} is not an http(s) URL")))?;
        // These parts would not be sent, and logs might show the password.
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            let reason = "a user name, a password or a fragment in it is not sent";
            let advice = "remove it, and write the key as api_key";
            return Err(at.problem("base_url", reason).advise(advice));
        }
        Ok(url)
    }

    /// Returns the API key.
    ///
    /// # Errors
    /// [`Problem`] if there is none, or if it cannot be a key.
    pub fn api_key(&self, at: &Section<'_>) -> Result<Secret, Problem> {
        at.secret("api_key", self.api_key.clone(), self.api_key_env.as_deref())
    }

    /// Returns the API key of a server that is compatible with OpenAI. Some of these servers need no key.
    ///
    /// # Errors
    /// [`Problem`] if there is none, or if it cannot be a key.
    pub fn bearer_key(&self, at: &Section<'_>) -> Result<Secret, Problem> {
        if self.api_key.as_deref().unwrap_or_default().is_empty() && self.api_key_env.is_none() {
            let advice = "set it, or set api_key_env to the name of an environment variable; if the server needs no key, \
                          write any word";
            return Err(at.wrong("api_key", "it is missing").advise(advice));
        }
        self.api_key(at)
    }
}

/// A provider that is called over HTTP. Each channel has one upstream, for any number of calls.
#[derive(Debug)]
pub(super) struct Remote<U> {
    pub(super) upstream: U,
    pub(super) formats: Vec<Container>,
    pub(super) callee: Callee,
}

impl<U: Upstream + Clone + Debug + 'static> Provider for Remote<U> {
    fn formats(&self) -> &[Container] {
        &self.formats
    }

    fn callee(&self) -> Callee {
        self.callee.clone()
    }

    fn open(&self, _: usize) -> io::Result<Arc<dyn Upstream>> {
        Ok(Arc::new(self.upstream.clone()))
    }
}

/// Checks the key `audio_formats`, for kinds that have it.
///
/// # Errors
/// [`Problem`] for an empty list.
pub(super) fn audio_formats(
    at: &Section<'_>,
    formats: Option<Vec<Container>>,
    default: &[Container],
) -> Result<Vec<Container>, Problem> {
    let formats = formats.unwrap_or_else(|| default.to_vec());
    if formats.is_empty() {
        return Err(at.wrong("audio_formats", "the list is empty").advise("name at least one"));
    }
    Ok(formats)
}
