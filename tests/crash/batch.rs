//! Rounds on one data directory: the server is started, used and stopped many times. At the end, everything that it
//! promised is checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clients::{Clients, Phase};
use crate::oracle::{Known, Oracle, Violation};
use crate::plan::{Caller, Ending, Order, Plan, Reading};
use crate::record::Breach;
use crate::server::{Server, Site};
use crate::summary::Tally;
use crate::upstream::Upstream;

/// How many tasks the channel runs at once.
pub(crate) const SLOTS: usize = 8;
/// The retention of chunks and of tasks in seconds, in rounds that check their deletion.
const BRIEF: (u64, u64) = (2, 4);
/// How much later than the end of the retention a deletion may come.
const GRACE: Duration = Duration::from_secs(5);
/// The longest time for any step at the end of a batch.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many requests are sent at once when there is no hurry.
const PARALLEL: usize = 16;
/// How many ended tasks are queried again after a start.
const REVISITED: usize = 20;
const DRAIN_SECONDS: u64 = 10;
const WHOLE: Reading = Reading { leaves_after: None, back: None };

/// Rounds that share a data directory.
pub(crate) struct Batch<'a> {
    upstream: &'a Upstream,
    tally: &'a mut Tally,
    epochs: &'a mut u32,
    site: Site,
    oracle: Arc<Oracle>,
    running: Option<Running>,
}

/// A server that is running.
struct Running {
    server: Server,
    clients: Clients,
    phase: watch::Sender<Phase>,
    epoch: u32,
}

