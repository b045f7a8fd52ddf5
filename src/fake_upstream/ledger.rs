//! Decides which calls of the fake upstream are faulty, and counts calls.
//!
//! One actor decides and keeps the models' names. A call that ends without a message to the actor (its body is dropped)
//! is counted in atomics, which the actor's answers include.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use actix::{Actor, Context, Handler, Message, MessageResponse};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::script::{Dialect, FaultRule};

/// Most names of models that are kept.
pub(super) const MOST_MODELS: usize = 10_000;

/// Counters that calls update themselves, without a message to the ledger.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: [AtomicU64; Dialect::ALL.len()],
    answered_well: AtomicU64,
    refused: AtomicU64,
    closed_early: AtomicU64,
    open: AtomicI64,
    audio_bytes: AtomicU64,
}

/// A call, from its arrival to its end. A call that is dropped earlier counts as closed by its client.
#[derive(Debug)]
pub(super) struct CountedCall {
    counters: Arc<Counters>,
    faulty: bool,
    ended: bool,
}

impl CountedCall {
    /// Counts a new call.
    pub(super) fn arrived(counters: &Arc<Counters>, dialect: Dialect) -> Self {
        let calls = Dialect::ALL.iter().zip(&counters.calls).find(|(known, _)| **known == dialect);
        if let Some((_, calls)) = calls {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self { counters: Arc::clone(counters), faulty: false, ended: false }
    }

    /// Marks the call as faulty, so that it does not count as answered well.
    pub(super) fn is_faulty(&mut self) {
        self.faulty = true;
    }

    /// Counts the bytes of audio in the request.
    pub(super) fn brought_audio(&self, bytes: u64) {
        self.counters.audio_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts the request as refused.
    pub(super) fn refused(mut self) {
        self.ended = true;
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the call as completely answered.
    pub(super) fn ended(&mut self) {
        if !std::mem::replace(&mut self.ended, true) && !self.faulty {
            self.counters.answered_well.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        if !self.ended {
            self.counters.closed_early.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The actor that decides and counts.
#[derive(Debug)]
pub(super) struct Ledger {
    counters: Arc<Counters>,
    random: StdRng,
    calls: u64,
    faults: BTreeMap<String, u64>,
    models: BTreeMap<String, u64>,
}

impl Ledger {
    pub(super) fn new(counters: Arc<Counters>, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { counters, random, calls: 0, faults: BTreeMap::new(), models: BTreeMap::new() }
    }

    /// Counts a call to a model and returns its number, from 1; `None` if too many names are kept.
    fn count(&mut self, model: String) -> Option<u64> {
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(&model) {
            return None;
        }
        let calls = self.models.entry(model).or_default();
        *calls += 1;
        Some(*calls)
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;
}

/// Decides whether a call is faulty.
#[derive(Debug, Message)]
#[rtype(result = "Result<FaultDecision, TooManyModels>")]
pub(super) struct DecideFault {
    /// The model's whole name, with its script.
    pub(super) model: String,
    pub(super) fault_rule: Option<FaultRule>,
}

/// The decision about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, MessageResponse)]
pub(super) struct FaultDecision {
    /// The call's number among all calls.
    pub(super) number: u64,
    pub(super) faulty: bool,
}

/// The script has the step `first`, and too many models are known to count the calls of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`first` cannot be counted: {MOST_MODELS} names of models are known; POST /stats/reset deletes them")]
pub(super) struct TooManyModels;

impl Handler<DecideFault> for Ledger {
    type Result = Result<FaultDecision, TooManyModels>;

    fn handle(
        &mut self,
        DecideFault { model, fault_rule }: DecideFault,
        _: &mut Context<Self>,
    ) -> Self::Result {
        let call = self.count(model);
        let faulty = match &fault_rule {
            None => false,
            Some(FaultRule { first, rate, .. }) => {
                let due = match first {
                    None => true,
                    Some(first) => call.ok_or(TooManyModels)? <= *first,
                };
                due && rate.is_none_or(|share| self.random.random_bool(share))
            }
        };
        if let Some(FaultRule { fault, .. }) = fault_rule.filter(|_| faulty) {
            *self.faults.entry(fault.name()).or_default() += 1;
        }
        self.calls += 1;
        Ok(FaultDecision { number: self.calls, faulty })
    }
}

/// Returns all counters.
#[derive(Debug, Message)]
#[rtype(result = "Stats")]
pub(super) struct ReadStats;

/// The counters.
#[derive(Debug, Serialize, MessageResponse)]
pub(super) struct Stats {
    /// Requests, by dialect.
    calls: BTreeMap<&'static str, u64>,
    /// Answers that were sent completely and without a fault.
    answered_well: u64,
    /// Requests that were not valid.
    refused: u64,
    /// Calls that a script made faulty, by fault.
    faults: BTreeMap<String, u64>,
    /// Calls, faulty or not, whose client disconnected before their end.
    closed_early: u64,
    /// Calls that are still running.
    open: i64,
    /// Bytes of audio in requests, decoded.
    audio_bytes: u64,
    /// Calls by the model's whole name, script included; at most [`MOST_MODELS`] names.
    calls_by_model: BTreeMap<String, u64>,
}

impl Handler<ReadStats> for Ledger {
    type Result = Stats;

    fn handle(&mut self, _: ReadStats, _: &mut Context<Self>) -> Stats {
        let counters = &self.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let calls = Dialect::ALL.iter().zip(&counters.calls);
        Stats {
            calls: calls.map(|(dialect, calls)| (dialect.name(), count(calls))).collect(),
            answered_well: count(&counters.answered_well),
            refused: count(&counters.refused),
            faults: self.faults.clone(),
            closed_early: count(&counters.closed_early),
            open: counters.open.load(Ordering::Relaxed),
            audio_bytes: count(&counters.audio_bytes),
            calls_by_model: self.models.clone(),
        }
    }
}

/// Sets all counters to zero, except for the running calls.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Reset;

impl Handler<Reset> for Ledger {
    type Result = ();

    fn handle(&mut self, _: Reset, _: &mut Context<Self>) {
        let Counters { calls, answered_well, refused, closed_early, audio_bytes, open: _ } = &*self.counters;
        for counter in calls.iter().chain([answered_well, refused, closed_early, audio_bytes]) {
            counter.store(0, Ordering::Relaxed);
        }
        self.faults.clear();
        self.models.clear();
    }
}

#[cfg(test)]
mod tests {
    use actix::Addr;

    use super::*;
    use crate::fake_upstream::script::Script;

    fn ledger() -> Addr<Ledger> {
        Ledger::new(Arc::default(), 7).start()
    }

    async fn faulty(ledger: &Addr<Ledger>, model: &str) -> Result<bool, TooManyModels> {
        let (_, script) = Script::of_model(model).unwrap();
        let fault_rule = script.unwrap().fault_rule;
        let decision = ledger.send(DecideFault { model: model.to_owned(), fault_rule }).await.unwrap();
        decision.map(|decision| decision.faulty)
    }

    #[actix::test]
    async fn the_first_calls_to_a_name_are_faulty() {
        let ledger = ledger();
        for expected in [true, true, false, false] {
            assert_eq!(faulty(&ledger, "a+429+first=2").await, Ok(expected));
        }
        assert_eq!(faulty(&ledger, "b+429+first=2").await, Ok(true));
    }

    #[actix::test]
    async fn a_share_of_calls_is_faulty_and_repeats_with_the_seed() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let ledger = ledger();
            let mut run = Vec::new();
            for _ in 0..400 {
                run.push(faulty(&ledger, "a+429+rate=0.25").await.unwrap());
            }
            runs.push(run);
        }
        assert_eq!(runs[0], runs[1]);
        let share = runs[0].iter().filter(|faulty| **faulty).count();
        assert!((60..140).contains(&share), "{share}");
    }

    #[actix::test]
    async fn the_number_of_names_is_limited() {
        let ledger = ledger();
        for number in 0..MOST_MODELS {
            assert_eq!(faulty(&ledger, &format!("m{number}+slam")).await, Ok(true));
        }
        assert_eq!(faulty(&ledger, "one-more+slam").await, Ok(true));
        assert_eq!(faulty(&ledger, "one-more+slam+first=1").await, Err(TooManyModels));
        let stats = ledger.send(ReadStats).await.unwrap();
        assert_eq!(stats.calls_by_model.len(), MOST_MODELS);
        ledger.send(Reset).await.unwrap();
        assert_eq!(faulty(&ledger, "one-more+slam+first=1").await, Ok(true));
    }

    #[test]
    fn a_dropped_call_counts_as_left_by_its_client() {
        let counters = Arc::new(Counters::default());
        let mut good = CountedCall::arrived(&counters, Dialect::Chat);
        let mut faulty = CountedCall::arrived(&counters, Dialect::Chat);
        let left = CountedCall::arrived(&counters, Dialect::Gemini);
        CountedCall::arrived(&counters, Dialect::Gemini).refused();
        assert_eq!(counters.open.load(Ordering::Relaxed), 3);
        good.ended();
        faulty.is_faulty();
        faulty.ended();
        drop((good, faulty, left));
        let counts = [&counters.answered_well, &counters.refused, &counters.closed_early];
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1, 1, 1]);
        assert_eq!(counters.open.load(Ordering::Relaxed), 0);
    }
}
