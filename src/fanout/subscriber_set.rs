//! The subscribers of one pump, the logs that they read, and the order in which they are served.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::behind::Behind;
use super::pump::Arrival;
use super::socket::OpenFile;
use super::subscriber::{Served, SilenceLimits, SilenceState, Subscriber};
use super::subscription::SubscriptionEnd;
use super::topic::Topic;
use crate::task::{Format, LogReader};

/// Subscribers that are served before the other futures on the pump's thread are polled: about 0.7 ms.
const SERVED_AT_ONCE: usize = 128;

/// A stream that yields the topic's number each time that its log has grown.
type Watch = Abortable<BoxStream<'static, usize>>;

/// The subscribers of a pump.
pub(super) struct SubscriberSet {
    /// The registry in which the subscribers' sockets are registered for events.
    registry: Registry,
    silence: SilenceLimits,
    subscribers: Slab<Subscriber>,
    topics: Slab<Topic>,
    /// The topic of each log and format that a subscriber reads.
    by_log: HashMap<(usize, Format), usize>,
    watches: SelectAll<Watch>,
    /// Topics whose logs have grown and whose members are yet to be served. Each is listed at most once.
    grown_topics: VecDeque<usize>,
    /// Subscribers that are served with a delay: they are due a comment, or are far behind and continue after the
    /// others. Each is listed at most once.
    behind: VecDeque<usize>,
}

impl SubscriberSet {
    /// Creates an empty set.
    pub(super) fn new(registry: Registry, silence: SilenceLimits) -> Self {
        Self {
            registry,
            silence,
            subscribers: Slab::new(),
            topics: Slab::new(),
            by_log: HashMap::new(),
            watches: SelectAll::new(),
            grown_topics: VecDeque::new(),
            behind: VecDeque::new(),
        }
    }

    /// Returns true if there are no subscribers.
    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Returns true if a subscriber can be served once the thread's other futures were polled.
    pub(super) fn has_work(&self) -> bool {
        !self.grown_topics.is_empty() || !self.behind.is_empty()
    }

