// Reads a task's stream to its end over any number of connections. Each continues where the previous one was cut off.

import { ask, streamPath } from "./api.js";
import { ApiError } from "./errors.js";
import { wait } from "./wait.js";

/** Pauses before the next connection, in milliseconds; the last one repeats. */
const PAUSES = [500, 1000, 2000, 4000, 8000];
/** The longest silence of a connection. By default the server sends at least a comment every 15 s. */
const SILENCE = 60_000;

/** Splits `text/event-stream` into events. It may arrive in pieces of any size. */
export class EventReader {
  #rest = "";
  #event = {};

  /** Returns the events that this piece completes. */
  read(piece) {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop();
    const events = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.#event.data !== undefined) events.push(this.#event);
        this.#event = {};
      } else if (!line.startsWith(":")) {
        const colon = line.indexOf(":");
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        this.#event[name] = name === "data" && this.#event.data !== undefined ? `${this.#event.data}\n${value}` : value;
      }
    }
    return events;
  }
}

/**
 * Reads a stream from chunk `next` on, or from `offset`, if that is given. `onFrame(name, id, data)` is called once per
 * frame, `onOpen()` for each connection, and `onLost(next, seconds)` for each that was cut. Resolves when the stream has
 * ended.
 *
 * Rejects with an `ApiError` if the server does not have the stream, and when `signal` aborts.
 */
export async function follow(id, next, { onFrame, onOpen, onLost, signal, offset }) {
  for (let failures = 0; ; failures += 1) {
    const seen = next;
    let patience;
    try {
      const ended = await connect({ id, next, offset, signal, onOpen }, (event) => {
        const frame = Number(event.id);
        // A repeated frame is skipped.
        if (frame < next) return false;
        next = frame + 1;
        onFrame(event.event, frame, event.data);
        return event.event !== "chunk";
      });
      if (ended) return;
    } catch (error) {
      signal.throwIfAborted();
      const isTemporary = !(error instanceof ApiError) || error.status >= 500 || error.status === 429;
      if (!isTemporary) throw error;
      patience = error.retryAfter;
    }
    if (next > seen) failures = 0;
    const ms = patience ? patience * 1000 : PAUSES[Math.min(failures, PAUSES.length - 1)];
    onLost(next, ms / 1000);
    await wait(ms, signal);
    signal.throwIfAborted();
  }
}

/** Reads one connection; returns true if the stream has ended. */
async function connect({ id, next, offset, signal, onOpen }, onEvent) {
  const silent = new AbortController();
  let timer;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silent.abort(new Error("silence")), SILENCE);
  };
  try {
    heard();
    const response = await ask(streamPath(id) + (offset ? `?offset=${offset}` : ""), {
      headers: next > 0 ? { "Last-Event-ID": String(next - 1) } : {}, signal: AbortSignal.any([signal, silent.signal]),
    });
    if (response.status === 204) return true;
    onOpen();
    const reader = new EventReader();
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await pieces.read();
      if (done) return false;
      heard();
      for (const event of reader.read(value)) if (onEvent(event)) return true;
    }
  } finally {
    clearTimeout(timer);
    // The connection is closed in every case.
    silent.abort();
  }
}
