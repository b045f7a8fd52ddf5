//! Where an HTTP/1 connection stands: between two requests, inside one, or waiting for an answer.
//!
//! The [intake](super::intake) of a connection and the [service](super::serving) that answers its requests share this.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::entrance::REQUEST_TIMEOUT;
use crate::deadline::{Clock, Moment};

/// The state of one connection. All of it lives on the connection's thread.
#[derive(Debug)]
pub(super) struct Turn {
    clock: Clock,
    stage: Cell<Stage>,
    /// How much of the body of the request that is being answered the dispatcher was not given, if that is known.
    body_left: Cell<Option<u64>>,
    /// How long the connection may be idle.
    most_idle: Duration,
    /// Wakes the connection's dispatcher. Set where it waits while a request is being answered.
    waker: RefCell<Option<Waker>>,
}

/// What is going on.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The connection was accepted then, and has had no whole head yet.
    New(Moment),
    /// Nothing, since then.
    Idle(Moment),
    /// Bytes have arrived since then that belong to no request that is being answered: a head, or the rest of a body
    /// that nothing reads.
    Arriving(Moment),
    /// A request is being answered, and its handler does not read its body: it has none, it has arrived, or the handler
    /// has not asked for it.
    Answering,
    /// A request is being answered, and its handler reads its body.
    Receiving,
}

/// A request that is being answered. Dropped, the answer has ended.
#[derive(Debug)]
pub(super) struct Busy(Rc<Turn>);

impl Turn {
    /// The state of a connection that was just accepted.
    pub(super) fn new(most_idle: Duration) -> Self {
        let clock = Clock::of_this_thread();
        Self {
            stage: Cell::new(Stage::New(clock.now())),
            clock,
            body_left: Cell::default(),
            most_idle,
            waker: RefCell::default(),
        }
    }

    /// A head has arrived: its request is being answered from now on. Its body has this length, if that is known.
    pub(super) fn begin(self: Rc<Self>, body: Option<u64>) -> Busy {
        self.stage.set(Stage::Answering);
        self.body_left.set(body);
        Busy(self)
    }

    /// The handler reads the request's body.
    pub(super) fn receive(&self) {
        if self.is_answering() && self.body_left.get() != Some(0) {
            self.stage.set(Stage::Receiving);
            self.wake();
        }
    }

    /// How much of the body that the handler reads is to come, if that is known.
    pub(super) fn body_left(&self) -> Option<u64> {
        self.body_left.get()
    }

    /// The request's body has arrived.
    pub(super) fn received(&self) {
        if self.is_receiving() {
            self.stage.set(Stage::Answering);
        }
    }

    /// True if the handler reads the request's body.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.stage.get(), Stage::Receiving)
    }

    /// True if a request is being answered, and nothing that may arrive is of use for that.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.stage.get(), Stage::Answering)
    }

    /// True if the connection has had no whole head yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.stage.get(), Stage::New(_))
    }

    /// When the connection is to be closed, unless something changes.
    pub(super) fn end(&self) -> Option<Moment> {
        match self.stage.get() {
            Stage::Idle(since) => Some(since + self.most_idle),
            Stage::New(since) | Stage::Arriving(since) => Some(since + REQUEST_TIMEOUT),
            Stage::Answering | Stage::Receiving => None,
        }
    }

    /// The dispatcher, which `waker` wakes, was given so many bytes.
    pub(super) fn gave(&self, bytes: usize, waker: &Waker) {
        match self.stage.get() {
            Stage::Idle(_) => {
                *self.waker.borrow_mut() = None;
                self.stage.set(Stage::Arriving(self.clock.now()));
            }
            Stage::Receiving => {
                self.wake_later(waker);
                self.body_left.set(self.body_left.get().map(|left| left.saturating_sub(bytes as u64)));
                if self.body_left.get() == Some(0) {
                    self.stage.set(Stage::Answering);
                }
            }
            Stage::New(_) | Stage::Arriving(_) | Stage::Answering => {}
        }
    }

    /// What was to be written is written: the time of what comes next begins.
    pub(super) fn written(&self) {
        if matches!(self.stage.get(), Stage::Idle(_) | Stage::Arriving(_)) {
            self.stage.set(Stage::Idle(self.clock.now()));
        }
    }

    /// Has the dispatcher woken when it can go on: the handler reads the body, or the answer has ended.
    pub(super) fn wake_later(&self, waker: &Waker) {
        match &mut *self.waker.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.stage.set(Stage::Idle(self.0.clock.now()));
        self.0.wake();
    }
}
