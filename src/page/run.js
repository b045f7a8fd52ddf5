// A task as it goes on: followed by its stream where it has one, asked for where it has none, from wherever this tab
// had come to. It knows no elements; whoever shows it is told of each change.

import * as api from "./api.js";
import { ConnectionLost, pauseOf } from "./errors.js";
import * as session from "./session.js";
import { follow } from "./stream.js";
import { wait } from "./wait.js";

/** While nothing of the answer is there, the task itself is asked how far it is, in milliseconds. */
const LOOKS = [400, 1000, 2000, 4000];
const LONG_WAIT = 30;
/** For so long after the end a server that was told nothing else keeps the chunks, in milliseconds. */
const USUALLY_KEPT = 15 * 60_000;
/** A stop that has no reply after so long is sent again, on another connection, in milliseconds. */
const STOP_PATIENCE = 5000;
/** Between two tries to stop, in milliseconds. */
const STOP_PAUSE = 2000;

/** Says nothing about the task: the server, or the way to it, is away for a moment. */
const isAway = (error) => error instanceof ConnectionLost || error.status >= 500 || error.status === 429;

/** How many seconds of the pause that a task's error asks for are left: it began when the task ended. */
function pauseLeft(task) {
  const passed = api.serverNow() - (task.timeline?.ended_at_ms ?? api.serverNow());
  return Math.max(0, (pauseOf(task.error.message) ?? 0) - passed / 1000);
}

export class Run {
  /** queued, thinking, streaming, done, failed or stopped; unknown where it cannot be read; nothing before the server has told. */
  state;
  task;
  text = "";
  reasoning = "";
  /** The chunk that comes next: as many were read. */
  next = 0;
  usage;
  finishReason;
  /** Is the text what the model said instead of an answer? */
  isRefusal = false;
  /** The task's error, or why it could not be read. */
  error;
  /** While the connection is lost: `{from, until}`, the chunk that comes next and when the next try is made. */
  lost;
  /** From which chunk on this was read after a cut or a reload. */
  resumedFrom;
  isStopping = false;
  /** Why it could not be stopped. */
  stopError;
  /** Is the text that of the task's result? Then what the stream still brings is in it already. */
  #isWhole = false;
  #stop = new AbortController();
  /** Aborts one try to stop, or the pause behind it: the next one has a chance now. */
  #stopAgain;

  /** `onChange(kind)` hears of everything; kinds are `state`, `text` and `task`. */
  constructor(id, onChange) {
    this.id = id;
    this.onChange = onChange;
  }

  get isOver() {
    return ["done", "failed", "stopped"].includes(this.state);
  }

  /** Is nothing more read? */
  get isRead() {
    return this.isOver || this.state === "unknown";
  }

  /** Reads the task to its end. */
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

  /** Stops reading. The task goes on, and so does whoever reads it again in this tab; a wish to stop it stays. */
  close() {
    this.keep();
    this.onChange = () => {};
    this.#stop.abort();
  }

  /** Keeps what was read, for a page that may be about to go. */
  keep() {
    if (!this.isOver && this.next > 0) {
      session.keepReading(this.id, { next: this.next, text: this.text, reasoning: this.reasoning });
    }
  }

  /** Stops the task: as soon as there is a connection, where there is none now. */
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
        // The stream ends with the same; what is told twice changes nothing.
        return this.#ended({ ...this.task, ...task });
      } catch (error) {
        // A server that says that it has failed is not asked for ever.
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
      // Chunks that are gone, or were never kept: the task itself has the answer.
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

  /** How many chunks a task had that ended before this page came: its last frame alone says so, where it is kept. */
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

  /** Asks for the task, with when what happened. */
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

  /** Until the first chunk nothing comes by the stream: where the task is, and who is asked, is looked up. */
  async #look() {
    for (let look = 0; !this.#stop.signal.aborted && !this.isOver && this.next === 0; look += 1) {
      await wait(LOOKS[Math.min(look, LOOKS.length - 1)], this.#stop.signal);
      if (this.next > 0 || this.isOver || document.hidden) continue;
      await this.#load().catch(() => {});
    }
  }

  /** A task without a stream, or one whose stream has ended. */
  async #waitForEnd(signal) {
    while (!this.isOver || !this.task.timeline?.ended_at_ms) {
      this.#take(await this.#patiently(() => api.task(this.id, { request: true, wait: LONG_WAIT, signal })));
    }
  }

  /** Asks until there is an answer: a server that is away for a moment says nothing about a task. */
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
