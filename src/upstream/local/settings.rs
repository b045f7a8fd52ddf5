//! Channels of kind `local`.

use std::io;
use std::sync::Arc;

use serde::Deserialize;

use super::Local;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::Upstream;
use crate::upstream::kind::{Callee, ChannelKind, Provider, WithoutFile};
use crate::upstream::remote::RemoteKeys;

/// The embedded channel's model, if the configuration names no other.
pub const LOCAL_MODEL: &str = "local-inspect";

/// The keys of `local` channels, beside the keys that every channel has: none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LocalKeys {}

impl Keys for LocalKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[];
}

impl ChannelKind for Local {
    const NAME: &'static str = "local";
    const MODELS: &'static [&'static str] = &[LOCAL_MODEL];
    const TAKES_ONE_AUDIO: bool = true;
    const WITHOUT_FILE: WithoutFile = WithoutFile::Always;
    type Keys = LocalKeys;

    fn slots() -> usize {
        // Measuring audio is work for the processor: more tasks at once than cores only make all of them slower.
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    fn provider(_: &Section<'_>, _: RemoteKeys, _: LocalKeys) -> Result<Arc<dyn Provider>, Problem> {
        Ok(Arc::new(Embedded))
    }
}

/// The embedded channel, before its threads are prepared.
#[derive(Debug)]
struct Embedded;

impl Provider for Embedded {
    fn callee(&self) -> Callee {
        Callee { operation: "inspect", server: None }
    }

    fn open(&self, slots: usize) -> io::Result<Arc<dyn Upstream>> {
        Ok(Arc::new(Local::new(slots)?))
    }
}
