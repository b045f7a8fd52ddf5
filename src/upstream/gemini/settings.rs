//! Channels of kind `gemini`.

use std::io;
use std::sync::Arc;

use serde::Deserialize;

use super::Gemini;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::Upstream;
use crate::upstream::kind::{Callee, ChannelKind, ModelHint, Provider, WithoutFile};
use crate::upstream::remote::RemoteKeys;

const BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";

/// Keys of its own it has none.
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
        Ok(Arc::new(Self::new(remote.base_url(at, BASE_URL)?, remote.api_key(at)?)))
    }
}

impl Provider for Gemini {
    fn callee(&self) -> Callee {
        Callee::at(&self.base_url, "gcp.gemini", "generate_content")
    }

    fn open(&self, _: usize) -> io::Result<Arc<dyn Upstream>> {
        Ok(Arc::new(self.clone()))
    }
}
