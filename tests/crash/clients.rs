//! The clients: each one does what its plan says, and reports to the oracle what it saw. A broken connection is
//! accepted only if the server was stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::http::{self, Body, Broken, Frames, Next, Reply, Request};
use crate::oracle::{Known, Oracle, error_code, shows_end};
use crate::plan::{Action, Caller, Delivery, Listing, Order, Reading, Story};
use crate::record::{Answer, Breach};

/// How long a submit may be answered that the first submit with its key is still being accepted.
const CONFLICT: Duration = Duration::from_secs(10);
/// How soon a connection closes after the frame that ends its stream.
const CLOSING: Duration = Duration::from_secs(5);
const SUBMIT: &str = "/v1/llm/generations";

/// The state of the server, which says what clients may expect of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The server serves.
    Serving,
    /// The server was told to stop: it may refuse requests and close connections.
    Leaving,
    /// The server is dead, or about to be: clients send nothing more.
    Gone,
}

/// The clients of one process of the server.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) address: SocketAddr,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) oracle: Arc<Oracle>,
}

impl Clients {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits, unless the server has ended; returns whether it still runs.
    async fn pause(&self, time: Duration) -> bool {
        let mut phase = self.phase.clone();
        let over = phase.wait_for(|phase| *phase == Phase::Gone);
        timeout(time, over).await.is_err()
    }

    /// Handles a broken connection, which is a breach unless the server was stopped.
    fn broke(&self, token: Option<&str>, what: &str, broken: &Broken) {
        if self.phase() == Phase::Serving {
            self.oracle.violate(token, Breach::Other, &format!("{what}: {}", broken.0));
        }
    }

    /// Calls the server; `None` if it was stopped during the call, or refuses because it is about to stop.
    async fn call(&self, token: Option<&str>, what: &str, request: &Request) -> Option<Reply> {
        match http::call(self.address, request).await {
            Ok(reply) if self.refuses(reply.status, &reply.text()) => None,
            Ok(reply) => Some(reply),
            Err(broken) => {
                self.broke(token, what, &broken);
                None
            }
        }
    }

    fn refuses(&self, status: u16, body: &str) -> bool {
        status == 503 && self.phase() > Phase::Serving && error_code(body) == "shutting_down"
    }

    fn unexpected(&self, token: Option<&str>, what: &str, reply: &Reply) {
        let text = format!("{what}: {} {}", reply.status, reply.text());
        self.oracle.violate(token, Breach::Other, &text);
    }

    /// Does everything that a story says, from its submit on.
    pub(crate) async fn live(&self, story: &Story) {
        if !self.pause(story.at).await {
            return;
        }
        let (order, token) = (&story.order, story.order.token());
        if story.twin {
            join(self.submit(order), self.submit(order)).await;
        } else {
            self.submit(order).await;
        }
        let Some(known) = self.oracle.known_as(token) else { return };
        join_all(story.actions.iter().map(|(after, action)| self.act(*after, *action, order, &known))).await;
    }

    async fn act(&self, after: Duration, action: Action, order: &Order, known: &Known) {
        if !self.pause(after).await {
            return;
        }
        match action {
            Action::Read(reading) => self.read(known, reading).await,
            Action::Ask { wait } => self.ask(known, wait).await,
            Action::Cancel => self.cancel(known).await,
            Action::Repeat => self.submit(order).await,
        }
    }

    /// Submits, for the first time or again.
    pub(crate) async fn submit(&self, order: &Order) {
        let mut request = http::request("POST", SUBMIT, order.caller.key()).json(order.body());
        if let Some(key) = &order.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let began = Instant::now();
        while self.submit_once(order, &request).await == Submitted::Conflict {
            if began.elapsed() > CONFLICT {
                let text = "its key's first submit is being accepted for ever";
                self.oracle.violate(Some(order.token()), Breach::Other, text);
                return;
            }
            if !self.pause(Duration::from_millis(20)).await {
                return;
            }
        }
    }

    async fn submit_once(&self, order: &Order, request: &Request) -> Submitted {
        let token = order.token();
        let floor = self.oracle.submits(order);
        match order.delivery {
            Delivery::Async { .. } => {
                let Some(reply) = self.call(Some(token), "submit", request).await else {
                    return Submitted::Done;
                };
                if reply.status == 200 {
                    self.oracle.acknowledged(token, floor, &reply);
                    return Submitted::Done;
                }
                self.refused(order, &reply)
            }
            Delivery::Blocking { leaves: None } => self.block(order, request).await,
            Delivery::Blocking { leaves: Some(after) } => {
                timeout(after, self.block(order, request)).await.unwrap_or_else(|_| {
                    self.oracle.leaves(token);
                    Submitted::Done
                })
            }
            Delivery::SyncStream(reading) => match http::open(self.address, request).await {
                Ok((head, body)) if head.status == 200 => {
                    self.oracle.answered(token, &head, None);
                    if let Some(known) = self.oracle.known_as(token) {
                        self.read_body(&known, reading, body).await;
                    }
                    Submitted::Done
                }
                Ok((head, body)) => match http::rest(head, body).await {
                    Ok(reply) => self.refused(order, &reply),
                    Err(broken) => self.broken_submit(token, &broken),
                },
                Err(broken) => self.broken_submit(token, &broken),
            },
        }
    }

