//! The queue: order, fairness, bounds, and channels that rest.

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

/// A queue of named waiters, and what they were granted.
struct Hall {
    queue: Queue<&'static str>,
    channels: Vec<Arc<Channel>>,
    now: Instant,
}

impl Hall {
    /// Channels with these slots and priorities, named `a`, `b`, ...
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

    fn line_up(&mut self, key: &str, name: &'static str) -> Ticket {
        let applicant = self.applicant(key);
        let (ticket, granted) = self.queue.line_up(applicant, name, self.now);
        assert!(granted.is_empty());
        ticket
    }

    /// Who gets a slot when this one comes back, and where.
    fn give_back(&mut self, grant: &Grant) -> Vec<(&'static str, Grant)> {
        self.queue.give_back(grant.key, grant.channel.place, self.now)
    }

    /// Who gets a slot because channels rest or do so no more.
    fn settle(&mut self) -> Vec<(&'static str, Grant)> {
        self.queue.settle(self.now)
    }

    /// Gives slots back, one by one, until nobody waits; the order in which those who waited had theirs.
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
fn one_keys_tasks_run_in_the_order_in_which_they_came() {
    let mut hall = Hall::with(&[(1, 0)]);
    let running = hall.take("k").unwrap();
    assert!(hall.take("k").is_none());
    for name in ["1", "2", "3"] {
        hall.line_up("k", name);
    }
    assert_eq!(hall.serve_all(vec![running]), ["1", "2", "3"]);
}

#[test]
fn a_key_with_many_tasks_in_line_does_not_starve_one_with_a_single_task() {
    let mut hall = Hall::with(&[(1, 0)]);
    let running = hall.take("many").unwrap();
    for name in ["m1", "m2", "m3", "m4"] {
        hall.line_up("many", name);
    }
    hall.line_up("one", "o1");
    hall.line_up("two", "t1");
    hall.line_up("two", "t2");
    assert_eq!(hall.serve_all(vec![running]), ["m1", "o1", "t1", "m2", "t2", "m3", "m4"]);
}

#[test]
fn a_key_at_its_limit_is_passed_over_and_holds_no_slot() {
    let mut hall = Hall::with(&[(2, 0)]);
    let narrow = hall.limited("narrow", 1);
    let first = hall.queue.take(&narrow, hall.now).unwrap();
    assert!(hall.queue.take(&narrow, hall.now).is_none());
    hall.queue.line_up(narrow, "narrow", hall.now);
    let other = hall.take("other").unwrap();
    hall.line_up("other", "other");
    assert_eq!(names(&hall.give_back(&other)), [("other", "a".to_owned())]);
    // What it waits for is its own slot.
    assert_eq!(names(&hall.give_back(&first)), [("narrow", "a".to_owned())]);
}

#[test]
fn a_keys_own_slot_lets_its_next_task_run_wherever_there_is_room() {
    let mut hall = Hall::with(&[(1, 0), (1, 0)]);
    let mut narrow = hall.limited("narrow", 1);
    narrow.candidates.truncate(1);
    let first = hall.queue.take(&narrow, hall.now).unwrap();
    let elsewhere = Applicant { candidates: hall.channels[1..].to_vec(), ..hall.limited("narrow", 1) };
    hall.queue.line_up(elsewhere, "elsewhere", hall.now);
    assert_eq!(names(&hall.give_back(&first)), [("elsewhere", "b".to_owned())]);
}

#[test]
fn whichever_of_equal_channels_is_free_first_is_taken() {
    let mut hall = Hall::with(&[(1, 0), (1, 0)]);
    let (_a, b) = (hall.take("k").unwrap(), hall.take("k").unwrap());
    assert_eq!(b.channel.name, "b");
    hall.line_up("k", "next");
    hall.line_up("k", "last");
    assert_eq!(names(&hall.give_back(&b)), [("next", "b".to_owned())]);
    assert_eq!(hall.queue.waiting(), 1);
}

#[test]
fn a_busy_channel_is_waited_for_and_not_replaced_by_a_lesser_one() {
    let mut hall = Hall::with(&[(1, 5), (1, 0)]);
    let running = hall.take("k").unwrap();
    assert!(hall.take("k").is_none());
    hall.line_up("k", "next");
    assert_eq!(names(&hall.give_back(&running)), [("next", "a".to_owned())]);
}

#[test]
fn while_a_channel_rests_the_next_one_is_asked_and_then_one_probe_goes() {
    let mut hall = Hall::with(&[(2, 5), (9, 0)]);
    hall.channels[0].breaker.failed(None, false, hall.now);
    assert_eq!(hall.take("k").unwrap().channel.name, "b");
    hall.now += RULE.rest;
    let probe = hall.take("k").unwrap();
    assert_eq!((probe.channel.name.as_str(), probe.probe.is_some()), ("a", true));
    assert_eq!(hall.take("k").unwrap().channel.name, "b");
    hall.channels[0].breaker.worked();
    let grant = hall.take("k").unwrap();
    assert_eq!((grant.channel.name.as_str(), grant.probe.is_some()), ("a", false));
}

#[test]
fn who_waits_for_a_channel_that_begins_to_rest_goes_elsewhere() {
    let mut hall = Hall::with(&[(1, 5), (2, 0)]);
    let running = hall.take("k").unwrap();
    for name in ["1", "2", "3"] {
        hall.line_up("k", name);
    }
    hall.channels[0].breaker.failed(None, false, hall.now);
    let granted = hall.give_back(&running);
    assert_eq!(names(&granted), [("1", "b".to_owned()), ("2", "b".to_owned())]);
    assert_eq!(hall.queue.waiting(), 1);
}

#[test]
fn who_waits_goes_back_to_a_better_channel_when_it_has_rested() {
    let mut hall = Hall::with(&[(1, 5), (1, 0)]);
    hall.channels[0].breaker.failed(None, false, hall.now);
    let running = hall.take("k").unwrap();
    assert_eq!(running.channel.name, "b");
    hall.line_up("k", "1");
    hall.line_up("k", "2");
    hall.now += RULE.rest;
    // One is the probe; while it is under way the other waits where it did.
    let granted = hall.settle();
    assert_eq!(names(&granted), [("1", "a".to_owned())]);
    assert!(granted[0].1.probe.is_some());
    assert!(hall.settle().is_empty());
    assert_eq!(names(&hall.give_back(&running)), [("2", "b".to_owned())]);
}

#[test]
fn who_waits_leaves_a_channel_that_begins_to_rest_although_its_slots_are_all_taken() {
    let mut hall = Hall::with(&[(1, 5), (1, 0)]);
    let _hangs = hall.take("k").unwrap();
    hall.line_up("k", "1");
    hall.channels[0].breaker.failed(None, false, hall.now);
    assert_eq!(names(&hall.settle()), [("1", "b".to_owned())]);
}

#[test]
fn those_who_come_from_another_channel_are_counted_apart() {
    let mut hall = Hall::with(&[(1, 0)]);
    let running = hall.take("k").unwrap();
    hall.line_up("k", "new");
    let moved = Applicant { ticket: Some(running.ticket), ..hall.applicant("k") };
    hall.queue.line_up(moved, "moved", hall.now);
    assert_eq!((hall.queue.waiting(), hall.queue.moved()), (1, 1));
    assert_eq!(names(&hall.give_back(&running)), [("moved", "a".to_owned())]);
    assert_eq!((hall.queue.waiting(), hall.queue.moved()), (1, 0));
}

#[test]
fn who_is_sent_to_a_channel_with_a_free_slot_gets_it_at_once() {
    // The second channel is looked at before it is found that those who wait for the third have to go there.
    let mut hall = Hall::with(&[(1, 0), (1, 0), (1, 3)]);
    let running = hall.take("k").unwrap();
    assert_eq!(running.channel.name, "c");
    hall.line_up("k", "first");
    hall.line_up("k", "second");
    hall.channels[2].breaker.failed(None, false, hall.now);
    let granted = hall.give_back(&running);
    assert_eq!(names(&granted), [("first", "a".to_owned()), ("second", "b".to_owned())]);
}

#[test]
fn where_all_rest_the_first_ones_are_asked_all_the_same() {
    let mut hall = Hall::with(&[(1, 5), (1, 0)]);
    for channel in &hall.channels {
        channel.breaker.failed(None, false, hall.now);
    }
    let grant = hall.take("k").unwrap();
    assert_eq!((grant.channel.name.as_str(), grant.probe.is_some()), ("a", false));
    hall.line_up("k", "next");
    assert_eq!(names(&hall.give_back(&grant)), [("next", "a".to_owned())]);
}

#[test]
fn who_comes_back_with_a_ticket_is_before_those_who_came_later() {
    let mut hall = Hall::with(&[(1, 5), (1, 0)]);
    let first = hall.take("k").unwrap();
    let running = Applicant { candidates: hall.channels[1..].to_vec(), ..hall.applicant("k") };
    let held = hall.queue.take(&running, hall.now).unwrap();
    hall.queue.line_up(running, "later", hall.now);
    let moves = Applicant {
        candidates: hall.channels[1..].to_vec(),
        ticket: Some(first.ticket),
        ..hall.applicant("k")
    };
    hall.queue.line_up(moves, "earlier", hall.now);
    assert_eq!(names(&hall.give_back(&held)), [("earlier", "b".to_owned())]);
}

#[test]
fn who_has_left_holds_up_nobody() {
    let mut hall = Hall::with(&[(1, 0)]);
    let running = hall.take("k").unwrap();
    let gone = hall.line_up("k", "gone");
    hall.line_up("k", "here");
    hall.queue.leave(gone);
    assert_eq!(hall.queue.waiting(), 1);
    assert_eq!(names(&hall.give_back(&running)), [("here", "a".to_owned())]);
    hall.line_up("k", "away");
    hall.queue.clear();
    assert_eq!(hall.queue.waiting(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Come { key: u8, candidates: u8 },
    Go(prop::sample::Index),
    Leave(prop::sample::Index),
    Fail(u8),
    Work(u8),
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..4, 1u8..8).prop_map(|(key, candidates)| Step::Come { key, candidates }),
        4 => any::<prop::sample::Index>().prop_map(Step::Go),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (0u8..3).prop_map(Step::Fail),
        1 => (0u8..3).prop_map(Step::Work),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

/// Returns true if a waiting task could run at this moment.
fn is_kept_waiting(hall: &Hall, waiting: &[(Ticket, Applicant)], held: &[Grant]) -> bool {
    let free = |channel: &&Arc<Channel>| {
        let running = held.iter().filter(|grant| grant.channel.place == channel.place).count();
        running < channel.max_running_tasks
    };
    waiting.iter().any(|(_, applicant)| {
        let running = held.iter().filter(|grant| grant.key == applicant.key).count();
        let may = applicant.most_running.is_none_or(|most| running < most.get() as usize);
        may && route(&applicant.candidates, hall.now).any(|channel| free(&channel))
    })
}

proptest! {
    #[test]
    fn slots_are_never_exceeded_nobody_waits_beside_one_and_everybody_gets_one(steps in steps()) {
        let mut hall = Hall::with(&[(1, 0), (2, 0), (1, 3)]);
        let mut held: Vec<Grant> = Vec::new();
        let mut waiting: Vec<(Ticket, Applicant)> = Vec::new();
        for step in steps {
            let mut granted = Vec::new();
            match step {
                Step::Come { key, candidates } => {
                    granted.extend(hall.settle());
                    let chosen = (0..3).filter(|n| candidates & (1 << n) != 0);
                    let mut candidates: Vec<_> = chosen.map(|n| Arc::clone(&hall.channels[n])).collect();
                    candidates.sort_by_key(|channel| -channel.priority);
                    let most = if key == 0 { 1 } else { 0 };
                    let applicant = Applicant { candidates, ..hall.limited(&key.to_string(), most) };
                    match hall.queue.take(&applicant, hall.now) {
                        Some(grant) => held.push(grant),
                        None => {
                            let (ticket, more) = hall.queue.line_up(applicant.clone(), "w", hall.now);
                            waiting.push((ticket, applicant));
                            granted.extend(more);
                        }
                    }
                }
                Step::Go(index) if !held.is_empty() => {
                    let grant = held.swap_remove(index.index(held.len()));
                    granted.extend(hall.give_back(&grant));
                }
                Step::Leave(index) if !waiting.is_empty() => {
                    let (ticket, _) = waiting.swap_remove(index.index(waiting.len()));
                    hall.queue.leave(ticket);
                }
                Step::Go(_) | Step::Leave(_) => {}
                Step::Fail(n) => {
                    let breaker = &hall.channels[n as usize].breaker;
                    breaker.failed(breaker.enter(hall.now), false, hall.now);
                }
                Step::Work(n) => { hall.channels[n as usize].breaker.worked(); }
                Step::Wait => hall.now += Duration::from_secs(4),
            }
            granted.extend(hall.settle());
            for (_, grant) in granted {
                waiting.retain(|(ticket, _)| *ticket != grant.ticket);
                held.push(grant);
            }
            for channel in &hall.channels {
                let running = held.iter().filter(|grant| grant.channel.place == channel.place).count();
                prop_assert!(running <= channel.max_running_tasks);
            }
            let narrow = KeyHash::of("0");
            prop_assert!(held.iter().filter(|grant| grant.key == narrow).count() <= 1);
            prop_assert_eq!(hall.queue.waiting(), waiting.len());
            prop_assert!(!is_kept_waiting(&hall, &waiting, &held), "{:?}", waiting);
        }
        let served = hall.serve_all(held).len();
        prop_assert_eq!(served, waiting.len());
    }
}
