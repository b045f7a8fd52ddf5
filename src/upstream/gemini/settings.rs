//! Channels of kind `gemini`.

use std::sync::Arc;

use serde::Deserialize;

use super::Gemini;
use crate::audio::Container;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::kind::{Callee, ChannelKind, ModelHint, Provider, WithoutFile};
use crate::upstream::remote::{Remote, RemoteKeys};

const BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";

/// The keys of `gemini` channels, beside the keys that every channel has: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeminiKeys {}

impl Keys for GeminiKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl ChannelKind for Gemini {
    const NAME: &'static str = "gemini";
    const MODELS: &'static [&'static str] = &["gemini-2.5-pro", "gemini-2.5-flash", "gemini-*"];
    const WITHOUT_FILE: WithoutFile = WithoutFile::WithKey(
        "GEMINI_API_KEY",
        ModelHint {
            models: &["gemini-*"],
            advice: "This server has no channel for Gemini; its operator enables it by starting the server with \
                     GEMINI_API_KEY set",
        },
    );
    type Keys = GeminiKeys;

    fn provider(at: &Section<'_>, remote: RemoteKeys, _: GeminiKeys) -> Result<Arc<dyn Provider>, Problem> {
        let base_url = remote.base_url(at, BASE_URL)?;
        let callee = Callee::at(&base_url, "gcp.gemini", "generate_content");
        let upstream = Self::new(base_url, remote.api_key(at)?);
        Ok(Arc::new(Remote { upstream, formats: Container::all().to_vec(), callee }))
    }
}
