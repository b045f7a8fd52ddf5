// Calls to the API of this page's server, with this tab's key.

import { ApiError, ConnectionLost, secondsOf } from "./errors.js";
import * as session from "./session.js";

export const SUBMIT = "/v1/llm/generations";

/** How far the server's clock is ahead of this machine's, in milliseconds; 0 if the difference is small. */
let skew = 0;

/** Returns the current time by the server's clock. */
export const serverNow = () => Date.now() + skew;

/** Reads the difference of the server's clock from the `Date` of a reply. */
export function noteClock(date) {
  const ahead = Date.parse(date ?? "") - Date.now();
  // The header has whole seconds, so a difference below two seconds has no meaning.
  if (!Number.isNaN(ahead)) skew = Math.abs(ahead) > 2000 ? ahead : 0;
}

export const authorization = (key = session.key()) => ({ Authorization: `Bearer ${key}` });

const lost = (error) => {
  throw error.name === "AbortError" ? error : new ConnectionLost();
};

/** Sends a request, and returns its response. Rejects with an `ApiError` or `ConnectionLost`, and when `signal` aborts. */
export async function ask(path, { method = "GET", headers, key, signal } = {}) {
  const all = { ...authorization(key), ...headers };
  const response = await fetch(path, { method, headers: all, signal, cache: "no-store" }).catch(lost);
  noteClock(response.headers.get("Date"));
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ApiError(response.status, body?.error, secondsOf(response.headers.get("Retry-After")));
}

const call = async (path, options) => (await ask(path, options)).json().catch(lost);

/** Returns the models that a key may use. */
export const models = async (key) => (await call("/v1/configs/llm_generations_models", { key })).data;

const taskPath = (id) => `/v1/tasks/${encodeURIComponent(id)}`;

export const streamPath = (id) => `${SUBMIT}/${encodeURIComponent(id)}/stream`;

/** Returns a task with its timeline and, if wanted, its request. */
export function task(id, { request = false, wait, signal } = {}) {
  const query = `include=timeline${request ? ",request" : ""}${wait ? `&wait=${wait}` : ""}`;
  return call(`${taskPath(id)}?${query}`, { signal });
}

export const cancel = (id, signal) => call(`${taskPath(id)}/cancel`, { method: "POST", signal });

/** Returns a page of the key's tasks, newest first. */
export function tasks({ limit = 20, after, status, signal }) {
  const query = new URLSearchParams({ limit, include: "timeline" });
  if (after) query.set("after", after);
  if (status) query.set("status", status);
  return call(`/v1/tasks?${query}`, { signal });
}
