// Follows a task while it runs: by its stream or, without one, by requests. Reading continues where this tab had stopped.
// This module does not use the page's elements. It reports each change to its view.

import * as api from "./api.js";
import { ConnectionLost, pauseOf } from "./errors.js";
import * as session from "./session.js";
import { follow } from "./stream.js";
import { wait } from "./wait.js";

/** Pauses between requests for the task until the answer begins, in milliseconds. */
const LOOKS = [400, 1000, 2000, 4000];
const LONG_WAIT = 30;
/** How long a server keeps the chunks after the end by default, in milliseconds. */
const USUALLY_KEPT = 15 * 60_000;
/** Time without a reply after which a stop is sent again, on another connection, in milliseconds. */
const STOP_PATIENCE = 5000;
/** Pause between two attempts to stop, in milliseconds. */
const STOP_PAUSE = 2000;

/** Returns true for temporary errors of the server or of the connection, which say nothing about the task. */
const isAway = (error) => error instanceof ConnectionLost || error.status >= 500 || error.status === 429;

/** Returns how many seconds are left of the pause in the message of a task's error. The pause began when the task ended. */
function pauseLeft(task) {
  const passed = api.serverNow() - (task.timeline?.ended_at_ms ?? api.serverNow());
  return Math.max(0, (pauseOf(task.error.message) ?? 0) - passed / 1000);
}

export class Run {
  /** queued, thinking, streaming, done, failed or stopped; unknown if the task cannot be read; undefined before the first reply. */
  state;
  task;
  text = "";
  reasoning = "";
  /** The number of the next chunk. It is also the number of chunks that were read. */
  next = 0;
  usage;
  finishReason;
  /** True if the text is the model's refusal instead of an answer. */
  isRefusal = false;
  /** The task's error, or the reason why the task could not be read. */
  error;
  /** While the connection is lost: `{from, until}`, the number of the next chunk and the time of the next attempt. */
  lost;
  /** The chunk at which reading resumed after a lost connection or a reload. */
  resumedFrom;
  isStopping = false;
  /** The reason why the task could not be stopped. */
  stopError;
  /** True if the text is from the task's result, which contains the text of the whole stream. */
  #isWhole = false;
  #stop = new AbortController();
  /** Aborts an attempt to stop, or the pause after it, because the next attempt may succeed now. */
  #stopAgain;

  /** Calls `onChange(kind)` on each change. The kinds are `state`, `text` and `task`. */
  constructor(id, onChange) {
    this.id = id;
    this.onChange = onChange;
  }

  get isOver() {
    return ["done", "failed", "stopped"].includes(this.state);
  }

  /** True if the reading has ended. */
  get isRead() {
    return this.isOver || this.state === "unknown";
  }

  /** Reads the task until it ends. */
  async start() {
    const { signal } = this.#stop;
    try {
      await this.#patiently(() => this.#load());
      if (this.isOver) return await this.#countChunks();
      if (this.task.stream) {
        this.#restore();
        this.#look();
        await this.#stream(signal);
      }
      await this.#waitForEnd(signal);
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
      this.lost = undefined;
      if (!this.isOver) this.state = "unknown";
      this.onChange("state");
    }
  }

  /** Stops reading. The task continues, and this tab may read it again. A requested stop of the task is still sent. */
  close() {
    this.keep();
    this.onChange = () => {};
    this.#stop.abort();
  }

  /** Saves what was read, because the page may be about to close. */
  keep() {
    if (!this.isOver && this.next > 0) {
      session.keepReading(this.id, { next: this.next, text: this.text, reasoning: this.reasoning });
    }
  }

  /** Stops the task, now or as soon as there is a connection. */
  async stop() {
    if (this.isStopping) return;
    this.isStopping = true;
    this.stopError = undefined;
    this.onChange("state");
    try {
      await this.#cancel();
    } catch (error) {
      this.stopError = error;
    }
    this.isStopping = false;
    this.onChange("state");
  }

