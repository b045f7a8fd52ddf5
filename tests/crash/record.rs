//! What is known of one task, and what clients may see of it next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::stream::Frame;
use crate::plan::Order;

/// A task, as clients have seen it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) order: Order,
    /// The first process to which it was submitted.
    pub(crate) epoch: u32,
    pub(crate) id: Option<String>,
    /// True if a submit was answered. Then the task must never be unknown.
    pub(crate) acknowledged: bool,
    /// True if a submit was answered as new.
    pub(crate) accepted_as_new: bool,
    seen: Seen,
    pub(crate) end: Option<Ended>,
    /// The chunks that clients received.
    pub(crate) chunks: BTreeMap<u64, Frame>,
    /// The process that sent the first chunk to a client.
    pub(crate) chunk_epoch: Option<u32>,
    /// The frame that ends its stream.
    pub(crate) last: Option<Frame>,
    /// The answer to a blocking caller.
    pub(crate) answer: Option<Answer>,
    pub(crate) cancel_asked: bool,
    /// True if a blocking caller disconnected.
    pub(crate) left: bool,
    /// True if it was under way while a server drained.
    pub(crate) drained: bool,
    /// When it was last seen unended, or submitted.
    pub(crate) alive_at: Instant,
    /// True if it was forgotten after its retention.
    pub(crate) gone: bool,
    history: Vec<(Instant, String)>,
}

/// The state and progress in which a task was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    status: Status,
    progress: u64,
}

/// What was known when a request was sent: the answer must not be behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) at: Instant,
    seen: Seen,
    gone: bool,
}

/// The status of a task, in the order in which it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    #[default]
    Pending,
    Processing,
    Ended,
}

/// A task's outcome, as it was first read.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The body, which must stay the same forever.
    pub(crate) body: String,
    pub(crate) epoch: u32,
    pub(crate) at: Instant,
}

/// The reply to a blocking call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Completion(Value),
    Error(String),
}

/// The ways in which a task can break the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    Lost,
    TwoOutcomes,
    AudioLeft,
    SlotHeld,
    Other,
}

/// A breach and its description.
pub(crate) type Broken = (Breach, String);

impl Record {
    pub(crate) fn new(order: Order, epoch: u32) -> Self {
        Self {
            order,
            epoch,
            id: None,
            acknowledged: false,
            accepted_as_new: false,
            seen: Seen::default(),
            end: None,
            chunks: BTreeMap::new(),
            chunk_epoch: None,
            last: None,
            answer: None,
            cancel_asked: false,
            left: false,
            drained: false,
            alive_at: Instant::now(),
            gone: false,
            history: Vec::new(),
        }
    }

    /// Remembers what happened, for the report of a breach.
    pub(crate) fn note(&mut self, what: String) {
        self.history.push((Instant::now(), what));
    }

    /// Returns the task's history, with the seconds since the simulation began.
    pub(crate) fn history(&self, began: Instant) -> String {
        let line = |(at, what): &(Instant, String)| format!("{:9.3}  {what}\n", (*at - began).as_secs_f64());
        let order = &self.order;
        let key = order.idempotency_key.as_deref().unwrap_or("no key");
        format!("{:?} of {:?}, {key}: {:?}\n", order.delivery, order.caller, order.script)
            + &self.history.iter().map(line).collect::<String>()
    }

    pub(crate) fn is_unended(&self) -> bool {
        self.end.is_none() && !self.gone
    }

    /// Records the task's id, and fails if it had another one.
    pub(crate) fn take_id(&mut self, id: &str) -> Result<(), Broken> {
        match &self.id {
            Some(known) if known != id => {
                Err((Breach::TwoOutcomes, format!("one submit became two tasks: {known} and {id}")))
            }
            Some(_) => Ok(()),
            None => {
                self.id = Some(id.to_owned());
                Ok(())
            }
        }
    }

    /// Returns what is known now, before a request is sent.
    pub(crate) fn floor(&self) -> Floor {
        Floor { at: Instant::now(), seen: self.seen, gone: self.gone }
    }

    /// Returns what is known of a task that was unknown when a request was sent.
    pub(crate) fn first_floor(&self) -> Floor {
        Floor { at: self.alive_at, seen: Seen::default(), gone: false }
    }

    /// Records a task object.
    pub(crate) fn take_object(&mut self, floor: Floor, body: &str, epoch: u32) -> Result<(), Broken> {
        let object: Value =
            serde_json::from_str(body).map_err(|err| (Breach::Other, format!("{err}: {body}")))?;
        let id = object["id"].as_str().unwrap_or_default();
        self.take_id(id)?;
        let model = self.order.model();
        if object["model"] != model.as_str() {
            return Err((Breach::Other, format!("another model than {model}: {body}")));
        }
        if floor.gone {
            return Err((Breach::Other, format!("it was forgotten and is back: {body}")));
        }
        self.take_state(floor, &object)?;
        if is_ended(&object) { self.take_end(body, epoch) } else { Ok(()) }
    }

