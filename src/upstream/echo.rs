//! A kind of channel that answers with the prompt. Only unit tests use it: it shows that a new kind is one folder and
//! one line of the list.

mod settings;

use futures_util::{StreamExt, stream};

use super::{Upstream, UpstreamEvent, UpstreamRequest, UpstreamStream};
use crate::task::{Part, TextKind};
use crate::wire::completion::{FinishReason, Usage};

/// An upstream that repeats the prompt a number of times.
#[derive(Debug, Clone)]
pub(super) struct Echo {
    times: usize,
}

impl Upstream for Echo {
    fn call(&self, request: UpstreamRequest) -> UpstreamStream {
        let parts = request.question.messages.iter().flat_map(|message| &message.content);
        let text = parts.filter_map(Part::text).collect::<String>().repeat(self.times);
        let end = UpstreamEvent::Finished { reason: FinishReason::Stop, usage: Usage::default() };
        stream::iter([Ok(vec![UpstreamEvent::Text(TextKind::Content, text), end])]).boxed_local()
    }
}
