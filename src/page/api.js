// The API of the server that this page came from, with the key of this tab.

import { ApiError, ConnectionLost } from "./errors.js";
import * as session from "./session.js";

const SUBMIT = "/v1/llm/generations";
/** Pauses before a submit whose connection was lost is sent again, in milliseconds. */
const SUBMIT_PAUSES = [500, 1500, 4000];

/** By how many milliseconds the server's clock is ahead of ours, as far as that matters. */
let skew = 0;

/** The present moment by the server's clock. */
export const serverNow = () => Date.now() + skew;

function noteClock(date) {
  const ahead = Date.parse(date ?? "") - Date.now();
  // The header counts whole seconds: less than two say nothing.
  if (!Number.isNaN(ahead)) skew = Math.abs(ahead) > 2000 ? ahead : 0;
}

export const authorization = (key = session.key()) => ({ Authorization: `Bearer ${key}` });

/** The error that a response is. */
export async function errorOf(response) {
  const body = await response.json().catch(() => null);
  return new ApiError(response.status, body?.error, Number(response.headers.get("Retry-After")) || undefined);
}

async function call(path, { method = "GET", key, signal } = {}) {
  let response;
  try {
    response = await fetch(path, { method, headers: authorization(key), signal, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new ConnectionLost();
  }
  noteClock(response.headers.get("Date"));
  if (!response.ok) throw await errorOf(response);
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : new ConnectionLost();
  }
}

/** The models that a key may use. */
export const models = async (key) => (await call("/v1/configs/llm_generations_models", { key })).data;

const taskPath = (id) => `/v1/tasks/${encodeURIComponent(id)}`;

export const streamPath = (id) => `${SUBMIT}/${encodeURIComponent(id)}/stream`;

/** A task with its timeline and, where asked for, its request. */
export function task(id, { request = false, wait, signal } = {}) {
  const query = `include=timeline${request ? ",request" : ""}${wait ? `&wait=${wait}` : ""}`;
  return call(`${taskPath(id)}?${query}`, { signal });
}

export const cancel = (id) => call(`${taskPath(id)}/cancel`, { method: "POST" });

/** A page of the key's tasks, newest first. */
export function tasks({ limit = 20, after, status, signal }) {
  const query = new URLSearchParams({ limit, include: "timeline" });
  if (after) query.set("after", after);
  if (status) query.set("status", status);
  return call(`/v1/tasks?${query}`, { signal });
}

const pause = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(signal.reason);
  }, { once: true });
});

/** A name that no other submit has. Not `randomUUID`: that exists only behind TLS and on this machine. */
function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Submits a body; resolves with the task. One `Idempotency-Key` goes with all tries, so that a cut connection costs
 * nothing twice. `onProgress` hears the part that was sent (0 to 1), `onAgain` the seconds until the next try.
 * Aborting stops an upload; what was sent completely is the server's, and its task is cancelled instead.
 */
export async function submit(body, { onProgress, onAgain, signal }) {
  const key = freshKey();
  for (let again = 0; ; again += 1) {
    try {
      return await send(body, key, onProgress, signal);
    } catch (error) {
      const waits = error instanceof ConnectionLost || error.code === "idempotency_conflict";
      if (!waits || again >= SUBMIT_PAUSES.length) throw error;
      onAgain(SUBMIT_PAUSES[again] / 1000);
      await pause(SUBMIT_PAUSES[again], signal);
    }
  }
}

function send(body, key, onProgress, signal) {
  return new Promise((resolve, reject) => {
    // fetch() does not tell how much was sent.
    const request = new XMLHttpRequest();
    let isSent = false;
    let isStopped = false;
    request.open("POST", SUBMIT);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => {
      isSent = true;
      onProgress(1);
    };
    request.onerror = () => reject(new ConnectionLost());
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      noteClock(request.getResponseHeader("Date"));
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // No JSON is no answer of ours.
      }
      if (request.status !== 200 || !answer) {
        const retryAfter = Number(request.getResponseHeader("Retry-After")) || undefined;
        return reject(new ApiError(request.status, answer?.error, retryAfter));
      }
      if (!isStopped) return resolve(answer);
      return cancel(answer.id).then(() => reject(signal.reason), reject);
    };
    signal.addEventListener("abort", () => {
      isStopped = true;
      if (!isSent) request.abort();
    }, { once: true });
    if (signal.aborted) return reject(signal.reason);
    request.send(body);
  });
}
