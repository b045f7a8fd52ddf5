//! The streams of tasks that have ended. They are found by task id until they expire.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use tokio::time::Instant;

use crate::secret::KeyHash;
use crate::task::{ColdLog, EndedStream, TaskId};

/// The kept streams, with their expiry and memory. There may be many, so a stream costs only its log and three small
/// entries. It has no actor and no timer of its own.
#[derive(Debug)]
pub(super) struct ColdLogs {
    streams: HashMap<TaskId, Cold>,
    /// The expiry of each stream, the next one first. Streams of this process are added in that order; one of an
    /// earlier process may expire before them.
    expiries: BinaryHeap<Reverse<(Instant, TaskId)>>,
    /// The streams in the order in which they were added. If they take too much memory, the first ones are dropped
    /// first.
    order: VecDeque<TaskId>,
    memory: usize,
    most_memory: usize,
}

#[derive(Debug)]
struct Cold {
    owner: KeyHash,
    stream: EndedStream,
}

impl ColdLogs {
    /// Creates an empty set, which takes at most `most_memory` bytes. Frames beyond that are read from the journal.
    pub(super) fn new(most_memory: usize) -> Self {
        Self {
            streams: HashMap::new(),
            expiries: BinaryHeap::new(),
            order: VecDeque::new(),
            memory: 0,
            most_memory,
        }
    }

    /// Keeps a stream, unless one of that task is kept already.
    pub(super) fn keep(&mut self, id: TaskId, owner: KeyHash, stream: EndedStream, until: Instant) {
        if let Entry::Vacant(entry) = self.streams.entry(id.clone()) {
            self.memory += stream.memory();
            entry.insert(Cold { owner, stream });
            self.order.push_back(id.clone());
            self.expiries.push(Reverse((until, id)));
            self.make_room();
        }
    }

    /// Drops frames, oldest first, and then whole streams. Dropped streams can be read from the store again.
    fn make_room(&mut self) {
        while self.memory > self.most_memory {
            let Some(id) = self.order.pop_front() else { return };
            let Some(Cold { stream, .. }) = self.streams.get_mut(&id) else { continue };
            let before = stream.memory();
            if stream.drop_frames() {
                self.memory = self.memory.saturating_sub(before - stream.memory());
                self.order.push_back(id);
            } else {
                self.remove(&id);
            }
        }
    }

    fn remove(&mut self, id: &TaskId) {
        if let Some(Cold { stream, .. }) = self.streams.remove(id) {
            self.memory = self.memory.saturating_sub(stream.memory());
        }
    }

    /// Returns the log of a task of this owner. Returns `None` if a part of the log could not be read, so that the
    /// store checks all of it again.
    pub(super) fn find(&mut self, id: &TaskId, owner: KeyHash) -> Option<&ColdLog> {
        if self.streams.get(id)?.stream.log().is_lost() {
            self.remove(id);
        }
        self.streams.get(id).filter(|cold| cold.owner == owner).map(|cold| cold.stream.log())
    }

    /// Returns the number of kept streams.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Returns the bytes of memory that the streams take, and the limit.
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.memory, self.most_memory)
    }

    /// Returns when the next stream expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.peek().map(|Reverse((until, _))| *until)
    }

    /// Removes the streams that have expired.
    pub(super) fn forget_until(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|until| until <= now) {
            if let Some(Reverse((_, id))) = self.expiries.pop() {
                self.remove(&id);
            }
        }
        while self.order.front().is_some_and(|id| !self.streams.contains_key(id)) {
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::task::testing::elsewhere;
    use crate::task::testing::log_of;

    #[test]
    fn a_kept_log_is_found_only_by_its_owner_until_it_expires() {
        let (owner, now) = (KeyHash::of("sk-owner"), Instant::now());
        let stream = log_of(["a"]).cold(None).unwrap();
        let mut logs = ColdLogs::new(1000);
        let ids: Vec<TaskId> = [30, 10, 20]
            .map(|seconds| {
                let id = TaskId::generate(seconds);
                logs.keep(id.clone(), owner, stream.clone(), now + Duration::from_secs(seconds));
                id
            })
            .to_vec();
        let kept = |logs: &mut ColdLogs| -> Vec<bool> {
            ids.iter().map(|id| logs.find(id, owner).is_some()).collect()
        };
        assert!(logs.find(&ids[0], KeyHash::of("sk-other")).is_none());
        for (seconds, expected) in
            [(9, [true, true, true]), (10, [true, false, true]), (29, [true, false, false])]
        {
            logs.forget_until(now + Duration::from_secs(seconds));
            assert_eq!(kept(&mut logs), expected, "{seconds}");
        }
        assert_eq!(logs.next_expiry(), Some(now + Duration::from_secs(30)));
        logs.forget_until(now + Duration::from_secs(30));
        assert_eq!((kept(&mut logs), logs.next_expiry()), (vec![false; 3], None));
    }

    #[test]
    fn the_oldest_frames_are_dropped_first_and_no_stream_exceeds_the_limit() {
        let (owner, until) = (KeyHash::of("sk-owner"), Instant::now() + Duration::from_secs(60));
        let log = log_of(["x".repeat(800)]);
        let mut logs = ColdLogs::new(2500);
        let streams: Vec<(TaskId, EndedStream)> = (0..3)
            .map(|at| {
                let stream = log.cold(Some(elsewhere(log.entries(), |_| ()))).unwrap();
                (TaskId::generate(at), stream)
            })
            .collect();
        for (id, stream) in streams {
            logs.keep(id.clone(), owner, stream, until);
            assert!(logs.memory().0 <= 2500);
            assert!(logs.find(&id, owner).is_some());
        }
        assert_eq!(logs.len(), 3);
        // A stream that is not on the disk at all is not kept if it has no room.
        let (id, large) = (TaskId::generate(9), log_of(["x".repeat(3000)]));
        logs.keep(id.clone(), owner, large.cold(None).unwrap(), until);
        assert!(logs.find(&id, owner).is_none() && logs.memory().0 <= 2500);
        logs.forget_until(until);
        assert_eq!((logs.len(), logs.memory().0, logs.order.len()), (0, 0, 0));
    }
}
