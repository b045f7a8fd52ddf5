//! The state of an HTTP/1 connection: between two requests, within a request, or within an answer.
//!
//! The [intake](super::intake) of a connection and the [service](super::serving) that answers its requests share it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::body_end::BodyEnd;
use super::entrance::REQUEST_TIMEOUT;
use crate::deadline::{Clock, Moment};

/// The state of one connection. All of it lives on the connection's thread.
#[derive(Debug)]
pub(super) struct Http1State {
    clock: Clock,
    state: Cell<ConnectionState>,
    /// The rest of the current request's body that the dispatcher has not got yet.
    body: Cell<BodyEnd>,
    /// True if some bytes of the answer are written.
    has_begun: Cell<bool>,
    /// True if the answer is a stream, which the HTTP server sends to its end.
    is_streaming: Cell<bool>,
    /// The longest time for which the connection may be idle.
    most_idle: Duration,
    /// Wakes the connection's dispatcher. Set if the dispatcher waits while a request is being answered.
    waker: RefCell<Option<Waker>>,
}

/// The phase of a connection.
#[derive(Debug, Clone, Copy)]
enum ConnectionState {
    /// The connection was accepted at this moment, and has had no whole head yet.
    New(Moment),
    /// Nothing has arrived since this moment.
    Idle(Moment),
    /// A head has been arriving since this moment, or the rest of a body that no handler reads.
    Arriving(Moment),
    /// A request is being answered, and its handler does not read its body: there is none, it has arrived, or the
    /// handler has not requested it.
    Answering,
    /// A request is being answered, and its handler reads its body.
    Receiving,
}

/// A request that is being answered. When this is dropped, the answer has ended.
#[derive(Debug)]
pub(super) struct Busy(Rc<Http1State>);

impl Http1State {
    /// Returns the state of a connection that was just accepted.
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

    /// Records that a head has arrived and its request is being answered.
    pub(super) fn begin(self: Rc<Self>, body: BodyEnd) -> Busy {
        self.state.set(ConnectionState::Answering);
        self.body.set(body);
        self.has_begun.set(false);
        self.is_streaming.set(false);
        Busy(self)
    }

    /// Records that some bytes of the answer are written.
    pub(super) fn answer_begins(&self) {
        self.has_begun.set(true);
    }

    /// Returns true if some bytes of the answer are written.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// Records that the answer is a stream that the HTTP server sends to its end. A client that then ends its side
    /// counts as disconnected.
    pub(super) fn stream(&self) {
        self.is_streaming.set(true);
        self.wake();
    }

    /// Returns true if the answer is a stream that the HTTP server sends to its end.
    pub(super) fn is_streaming(&self) -> bool {
        self.is_answering() && self.is_streaming.get()
    }

    /// Records that the handler reads the request's body.
    pub(super) fn receive(&self) {
        if self.is_answering() && !self.body.get().is_reached() {
            self.state.set(ConnectionState::Receiving);
            self.wake();
        }
    }

    /// Processes the next bytes of the connection. Returns how many of them belong to the body that the handler reads.
    pub(super) fn take_body(&self, bytes: &[u8]) -> usize {
        let mut body = self.body.get();
        let taken = body.take(bytes);
        self.body.set(body);
        if body.is_reached() {
            self.received();
        }
        taken
    }

    /// Returns true if the dispatcher has got the whole body of the request that is being answered.
    pub(super) fn has_arrived(&self) -> bool {
        self.body.get().is_reached()
    }

    /// Records that the request's body has arrived.
    pub(super) fn received(&self) {
        if self.is_receiving() {
            self.state.set(ConnectionState::Answering);
        }
    }

    /// Returns true if the handler reads the request's body.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(self.state.get(), ConnectionState::Receiving)
    }

    /// Returns true if a request is being answered and its handler reads no body.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.state.get(), ConnectionState::Answering)
    }

    /// Returns true if the connection has had no whole head yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.state.get(), ConnectionState::New(_))
    }

    /// Returns the time at which the connection is closed if the state does not change.
    pub(super) fn end(&self) -> Option<Moment> {
        match self.state.get() {
            ConnectionState::Idle(since) => Some(since + self.most_idle),
            ConnectionState::New(since) | ConnectionState::Arriving(since) => Some(since + REQUEST_TIMEOUT),
            ConnectionState::Answering | ConnectionState::Receiving => None,
        }
    }

    /// Records that the dispatcher has got some bytes. `waker` wakes the dispatcher.
    pub(super) fn passed_on(&self, waker: &Waker) {
        match self.state.get() {
            ConnectionState::Idle(_) => {
                *self.waker.borrow_mut() = None;
                self.state.set(ConnectionState::Arriving(self.clock.now()));
            }
            ConnectionState::Answering | ConnectionState::Receiving => self.wake_later(waker),
            ConnectionState::New(_) | ConnectionState::Arriving(_) => {}
        }
    }

    /// Records that everything is written: the idle time starts now.
    pub(super) fn written(&self) {
        if matches!(self.state.get(), ConnectionState::Idle(_) | ConnectionState::Arriving(_)) {
            self.state.set(ConnectionState::Idle(self.clock.now()));
        }
    }

    /// Stores the waker with which the dispatcher is woken when it can continue: when the handler reads the body, or
    /// the answer has ended.
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
