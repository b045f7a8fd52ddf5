//! Decides which waiting task runs next, and at which channel. It owns the slots of all channels and the waiting tasks.
//! It neither waits nor reads a clock.
//!
//! A task may run at any of its candidates. It waits for the candidates of the highest priority that do not rest; if
//! all rest, for those of the highest priority. It does not take a slot of a lower priority only because better
//! channels are busy.
//!
//! A free slot goes to the key whose turn it is, and among its tasks to the one that waits longest. So a key with a
//! thousand waiting tasks and one with a single task take turns. A key that already runs as many tasks as it may is
//! skipped, so it holds no slot that it cannot use.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::breaker::Probe;
use super::{Channel, Channels};
use crate::metrics::QueueLevels;
use crate::secret::KeyHash;

/// A task's position in the order of arrival. The task keeps it when it changes channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A task that needs a slot.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// The key that owns the task.
    pub key: KeyHash,
    /// How many tasks of this key may run at the same time.
    pub most_running: Option<NonZeroU32>,
    /// The channels where the task may run, in the order in which they are tried; never empty.
    pub candidates: Vec<Arc<Channel>>,
    /// The ticket of an earlier permit, if the task comes from another channel.
    pub ticket: Option<Ticket>,
}

/// A slot that was given to a task.
#[derive(Debug)]
pub struct Grant {
    /// The channel of the slot.
    pub channel: Arc<Channel>,
    /// The key that has the slot.
    pub key: KeyHash,
    /// The probe, if this call tries a resting channel.
    pub probe: Option<Probe>,
    /// The task's position in the order of arrival.
    pub ticket: Ticket,
}

/// All slots and all waiting tasks. `W` is the value that notifies a waiting task.
#[derive(Debug)]
pub struct Queue<W> {
    /// The queue of each channel, indexed by [`Channel::place`].
    channel_queues: Vec<ChannelQueue>,
    waiting: HashMap<Ticket, WaitingTask<W>>,
    /// How many of the waiting tasks come from another channel.
    moved: usize,
    running: HashMap<KeyHash, u32>,
    next_ticket: u64,
}

/// The free slots of one channel, and the tasks that wait for them.
#[derive(Debug)]
struct ChannelQueue {
    channel: Arc<Channel>,
    free: usize,
    /// True if the channel rested at the last check.
    resting: bool,
    /// The keys that have tasks in `tickets`, the next one first.
    turns: VecDeque<KeyHash>,
    tickets: HashMap<KeyHash, BTreeSet<Ticket>>,
}

#[derive(Debug)]
struct WaitingTask<W> {
    applicant: Applicant,
    /// True if the task comes from another channel.
    moved: bool,
    since: Instant,
    /// The channels for which the task waits.
    places: Vec<usize>,
    waiter: W,
}

impl<W> Queue<W> {
    /// Creates the queue, with all slots free.
    #[must_use]
    pub fn new(channels: &Channels) -> Self {
        let channel_queue = |channel: &Arc<Channel>| ChannelQueue {
            channel: Arc::clone(channel),
            free: channel.max_running_tasks,
            resting: false,
            turns: VecDeque::new(),
            tickets: HashMap::new(),
        };
        Self {
            channel_queues: channels.iter().map(channel_queue).collect(),
            waiting: HashMap::new(),
            moved: 0,
            running: HashMap::new(),
            next_ticket: 0,
        }
    }