  async #cancel() {
    while (!this.isOver) {
      this.#stopAgain = new AbortController();
      const { signal } = this.#stopAgain;
      try {
        const task = await api.cancel(this.id, AbortSignal.any([signal, AbortSignal.timeout(STOP_PATIENCE)]));
        // The stream reports the same end. A second report changes nothing.
        return this.#ended({ ...this.task, ...task });
      } catch (error) {
        // The stop is not repeated forever if the server answers 500.
        if (!signal.aborted && (error.status === 500 || !isAway(error))) throw error;
        await wait(STOP_PAUSE, signal);
      }
    }
  }

  #restore() {
    const reading = session.takeReading(this.id);
    if (!reading) return;
    Object.assign(this, { next: reading.next, text: reading.text, reasoning: reading.reasoning });
    this.resumedFrom = reading.next;
    this.state = this.text ? "streaming" : "thinking";
    this.onChange("state");
  }

  async #stream(signal) {
    try {
      await follow(this.id, this.next, {
        signal,
        onFrame: (event, id, data) => this.#frame(event, id, data),
        onOpen: () => {
          if (!this.lost) return;
          this.#stopAgain?.abort();
          this.resumedFrom = this.lost.from;
          this.lost = undefined;
          this.onChange("state");
        },
        onLost: (from, seconds) => {
          this.lost = { from, until: Date.now() + seconds * 1000 };
          this.onChange("state");
        },
      });
    } catch (error) {
      // If the chunks are not stored, the task itself has the answer.
      if (!["stream_expired", "stream_not_enabled"].includes(error.code)) throw error;
    }
  }

  #frame(event, id, data) {
    if (event === "chunk") {
      this.next = id + 1;
      const chunk = JSON.parse(data);
      const { delta, finish_reason: finishReason } = chunk.choices[0];
      if (delta.reasoning_content && !this.#isWhole) this.reasoning += delta.reasoning_content;
      if (delta.refusal) this.isRefusal = true;
      if (!this.#isWhole) this.text += (delta.content ?? "") + (delta.refusal ?? "");
      if (finishReason) this.finishReason = finishReason;
      if (chunk.usage) this.usage = chunk.usage;
      const state = this.text ? "streaming" : "thinking";
      if (id === 0) this.#load().catch(() => {});
      if (!this.isOver && this.state !== state) {
        this.state = state;
        this.onChange("state");
      }
      this.onChange("text");
    }
  }

  /** Counts the chunks of a task that ended before this page opened. Only its last frame has the number, if it is kept. */
  async #countChunks() {
    const isKept = api.serverNow() - (this.task.timeline?.ended_at_ms ?? 0) < USUALLY_KEPT;
    if (!this.task.stream || !isKept) return;
    await follow(this.id, 0, {
      offset: Number.MAX_SAFE_INTEGER,
      signal: this.#stop.signal,
      onFrame: (_, id) => (this.next = id),
      onOpen: () => {},
      onLost: () => this.#stop.abort(),
    }).catch(() => {});
    this.onChange("text");
  }

  /** Requests the task, with its timeline. */
  async #load() {
    const task = await api.task(this.id, { request: true, signal: this.#stop.signal });
    this.#take(task);
  }

  #take(task) {
    if (this.isOver && !["completed", "failed"].includes(task.status)) return;
    this.task = { ...this.task, ...task };
    if (["completed", "failed"].includes(task.status)) this.#ended(this.task);
    else if (!this.text && !this.reasoning) this.state = task.status === "pending" ? "queued" : "thinking";
    this.onChange("task");
  }

  #ended(task) {
    if (!["completed", "failed"].includes(task.status)) return;
    this.task = task;
    this.lost = this.stopError = undefined;
    const choice = task.results?.[0].choices[0];
    if (choice) {
      this.#isWhole = true;
      this.isRefusal = Boolean(choice.message.refusal);
      this.text = (choice.message.content ?? "") + (choice.message.refusal ?? "");
      this.reasoning = choice.message.reasoning_content ?? "";
      this.finishReason = choice.finish_reason;
      this.usage = task.results[0].usage;
    }
    this.error = task.error ? Object.assign(new Error(task.error.message), {
      code: task.error.code, retryable: task.error.retryable, upstreamStatus: task.error.upstream_status,
      retryAfter: pauseLeft(task),
    }) : undefined;
    this.state = task.status === "completed" ? "done" : task.error?.code === "task_cancelled" ? "stopped" : "failed";
    session.takeReading(this.id);
    this.onChange("text");
    this.onChange("state");
  }

  /** Requests the task until the first chunk, because the stream does not show its state and channel until then. */
  async #look() {
    for (let look = 0; !this.#stop.signal.aborted && !this.isOver && this.next === 0; look += 1) {
      await wait(LOOKS[Math.min(look, LOOKS.length - 1)], this.#stop.signal);
      if (this.next > 0 || this.isOver || document.hidden) continue;
      await this.#load().catch(() => {});
    }
  }

  /** Waits for the end of a task without a stream, or of one whose stream has ended. */
  async #waitForEnd(signal) {
    while (!this.isOver || !this.task.timeline?.ended_at_ms) {
      this.#take(await this.#patiently(() => api.task(this.id, { request: true, wait: LONG_WAIT, signal })));
    }
  }

  /** Repeats a request until it is answered, because a temporary error says nothing about the task. */
  async #patiently(ask) {
    for (let failures = 1; ; failures += 1) {
      try {
        const answer = await ask();
        if (this.lost) {
          this.#stopAgain?.abort();
          this.lost = undefined;
          this.onChange("state");
        }
        return answer;
      } catch (error) {
        if (!isAway(error)) throw error;
        const seconds = error.retryAfter ?? Math.min(8, 2 ** failures / 2);
        this.lost = { from: this.next, until: Date.now() + seconds * 1000 };
        this.onChange("state");
        await wait(seconds * 1000, this.#stop.signal);
        this.#stop.signal.throwIfAborted();
      }
    }
  }
}
