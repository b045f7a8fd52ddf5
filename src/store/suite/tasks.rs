//! Promises about tasks: from their acceptance to the end of their retention.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::task::yield_now;

use super::TestBackend;
use super::kit::{DAY, LARGE, completed, failed, light, owner, pass_a_millisecond, record, task};
use crate::secret::KeyHash;
use crate::store::{Acceptance, NewRecord, Store};
use crate::task::{Fingerprint, Idempotency, IdempotencyKey, RecoveryFacts, State, Task, Timeline};

pub(super) async fn a_task_is_found_only_by_its_owner<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let found = store.found(&task).await.unwrap();
    assert_eq!((found.model.as_str(), found.created), ("m", task.created.seconds()));
    assert!(found.stream && matches!(found.state, State::Pending));
    assert!(
        light(store.find(task.id.clone(), KeyHash::of("sk-other"), usize::MAX, false).await.unwrap())
            .is_none()
    );
    assert!(store.request(task.id.clone(), owner()).await.unwrap().is_some());
    assert!(store.request(task.id.clone(), KeyHash::of("sk-other")).await.unwrap().is_none());
}

pub(super) async fn the_first_end_of_a_task_stays_and_the_next_caller_gets_it<G: TestBackend>() {
    let ground = G::new();
    let task = task();
    let first = {
        let store = ground.open(DAY);
        store.accept_task(record(&task)).await;
        let completed = completed(&task, r#"{"b" : 1}"#);
        assert!(store.end(task.id.clone(), completed.clone()).await.unwrap().is_none());
        let before = store.end(task.id.clone(), failed(&task)).await.unwrap().unwrap();
        assert!(matches!(before.state, State::Completed(_)));
        completed
    };
    let found = ground.open(DAY).found(&task).await.unwrap();
    assert_eq!(found.timeline, first.timeline);
    let State::Completed(completion) = found.state else { panic!("{:?}", found.state) };
    assert_eq!(completion.chat().get(), r#"{"b" : 1}"#);
}

pub(super) async fn two_ends_at_once_give_both_callers_the_same_end<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let ends = [completed(&task, "{}"), failed(&task)].map(|ending| store.end(task.id.clone(), ending));
    let ended: Vec<_> = join_all(ends).await.into_iter().filter_map(Result::unwrap).collect();
    let [ended] = &ended[..] else { panic!("{ended:?}") };
    let found = store.found(&task).await.unwrap();
    assert_eq!(ended.state.status(), found.state.status());
    assert_eq!(store.levels().spool.0, 0);
}

pub(super) async fn a_task_that_has_not_ended_is_found_after_a_start<G: TestBackend>() {
    let ground = G::new();
    let (waiting, running, seen, ended) = (task(), task(), task(), task());
    {
        let store = ground.open(DAY);
        store.accept_task(record(&waiting)).await;
        store.accept_task(NewRecord { runs: true, ..record(&running) }).await;
        store.progress(running.id.clone(), 30).await.unwrap();
        store.run(running.id.clone(), Timeline::begun(running.created)).await.unwrap();
        store.accept_task(NewRecord { irreplaceable_caller: true, ..record(&seen) }).await;
        store.mark_published(seen.id.clone(), Timeline::begun(seen.created));
        store.accept_task(record(&ended)).await;
        store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    }
    let store = ground.open(DAY);
    let left = store.unfinished(None).await.unwrap();
    let by_id = |task: &Task| left.iter().find(|left| left.task == *task).unwrap();
    assert_eq!(left.len(), 3);
    assert!(left.is_sorted_by_key(|left| (left.task.created, left.task.id.clone())), "the oldest first");
    assert_eq!(
        by_id(&waiting).facts,
        RecoveryFacts { runs: 0, published: false, irreplaceable_caller: false }
    );
    assert_eq!(
        by_id(&running).facts,
        RecoveryFacts { runs: 2, published: false, irreplaceable_caller: false }
    );
    assert_eq!(by_id(&seen).facts, RecoveryFacts { runs: 0, published: true, irreplaceable_caller: true });
    assert_eq!(by_id(&running).progress, 30);
    let last = left.last().map(|left| (left.task.created, left.task.id.clone()));
    assert!(store.unfinished(last).await.unwrap().is_empty());
}

pub(super) async fn runs_are_counted_until_a_task_ends<G: TestBackend>() {
    let ground = G::new();
    let (first, then) = (task(), task());
    {
        let store = ground.open(DAY);
        store.accept_task(record(&first)).await;
        store.accept_task(NewRecord { runs: true, ..record(&then) }).await;
        assert!(matches!(store.found(&first).await.unwrap().state, State::Pending));
        store.run(first.id.clone(), another_timeline(&first)).await.unwrap();
        for task in [&first, &then] {
            let found = store.found(task).await.unwrap();
            assert!(matches!(found.state, State::Processing { progress: 0 }), "{:?}", found.state);
        }
        assert_eq!(store.found(&first).await.unwrap().timeline, another_timeline(&first));
    }
    let store = ground.open(DAY);
    store.run(then.id.clone(), another_timeline(&then)).await.unwrap();
    let left = store.unfinished(None).await.unwrap();
    let runs = |task: &Task| left.iter().find(|left| left.task == *task).unwrap().facts.runs;
    assert_eq!((runs(&first), runs(&then)), (1, 2));
    store.end(first.id.clone(), failed(&first)).await.unwrap();
    store.run(first.id.clone(), another_timeline(&first)).await.unwrap();
    let found = store.found(&first).await.unwrap();
    assert!(matches!(found.state, State::Failed { .. }));
    assert_eq!(found.timeline, failed(&first).timeline);
    store.run(task().id.clone(), another_timeline(&then)).await.unwrap();
    assert_eq!(store.unfinished(None).await.unwrap().len(), 1);
}

pub(super) async fn marks_are_recorded_until_a_task_ends<G: TestBackend>() {
    let ground = G::new();
    let (seen, ended) = (task(), task());
    {
        let store = ground.open(DAY);
        for task in [&seen, &ended] {
            store.accept_task(NewRecord { runs: true, ..record(task) }).await;
            store.progress(task.id.clone(), 30).await.unwrap();
            store.progress(task.id.clone(), 31).await.unwrap();
            store.mark_published(task.id.clone(), another_timeline(task));
        }
        store.end(ended.id.clone(), failed(&ended)).await.unwrap();
        // A write is committed after each mark that was made before it.
        let found = store.found(&seen).await.unwrap();
        assert!(matches!(found.state, State::Processing { progress: 31 }), "{:?}", found.state);
        assert_eq!(found.timeline, another_timeline(&seen));
        store.progress(ended.id.clone(), 50).await.unwrap();
        store.mark_published(ended.id.clone(), another_timeline(&ended));
        store.accept_task(record(&task())).await;
        let found = store.found(&ended).await.unwrap();
        assert!(matches!(found.state, State::Failed { progress: 42, .. }), "{:?}", found.state);
        assert_eq!(found.timeline, failed(&ended).timeline);
    }
    let left = ground.open(DAY).unfinished(None).await.unwrap();
    let seen = left.iter().find(|left| left.task == *seen).unwrap();
    assert_eq!((seen.progress, seen.facts.published), (31, true));
}

pub(super) async fn marks_and_writes_take_effect_in_their_order<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(NewRecord { runs: true, ..record(&task) }).await;
    let timeline = |seconds| Timeline::begun(task.created.before(Duration::from_secs(seconds)));
    for n in 0..40 {
        store.progress(task.id.clone(), n).await.unwrap();
        store.mark_published(task.id.clone(), timeline(n.into()));
        if n % 8 == 7 {
            store.run(task.id.clone(), timeline(100)).await.unwrap();
            let found = store.found(&task).await.unwrap();
            assert!(
                matches!(found.state, State::Processing { progress } if progress == n),
                "{:?}",
                found.state
            );
            assert_eq!(found.timeline, timeline(100), "the run came last");
        }
    }
    store.mark_published(task.id.clone(), timeline(41));
    store.accept_task(record(&self::task())).await;
    assert_eq!(store.found(&task).await.unwrap().timeline, timeline(41));
}

