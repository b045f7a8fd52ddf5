//! A kind of channel that answers with the prompt, in unit tests alone: it shows that a kind is one file and a line of the
//! list. Their messages name it among the kinds.

use std::io;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use serde::Deserialize;

use super::kind::{Callee, ChannelKind, Provider};
use super::remote::RemoteKeys;
use super::{Upstream, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::setting::{Keys, Problem, Section};
use crate::task::{Part, TextKind};
use crate::wire::completion::{FinishReason, Usage};

/// The keys that its channels have beside those of every channel.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EchoKeys {
    echo_times: Option<u32>,
}

impl Keys for EchoKeys {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[("echo_times", "2")];
}

/// What stands behind one channel.
#[derive(Debug, Clone)]
pub(super) struct Echo {
    times: usize,
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

impl Upstream for Echo {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let parts = request.question.messages.iter().flat_map(|message| &message.content);
        let text = parts.filter_map(Part::text).collect::<String>().repeat(self.times);
        let end = UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() };
        stream::iter([Ok(vec![UpstreamEvent::Text(TextKind::Content, text), end])]).boxed_local()
    }
}
