//! The streams of tasks that have ended: found by their id until their time has come.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use tokio::time::Instant;

use crate::keys::KeyHash;
use crate::task::cold_log::ColdLog;
use crate::task::id::TaskId;

/// Logs that are kept, and until when. There may be many: beside its log each costs two small entries, and no actor
/// and no timer of its own.
#[derive(Debug, Default)]
pub(super) struct ColdLogs {
    logs: HashMap<TaskId, Cold>,
    /// The one that goes next comes first. Those of this process come in that order anyway; one of an earlier process
    /// may go before them.
    expiries: BinaryHeap<Reverse<(Instant, TaskId)>>,
}

#[derive(Debug)]
struct Cold {
    owner: KeyHash,
    log: ColdLog,
}

impl ColdLogs {
    /// Keeps a log, unless there is one of that task.
    pub(super) fn keep(&mut self, id: TaskId, owner: KeyHash, log: ColdLog, until: Instant) {
        if let Entry::Vacant(entry) = self.logs.entry(id.clone()) {
            entry.insert(Cold { owner, log });
            self.expiries.push(Reverse((until, id)));
        }
    }

    /// The log of a task of this owner.
    pub(super) fn find(&self, id: &TaskId, owner: KeyHash) -> Option<&ColdLog> {
        self.logs.get(id).filter(|cold| cold.owner == owner).map(|cold| &cold.log)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.logs.len()
    }

    /// When the next one goes.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.peek().map(|Reverse((until, _))| *until)
    }

    /// Forgets those whose time has come.
    pub(super) fn forget_until(&mut self, now: Instant) {
        while self.next_expiry().is_some_and(|until| until <= now) {
            if let Some(Reverse((_, id))) = self.expiries.pop() {
                self.logs.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn each_log_is_kept_for_its_own_time_and_for_its_owner() {
        let (owner, now) = (KeyHash::of("sk-owner"), Instant::now());
        let log = ColdLog::of([Bytes::from_static(b"a")].iter());
        let mut logs = ColdLogs::default();
        let ids: Vec<TaskId> = [30, 10, 20]
            .map(|seconds| {
                let id = TaskId::generate(seconds);
                logs.keep(id.clone(), owner, log.clone(), now + Duration::from_secs(seconds));
                id
            })
            .to_vec();
        let kept =
            |logs: &ColdLogs| -> Vec<bool> { ids.iter().map(|id| logs.find(id, owner).is_some()).collect() };
        assert!(logs.find(&ids[0], KeyHash::of("sk-other")).is_none());
        for (seconds, expected) in
            [(9, [true, true, true]), (10, [true, false, true]), (29, [true, false, false])]
        {
            logs.forget_until(now + Duration::from_secs(seconds));
            assert_eq!(kept(&logs), expected, "{seconds}");
        }
        assert_eq!(logs.next_expiry(), Some(now + Duration::from_secs(30)));
        logs.forget_until(now + Duration::from_secs(30));
        assert_eq!((kept(&logs), logs.next_expiry()), (vec![false; 3], None));
    }
}