pub(super) async fn a_task_is_not_kept_if_its_caller_stops_waiting<G: TestBackend>() {
    let ground = G::new();
    let (others, mut gone) = ([task(), task(), task()], Vec::new());
    {
        let store = ground.open(DAY);
        // The caller of small audio stops waiting during the commit, the caller of large audio before it.
        for audio in [&[&b"RIFFdata"[..]][..], &[b"RIFFdata", LARGE]] {
            gone.push(without_caller(&store, audio).await);
        }
        // A task that was recorded anyway is withdrawn by one of the next commits.
        for other in &others {
            store.accept_task(record(other)).await;
        }
        let until = Instant::now() + Duration::from_secs(20);
        while store.levels().spool.0 != 24 {
            assert!(Instant::now() < until, "{:?}", store.levels());
            yield_now().await;
        }
        for task in &gone {
            assert!(store.found(task).await.is_none());
            let key = keyed(task).idempotency.unwrap().key;
            assert!(store.submitted(owner(), key).await.unwrap().is_none());
        }
        store.accept_task(NewRecord { idempotency: keyed(&gone[0]).idempotency, ..record(&gone[1]) }).await;
    }
    let left = ground.open(DAY).unfinished(None).await.unwrap();
    let left: Vec<_> = left.iter().map(|left| &left.task).collect();
    assert!(left.len() == 4 && others.iter().all(|task| left.contains(&&**task)), "{left:?}");
}

