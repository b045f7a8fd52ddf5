//! Tests deadlines with Tokio's clock under the control of the tests. A jump of the clock is a freeze; a sleep is not.

use std::future::{pending, poll_fn};

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, advance, sleep};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// Begins to wait for a value, for the limit at most. Returns the sender for the value and the waiting task.
async fn waiting() -> (oneshot::Sender<u8>, JoinHandle<Result<u8, Passed>>) {
    let (sender, receiver) = oneshot::channel();
    let waiting = spawn_local(async { timeout(LIMIT, receiver).await.map(Result::unwrap) });
    yield_now().await;
    (sender, waiting)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_passes_one_turn_after_its_time() {
    let started = Instant::now();
    assert_eq!(timeout(LIMIT, pending::<()>()).await, Err(Passed));
    let late = started.elapsed() - LIMIT;
    assert!(late >= GRACE && late < GRACE * 2, "{late:?}");
    assert_eq!(timeout(LIMIT, async { 7 }).await, Ok(7));
    assert_eq!(timeout(Duration::MAX, async { 7 }).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_came_during_a_freeze_is_in_time() {
    LocalSet::new()
        .run_until(async {
            let (sender, waiting) = waiting().await;
            // The clock jumps, and the timer fires before the event loop has checked its sockets.
            advance(LIMIT * 3).await;
            yield_now().await;
            sender.send(7).unwrap();
            assert_eq!(waiting.await.unwrap(), Ok(7));
        })
        .await;
}

/// Simulates this number of freezes, each followed by a quarter of the limit without a freeze.
async fn freeze(times: u32) {
    for _ in 0..times {
        advance(LIMIT * 100).await;
        sleep(LIMIT / 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_freeze_moves_a_deadline_by_its_length() {
    LocalSet::new()
        .run_until(async {
            for times in [1, 3] {
                let (sender, answered) = waiting().await;
                freeze(times).await;
                sender.send(7).unwrap();
                assert_eq!(answered.await.unwrap(), Ok(7), "{times}");

                let ((_sender, unanswered), began) = (waiting().await, Instant::now());
                freeze(times).await;
                assert_eq!(unanswered.await.unwrap(), Err(Passed));
                let awake = began.elapsed() - LIMIT * 100 * times;
                assert!(awake > LIMIT * 3 / 4 && awake < LIMIT + GRACE * 2, "{awake:?}");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_just_before_a_freeze_passes_a_moment_after_it() {
    LocalSet::new()
        .run_until(async {
            let (_sender, waiting) = waiting().await;
            sleep(LIMIT - GRACE).await;
            advance(LIMIT).await;
            let last_freeze_end = Instant::now();
            assert_eq!(waiting.await.unwrap(), Err(Passed));
            let left = last_freeze_end.elapsed();
            assert!(left >= AFTER_FREEZE && left < AFTER_FREEZE + GRACE * 2, "{left:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_moved_passes_at_its_new_time() {
    for (first, second) in [(LIMIT, LIMIT * 2), (LIMIT * 2, LIMIT)] {
        let mut deadline = Deadline::after(first);
        let started = Instant::now();
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll_passed(cx))).await.is_pending());
        deadline.restart(second);
        poll_fn(|cx| deadline.poll_passed(cx)).await;
        let late = started.elapsed() - second;
        assert!(late < GRACE * 2, "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_reset_to_the_same_time_keeps_its_grace() {
    let mut deadline = Deadline::after(LIMIT);
    let until = deadline.now() + LIMIT;
    deadline.reset(until);
    sleep(LIMIT).await;
    assert!(!deadline.is_passed());
    sleep(GRACE).await;
    deadline.reset(until);
    assert!(deadline.is_passed());
    deadline.reset(until + LIMIT);
    assert!(!deadline.is_passed());
}

#[test]
fn a_passed_deadline_is_distinguished_from_other_timeouts() {
    let passed = io::Error::from(Passed);
    assert_eq!(passed.kind(), io::ErrorKind::TimedOut);
    assert!(passed.get_ref().is_some_and(|inner| inner.is::<Passed>()));
}