    /// Records status and progress, which every view of a task has.
    pub(crate) fn take_state(&mut self, floor: Floor, object: &Value) -> Result<(), Broken> {
        let status = match object["status"].as_str() {
            Some("pending") => Status::Pending,
            Some("processing") => Status::Processing,
            Some("completed" | "failed") => Status::Ended,
            _ => return Err((Breach::Other, format!("no status: {object}"))),
        };
        let progress = object["progress"].as_u64().unwrap_or(u64::MAX);
        let seen = Seen { status, progress };
        if status < floor.seen.status || progress < floor.seen.progress {
            let ended = floor.seen.status == Status::Ended;
            let breach = if ended { Breach::TwoOutcomes } else { Breach::Other };
            return Err((breach, format!("it was {:?} and is {seen:?}", floor.seen)));
        }
        let fits = match object["status"].as_str() {
            Some("pending") => progress == 0,
            Some("completed") => progress == 100,
            _ => progress < 100,
        };
        if !fits {
            return Err((Breach::Other, format!("a progress that does not fit: {object}")));
        }
        if status < Status::Ended {
            self.alive_at = self.alive_at.max(floor.at);
        }
        if seen > self.seen {
            self.note(format!("{status:?} at {progress}"));
            self.seen = seen;
        }
        Ok(())
    }

    fn take_end(&mut self, body: &str, epoch: u32) -> Result<(), Broken> {
        match &self.end {
            Some(end) if end.body != body => {
                Err((Breach::TwoOutcomes, format!("it had ended as\n{}\nand now as\n{body}", end.body)))
            }
            Some(_) => Ok(()),
            None => {
                self.note(format!("ended: {body}"));
                self.end = Some(Ended { body: body.to_owned(), epoch, at: Instant::now() });
                Ok(())
            }
        }
    }

    /// Records a frame that a subscriber received; returns whether it was known.
    pub(crate) fn take_frame(&mut self, frame: Frame, epoch: u32) -> Result<bool, Broken> {
        let known = if frame.is_last() { self.last.as_ref() } else { self.chunks.get(&frame.id) };
        if let Some(known) = known {
            if *known != frame {
                let text = format!("a frame was\n{known:?}\nand is\n{frame:?}");
                return Err((Breach::TwoOutcomes, text));
            }
            return Ok(true);
        }
        let longest = self.chunks.last_key_value().map(|(id, _)| *id);
        let (last, longest) = if frame.is_last() {
            (Some(frame.id), longest)
        } else {
            (self.last.as_ref().map(|last| last.id), Some(frame.id))
        };
        if let (Some(last), Some(longest)) = (last, longest)
            && longest >= last
        {
            return Err((Breach::Other, format!("a chunk {longest}, and an end that says {last}")));
        }
        if frame.is_last() {
            self.note(format!("the stream's end: {frame:?}"));
            self.last = Some(frame);
        } else {
            if self.chunks.is_empty() {
                self.note(format!("its first chunk was received: {}", frame.id));
                self.chunk_epoch = Some(epoch);
            }
            self.chunks.insert(frame.id, frame);
        }
        Ok(false)
    }

    /// Records that the task is not known (`404`), which is allowed this long after its end.
    pub(crate) fn take_absence(&mut self, kept: Option<Duration>) -> Result<(), Broken> {
        let may_be = kept.is_some_and(|kept| self.alive_at.elapsed() >= kept);
        if !may_be {
            return Err((Breach::Lost, "an acknowledged task is not known".to_owned()));
        }
        if !self.gone {
            self.note("forgotten".to_owned());
        }
        self.gone = true;
        Ok(())
    }

    /// Returns true if the connection of its submit broke and the submit can be repeated.
    pub(crate) fn is_unanswered(&self) -> bool {
        let waits = self.order.delivery.is_blocking() && self.answer.is_none();
        self.order.idempotency_key.is_some() && (self.id.is_none() || waits) && !self.left && !self.gone
    }

    /// Returns true if its text is streamed to subscribers.
    pub(crate) fn is_stream(&self) -> bool {
        self.order.delivery.is_stream()
    }
}

/// Returns true if this object shows an outcome.
pub(crate) fn is_ended(object: &Value) -> bool {
    matches!(object["status"].as_str(), Some("completed" | "failed"))
}
