//! Judges a task when everything that can be known of it is known: outcome, frames, calls and script must match.

use serde_json::Value;

use crate::record::{Answer, Breach, Broken, Ended, Record};
use crate::script::End;
use crate::upstream::Call;

/// Most runs in a task's life.
const MOST_RUNS: usize = 3;

/// The result for a judged task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
    Cancelled,
    /// It was run as often as a task may be run.
    RunsUsedUp,
    /// The connection of its caller broke with the process.
    CallerGone,
    /// Its chunks were kept, and its text was not generated again.
    InterruptedWithChunks,
    /// No client was told about it, and there is no task.
    NeverAccepted,
    /// It was forgotten before its outcome was read.
    Forgotten,
}

/// Judges a task. `brief` means that it may have been deleted before a client looked.
pub(crate) fn judge(record: &Record, calls: &[Call], brief: bool) -> Result<Outcome, Broken> {
    let breach = |text: String| Err((Breach::Other, text));
    judge_calls(record, calls)?;
    let Some(end) = &record.end else {
        return match (&record.id, record.gone, record.acknowledged) {
            (_, true, _) => Ok(Outcome::Forgotten),
            (None, _, false) if calls.is_empty() => Ok(Outcome::NeverAccepted),
            (None, _, false) if brief => Ok(Outcome::Forgotten),
            (None, _, false) => breach(format!("no client knows it, and it was run: {calls:?}")),
            _ => Err((Breach::Lost, "its outcome was never seen".to_owned())),
        };
    };
    let object: Value = serde_json::from_str(&end.body).unwrap_or_default();
    judge_chunks(record)?;
    judge_last_frame(record, &object)?;
    judge_answer(record, &object)?;
    let unkilled = end.epoch == record.epoch;
    if object["status"] == "completed" {
        judge_completion(record, &object["results"][0])?;
        if !calls.iter().any(|call| call.whole && call.pieces == record.order.script.pieces) {
            return breach(format!("completed, and no call brought all of it: {calls:?}"));
        }
        if unkilled && calls.len() != 1 {
            return breach(format!("{} calls without a kill", calls.len()));
        }
        return Ok(Outcome::Completed);
    }
    judge_failure(record, end, &object, calls)
}

fn judge_calls(record: &Record, calls: &[Call]) -> Result<(), Broken> {
    let breach = |text: &str| Err((Breach::Other, format!("{text}: {calls:?}")));
    if calls.len() > MOST_RUNS {
        return breach("run too often");
    }
    if calls.windows(2).any(|pair| pair[0].epoch == pair[1].epoch) {
        return breach("run twice by one process");
    }
    let after = |epoch: u32| calls.iter().any(|call| call.epoch > epoch);
    if record.chunk_epoch.is_some_and(after) {
        return breach("run again after a chunk was published");
    }
    if record.order.delivery.is_blocking() && record.order.idempotency_key.is_none() && after(record.epoch) {
        return breach("run again, and no client can query it");
    }
    Ok(())
}

