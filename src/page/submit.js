// One submit, from the upload to the task that it makes, over lost connections and up to a stop.

import { SUBMIT, authorization, cancel, noteClock } from "./api.js";
import { ApiError, ConnectionLost, TaskUnknown, secondsOf } from "./errors.js";
import { wait } from "./wait.js";

/** Pauses before a submit whose connection was lost is sent again, in milliseconds. */
const PAUSES = [500, 1500, 4000];
/** A connection on which nothing moves for so long is dead, in milliseconds. */
const SILENCE = 90_000;
/** For so long a stop tries to learn which task there is to cancel, in milliseconds. */
const STOP_PATIENCE = 10_000;
/** That all was sent is told a moment after it is so, in milliseconds. */
const STOP_GRACE = 200;
/** A reply that has not come so long after the stop and the upload may never come on its connection, in milliseconds. */
const STOP_REPLY = 1500;

/** A name that no other submit has. Not `randomUUID`: that exists only behind TLS and on this machine. */
export function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Submits a body; resolves with the task. `key` is the `Idempotency-Key` of all tries, so that a cut connection costs
 * nothing twice. `onProgress` hears the part that was sent (0 to 1), `onAgain` the seconds until the next try.
 *
 * Aborting `signal` ends an upload. Where a task may have come of it, that task is found by the key, on another connection
 * where this one is silent, and cancelled.
 * Rejects with the signal's reason when nothing runs any more, with `TaskUnknown` when that cannot be told.
 */
export async function submit(body, key, { onProgress, onAgain, signal }) {
  signal.throwIfAborted();
  // May there be a task that we were not told of?
  let mayRun = false;
  const end = new AbortController();
  let timer;
  /** The present try, whether it went up as a whole, and when it has no more time to be answered. */
  let attempt, isSent, late;
  const hurry = () => {
    clearTimeout(late);
    late = setTimeout(() => attempt.abort(), STOP_REPLY);
  };
  const findOut = () => {
    timer = setTimeout(() => end.abort(), STOP_PATIENCE);
    if (isSent) hurry();
  };
  signal.addEventListener("abort", () => {
    if (mayRun) findOut();
    else timer = setTimeout(() => (mayRun ? findOut() : end.abort()), STOP_GRACE);
  }, { once: true });
  try {
    for (let again = 0; ; again += 1) {
      const mightRun = mayRun;
      attempt = new AbortController();
      isSent = false;
      const onSent = () => {
        mayRun = isSent = true;
        if (signal.aborted) hurry();
      };
      const hooks = { onProgress, onSent, signal: AbortSignal.any([end.signal, attempt.signal]) };
      const { task, error } = await send(body, key, hooks).then((task) => ({ task }), (error) => ({ error }));
      isSent = false;
      clearTimeout(late);
      if (task && !signal.aborted) return task;
      if (task && await cancel(task.id, end.signal).then(() => true, () => false)) throw signal.reason;
      // What was refused made no task; what is refused for good did not make one before, either.
      if (error instanceof ApiError && error.code && !(mightRun && error.retryable)) mayRun = false;
      const isTemporary = error instanceof ConnectionLost || error?.code === "idempotency_conflict";
      if (!signal.aborted) {
        if (!isTemporary || again >= PAUSES.length) throw error;
        onAgain(PAUSES[again] / 1000);
        await wait(PAUSES[again], signal);
      } else if (mayRun) {
        await wait(PAUSES[0], end.signal);
      }
      if (signal.aborted && !mayRun) throw signal.reason;
      if (end.signal.aborted) throw new TaskUnknown();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** One try. Its connection is lost, too, when `signal` aborts. */
function send(body, key, { onProgress, onSent, signal }) {
  return new Promise((resolve, reject) => {
    // fetch() does not tell how much was sent.
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, SILENCE);
    };
    request.open("POST", SUBMIT);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => {
      heard();
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.upload.onload = () => {
      heard();
      onSent();
      onProgress(1);
    };
    request.onerror = request.onabort = () => reject(new ConnectionLost());
    request.onload = () => {
      noteClock(request.getResponseHeader("Date"));
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // No JSON is no answer of ours.
      }
      if (request.status === 200 && answer) return resolve(answer);
      const retryAfter = secondsOf(request.getResponseHeader("Retry-After"));
      return reject(new ApiError(request.status, answer?.error, retryAfter));
    };
    request.onloadend = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort);
    heard();
    request.send(body);
  });
}
