//! The providers of channels that are reached over HTTP, and their keys.

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

/// Where a channel's provider is, and the key that it wants, as they may be written. Channels whose provider is code of
/// this process have them, too, and do not use them.
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
    /// Returns keys that only name the variable with the API key.
    #[must_use]
    pub fn with_key_in(variable: &str) -> Self {
        Self { api_key_env: Some(variable.to_owned()), ..Self::default() }
    }

    /// Returns the base of the provider's URLs.
    ///
    /// # Errors
    /// [`Problem`] where it is no URL, or holds what would not be sent.
    pub fn base_url(&self, at: &Section<'_>, default: &str) -> Result<Url, Problem> {
        let text = self.base_url.as_deref().unwrap_or(default);
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| at.wrong("base_url", format!("{text:?} is no http(s) URL")))?;
        // Neither would be sent, and the first is a secret that logs might show.
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            let reason = "a name, a password or a fragment in it is not sent";
            let advice = "remove it, and write the key as api_key";
            return Err(at.problem("base_url", reason).advise(advice));
        }
        Ok(url)
    }

    /// Returns the API key.
    ///
    /// # Errors
    /// [`Problem`] where there is none, or it can be none.
    pub fn api_key(&self, at: &Section<'_>) -> Result<Secret, Problem> {
        at.secret("api_key", self.api_key.clone(), self.api_key_env.as_deref())
    }

    /// Returns the API key of a server that speaks like OpenAI; some of these want none.
    ///
    /// # Errors
    /// [`Problem`] where there is none, or it can be none.
    pub fn bearer_key(&self, at: &Section<'_>) -> Result<Secret, Problem> {
        if self.api_key.as_deref().unwrap_or_default().is_empty() && self.api_key_env.is_none() {
            let advice = "set it, or api_key_env to the name of a variable; for a server that wants none, write any word";
            return Err(at.wrong("api_key", "it is missing").advise(advice));
        }
        self.api_key(at)
    }
}

/// A provider that is reached over HTTP: each channel has one upstream, for any number of calls.
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