    fn broken_submit(&self, token: &str, broken: &Broken) -> Submitted {
        self.oracle.note(token, &format!("the submit broke: {}", broken.0));
        self.broke(Some(token), "submit", broken);
        Submitted::Done
    }

    async fn block(&self, order: &Order, request: &Request) -> Submitted {
        let token = order.token();
        let Some(reply) = self.call(Some(token), "blocking call", request).await else {
            return Submitted::Done;
        };
        if reply.status != 200 {
            return self.refused(order, &reply);
        }
        let completion: Value = serde_json::from_str(&reply.text()).unwrap_or_default();
        self.oracle.answered(token, &reply, Some(Answer::Completion(completion)));
        Submitted::Done
    }

    /// Handles a submit that was answered with an error: the task's own error, or one that prevents the task.
    fn refused(&self, order: &Order, reply: &Reply) -> Submitted {
        let code = error_code(&reply.text());
        // This comes first: a task that was left for the next start has no outcome yet.
        if self.refuses(reply.status, &reply.text()) {
            return Submitted::Done;
        }
        if reply.header("x-task-id").is_some() {
            self.oracle.answered(order.token(), reply, Some(Answer::Error(code)));
            return Submitted::Done;
        }
        if order.idempotency_key.is_some() && code == "idempotency_conflict" {
            return Submitted::Conflict;
        }
        self.unexpected(Some(order.token()), "submit", reply);
        Submitted::Done
    }

    /// Queries a task.
    pub(crate) async fn ask(&self, known: &Known, wait: Option<u32>) {
        let wait = wait.map(|seconds| format!("?wait={seconds}")).unwrap_or_default();
        let request = http::request("GET", &format!("/v1/tasks/{}{wait}", known.id), known.caller.key());
        let floor = self.oracle.asks(&known.token);
        let Some(reply) = self.call(Some(&known.token), "query", &request).await else { return };
        match reply.status {
            200 => self.oracle.shown(&known.token, floor, &reply.text()),
            404 => self.oracle.absent(&known.token),
            _ => self.unexpected(Some(&known.token), "query", &reply),
        }
    }

    async fn cancel(&self, known: &Known) {
        let path = format!("/v1/tasks/{}/cancel", known.id);
        let floor = self.oracle.cancels(&known.token);
        let request = http::request("POST", &path, known.caller.key());
        let Some(reply) = self.call(Some(&known.token), "cancel", &request).await else { return };
        match reply.status {
            200 if shows_end(&reply.text()) => self.oracle.shown(&known.token, floor, &reply.text()),
            404 => self.oracle.absent(&known.token),
            _ => self.unexpected(Some(&known.token), "cancel", &reply),
        }
    }

    /// Subscribes, and perhaps disconnects and comes back.
    pub(crate) async fn read(&self, known: &Known, reading: Reading) {
        let Some(body) = self.subscribe(known, 0, false).await else { return };
        self.read_body(known, reading, body).await;
    }

    async fn read_body(&self, known: &Known, reading: Reading, body: Body) {
        let most = reading.leaves_after.unwrap_or(u64::MAX);
        let Follow::Left { next } = self.follow(known, 0, most, body).await else { return };
        let Some(back) = reading.back else { return };
        if !self.pause(back.after).await {
            return;
        }
        let next = next.saturating_sub(back.overlap);
        if let Some(body) = self.subscribe(known, next, back.by_header && next > 0).await {
            self.follow(known, next, u64::MAX, body).await;
        }
    }

    async fn subscribe(&self, known: &Known, position: u64, by_header: bool) -> Option<Body> {
        let (id, token) = (&known.id, Some(known.token.as_str()));
        let path = format!("/v1/llm/generations/{id}/stream");
        let request = if by_header {
            // The offset is the one in the URL of the first subscription.
            let last = (position - 1).to_string();
            http::request("GET", &format!("{path}?offset=0"), known.caller.key())
                .header("last-event-id", &last)
        } else {
            http::request("GET", &format!("{path}?offset={position}"), known.caller.key())
        };
        self.oracle.note(&known.token, &format!("subscribe from {position}"));
        let opened = match http::open(self.address, &request).await {
            Ok((head, body)) if head.status == 200 => return Some(body),
            Ok((head, body)) => http::rest(head, body).await,
            Err(broken) => Err(broken),
        };
        match opened {
            Ok(reply) if reply.status == 410 => self.oracle.expired(&known.token),
            Ok(reply) if reply.status == 404 => self.oracle.absent(&known.token),
            Ok(reply) if self.refuses(reply.status, &reply.text()) => {}
            Ok(reply) => self.unexpected(token, "subscribe", &reply),
            Err(broken) => self.broke(token, "subscribe", &broken),
        }
        None
    }

