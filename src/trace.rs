//! Spans: what is recorded of requests and tasks, where the configuration names somebody who collects it.
//!
//! A span is made of values when its work has ended: no open one lives in an actor, and where nothing is exported
//! nothing is made. Never part of one: prompts, texts, keys, addresses of audio.

mod export;
mod otlp;
mod post;
mod queue;
mod request_span;
mod settings;
mod task_spans;

use std::collections::HashMap;
use std::sync::Arc;

use actix_rt::ArbiterHandle;
use rand::RngExt;

use crate::upstream::Callee;
use crate::wire::trace_context::{SpanId, TraceContext};

pub use export::Exporter;
use queue::Queue;
pub use request_span::{Recognition, RequestFacts, RequestSpan};
pub use settings::{TracesConfig, TracesKeys};
pub use task_spans::EndedTask;

/// Where spans are recorded, if they are; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    queue: Queue,
    sample_ratio: f64,
    /// What stands behind the channels, by their names.
    callees: HashMap<String, Callee>,
}

impl Traces {
    /// Begins to export, on this arbiter. `callees` are what stands behind the channels, by their names.
    #[must_use]
    pub fn export(
        config: &TracesConfig,
        callees: HashMap<String, Callee>,
        arbiter: &ArbiterHandle,
    ) -> (Self, Exporter) {
        let (queue, exporter) = export::start(config, arbiter);
        let recorder = Recorder { queue, sample_ratio: config.sample_ratio, callees };
        (Self(Some(Arc::new(recorder))), exporter)
    }

    /// Where the work for a request stands in a trace, given where its caller does.
    ///
    /// A trace begins here only where it is recorded: an upstream that is told of one that nobody records would not
    /// record its own part either.
    #[must_use]
    pub fn place(&self, caller: Option<&TraceContext>) -> Option<TraceContext> {
        match (&self.0, caller) {
            (Some(_), Some(caller)) if caller.flags.is_sampled() => Some(caller.below(SpanId::random())),
            (_, Some(caller)) => Some(caller.clone()),
            (Some(recorder), None) => {
                Some(TraceContext::begin(rand::rng().random_bool(recorder.sample_ratio)))
            }
            (None, None) => None,
        }
    }

    /// Returns true if work at this place is recorded here.
    #[must_use]
    pub fn record(&self, place: Option<&TraceContext>) -> bool {
        self.recorder(place).is_some()
    }

    /// Who records work at this place.
    fn recorder(&self, place: Option<&TraceContext>) -> Option<&Recorder> {
        self.0.as_deref().filter(|_| place.is_some_and(|place| place.flags.is_sampled()))
    }
}