pub(super) async fn a_committed_task_is_withdrawn_if_its_caller_stops_waiting<G: TestBackend>() {
    let ground = G::new();
    let gone = {
        let store = ground.open(DAY);
        let (gone, accept) = loop {
            let task = task();
            let mut accept = Box::pin(store.accept_with(keyed(&task), &[b"RIFFdata"]));
            if (&mut accept).now_or_never().is_none() {
                break (task, accept);
            }
        };
        // Once this task is recorded, the one before it is as well.
        store.accept_task(record(&task())).await;
        drop(accept);
        for _ in 0..2 {
            store.accept_task(record(&task())).await;
        }
        assert!(store.found(&gone).await.is_none());
        let idempotency = keyed(&gone).idempotency;
        let key = idempotency.as_ref().unwrap().key.clone();
        assert!(store.submitted(owner(), key).await.unwrap().is_none());
        store.accept_task(NewRecord { idempotency, ..record(&task()) }).await;
        gone
    };
    let left = ground.open(DAY).unfinished(None).await.unwrap();
    assert!(left.iter().all(|left| left.task != *gone), "{left:?}");
}

/// Makes a task whose caller stops waiting before the task is accepted.
async fn without_caller(store: &Store, audio: &[&[u8]]) -> Arc<Task> {
    loop {
        let task = task();
        match store.accept_with(keyed(&task), audio).now_or_never() {
            None => return task,
            // The disk was so fast that the answer came at once.
            Some(accepted) => assert_eq!(accepted.unwrap(), Acceptance::Durable),
        }
        store.end(task.id.clone(), failed(&task)).await.unwrap();
    }
}

/// Makes a record with its own `Idempotency-Key`.
fn keyed(task: &Arc<Task>) -> NewRecord {
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(task.id.as_str().as_bytes()).unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    NewRecord { idempotency: Some(idempotency), ..record(task) }
}

/// Makes a timeline that differs from the one of the record.
fn another_timeline(task: &Task) -> Timeline {
    Timeline::begun(task.created.before(Duration::from_secs(1)))
}

pub(super) async fn a_key_starts_one_task_and_is_free_again_after_its_retention<G: TestBackend>() {
    let ground = G::new();
    let idempotency = Idempotency {
        key: IdempotencyKey::parse(b"k").unwrap(),
        fingerprint: Fingerprint::of(b"{}").unwrap(),
    };
    let keyed = |task: &Arc<Task>| NewRecord { idempotency: Some(idempotency.clone()), ..record(task) };
    let (first, second) = (task(), task());
    {
        let store = ground.open(DAY);
        let accepts = [&first, &second].map(|task| store.accept_with(keyed(task), &[LARGE]));
        let accepted: Vec<_> = join_all(accepts).await.into_iter().map(Result::unwrap).collect();
        assert!(accepted.contains(&Acceptance::Durable) && accepted.contains(&Acceptance::KeyTaken));
        assert_eq!(store.levels().spool.0, LARGE.len() as u64);
    }
    let store = ground.open(DAY);
    let (_, found) = store.submitted(owner(), idempotency.key.clone()).await.unwrap().unwrap();
    assert_eq!(found, idempotency);
    let other = KeyHash::of("sk-other");
    assert!(store.submitted(other, idempotency.key.clone()).await.unwrap().is_none());
    drop(store);
    let store = ground.open(Duration::ZERO);
    pass_a_millisecond();
    assert!(store.submitted(owner(), idempotency.key.clone()).await.unwrap().is_none());
    store.accept_task(keyed(&task())).await;
    pass_a_millisecond();
    store.forget_expired().await.unwrap();
    drop(store);
    let store = ground.open(DAY);
    assert!(store.submitted(owner(), idempotency.key.clone()).await.unwrap().is_none(), "it is deleted");
}

pub(super) async fn a_write_that_changes_nothing_fails_alone<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let (first, second) = (task(), task());
    let accepts = [&first, &first, &second].map(|task| store.accept(record(task), vec![]));
    let results = join_all(accepts).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(store.found(&second).await.is_some());
    // A task that failed does not use up its key.
    let keyed = keyed(&second);
    let key = keyed.idempotency.as_ref().unwrap().key.clone();
    assert!(store.accept(keyed, vec![]).await.is_err(), "its id exists already");
    assert!(store.submitted(owner(), key).await.unwrap().is_none());
}

pub(super) async fn an_ended_task_is_hidden_and_then_deleted<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(Duration::ZERO);
    let (ended, waiting) = (task(), task());
    store.accept_task(record(&ended)).await;
    store.accept_task(record(&waiting)).await;
    store.end(ended.id.clone(), failed(&ended)).await.unwrap();
    pass_a_millisecond();
    assert!(store.found(&ended).await.is_none());
    assert_eq!(store.forget_expired().await.unwrap(), 1);
    assert_eq!(store.forget_expired().await.unwrap(), 0);
    assert!(store.request(ended.id.clone(), owner()).await.unwrap().is_none());
    assert!(store.found(&waiting).await.is_some());
}
