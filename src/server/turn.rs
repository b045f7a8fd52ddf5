//! Where an HTTP/1 connection stands: between two requests, inside one, or waiting for an answer.
//!
//! The [intake](super::intake) of a connection and the [service](super::serving) that answers its requests share this.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::body_end::BodyEnd;
use super::entrance::REQUEST_TIMEOUT;
use crate::deadline::{Clock, Moment};

/// The state of one connection. All of it lives on the connection's thread.
#[derive(Debug)]
pub(super) struct Turn {
    clock: Clock,
    state: Cell<ConnectionState>,
    /// What the dispatcher was not given of the body of the request that is being answered.
    body: Cell<BodyEnd>,
    /// True if something of the answer is written.
    has_begun: Cell<bool>,
    /// True if the answer is a stream, which the HTTP server sends to its end.
    is_streaming: Cell<bool>,
    /// How long the connection may be idle.
    most_idle: Duration,
    /// Wakes the connection's dispatcher. Set where it waits while a request is being answered.
    waker: RefCell<Option<Waker>>,
}

/// What is going on.
#[derive(Debug, Clone, Copy)]
enum ConnectionState {
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
            state: Cell::new(ConnectionState::New(clock.now())),
            clock,
            body: Cell::new(BodyEnd::After(0)),
            has_begun: Cell::default(),
            is_streaming: Cell::default(),
            most_idle,
            waker: RefCell::default(),
        }
    }

    /// A head has arrived: its request is being answered from now on.
    pub(super) fn begin(self: Rc<Self>, body: BodyEnd) -> Busy {
        self.state.set(ConnectionState::Answering);
        self.body.set(body);
        self.has_begun.set(false);
        self.is_streaming.set(false);
        Busy(self)
    }

    /// Something of the answer is written.
    pub(super) fn answer_begins(&self) {
        self.has_begun.set(true);
    }

    /// True if something of the answer is written.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The answer is a stream that the HTTP server sends to its end: a client that ends its side has left.
    pub(super) fn stream(&self) {
        self.is_streaming.set(true);
        self.wake();
    }

    /// True if the answer is a stream that the HTTP server sends to its end.
    pub(super) fn is_streaming(&self) -> bool {
        self.is_answering() && self.is_streaming.get()
    }

    /// The handler reads the request's body.
    pub(super) fn receive(&self) {
        if self.is_answering() && !self.body.get().is_reached() {
            self.state.set(ConnectionState::Receiving);
            self.wake();
        }
    }

    /// Takes what belongs to the body that the handler reads of the bytes that have arrived. Returns how many they are.
    pub(super) fn take_body(&self, bytes: &[u8]) -> usize {
        let mut body = self.body.get();
        let taken = body.take(bytes);
        self.body.set(body);
        if body.is_reached() {
            self.received();
        }
        taken
    }

    /// Returns true if the dispatcher was given the whole body of the request that is being answered.
    pub(super) fn has_arrived(&self) -> bool {
        self.body.get().is_reached()
    }

    /// The request's body has arrived.
    pub(super) fn received(&self) {
        if self.is_receiving() {
            self.state.set(ConnectionState::Answering);
        }
    }

    /// True if the handler reads the request's body.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.state.get(), ConnectionState::Receiving)
    }

    /// True if a request is being answered, and nothing that may arrive is of use for that.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state.get(), ConnectionState::Answering)
    }

    /// True if the connection has had no whole head yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.state.get(), ConnectionState::New(_))
    }

    /// When the connection is to be closed, unless something changes.
    pub(super) fn end(&self) -> Option<Moment> {
        match self.state.get() {
            ConnectionState::Idle(since) => Some(since + self.most_idle),
            ConnectionState::New(since) | ConnectionState::Arriving(since) => Some(since + REQUEST_TIMEOUT),
            ConnectionState::Answering | ConnectionState::Receiving => None,
        }
    }

    /// The dispatcher, which `waker` wakes, was given something.
    pub(super) fn gave(&self, waker: &Waker) {
        match self.state.get() {
            ConnectionState::Idle(_) => {
                *self.waker.borrow_mut() = None;
                self.state.set(ConnectionState::Arriving(self.clock.now()));
            }
            ConnectionState::Answering | ConnectionState::Receiving => self.wake_later(waker),
            ConnectionState::New(_) | ConnectionState::Arriving(_) => {}
        }
    }

    /// What was to be written is written: the time of what comes next begins.
    pub(super) fn written(&self) {
        if matches!(self.state.get(), ConnectionState::Idle(_) | ConnectionState::Arriving(_)) {
            self.state.set(ConnectionState::Idle(self.clock.now()));
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
        self.0.state.set(ConnectionState::Idle(self.0.clock.now()));
        self.0.wake();
    }
}