/// A failure in a batch.
pub(crate) struct Failure {
    pub(crate) violation: Violation,
    /// What the servers logged about the task, and their last lines.
    pub(crate) log: String,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        upstream: &'a Upstream,
        tally: &'a mut Tally,
        epochs: &'a mut u32,
        began: Instant,
        brief: bool,
    ) -> Self {
        let retention = brief.then_some(BRIEF);
        upstream.hold();
        let oracle = Arc::new(Oracle::new(began, retention));
        Self { upstream, tally, epochs, site: Site::new(SLOTS, retention), oracle, running: None }
    }

    fn failure(&self, violation: Violation) -> Failure {
        let log = self.site.log_of(violation.task.as_deref(), *self.epochs);
        Failure { violation, log }
    }

    /// Runs a round.
    pub(crate) async fn round(&mut self, plan: &Plan) -> Result<(), Failure> {
        self.tally.rounds += 1;
        let played = self.play(plan).await;
        played.map_err(|violation| self.failure(violation))
    }

    async fn play(&mut self, plan: &Plan) -> Result<(), Violation> {
        if let Some(after) = plan.killed_at_start {
            let mut server = self.spawn(DRAIN_SECONDS);
            sleep(after).await;
            self.kill(&mut server);
        }
        let drain_seconds = match plan.ending {
            Ending::Terminate { drain_seconds } => drain_seconds,
            Ending::Kill | Ending::None => DRAIN_SECONDS,
        };
        let running = self.running(drain_seconds).await?;
        let users = self.start_clients(plan, &running.clients);
        let release = async {
            if let Some(at) = plan.release {
                sleep(at).await;
                self.upstream.release();
            }
        };
        let _ = tokio::join!(sleep(plan.life), timeout(plan.life, release));
        if plan.ending != Ending::None {
            self.upstream.hold();
        }
        self.running = self.end(running, plan.ending).await?;
        users.join_all().await;
        self.upstream.hold();
        self.oracle.verdict()
    }

    /// Starts all clients of a round.
    fn start_clients(&self, plan: &Plan, clients: &Clients) -> JoinSet<()> {
        let mut users = JoinSet::new();
        for known in self.oracle.to_revisit(&mut StdRng::seed_from_u64(plan.revisits), REVISITED) {
            let clients = clients.clone();
            users.spawn(async move { clients.revisit(&known).await });
        }
        for order in self.oracle.unanswered() {
            let clients = clients.clone();
            users.spawn(async move { clients.submit(&order).await });
        }
        for story in plan.stories.clone() {
            let clients = clients.clone();
            users.spawn(async move { clients.live(&story).await });
        }
        for listing in plan.lists.clone() {
            let clients = clients.clone();
            users.spawn(async move { clients.look(&listing).await });
        }
        users
    }

    fn spawn(&mut self, drain_seconds: u64) -> Server {
        *self.epochs += 1;
        self.tally.restarts += 1;
        self.oracle.begin_epoch(*self.epochs);
        self.site.spawn(self.upstream, *self.epochs, drain_seconds)
    }

    fn kill(&mut self, server: &mut Server) {
        self.tally.kills += 1;
        server.kill();
        self.look_for_panics();
    }

    fn look_for_panics(&self) {
        if let Some(line) = self.site.panic_of(*self.epochs) {
            self.oracle.violate(None, Breach::Other, &format!("the program panicked: {line}"));
        }
    }

    /// Returns the running server, or starts a new one.
    async fn running(&mut self, drain_seconds: u64) -> Result<Running, Violation> {
        if let Some(running) = self.running.take() {
            return Ok(running);
        }
        let mut server = self.spawn(drain_seconds);
        let address = server.ready().await.map_err(other)?;
        let (phase, receiver) = watch::channel(Phase::Serving);
        let clients = Clients { address, phase: receiver, oracle: Arc::clone(&self.oracle) };
        Ok(Running { server, clients, phase, epoch: *self.epochs })
    }

    /// Ends the server; returns it if it continues to run.
    async fn end(&mut self, mut running: Running, ending: Ending) -> Result<Option<Running>, Violation> {
        match ending {
            Ending::None => return Ok(Some(running)),
            Ending::Kill => {
                // The clients are notified first: connections that break from here on break because of the kill.
                running.phase.send_replace(Phase::Gone);
                self.kill(&mut running.server);
            }
            Ending::Terminate { .. } => {
                self.tally.drains += 1;
                running.phase.send_replace(Phase::Leaving);
                self.oracle.drains();
                let status = running.server.terminate().await.map_err(other)?;
                running.phase.send_replace(Phase::Gone);
                self.look_for_panics();
                if status.code() != Some(0) {
                    return Err(other(format!("the server ended with {status}")));
                }
            }
        }
        Ok(None)
    }

    /// Ends the batch: lets every task end, and checks everything that is known.
    pub(crate) async fn settle(mut self) -> Result<(), Failure> {
        let settled =
            if self.site.retention.is_some() { self.watch_deletion().await } else { self.check_all().await };
        // A breach in a task says more than a late check that fails because of it.
        let judged = settled.and_then(|()| {
            self.oracle.judge_all(self.upstream, self.tally);
            self.oracle.verdict()
        });
        self.upstream.forget();
        judged.map_err(|violation| self.failure(violation))
    }

    async fn check_all(&mut self) -> Result<(), Violation> {
        let running = self.running(DRAIN_SECONDS).await?;
        self.no_ended_task_is_called(&running).await?;
        self.upstream.release();
        self.answer_everybody(&running.clients).await?;
        self.list(&running.clients, true).await?;
        self.wait_for_all(&running.clients).await?;
        self.read_all(&running.clients).await?;
        // A second time, with data from the disk only.
        self.end(running, Ending::Kill).await?;
        let running = self.running(DRAIN_SECONDS).await?;
        self.read_all(&running.clients).await?;
        self.list(&running.clients, true).await?;
        self.no_audio_is_left().await?;
        self.upstream.hold();
        self.all_slots_are_free(&running).await?;
        self.no_connection_is_left().await?;
        self.end(running, Ending::Terminate { drain_seconds: DRAIN_SECONDS }).await?;
        self.oracle.verdict()
    }

    /// Ends a batch with a brief retention: at the end, everything must be deleted.
    async fn watch_deletion(&mut self) -> Result<(), Violation> {
        let running = self.running(DRAIN_SECONDS).await?;
        let clients = &running.clients;
        self.list(clients, false).await?;
        self.upstream.release();
        self.answer_everybody(clients).await?;
        self.list(clients, false).await?;
        self.wait_for_all(clients).await?;
        self.each(self.oracle.known(), |known| async move { clients.revisit(&known).await }).await?;
        let began = Instant::now();
        loop {
            let left = self.oracle.known();
            if left.is_empty() {
                break;
            }
            if let Some(known) = left.iter().find(|known| self.oracle.is_overdue(&known.token, GRACE)) {
                self.oracle.violate(Some(&known.token), Breach::Other, "it is kept for ever");
            }
            if began.elapsed() > PATIENCE {
                return Err(other("tasks are kept for ever".to_owned()));
            }
            self.each(left, |known| async move { clients.ask(&known, None).await }).await?;
            sleep(Duration::from_millis(100)).await;
        }
        for caller in Caller::ALL {
            let listed = clients.list_all(caller).await.unwrap_or_default();
            if !listed.is_empty() {
                return Err(other(format!("listed after they were forgotten: {listed:?}")));
            }
        }
        self.no_audio_is_left().await?;
        let none = || self.site.bytes("frames") == 0;
        self.until("the chunks are deleted", Breach::Other, none).await?;
        self.end(running, Ending::Terminate { drain_seconds: DRAIN_SECONDS }).await?;
        self.oracle.verdict()
    }

    /// Does something with each of these tasks, several at once.
    async fn each<F: Future<Output = ()>>(
        &self,
        tasks: Vec<Known>,
        act: impl Fn(Known) -> F,
    ) -> Result<(), Violation> {
        stream::iter(tasks).for_each_concurrent(PARALLEL, act).await;
        self.oracle.verdict()
    }

    /// Waits for a condition that no event signals.
    async fn until(&self, what: &str, breach: Breach, is: impl Fn() -> bool) -> Result<(), Violation> {
        let began = Instant::now();
        while !is() {
            if began.elapsed() > GRACE {
                self.oracle.violate(None, breach, &format!("in vain: {what}"));
                return self.oracle.verdict();
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Asserts that no upstream call of an ended task is open.
    async fn no_ended_task_is_called(&self, running: &Running) -> Result<(), Violation> {
        let ended: Vec<String> =
            self.oracle.known().into_iter().filter(|known| known.ended).map(|known| known.token).collect();
        let none = || !self.upstream.open_calls(running.epoch).iter().any(|token| ended.contains(token));
        self.until("the calls of ended tasks end", Breach::SlotHeld, none).await
    }

    /// Repeats the submits that have a key and were not answered.
    async fn answer_everybody(&self, clients: &Clients) -> Result<(), Violation> {
        join_all(self.oracle.unanswered().iter().map(|order| clients.submit(order))).await;
        self.oracle.verdict()
    }

    /// Finds the tasks whose submitters never got an id. With `whole`, the list must have every known task.
    async fn list(&self, clients: &Clients, whole: bool) -> Result<(), Violation> {
        for caller in Caller::ALL {
            let before = self.oracle.known();
            let Some(listed) = clients.list_all(caller).await else { return self.oracle.verdict() };
            let listed: std::collections::BTreeSet<String> = listed.into_iter().collect();
            for known in before {
                if whole && known.caller == caller && !listed.contains(&known.token) {
                    self.oracle.violate(Some(&known.token), Breach::Lost, "it is not in the list");
                }
            }
        }
        self.oracle.verdict()
    }

    async fn wait_for_all(&self, clients: &Clients) -> Result<(), Violation> {
        let unended = self.oracle.known().into_iter().filter(|known| !known.ended).collect();
        self.each(unended, |known| async move {
            clients.wait(&known, PATIENCE).await;
            if self.oracle.is_unended(&known.token) {
                self.oracle.violate(Some(&known.token), Breach::Other, "it does not end");
            }
        })
        .await
    }

    /// Reads every task and every stream.
    async fn read_all(&self, clients: &Clients) -> Result<(), Violation> {
        self.each(self.oracle.known(), |known| async move {
            clients.ask(&known, None).await;
            if known.stream {
                clients.read(&known, WHOLE).await;
            }
        })
        .await
    }

    async fn no_audio_is_left(&mut self) -> Result<(), Violation> {
        let none = || self.site.audios() == Some(0);
        let empty = self.until("the audio of ended tasks is deleted", Breach::AudioLeft, none).await;
        self.tally.audio_left += self.site.audios().unwrap_or(0);
        empty
    }

    /// Asserts that as many new tasks as there are slots call the upstream at once, while one more waits.
    async fn all_slots_are_free(&mut self, running: &Running) -> Result<(), Violation> {
        let clients = &running.clients;
        let orders: Vec<Order> =
            (0..=SLOTS).map(|number| Order::held(format!("slot{}n{number}", running.epoch))).collect();
        let (last, first) = orders.split_last().unwrap();
        join_all(first.iter().map(|order| clients.submit(order))).await;
        let calls = || self.upstream.open_calls(running.epoch).len();
        let free = self.until("all slots are free", Breach::SlotHeld, || calls() == SLOTS).await;
        self.tally.slots_held += SLOTS.saturating_sub(calls()) as u64;
        free?;
        clients.submit(last).await;
        if let Some(known) = self.oracle.known_as(last.token()) {
            clients.ask(&known, Some(1)).await;
        }
        if !self.upstream.calls(last.token()).is_empty() {
            self.oracle.violate(Some(last.token()), Breach::Other, "it runs without a slot");
        }
        self.upstream.release();
        self.wait_for_all(clients).await
    }

    async fn no_connection_is_left(&self) -> Result<(), Violation> {
        let none = || self.upstream.connections() == 0;
        self.until("upstream connections close", Breach::SlotHeld, none).await
    }
}

fn other(text: String) -> Violation {
    Violation { breach: Breach::Other, task: None, text }
}