    /// Reads at most `most` frames of a stream from `position` on.
    async fn follow(&self, known: &Known, position: u64, most: u64, body: Body) -> Follow {
        let token = Some(known.token.as_str());
        let mut frames = Frames::new(body, position);
        let mut next = position;
        let breach = |text: &str| self.oracle.violate(token, Breach::Other, text);
        for _ in 0..most {
            match frames.next().await {
                Next::Frame(frame) => {
                    next += 1;
                    let last = frame.is_last();
                    self.oracle.received(&known.token, frame);
                    if last {
                        self.closes(known, &mut frames).await;
                        return Follow::Over;
                    }
                }
                Next::End if self.phase() > Phase::Serving => return Follow::Over,
                Next::End => {
                    breach("a stream without an end");
                    return Follow::Over;
                }
                Next::Malformed(text) => {
                    breach(&format!("no frame: {text}"));
                    return Follow::Over;
                }
                Next::Broken(broken) => {
                    self.broke(token, "stream", &broken);
                    return Follow::Over;
                }
            }
        }
        Follow::Left { next }
    }

    /// Asserts that nothing follows the last frame.
    async fn closes(&self, known: &Known, frames: &mut Frames) {
        match timeout(CLOSING, frames.next()).await {
            Ok(Next::End) => {}
            Ok(Next::Broken(broken)) => self.broke(Some(&known.token), "the end of a stream", &broken),
            other => {
                let text = format!("behind the last frame: {other:?}");
                self.oracle.violate(Some(&known.token), Breach::Other, &text);
            }
        }
    }

    /// Requests one page of the list.
    pub(crate) async fn look(&self, listing: &Listing) {
        if self.pause(listing.at).await {
            self.page(listing.caller, listing.limit, listing.status, None).await;
        }
    }

    /// Reads the whole list; `None` if the server was stopped during that.
    pub(crate) async fn list_all(&self, caller: Caller) -> Option<Vec<String>> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.page(caller, 100, None, after.as_deref()).await?;
            all.extend(page.tokens);
            match page.last.filter(|_| page.more) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let mut once = all.clone();
        once.sort();
        once.dedup();
        if once.len() != all.len() {
            self.oracle.violate(None, Breach::TwoOutcomes, "a submit is listed twice");
        }
        Some(all)
    }

    async fn page(
        &self,
        caller: Caller,
        limit: u32,
        status: Option<&str>,
        after: Option<&str>,
    ) -> Option<Page> {
        let mut path = format!("/v1/tasks?limit={limit}");
        if let Some(status) = status {
            path += &format!("&status={status}");
        }
        if let Some(after) = after {
            path += &format!("&after={after}");
        }
        let floors = self.oracle.floors();
        let reply = self.call(None, "list", &http::request("GET", &path, caller.key())).await?;
        let list: Value = serde_json::from_str(&reply.text()).unwrap_or_default();
        let tasks = list["data"].as_array().cloned().unwrap_or_default();
        let created: Vec<_> = tasks.iter().map(|task| task["created"].as_u64()).collect();
        let fits = list["object"] == "list"
            && list["has_more"].is_boolean()
            && tasks.len() <= usize::try_from(limit).unwrap()
            && tasks.iter().all(|task| status.is_none_or(|status| task["status"] == status))
            && created.is_sorted_by(|newer, older| newer >= older);
        if reply.status != 200 || !fits {
            self.unexpected(None, &path, &reply);
            return None;
        }
        let tokens = self.oracle.listed(&floors, &tasks);
        let last = tasks.last().and_then(|task| task["id"].as_str()).map(str::to_owned);
        Some(Page { tokens, last, more: list["has_more"] == true })
    }

    /// Queries and reads a task of earlier rounds again.
    pub(crate) async fn revisit(&self, known: &Known) {
        self.ask(known, None).await;
        if known.stream && self.phase() == Phase::Serving {
            self.read(known, Reading { leaves_after: None, back: None }).await;
        }
    }

    /// Queries a task until it has ended, or at most for this long.
    pub(crate) async fn wait(&self, known: &Known, most: Duration) {
        let began = Instant::now();
        while began.elapsed() < most && self.oracle.is_unended(&known.token) {
            self.ask(known, Some(5)).await;
            if self.phase() > Phase::Serving || self.oracle.verdict().is_err() {
                return;
            }
            // A server that does not wait must not be queried without a pause.
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[derive(Debug, PartialEq)]
enum Submitted {
    Done,
    /// The first submit of this key is still being accepted.
    Conflict,
}

#[derive(Debug)]
enum Follow {
    Over,
    Left { next: u64 },
}

#[derive(Debug)]
struct Page {
    tokens: Vec<String>,
    last: Option<String>,
    more: bool,
}
