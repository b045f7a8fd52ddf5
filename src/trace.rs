//! Records requests and tasks as spans, if the configuration names a collector.
//!
//! A span is built from recorded values when its work has ended. So no actor holds an open span, and without an
//! exporter no span is built. A span never contains prompts, texts, keys or addresses of audio.

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

/// Records spans, if they are exported; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    queue: Queue,
    sample_ratio: f64,
    /// The upstreams of the channels, by the channels' names.
    callees: HashMap<String, Callee>,
}

impl Traces {
    /// Starts the export on this arbiter. `callees` are the upstreams of the channels, by the channels' names.
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

    /// Returns the place of a request's work in a trace. `caller` is the place that the client has sent, if any.
    ///
    /// A new trace begins only if it is recorded, because an upstream that gets the context of an unrecorded trace
    /// would not record its own part.
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

    /// Returns the recorder, if work at this place is recorded.
    fn recorder(&self, place: Option<&TraceContext>) -> Option<&Recorder> {
        self.0.as_deref().filter(|_| place.is_some_and(|place| place.flags.is_sampled()))
    }
}
