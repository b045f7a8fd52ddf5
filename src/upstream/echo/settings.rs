//! Channels of kind `echo`.

use std::io;
use std::sync::Arc;

use serde::Deserialize;

use super::Echo;
use crate::setting::{Keys, Problem, Section};
use crate::upstream::Upstream;
use crate::upstream::kind::{Callee, ChannelKind, Provider};
use crate::upstream::remote::RemoteKeys;

/// The keys of `echo` channels, beside the keys that every channel has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EchoKeys {
    echo_times: Option<u32>,
}

impl Keys for EchoKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("echo_times", "2")];
}

impl ChannelKind for Echo {
    const NAME: &'static str = "echo";
    const MODELS: &'static [&'static str] = &["echo"];
    type Keys = EchoKeys;

    fn provider(at: &Section<'_>, _: RemoteKeys, keys: EchoKeys) -> Result<Arc<dyn Provider>, Problem> {
        let times = keys.echo_times.map(|times| times as usize);
        Ok(Arc::new(Self { times: at.at_least_one("echo_times", times, 1)? }))
    }
}

impl Provider for Echo {
    fn callee(&self) -> Callee {
        Callee { operation: "echo", server: None }
    }

    fn open(&self, _: usize) -> io::Result<Arc<dyn Upstream>> {
        Ok(Arc::new(self.clone()))
    }
}
