//! Remembers what the server acknowledged and showed, and finds the first thing that does not match.
//!
//! It lives outside the server and knows only the contract.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::Value;

use crate::http::Reply;
use crate::kit::stream::Frame;
use crate::plan::{Caller, Order};
use crate::record::{Answer, Breach, Broken, Floor, Record, is_ended};
use crate::summary::Tally;
use crate::upstream::Upstream;
use crate::verdict::{Outcome, judge};

/// How much too early an ended task may be forgotten, because times are whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// The memory of all tasks on one data directory.
#[derive(Debug)]
pub(crate) struct Oracle {
    began: Instant,
    /// How long chunks and tasks are kept, in batches that wait for their deletion.
    retention: Option<(Duration, Duration)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<String, Record>,
    epoch: u32,
    frames_compared: u64,
    violation: Option<Violation>,
}

/// A breach of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) breach: Breach,
    /// The id of the task in which it happened.
    pub(crate) task: Option<String>,
    /// The breach, and the task's history.
    pub(crate) text: String,
}

/// A task that can be queried again.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) token: String,
    pub(crate) id: String,
    pub(crate) caller: Caller,
    pub(crate) stream: bool,
    pub(crate) ended: bool,
}

impl Oracle {
    pub(crate) fn new(began: Instant, retention: Option<(u64, u64)>) -> Self {
        let seconds = |(chunks, tasks)| (Duration::from_secs(chunks), Duration::from_secs(tasks));
        Self { began, retention: retention.map(seconds), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on, another process of the server answers.
    pub(crate) fn begin_epoch(&self, epoch: u32) {
        let mut state = self.state();
        state.epoch = epoch;
        for record in state.records.values_mut().filter(|record| record.is_unended()) {
            record.note(format!("process {epoch} starts"));
        }
    }

    /// Records that the server was told to stop.
    pub(crate) fn drains(&self) {
        for record in self.state().records.values_mut().filter(|record| record.is_unended()) {
            record.drained = true;
            record.note("the server drains".to_owned());
        }
    }

    /// Records a breach; the first one counts.
    pub(crate) fn violate(&self, token: Option<&str>, breach: Breach, text: &str) {
        let mut state = self.state();
        let told = token.and_then(|token| state.records.get(token));
        let history = told.map(|record| record.history(self.began)).unwrap_or_default();
        let named = token.map(|token| format!("{token}: ")).unwrap_or_default();
        let text = format!("{named}{text}\n{history}");
        let task = told.and_then(|record| record.id.clone());
        state.violation.get_or_insert(Violation { breach, task, text });
    }

    /// Returns the first breach, if there is one.
    pub(crate) fn verdict(&self) -> Result<(), Violation> {
        self.state().violation.clone().map_or(Ok(()), Err)
    }

    /// Records that a submit is about to be sent.
    pub(crate) fn submits(&self, order: &Order) -> Floor {
        let mut state = self.state();
        let epoch = state.epoch;
        let record = state.records.entry(order.token().to_owned());
        let record = record.or_insert_with(|| Record::new(order.clone(), epoch));
        record.note(format!("submit to process {epoch}"));
        record.floor()
    }

    /// Returns what is known of a task before a query for it is sent.
    pub(crate) fn asks(&self, token: &str) -> Floor {
        self.state().records[token].floor()
    }

    /// Records what happened to a task.
    pub(crate) fn note(&self, token: &str, what: &str) {
        self.with(token, |record, _| {
            record.note(what.to_owned());
            Ok(())
        });
    }

    /// Changes a record, and records a breach in it.
    fn with<T: Default>(&self, token: &str, change: impl FnOnce(&mut Record, u32) -> Result<T, Broken>) -> T {
        let mut state = self.state();
        let epoch = state.epoch;
        let record = state.records.get_mut(token).unwrap();
        let result = change(record, epoch);
        drop(state);
        result.unwrap_or_else(|(breach, text)| {
            self.violate(Some(token), breach, &text);
            T::default()
        })
    }

    /// Records that an asynchronous submit was answered with 200.
    pub(crate) fn acknowledged(&self, token: &str, floor: Floor, reply: &Reply) {
        let (replayed, body) = (reply.header("idempotent-replayed") == Some("true"), reply.text());
        self.with(token, |record, epoch| {
            record.note(format!("acknowledged{}: {}", if replayed { " again" } else { "" }, body));
            record.take_object(floor, &body, epoch)?;
            if !replayed && !body.contains("\"status\":\"pending\",\"progress\":0") {
                return Err((Breach::Other, format!("a new task that is not pending: {}", body)));
            }
            accept(record, replayed)
        });
    }

    /// Records that a synchronous call was answered, with the task's id in its head.
    pub(crate) fn answered(&self, token: &str, reply: &Reply, answer: Option<Answer>) {
        let replayed = reply.header("idempotent-replayed") == Some("true");
        let id = reply.header("x-task-id").unwrap_or_default();
        self.with(token, |record, _| {
            record.note(format!("{} answered {}: {answer:?}", id, reply.status));
            record.take_id(id)?;
            if let (Some(known), Some(new)) = (&record.answer, &answer)
                && known != new
            {
                return Err((Breach::TwoOutcomes, format!("it was answered {known:?} and now {new:?}")));
            }
            record.answer = record.answer.take().or(answer);
            accept(record, replayed)
        });
    }

    /// Records that a client cancels the task.
    pub(crate) fn cancels(&self, token: &str) -> Floor {
        self.with(token, |record, _| {
            record.note("cancel".to_owned());
            record.cancel_asked = true;
            Ok(())
        });
        self.asks(token)
    }

    /// Records that a blocking caller disconnected.
    pub(crate) fn leaves(&self, token: &str) {
        self.with(token, |record, _| {
            record.note("its caller leaves".to_owned());
            record.left = true;
            Ok(())
        });
    }

    /// Records that a query showed a task.
    pub(crate) fn shown(&self, token: &str, floor: Floor, body: &str) {
        self.with(token, |record, epoch| record.take_object(floor, body, epoch));
    }

    /// Records that a query did not find a task.
    pub(crate) fn absent(&self, token: &str) {
        let kept = self.retention.map(|(_, tasks)| tasks.saturating_sub(ROUNDING));
        self.with(token, |record, _| record.take_absence(kept));
    }

    /// Records that the chunks of a task are no longer kept.
    pub(crate) fn expired(&self, token: &str) {
        let kept = self.retention.map(|(chunks, _)| chunks.saturating_sub(ROUNDING));
        self.with(token, |record, _| {
            if kept.is_some_and(|kept| record.alive_at.elapsed() >= kept) {
                return Ok(());
            }
            Err((Breach::Other, "its chunks are not kept".to_owned()))
        });
    }

    /// Records a received frame.
    pub(crate) fn received(&self, token: &str, frame: Frame) {
        let known = self.with(token, |record, epoch| record.take_frame(frame, epoch));
        self.state().frames_compared += u64::from(known);
    }

    /// Records a page of the list; returns which tasks are in it.
    pub(crate) fn listed(&self, floors: &BTreeMap<String, Floor>, page: &[Value]) -> Vec<String> {
        let mut tokens = Vec::new();
        for object in page {
            let token = object["model"].as_str().and_then(|model| model.strip_prefix("gemini-"));
            let Some(token) = token.filter(|token| self.state().records.contains_key(*token)) else {
                self.violate(None, Breach::Other, &format!("a task that no client submitted: {object}"));
                continue;
            };
            let floor = floors.get(token).copied();
            self.with(token, |record, _| {
                record.take_id(object["id"].as_str().unwrap_or_default())?;
                record.take_state(floor.unwrap_or_else(|| record.first_floor()), object)
            });
            tokens.push(token.to_owned());
        }
        tokens
    }

    /// Returns what is known now of all tasks.
    pub(crate) fn floors(&self) -> BTreeMap<String, Floor> {
        let state = self.state();
        state.records.iter().map(|(token, record)| (token.clone(), record.floor())).collect()
    }

    /// Returns the tasks that have an id and were not forgotten.
    pub(crate) fn known(&self) -> Vec<Known> {
        let state = self.state();
        let records = state.records.iter().filter(|(_, record)| !record.gone);
        records.filter_map(|(token, record)| known(token, record)).collect()
    }

    /// Returns the task, if it has an id.
    pub(crate) fn known_as(&self, token: &str) -> Option<Known> {
        self.state().records.get(token).and_then(|record| known(token, record))
    }

    pub(crate) fn is_unended(&self, token: &str) -> bool {
        self.state().records.get(token).is_some_and(Record::is_unended)
    }

    /// Returns all unended tasks, and this many of the others.
    pub(crate) fn to_revisit(&self, dice: &mut StdRng, ended: usize) -> Vec<Known> {
        let (old, mut chosen): (Vec<_>, Vec<_>) = self.known().into_iter().partition(|known| known.ended);
        chosen.extend(old.sample(dice, ended).cloned());
        chosen
    }

    /// Returns the submits whose connection broke and that can be repeated.
    pub(crate) fn unanswered(&self) -> Vec<Order> {
        let state = self.state();
        let unanswered = state.records.values().filter(|record| record.is_unanswered());
        unanswered.map(|record| record.order.clone()).collect()
    }

    /// Returns true if the task's retention ended so long ago that it must be deleted.
    pub(crate) fn is_overdue(&self, token: &str, grace: Duration) -> bool {
        let state = self.state();
        let (Some(end), Some((_, tasks))) = (&state.records[token].end, self.retention) else { return false };
        end.at.elapsed() > tasks + grace
    }

    /// Judges all tasks, counts them, and forgets them.
    pub(crate) fn judge_all(&self, upstream: &Upstream, tally: &mut Tally) {
        for fault in upstream.faults() {
            self.violate(None, Breach::Other, &format!("the upstream: {fault}"));
        }
        let records = std::mem::take(&mut self.state().records);
        for (token, record) in &records {
            let calls = upstream.calls(token);
            tally.submitted += 1;
            tally.acknowledged += u64::from(record.acknowledged);
            tally.run_again += u64::from(calls.len() > 1);
            tally.upstream_calls += calls.len() as u64;
            tally.forgotten += u64::from(record.gone);
            match judge(record, &calls, self.retention.is_some()) {
                Ok(Outcome::Completed) => tally.completed += 1,
                Ok(Outcome::Failed) => tally.failed += 1,
                Ok(Outcome::Cancelled) => tally.cancelled += 1,
                Ok(Outcome::RunsUsedUp) => tally.runs_used_up += 1,
                Ok(Outcome::CallerGone) => tally.caller_gone += 1,
                Ok(Outcome::InterruptedWithChunks) => tally.interrupted_with_chunks += 1,
                Ok(Outcome::NeverAccepted) => tally.never_accepted += 1,
                // It is counted above, with the tasks whose outcome was read before.
                Ok(Outcome::Forgotten) => {}
                Err((breach, text)) => {
                    let text = format!("{token}: {text}\n{calls:?}\n{}", record.history(self.began));
                    let task = record.id.clone();
                    self.state().violation.get_or_insert(Violation { breach, task, text });
                }
            }
        }
        let mut state = self.state();
        tally.frames_compared += std::mem::take(&mut state.frames_compared);
    }
}

fn known(token: &str, record: &Record) -> Option<Known> {
    Some(Known {
        token: token.to_owned(),
        id: record.id.clone()?,
        caller: record.order.caller,
        stream: record.is_stream(),
        ended: record.end.is_some(),
    })
}

fn accept(record: &mut Record, replayed: bool) -> Result<(), Broken> {
    if replayed && record.order.idempotency_key.is_none() {
        return Err((Breach::Other, "a replay without a key".to_owned()));
    }
    if !replayed && record.accepted_as_new {
        return Err((Breach::TwoOutcomes, "one key was accepted as new twice".to_owned()));
    }
    record.acknowledged = true;
    record.accepted_as_new |= !replayed;
    Ok(())
}

/// Returns the error code of an answer.
pub(crate) fn error_code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// Returns true if this body shows an outcome.
pub(crate) fn shows_end(body: &str) -> bool {
    serde_json::from_str(body).is_ok_and(|object: Value| is_ended(&object))
}
