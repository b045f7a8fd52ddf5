//! Promises about reads: lists, and large results.

use std::sync::Arc;

use super::TestBackend;
use super::kit::{DAY, completed, failed, light, owner, record, task};
use crate::secret::KeyHash;
use crate::store::{MOST_LISTED_BYTES, Weighed};
use crate::task::{Completed, Completion, ListQuery, Outcome, Snapshot, State, Status, TaskId, Timeline};

pub(super) async fn a_list_has_pages_from_the_newest_task_to_the_oldest<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let tasks: Vec<_> = (0..5).map(|_| task()).collect();
    for task in &tasks {
        store.accept_task(record(task)).await;
    }
    store.end(tasks[1].id.clone(), failed(&tasks[1])).await.unwrap();
    store.end(tasks[2].id.clone(), completed(&tasks[2], "{}")).await.unwrap();
    store.run(tasks[3].id.clone(), Timeline::begun(tasks[3].created)).await.unwrap();
    let mut expected: Vec<_> = tasks.iter().map(|task| (task.created, task.id.clone())).collect();
    expected.sort();
    expected.reverse();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let query = ListQuery { limit: 2, after, status: None };
        let page = light(store.list(owner(), query, usize::MAX).await.unwrap()).unwrap();
        listed.extend(page.tasks.iter().map(|task| task.id.clone()));
        after = listed.last().cloned();
        if !page.has_more {
            break;
        }
    }
    assert_eq!(listed, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    for (status, count) in
        [(Status::Pending, 2), (Status::Processing, 1), (Status::Completed, 1), (Status::Failed, 1)]
    {
        let query = ListQuery { limit: 9, after: None, status: Some(status) };
        let page = light(store.list(owner(), query, usize::MAX).await.unwrap()).unwrap();
        assert_eq!((page.tasks.len(), page.has_more), (count, false), "{status:?}");
    }
    let unknown = ListQuery { limit: 9, after: Some(TaskId::generate(7)), status: None };
    assert!(light(store.list(owner(), unknown, usize::MAX).await.unwrap()).is_none());
    let others = ListQuery { limit: 9, after: None, status: None };
    assert!(
        light(store.list(KeyHash::of("sk-other"), others, usize::MAX).await.unwrap())
            .unwrap()
            .tasks
            .is_empty()
    );
}

pub(super) async fn a_result_is_not_read_if_it_is_too_large<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let heavy = |bytes: usize| move |read: Option<Weighed<_>>| matches!(read, Some(Weighed::Heavy(found)) if found == bytes);
    let task = task();
    store.accept_task(record(&task)).await;
    store.end(task.id.clone(), completed(&task, r#"{"b" : 1}"#)).await.unwrap();
    assert!(heavy(9)(store.find(task.id.clone(), owner(), 8, false).await.unwrap()));
    assert!(light(store.find(task.id.clone(), owner(), 9, false).await.unwrap()).is_some());
    let query = ListQuery { limit: 9, after: None, status: None };
    assert!(matches!(store.list(owner(), query.clone(), 8).await.unwrap(), Some(Weighed::Heavy(9))));
    assert_eq!(light(store.list(owner(), query, 9).await.unwrap()).unwrap().tasks.len(), 1);
}

fn segments(found: &Snapshot) -> Option<&str> {
    let State::Completed(completion) = &found.state else { panic!("{:?}", found.state) };
    completion.segments().map(|segments| segments.get())
}

pub(super) async fn a_page_ends_before_a_task_that_makes_it_too_large<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let bytes = MOST_LISTED_BYTES * 3 / 8;
    let result = format!("\"{}\"", "x".repeat(bytes - 2));
    for _ in 0..3 {
        let task = task();
        store.accept_task(record(&task)).await;
        store.end(task.id.clone(), completed(&task, &result)).await.unwrap();
    }
    let list = async |after, most_bytes| {
        let query = ListQuery { limit: 9, after, status: None };
        store.list(owner(), query, most_bytes).await.unwrap()
    };
    let first = light(list(None, MOST_LISTED_BYTES).await).unwrap();
    assert_eq!((first.tasks.len(), first.has_more), (2, true));
    let last = first.tasks.last().map(|task| task.id.clone());
    let second = light(list(last, MOST_LISTED_BYTES).await).unwrap();
    assert_eq!((second.tasks.len(), second.has_more), (1, false));
    assert!(matches!(list(None, bytes - 1).await, Some(Weighed::Heavy(found)) if found == bytes));
    assert!(matches!(list(None, bytes).await, Some(Weighed::Heavy(MOST_LISTED_BYTES))));
}

pub(super) async fn segments_are_read_with_the_result_if_they_are_requested<G: TestBackend>() {
    let ground = G::new();
    let store = ground.open(DAY);
    let task = task();
    store.accept_task(record(&task)).await;
    let mut ending = completed(&task, r#"{"b" : 1}"#);
    if let Outcome::Completed(completed) = &mut ending.outcome {
        let completion = Completion::stored(r#"{"b" : 1}"#.into(), Some("[{}]".into())).unwrap();
        *completed = Arc::new(Completed { completion, ..Completed::clone(completed) });
    }
    store.end(task.id.clone(), ending).await.unwrap();
    let without = light(store.find(task.id.clone(), owner(), 9, false).await.unwrap()).unwrap();
    assert_eq!(segments(&without), None);
    let found = store.find(task.id.clone(), owner(), 12, true).await.unwrap();
    assert!(matches!(found, Some(Weighed::Heavy(13))), "segments count, too");
    let found = light(store.find(task.id.clone(), owner(), 13, true).await.unwrap()).unwrap();
    assert_eq!(segments(&found), Some("[{}]"));
    let before = store.end(task.id.clone(), failed(&task)).await.unwrap().unwrap();
    assert_eq!(segments(&before), Some("[{}]"), "the first end has them, too");
}