/// Asserts that the chunks are a beginning of the script's text, and that all belong to the same answer.
fn judge_chunks(record: &Record) -> Result<(), Broken> {
    let mut text = String::new();
    let mut identity = None;
    for (expected, (id, frame)) in (0..).zip(&record.chunks) {
        let breach = |what: &str| Err((Breach::Other, format!("{what}: {frame:?}")));
        // Clients that subscribed late have only the rest. A client that reads from the start checks that nothing is
        // missing.
        if *id != expected {
            return Ok(());
        }
        let Ok(chunk) = serde_json::from_str::<Value>(&frame.data) else { return breach("no JSON") };
        if identity.get_or_insert_with(|| identity_of(&chunk)) != &identity_of(&chunk) {
            return breach("not of the same answer");
        }
        text += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    if !record.order.script.text().starts_with(&text) {
        return Err((Breach::Other, format!("the chunks say {text:?}")));
    }
    let done = record.last.as_ref().is_some_and(|last| last.event == "done");
    if done && text != record.order.script.text() {
        return Err((Breach::Other, format!("a stream that is done says {text:?}")));
    }
    Ok(())
}

fn identity_of(object: &Value) -> [Value; 3] {
    ["id", "created", "model"].map(|name| object[name].clone())
}

/// Asserts that the stream ends as the task does, and states the right number of chunks.
fn judge_last_frame(record: &Record, object: &Value) -> Result<(), Broken> {
    let Some(last) = &record.last else { return Ok(()) };
    let breach = |what: &str| Err((Breach::TwoOutcomes, format!("{what}: {last:?} and {object}")));
    if last.event == "done" {
        if object["status"] != "completed" {
            return breach("a stream that is done, and another outcome");
        }
        let Some((_, chunk)) = record.chunks.first_key_value() else { return Ok(()) };
        let chunk: Value = serde_json::from_str(&chunk.data).unwrap_or_default();
        if identity_of(&chunk) != identity_of(&object["results"][0]) {
            return breach("the chunks' answer is another");
        }
        return Ok(());
    }
    let error: Value = serde_json::from_str(&last.data).unwrap_or_default();
    if error["error"]["code"] != object["error"]["code"] {
        return breach("a stream that failed, and another outcome");
    }
    Ok(())
}

fn judge_answer(record: &Record, object: &Value) -> Result<(), Broken> {
    let same = match &record.answer {
        None => true,
        Some(Answer::Completion(completion)) => object["results"][0] == *completion,
        Some(Answer::Error(code)) => object["error"]["code"] == code.as_str(),
    };
    if same {
        return Ok(());
    }
    Err((Breach::TwoOutcomes, format!("the call was answered {:?}, the task is {object}", record.answer)))
}

fn judge_completion(record: &Record, completion: &Value) -> Result<(), Broken> {
    let script = &record.order.script;
    let choice = &completion["choices"][0];
    if script.end != End::Finish {
        return Err((Breach::Other, format!("completed, and the upstream ended with {:?}", script.end)));
    }
    if choice["message"]["content"] != script.text().as_str() || choice["finish_reason"] != "stop" {
        return Err((Breach::Other, format!("not the upstream's answer: {completion}")));
    }
    Ok(())
}

fn judge_failure(record: &Record, end: &Ended, object: &Value, calls: &[Call]) -> Result<Outcome, Broken> {
    let error = &object["error"];
    let code = error["code"].as_str().unwrap_or_default();
    let restarts = end.epoch - record.epoch;
    match code {
        "task_cancelled" if record.cancel_asked || record.left => return Ok(Outcome::Cancelled),
        "task_interrupted" => {
            // If the stream was never read to its end, this is not known.
            let kept_chunks = record.is_stream() && record.last.as_ref().is_none_or(|last| last.id > 0);
            let caller_gone = record.order.delivery.is_blocking()
                && (record.order.idempotency_key.is_none() || record.drained || record.left);
            let fair = usize::try_from(restarts).unwrap() >= MOST_RUNS
                || (restarts > 0 || record.drained) && (kept_chunks || caller_gone);
            if !fair {
                let text = format!("interrupted after {restarts} restarts, without a reason");
                return Err((Breach::Other, text));
            }
            if error["retryable"] != true {
                return Err((Breach::Other, format!("interrupted, and not retryable: {error}")));
            }
            return Ok(match (kept_chunks, caller_gone) {
                (true, _) => Outcome::InterruptedWithChunks,
                (_, true) => Outcome::CallerGone,
                _ => Outcome::RunsUsedUp,
            });
        }
        _ => {}
    }
    if record.order.script.failure() != Some(code) {
        return Err((Breach::Other, format!("a failure that the upstream did not cause: {object}")));
    }
    if restarts == 0 && calls.len() != 1 {
        return Err((Breach::Other, format!("{} calls without a kill", calls.len())));
    }
    Ok(Outcome::Failed)
}
