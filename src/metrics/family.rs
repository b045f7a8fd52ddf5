//! A typed wrapper over the library's metrics. The compiler checks the number of labels, so that no use of a metric can
//! fail at run time.

use std::fmt;
use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, Result,
};

/// The declaration of a metric. `V` is its kind, `N` the number of its labels.
pub(super) struct Spec<V, const N: usize> {
    pub(super) name: &'static str,
    pub(super) labels: [&'static str; N],
    pub(super) help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub(super) buckets: &'static [f64],
    pub(super) kind: PhantomData<fn() -> V>,
}

impl<V: Kind, const N: usize> Spec<V, N> {
    /// Creates the metric and adds it to the registry.
    ///
    /// # Errors
    /// When the name or a label is invalid, or the name is taken.
    pub(super) fn open(&self, registry: &Registry) -> Result<Family<V, N>> {
        let vector = V::open(Opts::new(self.name, self.help), self.buckets, &self.labels)?;
        registry.register(Box::new(vector.clone()))?;
        Ok(Family(vector))
    }
}

/// A metric with all label values that have occurred; cheap to clone. All clones are the same metric.
#[derive(Clone)]
pub(super) struct Family<V, const N: usize>(V);

impl<V, const N: usize> fmt::Debug for Family<V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").finish_non_exhaustive()
    }
}

impl<V: Kind, const N: usize> Family<V, N> {
    /// Returns the series with these label values. The scrapes contain it from now on.
    pub(super) fn of(&self, labels: [&str; N]) -> V::One {
        self.0.one(&labels)
    }
}

/// A kind of metric.
pub(super) trait Kind: Collector + Clone + 'static {
    /// The name of the kind in the text format.
    const NAME: &'static str;
    /// A metric with one set of label values.
    type One;
    fn open(opts: Opts, buckets: &[f64], labels: &[&str]) -> Result<Self>;
    fn one(&self, labels: &[&str]) -> Self::One;
}

macro_rules! kinds {
    ($($vector:ty => $one:ty, $name:literal;)*) => {$(
        impl Kind for $vector {
            const NAME: &'static str = $name;
            type One = $one;
            fn open(opts: Opts, _: &[f64], labels: &[&str]) -> Result<Self> {
                Self::new(opts, labels)
            }
            fn one(&self, labels: &[&str]) -> Self::One {
                self.with_label_values(labels)
            }
        }
    )*};
}

kinds! {
    IntCounterVec => IntCounter, "counter";
    CounterVec => Counter, "counter";
    IntGaugeVec => IntGauge, "gauge";
    GaugeVec => Gauge, "gauge";
}

impl Kind for HistogramVec {
    const NAME: &'static str = "histogram";
    type One = Histogram;
    fn open(opts: Opts, buckets: &[f64], labels: &[&str]) -> Result<Self> {
        Self::new(HistogramOpts::from(opts).buckets(buckets.to_vec()), labels)
    }
    fn one(&self, labels: &[&str]) -> Self::One {
        self.with_label_values(labels)
    }
}
