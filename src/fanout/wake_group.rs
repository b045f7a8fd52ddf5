//! Wakes the subscribers of one log that are served by bodies on one HTTP worker.
//!
//! One cross-thread wake-up and one timer for each subscriber would cost more than the frame itself. So all of a
//! worker's subscribers of a log share one task and one timer. The task waits for the log and wakes the subscribers
//! without leaving the thread. Measured with 1,000 bodies at 20 events/s: 7.8 us of CPU an event; with a wake-up and a
//! timer for each body 10.1 us.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Either, abortable, select};
use slab::Slab;
use tokio::time::{Instant, sleep_until};

use crate::keys::Revocation;
use crate::task::LogReader;

/// The wake groups of one HTTP worker. The key is the number of the group's log.
#[derive(Debug, Default)]
pub(super) struct WakeGroups(RefCell<HashMap<usize, Weak<WakeGroup>>>);

/// The subscribers of one log on one worker.
#[derive(Debug)]
struct WakeGroup {
    members: RefCell<Slab<Member>>,
    driver: AbortHandle,
}

#[derive(Debug)]
struct Member {
    waker: Waker,
    /// When the member was last sent a piece.
    last_piece: Instant,
    /// True if the member is to be sent a comment.
    comment_is_due: bool,
    key: Arc<Revocation>,
}

/// One subscriber's membership of a wake group. It ends when dropped; the last one drops the group with it.
#[derive(Debug)]
pub(super) struct Membership {
    group: Rc<WakeGroup>,
    place: usize,
}

impl WakeGroups {
    /// Adds a member to the wake group of a log.
    pub(super) fn join(&self, log: &LogReader, keep_alive: Duration, key: Arc<Revocation>) -> Membership {
        let mut wake_groups = self.0.borrow_mut();
        let group = wake_groups.get(&log.number()).and_then(Weak::upgrade).unwrap_or_else(|| {
            // Groups that have ended are removed here, because a group has no access to this map when it ends.
            wake_groups.retain(|_, group| group.strong_count() > 0);
            let group = WakeGroup::start(log.clone(), keep_alive);
            wake_groups.insert(log.number(), Rc::downgrade(&group));
            group
        });
        let waker = Waker::noop().clone();
        let member = Member { waker, last_piece: Instant::now(), comment_is_due: false, key };
        let place = group.members.borrow_mut().insert(member);
        Membership { group, place }
    }

    /// Wakes the members whose key was revoked.
    pub(super) fn wake_revoked(&self) {
        for group in self.0.borrow().values().filter_map(Weak::upgrade) {
            let members = group.members.borrow();
            let revoked = members.iter().filter(|(_, member)| member.key.is_revoked());
            revoked.for_each(|(_, member)| member.waker.wake_by_ref());
        }
    }
}

impl WakeGroup {
    fn start(log: LogReader, keep_alive: Duration) -> Rc<Self> {
        Rc::new_cyclic(|group| {
            let (drive, driver) = abortable(drive(group.clone(), log, keep_alive));
            actix_rt::spawn(drive.map(drop));
            Self { members: RefCell::default(), driver }
        })
    }

    fn wake_all(&self) {
        for (_, member) in &*self.members.borrow() {
            member.waker.wake_by_ref();
        }
    }

    /// Wakes the members that were sent nothing for this long. Returns when the next check is due.
    fn wake_silent(&self, keep_alive: Duration) -> Instant {
        let now = Instant::now();
        let mut next = now + keep_alive;
        for (_, member) in &mut *self.members.borrow_mut() {
            let due = member.last_piece + keep_alive;
            if due <= now {
                member.comment_is_due = true;
                member.waker.wake_by_ref();
            } else {
                next = next.min(due);
            }
        }
        next
    }
}

impl Drop for WakeGroup {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Wakes a group's members when their log has grown or comments are due.
async fn drive(group: Weak<WakeGroup>, mut log: LogReader, keep_alive: Duration) {
    let mut next_comment = std::pin::pin!(sleep_until(Instant::now() + keep_alive));
    loop {
        let log_changes = std::pin::pin!(log.changed());
        let has_grown = matches!(select(log_changes, next_comment.as_mut()).await, Either::Left(_));
        let Some(group) = group.upgrade() else { return };
        if has_grown {
            group.wake_all();
        } else {
            next_comment.as_mut().reset(group.wake_silent(keep_alive));
        }
    }
}

impl Membership {
    /// Registers the waker of this context, which is woken when the log has grown, or when a comment is due.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        if let Some(member) = self.group.members.borrow_mut().get_mut(self.place) {
            member.waker.clone_from(cx.waker());
        }
    }

    /// Records that the member was sent a piece.
    pub(super) fn sent(&self) {
        if let Some(member) = self.group.members.borrow_mut().get_mut(self.place) {
            member.last_piece = Instant::now();
            member.comment_is_due = false;
        }
    }

    /// Returns true if a comment is due.
    pub(super) fn comment_is_due(&self) -> bool {
        self.group.members.borrow().get(self.place).is_some_and(|member| member.comment_is_due)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.members.borrow_mut().try_remove(self.place);
    }
}
