// Sends a submit until there is a task, also after lost connections, or until the user stops it.

import { SUBMIT, authorization, cancel, noteClock } from "./api.js";
import { ApiError, ConnectionLost, TaskUnknown, secondsOf } from "./errors.js";
import { wait } from "./wait.js";

/** Pauses before a submit with a lost connection is sent again, in milliseconds. */
const PAUSES = [500, 1500, 4000];
/** Time without progress after which a connection counts as lost, in milliseconds. */
const SILENCE = 90_000;
/** How long a stop tries to find the task that it has to cancel, in milliseconds. */
const STOP_PATIENCE = 10_000;
/** The delay with which browsers report a complete upload, in milliseconds. */
const STOP_GRACE = 200;
/** Time without a reply, after the stop and the upload, after which the connection may be lost, in milliseconds. */
const STOP_REPLY = 1500;

/** Returns a unique name for a submit. `randomUUID` would need TLS or a server on this machine. */
export function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Submits a body; resolves with the task. `key` is the `Idempotency-Key` of all attempts, so that a cut connection does
 * not cost anything twice. `onProgress` gets the part that was sent (0 to 1), `onAgain` the seconds until the next attempt.
 *
 * Aborting `signal` ends the upload. If there may be a task by then, it is found by the key, over another connection if
 * this one is silent, and cancelled.
 * Rejects with the signal's reason when nothing runs any more, and with `TaskUnknown` when that is not known.
 */
export async function submit(body, key, { onProgress, onAgain, signal }) {
  signal.throwIfAborted();
  // True if the server may have created a task and the reply was lost.
  let mayRun = false;
  const end = new AbortController();
  let timer;
  /** The current attempt, whether its upload is complete, and the timer that ends its wait for a reply. */
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
      // A refused submit created no task. After a permanent refusal, earlier attempts have not created one, either.
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

/** Sends one attempt. An abort of `signal` counts as a lost connection, too. */
function send(body, key, { onProgress, onSent, signal }) {
  return new Promise((resolve, reject) => {
    // fetch() does not report upload progress.
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
        // A reply without JSON is from another program, such as a proxy.
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