    /// Returns how many waiting tasks have had no slot yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len() - self.moved
    }

    /// Returns how many waiting tasks come from another channel.
    #[must_use]
    pub fn moved(&self) -> usize {
        self.moved
    }

    /// Returns how many tasks have a slot and how many wait.
    #[must_use]
    pub fn levels(&self, now: Instant) -> QueueLevels {
        let first = self.waiting.values().filter(|waiting| !waiting.moved).map(|waiting| waiting.since).min();
        let taken = |channel_queue: &ChannelQueue| {
            let all = channel_queue.channel.max_running_tasks;
            (channel_queue.channel.name.clone(), all.saturating_sub(channel_queue.free), all)
        };
        QueueLevels {
            pending: self.waiting(),
            oldest: first.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            changing: self.moved,
            channels: self.channel_queues.iter().map(taken).collect(),
        }
    }

    /// Returns the number of slots, taken or not.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.channel_queues
            .iter()
            .map(|channel_queue| channel_queue.channel.max_running_tasks)
            .fold(0, usize::saturating_add)
    }

    /// Takes a slot, if one is free where the applicant should run. No waiting task is passed over: after
    /// [`settle`](Self::settle), no waiting task could take a slot that is still free.
    pub fn take(&mut self, applicant: &Applicant, now: Instant) -> Option<Grant> {
        if self.is_at_its_limit(applicant) {
            return None;
        }
        let channel = route(&applicant.candidates, now).find(|channel| {
            self.channel_queues.get(channel.place).is_some_and(|channel_queue| channel_queue.free > 0)
        })?;
        let channel = Arc::clone(channel);
        let ticket = self.ticket(applicant);
        Some(self.grant(applicant.key, channel, ticket, now))
    }

    /// Adds a task to the queue. Also returns the tasks that get a slot now: none, unless a channel began to rest just
    /// before.
    pub fn enqueue(&mut self, applicant: Applicant, waiter: W, now: Instant) -> (Ticket, Vec<(W, Grant)>) {
        let moved = applicant.ticket.is_some();
        let ticket = self.ticket(&applicant);
        self.insert(ticket, WaitingTask { applicant, moved, since: now, places: Vec::new(), waiter }, now);
        let mut granted = self.serve(now);
        granted.extend(self.settle(now));
        (ticket, granted)
    }

    /// Updates the queue for channels that have begun or ended a rest since the last check. Tasks that may run there
    /// are queued anew. Returns the tasks that get a slot now.
    pub fn settle(&mut self, now: Instant) -> Vec<(W, Grant)> {
        let mut granted = Vec::new();
        // A task that gets a slot may be a channel's probe. Then other tasks must avoid that channel.
        while self.requeue_changed(now) {
            granted.extend(self.serve(now));
        }
        granted
    }

    fn requeue_changed(&mut self, now: Instant) -> bool {
        let mut changed = Vec::new();
        for channel_queue in &mut self.channel_queues {
            let resting = channel_queue.channel.breaker.is_resting(now);
            if std::mem::replace(&mut channel_queue.resting, resting) != resting {
                changed.push(channel_queue.channel.place);
            }
        }
        if changed.is_empty() || self.waiting.is_empty() {
            return false;
        }
        let may_run = |waiting: &WaitingTask<W>| {
            waiting.applicant.candidates.iter().any(|channel| changed.contains(&channel.place))
        };
        let concerned = self.waiting.iter().filter(|(_, waiting)| may_run(waiting));
        let mut concerned: Vec<Ticket> = concerned.map(|(ticket, _)| *ticket).collect();
        // Keys get their turns in the order of their tasks' tickets.
        concerned.sort_unstable();
        for ticket in concerned {
            if let Some(waiting) = self.remove(ticket) {
                self.insert(ticket, waiting, now);
            }
        }
        true
    }

    /// Takes back a slot. Returns the tasks that get a slot now.
    pub fn give_back(&mut self, key: KeyHash, place: usize, now: Instant) -> Vec<(W, Grant)> {
        if let Some(running) = self.running.get_mut(&key) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&key);
            }
        }
        if let Some(channel_queue) = self.channel_queues.get_mut(place) {
            channel_queue.free += 1;
        }
        // All channels are served: a task may have waited only because its key had reached its limit.
        self.serve(now)
    }

    /// Removes a task that no longer waits.
    pub fn leave(&mut self, ticket: Ticket) {
        self.remove(ticket);
    }

    /// Removes all waiting tasks.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.moved = 0;
        for channel_queue in &mut self.channel_queues {
            channel_queue.turns.clear();
            channel_queue.tickets.clear();
        }
    }

    fn ticket(&mut self, applicant: &Applicant) -> Ticket {
        applicant.ticket.unwrap_or_else(|| {
            self.next_ticket += 1;
            Ticket(self.next_ticket)
        })
    }

    fn is_at_its_limit(&self, applicant: &Applicant) -> bool {
        let running = self.running.get(&applicant.key).copied().unwrap_or(0);
        applicant.most_running.is_some_and(|most| running >= most.get())
    }

    fn insert(&mut self, ticket: Ticket, mut waiting: WaitingTask<W>, now: Instant) {
        let Applicant { key, candidates, .. } = &waiting.applicant;
        waiting.places = route(candidates, now).map(|channel| channel.place).collect();
        for place in &waiting.places {
            let Some(channel_queue) = self.channel_queues.get_mut(*place) else { continue };
            let tickets = channel_queue.tickets.entry(*key).or_default();
            if tickets.is_empty() {
                channel_queue.turns.push_back(*key);
            }
            tickets.insert(ticket);
        }
        self.moved += usize::from(waiting.moved);
        self.waiting.insert(ticket, waiting);
    }

    fn remove(&mut self, ticket: Ticket) -> Option<WaitingTask<W>> {
        let waiting = self.waiting.remove(&ticket)?;
        self.moved -= usize::from(waiting.moved);
        let key = waiting.applicant.key;
        for place in &waiting.places {
            let Some(channel_queue) = self.channel_queues.get_mut(*place) else { continue };
            let Some(tickets) = channel_queue.tickets.get_mut(&key) else { continue };
            tickets.remove(&ticket);
            if tickets.is_empty() {
                channel_queue.tickets.remove(&key);
                channel_queue.turns.retain(|other| *other != key);
            }
        }
        Some(waiting)
    }

    /// Gives each free slot to the task whose turn it is.
    fn serve(&mut self, now: Instant) -> Vec<(W, Grant)> {
        let mut granted = Vec::new();
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for place in 0..self.channel_queues.len() {
                while let Some((ticket, waiting)) = self.next(place) {
                    changed = true;
                    let mut wanted = route(&waiting.applicant.candidates, now);
                    match wanted.find(|channel| channel.place == place).cloned() {
                        Some(channel) => {
                            let grant = self.grant(waiting.applicant.key, channel, ticket, now);
                            granted.push((waiting.waiter, grant));
                        }
                        // The channel has begun to rest since the last check.
                        None => {
                            drop(wanted);
                            self.insert(ticket, waiting, now);
                        }
                    }
                }
            }
        }
        granted
    }

    /// Removes and returns the task whose turn it is, if the channel has a free slot.
    fn next(&mut self, place: usize) -> Option<(Ticket, WaitingTask<W>)> {
        let channel_queue = self.channel_queues.get(place).filter(|channel_queue| channel_queue.free > 0)?;
        let (turn, ticket) = channel_queue.turns.iter().enumerate().find_map(|(turn, key)| {
            let ticket = *channel_queue.tickets.get(key)?.first()?;
            let waiting = self.waiting.get(&ticket)?;
            (!self.is_at_its_limit(&waiting.applicant)).then_some((turn, ticket))
        })?;
        let turns = &mut self.channel_queues.get_mut(place)?.turns;
        let key = turns.remove(turn)?;
        turns.push_back(key);
        Some((ticket, self.remove(ticket)?))
    }

    fn grant(&mut self, key: KeyHash, channel: Arc<Channel>, ticket: Ticket, now: Instant) -> Grant {
        if let Some(channel_queue) = self.channel_queues.get_mut(channel.place) {
            channel_queue.free = channel_queue.free.saturating_sub(1);
        }
        *self.running.entry(key).or_default() += 1;
        let probe = channel.breaker.enter(now);
        Grant { channel, key, probe, ticket }
    }
}

/// Returns the candidates that should be tried now, in their order.
fn route(candidates: &[Arc<Channel>], now: Instant) -> impl Iterator<Item = &Arc<Channel>> {
    let works = move |channel: &&Arc<Channel>| !channel.breaker.is_resting(now);
    let highest = candidates.iter().filter(works).map(|channel| channel.priority).max();
    let all_rest = highest.is_none();
    let highest = highest.or_else(|| candidates.iter().map(|channel| channel.priority).max());
    candidates.iter().filter(move |channel| Some(channel.priority) == highest && (all_rest || works(channel)))
}

#[cfg(test)]
mod tests;
