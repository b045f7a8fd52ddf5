//! A log that subscribers of one pump read: its members, the walk over them, and their payloads.

use bytes::{Bytes, BytesMut};
use futures_util::future::AbortHandle;

use super::cursor::Span;
use crate::task::FrameReader;
use crate::wire::event_stream::KEEP_ALIVE;

/// How the end of a response is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1's chunks ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112), section 7.1).
    Chunked,
    /// The connection's end, for clients of HTTP/1.0.
    UntilClose,
}

/// A unit that is written to a socket. It has the same bytes each time that it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// Frames.
    Frames(Span),
    /// The comment that shows that the connection is alive.
    KeepAlive,
}

impl Payload {
    fn encode(self, log: &FrameReader, framing: Framing) -> Option<Bytes> {
        match (self, framing) {
            (Self::Frames(span), Framing::UntilClose) => span.piece(log),
            (Self::KeepAlive, Framing::UntilClose) => Some(KEEP_ALIVE),
            (Self::Frames(span), Framing::Chunked) => {
                let length = span.bytes(log);
                chunked(length, span.closes(), |buffer| span.write_to(log, buffer))
            }
            (Self::KeepAlive, Framing::Chunked) => chunked(KEEP_ALIVE.len(), false, |buffer| {
                buffer.extend_from_slice(&KEEP_ALIVE);
                true
            }),
        }
    }
}

/// Returns one chunk of `length` bytes, followed by the empty chunk that ends a body if this is the last one; `None` if
/// `write` fails.
fn chunked(length: usize, is_last: bool, write: impl FnOnce(&mut BytesMut) -> bool) -> Option<Bytes> {
    const FRAMING_BYTES: usize = 32;
    let mut buffer = BytesMut::with_capacity(length + FRAMING_BYTES);
    buffer.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    if !write(&mut buffer) {
        return None;
    }
    buffer.extend_from_slice(if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
    Some(buffer.freeze())
}

/// An encoder of payloads that keeps the last one, because most members of a topic are sent the same payload.
#[derive(Debug)]
pub(super) struct PayloadCache {
    log: FrameReader,
    last: Option<(Payload, Framing, Bytes)>,
}

impl PayloadCache {
    pub(super) fn log(&self) -> &FrameReader {
        &self.log
    }

    /// Returns a payload's bytes; `None` if its frames can no longer be read.
    pub(super) fn encode(&mut self, payload: Payload, framing: Framing) -> Option<Bytes> {
        match &self.last {
            Some((last, its_framing, bytes)) if *last == payload && *its_framing == framing => {
                Some(bytes.clone())
            }
            _ => {
                let bytes = payload.encode(&self.log, framing)?;
                self.last = Some((payload, framing, bytes.clone()));
                Some(bytes)
            }
        }
    }
}

/// A log and its subscribers on one pump.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) cache: PayloadCache,
    /// Indexes of the topic's subscribers among all subscribers of the pump.
    members: Vec<usize>,
    /// The index before which all members were served in the current walk.
    walked: usize,
    /// True if the log has grown since the walk began.
    needs_walk: bool,
    /// True while the topic is in the queue of topics that are walked.
    pub(super) is_queued: bool,
    watch: AbortHandle,
}

impl Topic {
    /// Creates a topic without members. When the topic is dropped, the watch on its log ends.
    pub(super) fn new(log: FrameReader, watch: AbortHandle) -> Self {
        let cache = PayloadCache { log, last: None };
        Self { cache, members: Vec::new(), walked: 0, needs_walk: false, is_queued: false, watch }
    }

    /// Adds a subscriber. Returns its index among the members.
    pub(super) fn join(&mut self, subscriber: usize) -> usize {
        self.members.push(subscriber);
        self.members.len() - 1
    }

    /// Removes the member at this index. Returns the members that have another index now, with that index.
    pub(super) fn leave(&mut self, place: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let mut moved = [None, None];
        let mut hole = place;
        if place < self.walked {
            // Members that were served stay before those that were not.
            self.walked -= 1;
            self.members.swap(hole, self.walked);
            moved[0] = self.members.get(hole).map(|member| (*member, hole)).filter(|_| hole != self.walked);
            hole = self.walked;
        }
        self.members.swap_remove(hole);
        moved[1] = self.members.get(hole).map(|member| (*member, hole));
        moved.into_iter().flatten()
    }

    /// Returns the members' indexes among all subscribers of the pump.
    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Records that the log has grown: all members are to be served again.
    pub(super) fn log_has_grown(&mut self) {
        self.needs_walk = true;
    }

