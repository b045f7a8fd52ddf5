//! A log that subscribers of one pump read: who they are, how far the walk over them has come, what they are sent.

use bytes::{Bytes, BytesMut};
use futures_util::future::AbortHandle;

use super::cursor::Span;
use crate::task::FrameReader;
use crate::wire::event_stream::KEEP_ALIVE;

/// How a response's bytes are told from what comes after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1's chunks ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112), section 7.1).
    Chunked,
    /// By the end of the connection, for clients of HTTP/1.0.
    UntilClose,
}

/// What a socket is sent: bytes that are the same each time that they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parcel {
    /// Frames.
    Frames(Span),
    /// The comment that shows the connection to be alive.
    KeepAlive,
}

impl Parcel {
    fn pack(self, log: &FrameReader, framing: Framing) -> Option<Bytes> {
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

/// One chunk of so many bytes, and behind the last one the empty chunk that ends a body; `None` where they cannot be
/// written.
fn chunked(length: usize, is_last: bool, write: impl FnOnce(&mut BytesMut) -> bool) -> Option<Bytes> {
    const AROUND: usize = 32;
    let mut buffer = BytesMut::with_capacity(length + AROUND);
    buffer.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    if !write(&mut buffer) {
        return None;
    }
    buffer.extend_from_slice(if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
    Some(buffer.freeze())
}

/// Packs parcels, and keeps the last one: most members of a topic are sent the same.
#[derive(Debug)]
pub(super) struct Packer {
    log: FrameReader,
    last: Option<(Parcel, Framing, Bytes)>,
}

impl Packer {
    pub(super) fn log(&self) -> &FrameReader {
        &self.log
    }

    /// A parcel's bytes; `None` where its frames can no longer be read.
    pub(super) fn pack(&mut self, parcel: Parcel, framing: Framing) -> Option<Bytes> {
        match &self.last {
            Some((last, its_framing, bytes)) if *last == parcel && *its_framing == framing => {
                Some(bytes.clone())
            }
            _ => {
                let bytes = parcel.pack(&self.log, framing)?;
                self.last = Some((parcel, framing, bytes.clone()));
                Some(bytes)
            }
        }
    }
}

/// A log and those who read it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) packer: Packer,
    /// Places of its subscribers among all of the pump's.
    members: Vec<usize>,
    /// Members before this one were served in the walk that is under way.
    walked: usize,
    /// True if the log has grown since the walk began.
    is_stirred: bool,
    /// True while the topic is in the queue of topics that are walked.
    pub(super) is_queued: bool,
    watch: AbortHandle,
}

impl Topic {
    /// A topic without members. Dropped, it ends the watch on its log.
    pub(super) fn new(log: FrameReader, watch: AbortHandle) -> Self {
        let packer = Packer { log, last: None };
        Self { packer, members: Vec::new(), walked: 0, is_stirred: false, is_queued: false, watch }
    }

    /// Adds a subscriber; returns its place among the members.
    pub(super) fn join(&mut self, subscriber: usize) -> usize {
        self.members.push(subscriber);
        self.members.len() - 1
    }

    /// Removes the member at this place. Returns the members who have another place now, with that place.
    pub(super) fn leave(&mut self, place: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let mut moved = [None, None];
        let mut hole = place;
        if place < self.walked {
            // Those who were served stay in front of those who were not.
            self.walked -= 1;
            self.members.swap(hole, self.walked);
            moved[0] = self.members.get(hole).map(|member| (*member, hole)).filter(|_| hole != self.walked);
            hole = self.walked;
        }
        self.members.swap_remove(hole);
        moved[1] = self.members.get(hole).map(|member| (*member, hole));
        moved.into_iter().flatten()
    }

    /// Its members' places among all of the pump's.
    pub(super) fn members(&self) -> &[usize] {
        &self.members
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The log has grown: everybody is to be served again.
    pub(super) fn stir(&mut self) {
        self.is_stirred = true;
    }

    /// The next member to be served, unless all were.
    pub(super) fn next(&mut self) -> Option<usize> {
        if self.walked == 0 {
            self.is_stirred = false;
        }
        let member = self.members.get(self.walked).copied();
        match member {
            Some(_) => self.walked += 1,
            None => {
                self.walked = 0;
                self.packer.last = None;
            }
        }
        member
    }

    /// Drops what was packed for one subscriber and may be of use to none: it would be held as long as the task is silent.
    pub(super) fn forget_parcel(&mut self) {
        if !self.is_queued {
            self.packer.last = None;
        }
    }

    /// Returns true if another walk is due.
    pub(super) fn is_stirred(&self) -> bool {
        self.is_stirred
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
    use crate::fanout::cursor::{Cursor, Step};
    use crate::task::testing::{empty, log_of};

    fn topic() -> Topic {
        Topic::new(empty().frames(), AbortHandle::new_pair().0)
    }

    #[test]
    fn parcels_are_chunks_and_the_last_one_ends_the_body() {
        let mut log = log_of(["a", "end"]);
        log.end();
        let reader = log.frames();
        let Step::Send(all) = Cursor::at(0).step(&reader, reader.mark(), 1000) else {
            panic!("nothing to send")
        };
        let frames = String::from_utf8(reader.all().to_vec()).unwrap();
        let body = format!("retry: 2000\n{frames}");
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        for (parcel, framing, expected) in [
            (Parcel::Frames(all), Framing::Chunked, chunk.as_str()),
            (Parcel::Frames(all), Framing::UntilClose, &body),
            (Parcel::KeepAlive, Framing::Chunked, "d\r\n: keep-alive\n\r\n"),
            (Parcel::KeepAlive, Framing::UntilClose, ": keep-alive\n"),
        ] {
            let bytes = parcel.pack(&reader, framing).unwrap();
            assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn what_several_are_sent_is_packed_once() {
        let log = log_of(["a"]);
        let mut packer = Packer { log: log.frames(), last: None };
        let mut pack = || packer.pack(Parcel::KeepAlive, Framing::Chunked).unwrap();
        let first = pack();
        assert_eq!(first.as_ptr(), pack().as_ptr());
    }

    #[derive(Debug, Clone, Copy)]
    enum Happens {
        Join,
        Leave(prop::sample::Index),
        Serve,
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            2 => Just(Happens::Join),
            2 => any::<prop::sample::Index>().prop_map(Happens::Leave),
            5 => Just(Happens::Serve),
        ]
    }

    proptest! {
        /// Whoever is there from a walk's beginning to its end is served in it, and once.
        #[test]
        fn whoever_stays_is_served_once_in_each_walk(
            before in 0usize..8,
            events in prop::collection::vec(happens(), 0..60),
        ) {
            let mut topic = topic();
            // Of each subscriber: its place among the members.
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
                        assert!(places.contains_key(&subscriber), "one who left is served");
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
                    Happens::Join => {
                        places.insert(newest, topic.join(newest));
                        newest += 1;
                    }
                    Happens::Leave(index) if !places.is_empty() => {
                        let mut all: Vec<usize> = places.keys().copied().collect();
                        all.sort_unstable();
                        let leaver = *index.get(&all);
                        let place = places.remove(&leaver).unwrap();
                        for (moved, place) in topic.leave(place) {
                            places.insert(moved, place);
                        }
                    }
                    Happens::Leave(_) => {}
                    Happens::Serve => serve(&mut topic, &mut served, &places, &mut from_the_beginning),
                }
                for (subscriber, place) in &places {
                    prop_assert_eq!(topic.members.get(*place), Some(subscriber));
                }
                prop_assert_eq!(topic.members.len(), places.len());
            }
        }
    }
}