    /// Adds a subscriber and serves it.
    ///
    /// # Errors
    /// When the system refuses to register its socket.
    pub(super) fn admit(
        &mut self,
        (mut socket, file): (TcpStream, OpenFile),
        arrival: Arrival,
        now: Instant,
    ) -> io::Result<()> {
        let Arrival { log, cursor, framing, mut subscription } = arrival;
        if subscription.is_revoked() {
            // The key was revoked, and the pump was notified, before the subscriber arrived here.
            subscription.ends(SubscriptionEnd::Revoked);
            return Ok(());
        }
        let entry = self.subscribers.vacant_entry();
        let place = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, Token(place), interest)?;
        let read = (log.log().number(), log.format());
        let at = match self.by_log.get(&read) {
            Some(at) => *at,
            None => {
                let topic = self.topics.vacant_entry();
                let at = topic.key();
                self.by_log.insert(read, at);
                let (handle, registration) = AbortHandle::new_pair();
                self.watches.push(Abortable::new(watch(log.log().clone(), at), registration));
                topic.insert(Topic::new(log, handle));
                at
            }
        };
        let Some(topic) = self.topics.get_mut(at) else { return Ok(()) };
        let membership = (at, topic.join(place));
        entry.insert(Subscriber::new((socket, file), framing, cursor, subscription, membership, now));
        self.serve(place, now);
        Ok(())
    }

    /// Queues the topics whose logs have grown.
    pub(super) fn queue_grown_topics(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(at)) = self.watches.poll_next_unpin(cx) {
            let Some(topic) = self.topics.get_mut(at) else { continue };
            topic.log_has_grown();
            if !std::mem::replace(&mut topic.is_queued, true) {
                self.grown_topics.push_back(at);
            }
        }
    }

    /// Handles an event of a socket.
    pub(super) fn on_socket(&mut self, event: &Event, now: Instant) {
        let place = event.token().0;
        let Some(subscriber) = self.subscribers.get_mut(place) else { return };
        if event.is_error() || event.is_write_closed() {
            return self.remove(place, SubscriptionEnd::Disconnected);
        }
        let has_ended = event.is_read_closed() || (event.is_readable() && !subscriber.discard());
        let is_new = has_ended && subscriber.has_ended_its_side();
        if event.is_writable() {
            subscriber.socket_has_room();
        }
        if is_new || event.is_writable() {
            self.serve(place, now);
        }
    }

    /// Continues the walks over topics whose logs have grown, and serves some of the subscribers that are behind.
    pub(super) fn serve_some(&mut self, now: Instant) {
        let mut left = SERVED_AT_ONCE;
        for _ in 0..self.behind.len().min(SERVED_AT_ONCE / 2) {
            let Some(place) = self.behind.pop_front() else { break };
            if let Some(subscriber) = self.subscribers.get_mut(place) {
                subscriber.is_behind = false;
            }
            self.serve(place, now);
            left -= 1;
        }
        while left > 0
            && let Some(at) = self.grown_topics.pop_front()
        {
            left = self.walk(at, left, now);
        }
    }

    /// Serves at most `most` of a topic's members. Returns how many more could have been served.
    fn walk(&mut self, at: usize, most: usize, now: Instant) -> usize {
        for left in (0..most).rev() {
            let Some(topic) = self.topics.get_mut(at) else { return left };
            match topic.next() {
                Some(place) => self.serve(place, now),
                None if topic.needs_walk() => {
                    self.grown_topics.push_back(at);
                    return left;
                }
                None => {
                    topic.is_queued = false;
                    return left;
                }
            }
        }
        self.grown_topics.push_back(at);
        0
    }

    fn serve(&mut self, place: usize, now: Instant) {
        let Some(subscriber) = self.subscribers.get_mut(place) else { return };
        let Some(topic) = self.topics.get_mut(subscriber.topic) else { return };
        let mark = topic.cache.log().mark();
        match subscriber.serve(&mut topic.cache, mark, self.silence.keep_alive, now) {
            Served::CaughtUp => {}
            Served::More => subscriber.enqueue(place, &mut self.behind),
            Served::Ended(end) => self.remove(place, end),
        }
    }

    /// Sends a comment to subscribers that were sent nothing for a time, and drops those that took nothing for a long
    /// time. This check runs late by `late`: in that time nothing was written, and no subscriber could take anything.
    pub(super) fn check_silence(&mut self, now: Instant, late: Duration) {
        for (_, topic) in &mut self.topics {
            topic.forget_payload();
        }
        let mut stuck = Vec::new();
        for (place, subscriber) in &mut self.subscribers {
            subscriber.discount(late);
            match subscriber.silence_state(self.silence, now) {
                SilenceState::Fine => {}
                // Many subscribers were last written to at the same time, so their comments are due at the same time.
                SilenceState::CommentDue => subscriber.enqueue(place, &mut self.behind),
                SilenceState::Stuck => stuck.push(place),
            }
        }
        for place in stuck {
            // After a freeze of this process the socket may take bytes before the event loop reports it.
            if let Some(subscriber) = self.subscribers.get_mut(place) {
                subscriber.socket_has_room();
            }
            self.serve(place, now);
            let is_stuck =
                |subscriber: &Subscriber| subscriber.silence_state(self.silence, now) == SilenceState::Stuck;
            if self.subscribers.get(place).is_some_and(is_stuck) {
                self.remove(place, SubscriptionEnd::Stuck);
            }
        }
    }

    /// Breaks off the subscribers whose key was revoked.
    pub(super) fn break_off_revoked(&mut self) {
        let revoked = self.subscribers.iter().filter(|(_, subscriber)| subscriber.subscription.is_revoked());
        for place in revoked.map(|(place, _)| place).collect::<Vec<_>>() {
            self.remove(place, SubscriptionEnd::Revoked);
        }
    }

    /// Returns how far the subscribers are behind. Also adds what they were sent since the last call to the metrics.
    /// This is a walk over all of them; [`check_silence`](Self::check_silence) makes one twice a second.
    pub(super) fn measure(&mut self) -> Behind {
        let mut behind = Behind::default();
        for (_, topic) in &self.topics {
            let mark = topic.cache.log().mark();
            for place in topic.members() {
                let Some(subscriber) = self.subscribers.get_mut(*place) else { continue };
                subscriber.subscription.update_metrics();
                behind.add(subscriber.cursor.behind(mark));
            }
        }
        behind
    }

    fn remove(&mut self, place: usize, end: SubscriptionEnd) {
        let Some(subscriber) = self.subscribers.try_remove(place) else { return };
        let at = subscriber.topic;
        if let Some(topic) = self.topics.get_mut(at) {
            for (member, place) in topic.leave(subscriber.place) {
                if let Some(member) = self.subscribers.get_mut(member) {
                    member.place = place;
                }
            }
            if topic.is_empty() {
                let log = topic.cache.log();
                self.by_log.remove(&(log.log().number(), log.format()));
                self.topics.remove(at);
            }
        }
        subscriber.close(end);
    }
}

fn watch(log: LogReader, topic: usize) -> BoxStream<'static, usize> {
    stream::unfold(log, move |mut log| async move {
        log.changed().await;
        Some((topic, log))
    })
    .boxed()
}
