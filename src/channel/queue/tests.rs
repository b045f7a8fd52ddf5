//! The queue: order, fairness, limits, and resting channels.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::channel::breaker::Breaker;
use crate::channel::breaker::BreakerRule;
use crate::upstream::testing::silent_channel;

const RULE: BreakerRule = BreakerRule { failures: 1, rest: Duration::from_secs(10) };

fn channel(name: &str, slots: usize, priority: i64, now: Instant) -> Channel {
    Channel {
        max_running_tasks: slots,
        priority,
        breaker: Arc::new(Breaker::new(RULE, now)),
        ..silent_channel(name, &["*"])
    }
}

/// A queue of named waiting tasks, with its channels and the time.
struct Fixture {
    queue: Queue<&'static str>,
    channels: Vec<Arc<Channel>>,
    now: Instant,
}

impl Fixture {
    /// Creates channels with these slots and priorities, named `a`, `b`, ...
    fn with(slots: &[(usize, i64)]) -> Self {
        let now = Instant::now();
        let named = ["a", "b", "c"].into_iter().zip(slots);
        let channels =
            Channels::new(named.map(|(name, (slots, priority))| channel(name, *slots, *priority, now)));
        Self { queue: Queue::new(&channels), channels: channels.iter().cloned().collect(), now }
    }

    fn applicant(&self, key: &str) -> Applicant {
        let candidates = self.channels.clone();
        Applicant { key: KeyHash::of(key), most_running: None, candidates, ticket: None }
    }

    fn limited(&self, key: &str, most: u32) -> Applicant {
        Applicant { most_running: NonZeroU32::new(most), ..self.applicant(key) }
    }

    fn take(&mut self, key: &str) -> Option<Grant> {
        let applicant = self.applicant(key);
        self.queue.take(&applicant, self.now)
    }

    fn enqueue(&mut self, key: &str, name: &'static str) -> Ticket {
        let applicant = self.applicant(key);
        let (ticket, granted) = self.queue.enqueue(applicant, name, self.now);
        assert!(granted.is_empty());
        ticket
    }

    /// Gives a slot back. Returns the tasks that get a slot, and where.
    fn give_back(&mut self, grant: &Grant) -> Vec<(&'static str, Grant)> {
        self.queue.give_back(grant.key, grant.channel.place, self.now)
    }

    /// Returns the tasks that get a slot because channels have begun or ended a rest.
    fn settle(&mut self) -> Vec<(&'static str, Grant)> {
        self.queue.settle(self.now)
    }

    /// Gives slots back, one by one, until no task waits. Returns the order in which the waiting tasks got a slot.
    fn serve_all(&mut self, mut held: Vec<Grant>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some(grant) = held.pop() {
            for (name, grant) in self.give_back(&grant) {
                order.push(name);
                held.push(grant);
            }
        }
        assert_eq!(self.queue.waiting(), 0);
        order
    }
}