    /// Returns the next member to serve, or `None` at the end of the walk.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.walked == 0 {
            self.needs_walk = false;
        }
        let member = self.members.get(self.walked).copied();
        match member {
            Some(_) => self.walked += 1,
            None => {
                self.walked = 0;
                self.cache.last = None;
            }
        }
        member
    }

    /// Drops the last payload. Other subscribers may not need it, and it would stay in memory as long as the task is
    /// silent.
    pub(super) fn forget_payload(&mut self) {
        if !self.is_queued {
            self.cache.last = None;
        }
    }

    /// Returns true if another walk is due.
    pub(super) fn needs_walk(&self) -> bool {
        self.needs_walk
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::fanout::cursor::{Cursor, CursorStep};
    use crate::task::testing::{empty, log_of};

    fn topic() -> Topic {
        Topic::new(empty().frames(), AbortHandle::new_pair().0)
    }

    #[test]
    fn a_payload_is_one_chunk_and_the_last_one_ends_the_body() {
        let mut log = log_of(["a", "end"]);
        log.end();
        let reader = log.frames();
        let CursorStep::Send(all) = Cursor::at(0).step(&reader, reader.mark(), 1000) else {
            panic!("nothing to send")
        };
        let frames = String::from_utf8(reader.all().to_vec()).unwrap();
        let body = format!("retry: 2000\n{frames}");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        for (payload, framing, expected) in [
            (Payload::Frames(all), Framing::Chunked, chunk.as_str()),
            (Payload::Frames(all), Framing::UntilClose, &body),
            (Payload::KeepAlive, Framing::Chunked, "d\r\n: keep-alive\n\r\n"),
            (Payload::KeepAlive, Framing::UntilClose, ": keep-alive\n"),
        ] {
            let bytes = payload.encode(&reader, framing).unwrap();
            assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_payload_for_several_subscribers_is_encoded_once() {
        let log = log_of(["a"]);
        let mut cache = PayloadCache { log: log.frames(), last: None };
        let mut encode = || cache.encode(Payload::KeepAlive, Framing::Chunked).unwrap();
        let first = encode();
        assert_eq!(first.as_ptr(), encode().as_ptr());
    }

    #[derive(Debug, Clone, Copy)]
    enum TopicEvent {
        Join,
        Leave(prop::sample::Index),
        Serve,
    }

    fn topic_event() -> impl Strategy<Value = TopicEvent> {
        prop_oneof![
            2 => Just(TopicEvent::Join),
            2 => any::<prop::sample::Index>().prop_map(TopicEvent::Leave),
            5 => Just(TopicEvent::Serve),
        ]
    }

    proptest! {
        /// A member that is present from a walk's beginning to its end is served in that walk exactly once.
        #[test]
        fn a_member_that_stays_is_served_once_in_each_walk(
            before in 0usize..8,
            events in prop::collection::vec(topic_event(), 0..60),
        ) {
            let mut topic = topic();
            // The index of each subscriber among the members.
            let mut places: HashMap<usize, usize> = HashMap::new();
            for subscriber in 0..before {
                places.insert(subscriber, topic.join(subscriber));
            }
            let mut newest = before;
            let mut served: Vec<usize> = Vec::new();
            let mut from_the_beginning: Vec<usize> = places.keys().copied().collect();
            let serve = |topic: &mut Topic, served: &mut Vec<usize>, places: &HashMap<usize, usize>, old: &mut Vec<usize>| {
                match topic.next() {
                    Some(subscriber) => {
                        assert!(places.contains_key(&subscriber), "a member that was removed is served");
                        assert!(!served.contains(&subscriber), "{subscriber} is served twice");
                        served.push(subscriber);
                    }
                    None => {
                        for stayed in old.iter().filter(|subscriber| places.contains_key(subscriber)) {
                            assert!(served.contains(stayed), "{stayed} is not served");
                        }
                        served.clear();
                        *old = places.keys().copied().collect();
                    }
                }
            };
            for event in events {
                match event {
                    TopicEvent::Join => {
                        places.insert(newest, topic.join(newest));
                        newest += 1;
                    }
                    TopicEvent::Leave(index) if !places.is_empty() => {
                        let mut all: Vec<usize> = places.keys().copied().collect();
                        all.sort_unstable();
                        let leaver = *index.get(&all);
                        let place = places.remove(&leaver).unwrap();
                        for (moved, place) in topic.leave(place) {
                            places.insert(moved, place);
                        }
                    }
                    TopicEvent::Leave(_) => {}
                    TopicEvent::Serve => serve(&mut topic, &mut served, &places, &mut from_the_beginning),
                }
                for (subscriber, place) in &places {
                    prop_assert_eq!(topic.members.get(*place), Some(subscriber));
                }
                prop_assert_eq!(topic.members.len(), places.len());
            }
        }
    }
}