fn names(granted: &[(&'static str, Grant)]) -> Vec<(&'static str, String)> {
    granted.iter().map(|(name, grant)| (*name, grant.channel.name.clone())).collect()
}

#[test]
fn tasks_of_one_key_run_in_the_order_of_arrival() {
    let mut fixture = Fixture::with(&[(1, 0)]);
    let running = fixture.take("k").unwrap();
    assert!(fixture.take("k").is_none());
    for name in ["1", "2", "3"] {
        fixture.enqueue("k", name);
    }
    assert_eq!(fixture.serve_all(vec![running]), ["1", "2", "3"]);
}

#[test]
fn a_key_with_many_waiting_tasks_does_not_starve_a_key_with_one() {
    let mut fixture = Fixture::with(&[(1, 0)]);
    let running = fixture.take("many").unwrap();
    for name in ["m1", "m2", "m3", "m4"] {
        fixture.enqueue("many", name);
    }
    fixture.enqueue("one", "o1");
    fixture.enqueue("two", "t1");
    fixture.enqueue("two", "t2");
    assert_eq!(fixture.serve_all(vec![running]), ["m1", "o1", "t1", "m2", "t2", "m3", "m4"]);
}

#[test]
fn a_key_at_its_limit_is_skipped_and_holds_no_slot() {
    let mut fixture = Fixture::with(&[(2, 0)]);
    let narrow = fixture.limited("narrow", 1);
    let first = fixture.queue.take(&narrow, fixture.now).unwrap();
    assert!(fixture.queue.take(&narrow, fixture.now).is_none());
    fixture.queue.enqueue(narrow, "narrow", fixture.now);
    let other = fixture.take("other").unwrap();
    fixture.enqueue("other", "other");
    assert_eq!(names(&fixture.give_back(&other)), [("other", "a".to_owned())]);
    // The task waits for its key's own slot.
    assert_eq!(names(&fixture.give_back(&first)), [("narrow", "a".to_owned())]);
}

#[test]
fn a_slot_freed_by_a_key_lets_its_next_task_run_at_any_channel() {
    let mut fixture = Fixture::with(&[(1, 0), (1, 0)]);
    let mut narrow = fixture.limited("narrow", 1);
    narrow.candidates.truncate(1);
    let first = fixture.queue.take(&narrow, fixture.now).unwrap();
    let elsewhere = Applicant { candidates: fixture.channels[1..].to_vec(), ..fixture.limited("narrow", 1) };
    fixture.queue.enqueue(elsewhere, "elsewhere", fixture.now);
    assert_eq!(names(&fixture.give_back(&first)), [("elsewhere", "b".to_owned())]);
}

#[test]
fn a_task_takes_the_first_free_one_of_equal_channels() {
    let mut fixture = Fixture::with(&[(1, 0), (1, 0)]);
    let (_a, b) = (fixture.take("k").unwrap(), fixture.take("k").unwrap());
    assert_eq!(b.channel.name, "b");
    fixture.enqueue("k", "next");
    fixture.enqueue("k", "last");
    assert_eq!(names(&fixture.give_back(&b)), [("next", "b".to_owned())]);
    assert_eq!(fixture.queue.waiting(), 1);
}

#[test]
fn a_task_waits_for_a_busy_channel_instead_of_a_lower_priority() {
    let mut fixture = Fixture::with(&[(1, 5), (1, 0)]);
    let running = fixture.take("k").unwrap();
    assert!(fixture.take("k").is_none());
    fixture.enqueue("k", "next");
    assert_eq!(names(&fixture.give_back(&running)), [("next", "a".to_owned())]);
}

#[test]
fn the_next_channel_is_used_until_the_probe_of_a_resting_one() {
    let mut fixture = Fixture::with(&[(2, 5), (9, 0)]);
    fixture.channels[0].breaker.failed(None, false, fixture.now);
    assert_eq!(fixture.take("k").unwrap().channel.name, "b");
    fixture.now += RULE.rest;
    let probe = fixture.take("k").unwrap();
    assert_eq!((probe.channel.name.as_str(), probe.probe.is_some()), ("a", true));
    assert_eq!(fixture.take("k").unwrap().channel.name, "b");
    fixture.channels[0].breaker.completed();
    let grant = fixture.take("k").unwrap();
    assert_eq!((grant.channel.name.as_str(), grant.probe.is_some()), ("a", false));
}

#[test]
fn a_task_waiting_for_a_channel_that_begins_to_rest_moves() {
    let mut fixture = Fixture::with(&[(1, 5), (2, 0)]);
    let running = fixture.take("k").unwrap();
    for name in ["1", "2", "3"] {
        fixture.enqueue("k", name);
    }
    fixture.channels[0].breaker.failed(None, false, fixture.now);
    let granted = fixture.give_back(&running);
    assert_eq!(names(&granted), [("1", "b".to_owned()), ("2", "b".to_owned())]);
    assert_eq!(fixture.queue.waiting(), 1);
}

#[test]
fn a_waiting_task_returns_to_a_better_channel_after_its_rest() {
    let mut fixture = Fixture::with(&[(1, 5), (1, 0)]);
    fixture.channels[0].breaker.failed(None, false, fixture.now);
    let running = fixture.take("k").unwrap();
    assert_eq!(running.channel.name, "b");
    fixture.enqueue("k", "1");
    fixture.enqueue("k", "2");
    fixture.now += RULE.rest;
    // One task is the probe. While it runs, the other one keeps waiting where it was.
    let granted = fixture.settle();
    assert_eq!(names(&granted), [("1", "a".to_owned())]);
    assert!(granted[0].1.probe.is_some());
    assert!(fixture.settle().is_empty());
    assert_eq!(names(&fixture.give_back(&running)), [("2", "b".to_owned())]);
}

#[test]
fn a_waiting_task_leaves_a_full_channel_that_begins_to_rest() {
    let mut fixture = Fixture::with(&[(1, 5), (1, 0)]);
    let _hangs = fixture.take("k").unwrap();
    fixture.enqueue("k", "1");
    fixture.channels[0].breaker.failed(None, false, fixture.now);
    assert_eq!(names(&fixture.settle()), [("1", "b".to_owned())]);
}

#[test]
fn tasks_that_come_from_another_channel_are_counted_separately() {
    let mut fixture = Fixture::with(&[(1, 0)]);
    let running = fixture.take("k").unwrap();
    fixture.enqueue("k", "new");
    let moved = Applicant { ticket: Some(running.ticket), ..fixture.applicant("k") };
    fixture.queue.enqueue(moved, "moved", fixture.now);
    assert_eq!((fixture.queue.waiting(), fixture.queue.moved()), (1, 1));
    assert_eq!(names(&fixture.give_back(&running)), [("moved", "a".to_owned())]);
    assert_eq!((fixture.queue.waiting(), fixture.queue.moved()), (1, 0));
}

#[test]
fn a_task_that_moves_to_a_channel_with_a_free_slot_gets_it_at_once() {
    // The second channel is served before the queue finds that the tasks waiting for the third have to move there.
    let mut fixture = Fixture::with(&[(1, 0), (1, 0), (1, 3)]);
    let running = fixture.take("k").unwrap();
    assert_eq!(running.channel.name, "c");
    fixture.enqueue("k", "first");
    fixture.enqueue("k", "second");
    fixture.channels[2].breaker.failed(None, false, fixture.now);
    let granted = fixture.give_back(&running);
    assert_eq!(names(&granted), [("first", "a".to_owned()), ("second", "b".to_owned())]);
}

#[test]
fn the_highest_priority_is_used_if_all_channels_rest() {
    let mut fixture = Fixture::with(&[(1, 5), (1, 0)]);
    for channel in &fixture.channels {
        channel.breaker.failed(None, false, fixture.now);
    }
    let grant = fixture.take("k").unwrap();
    assert_eq!((grant.channel.name.as_str(), grant.probe.is_some()), ("a", false));
    fixture.enqueue("k", "next");
    assert_eq!(names(&fixture.give_back(&grant)), [("next", "a".to_owned())]);
}

#[test]
fn a_task_with_an_earlier_ticket_comes_before_later_tasks() {
    let mut fixture = Fixture::with(&[(1, 5), (1, 0)]);
    let first = fixture.take("k").unwrap();
    let running = Applicant { candidates: fixture.channels[1..].to_vec(), ..fixture.applicant("k") };
    let held = fixture.queue.take(&running, fixture.now).unwrap();
    fixture.queue.enqueue(running, "later", fixture.now);
    let moves = Applicant {
        candidates: fixture.channels[1..].to_vec(),
        ticket: Some(first.ticket),
        ..fixture.applicant("k")
    };
    fixture.queue.enqueue(moves, "earlier", fixture.now);
    assert_eq!(names(&fixture.give_back(&held)), [("earlier", "b".to_owned())]);
}

#[test]
fn a_task_that_left_the_queue_blocks_no_other() {
    let mut fixture = Fixture::with(&[(1, 0)]);
    let running = fixture.take("k").unwrap();
    let gone = fixture.enqueue("k", "gone");
    fixture.enqueue("k", "here");
    fixture.queue.leave(gone);
    assert_eq!(fixture.queue.waiting(), 1);
    assert_eq!(names(&fixture.give_back(&running)), [("here", "a".to_owned())]);
    fixture.enqueue("k", "away");
    fixture.queue.clear();
    assert_eq!(fixture.queue.waiting(), 0);
}

#[derive(Debug, Clone)]
enum QueueEvent {
    Come { key: u8, candidates: u8 },
    Go(prop::sample::Index),
    Leave(prop::sample::Index),
    Fail(u8),
    Work(u8),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<QueueEvent>> {
    let step = prop_oneof![
        4 => (0u8..4, 1u8..8).prop_map(|(key, candidates)| QueueEvent::Come { key, candidates }),
        4 => any::<prop::sample::Index>().prop_map(QueueEvent::Go),
        1 => any::<prop::sample::Index>().prop_map(QueueEvent::Leave),
        1 => (0u8..3).prop_map(QueueEvent::Fail),
        1 => (0u8..3).prop_map(QueueEvent::Work),
        1 => Just(QueueEvent::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

/// Returns true if a waiting task could run at this moment.
fn could_run_now(fixture: &Fixture, waiting: &[(Ticket, Applicant)], held: &[Grant]) -> bool {
    let free = |channel: &&Arc<Channel>| {
        let running = held.iter().filter(|grant| grant.channel.place == channel.place).count();
        running < channel.max_running_tasks
    };
    waiting.iter().any(|(_, applicant)| {
        let running = held.iter().filter(|grant| grant.key == applicant.key).count();
        let may = applicant.most_running.is_none_or(|most| running < most.get() as usize);
        may && route(&applicant.candidates, fixture.now).any(|channel| free(&channel))
    })
}

proptest! {
    #[test]
    fn every_task_gets_a_slot_and_no_slot_is_exceeded_or_left_free(steps in steps()) {
        let mut fixture = Fixture::with(&[(1, 0), (2, 0), (1, 3)]);
        let mut held: Vec<Grant> = Vec::new();
        let mut waiting: Vec<(Ticket, Applicant)> = Vec::new();
        for step in steps {
            let mut granted = Vec::new();
            match step {
                QueueEvent::Come { key, candidates } => {
                    granted.extend(fixture.settle());
                    let chosen = (0..3).filter(|n| candidates & (1 << n) != 0);
                    let mut candidates: Vec<_> = chosen.map(|n| Arc::clone(&fixture.channels[n])).collect();
                    candidates.sort_by_key(|channel| -channel.priority);
                    let most = if key == 0 { 1 } else { 0 };
                    let applicant = Applicant { candidates, ..fixture.limited(&key.to_string(), most) };
                    match fixture.queue.take(&applicant, fixture.now) {
                        Some(grant) => held.push(grant),
                        None => {
                            let (ticket, more) = fixture.queue.enqueue(applicant.clone(), "w", fixture.now);
                            waiting.push((ticket, applicant));
                            granted.extend(more);
                        }
                    }
                }
                QueueEvent::Go(index) if !held.is_empty() => {
                    let grant = held.swap_remove(index.index(held.len()));
                    granted.extend(fixture.give_back(&grant));
                }
                QueueEvent::Leave(index) if !waiting.is_empty() => {
                    let (ticket, _) = waiting.swap_remove(index.index(waiting.len()));
                    fixture.queue.leave(ticket);
                }
                QueueEvent::Go(_) | QueueEvent::Leave(_) => {}
                QueueEvent::Fail(n) => {
                    let breaker = &fixture.channels[n as usize].breaker;
                    breaker.failed(breaker.enter(fixture.now), false, fixture.now);
                }
                QueueEvent::Work(n) => { fixture.channels[n as usize].breaker.completed(); }
                QueueEvent::Wait => fixture.now += Duration::from_secs(4),
            }
            granted.extend(fixture.settle());
            for (_, grant) in granted {
                waiting.retain(|(ticket, _)| *ticket != grant.ticket);
                held.push(grant);
            }
            for channel in &fixture.channels {
                let running = held.iter().filter(|grant| grant.channel.place == channel.place).count();
                prop_assert!(running <= channel.max_running_tasks);
            }
            let narrow = KeyHash::of("0");
            prop_assert!(held.iter().filter(|grant| grant.key == narrow).count() <= 1);
            prop_assert_eq!(fixture.queue.waiting(), waiting.len());
            prop_assert!(!could_run_now(&fixture, &waiting, &held), "{:?}", waiting);
        }
        let served = fixture.serve_all(held).len();
        prop_assert_eq!(served, waiting.len());
    }
}
