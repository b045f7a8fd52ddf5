#!/usr/bin/env node
// Submits audio to hearken as a task, and prints the answer while it arrives.
//
//     HEARKEN_API_KEY=sk-... node stream.mjs AUDIO [MODEL] [PROMPT]
//
// AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default: http://127.0.0.1:8080). The answer goes to
// standard output; reasoning and messages go to standard error. The exit status is 0 if the task completes, else 1.
// Ctrl-C cancels the task. Needs Node 18 and no package.

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const SERVER = (process.env.HEARKEN_URL ?? "http://127.0.0.1:8080").replace(/\/+$/, "");
const KEY = process.env.HEARKEN_API_KEY;
// A stream that is silent for this many milliseconds is lost: hearken sends a keep-alive every 15 seconds.
const SILENCE = 60_000;
// How often one request is repeated before the program gives up.
const MAX_RETRIES = 8;
// The codes of failures that end by themselves. CONNECTION is this program's own code: there was no answer.
const CONNECTION = "connection";
const TEMPORARY = new Set([
  CONNECTION, "idempotency_conflict", "queue_full", "rate_limit_exceeded", "shutting_down", "storage_full",
  "storage_unavailable",
]);

/** A request that was refused or got no answer, with its error code. */
class Refused extends Error {
  constructor(code, message, retryAfter) {
    super(`${code}: ${message}`);
    Object.assign(this, { code, retryAfter });
  }
}

/** The task has failed. `retryable` says whether a new submit may succeed. */
class TaskFailed extends Error {
  constructor({ code, message, retryable }) {
    super(`${code}: ${message}`);
    Object.assign(this, { code, retryable });
  }
}

/** Sends one request. Returns the response, whose body is not read yet. */
async function request(method, path, { body, headers, signal } = {}) {
  const response = await fetch(SERVER + path, {
    method,
    body: body && JSON.stringify(body),
    headers: { Authorization: `Bearer ${KEY}`, ...(body && { "Content-Type": "application/json" }), ...headers },
    signal,
  }).catch((error) => {
    throw new Refused(CONNECTION, `no answer from ${SERVER} (${error.cause?.message ?? error.message})`);
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  // This is not hearken's answer: a proxy in front of it could not reach it.
  if (!error?.code) throw new Refused(CONNECTION, `HTTP status ${response.status}`);
  throw new Refused(error.code, error.message, Number(response.headers.get("Retry-After")));
}

/** Waits before the next attempt. Throws the error again if another attempt is useless. */
async function pause(error, retries) {
  if (!TEMPORARY.has(error.code) || retries === MAX_RETRIES) throw error;
  const seconds = error.retryAfter || Math.min(2 ** retries, 30);
  console.error(`${error.message}; trying again in ${seconds} s`);
  await sleep(seconds * 1000);
}

const lost = (error) => new Refused(CONNECTION, `the connection was lost (${error.cause?.message ?? error.message})`);

/** Sends a request until it has an answer. Returns the answer. */
async function persist(method, path, options = {}) {
  for (let retries = 0; ; retries += 1) {
    try {
      const response = await request(method, path, { ...options, signal: AbortSignal.timeout(SILENCE + 30_000) });
      return await response.json();
    } catch (error) {
      await pause(error instanceof Refused ? error : lost(error), retries);
    }
  }
}

/** Submits the task. However often the request is sent, the key makes it one task. */
function submit(audio, model, prompt) {
  const body = { model, audio_url: audio, prompt, stream: true, reasoning: true };
  return persist("POST", "/v1/llm/generations", { body, headers: { "Idempotency-Key": randomUUID() } });
}

/**
 * Reads hearken's server-sent events, which have one line of data each. Yields the fields of each event. Calls `onText`
 * for everything that is received, keep-alives too.
 */
async function* events(body, onText) {
  let unread = "";
  let event = {};
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    onText();
    const lines = (unread + text).split("\n");
    unread = lines.pop();
    for (const line of lines) {
      if (line !== "") {
        // The name of a comment (a keep-alive) is empty.
        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
        event[name] = value;
      } else {
        if (event.data !== undefined) yield event;
        event = {};
      }
    }
  }
}

/** Yields every chunk of the task's answer once, over as many connections as it takes. */
async function* chunks(task) {
  const headers = {};
  for (let retries = 0; ; retries += 1) {
    const connection = new AbortController();
    const silence = setTimeout(() => connection.abort(new Error("it was silent")), SILENCE);
    let error = new Error("it was closed");
    try {
      const response = await request("GET", task.stream.url, { headers, signal: connection.signal });
      for await (const { event, id, data } of events(response.body, () => silence.refresh())) {
        if (event === "done") return;
        if (event === "error") throw new TaskFailed(JSON.parse(data).error);
        if (event !== "chunk") continue;
        yield JSON.parse(data);
        headers["Last-Event-ID"] = id;
        retries = 0;
      }
    } catch (thrown) {
      error = thrown;
    } finally {
      clearTimeout(silence);
    }
    if (error instanceof TaskFailed) throw error;
    // The chunks are no longer kept, but the result is.
    if (error.code === "stream_expired") return;
    await pause(error instanceof Refused ? error : lost(error), retries);
  }
}

/** Waits until the task ends. Returns its result, a ChatCompletion. */
async function result(task) {
  while (!["completed", "failed"].includes(task.status)) task = await persist("GET", `/v1/tasks/${task.id}?wait=60`);
  if (task.status === "failed") throw new TaskFailed(task.error);
  return task.results[0];
}

function report(error) {
  console.error(`\nerror: ${error.message}`);
  process.exitCode = 1;
}

async function run(audio, model = "local-inspect", prompt = "Please transcribe this audio file") {
  if (!/^https?:\/\//.test(audio)) {
    // hearken recognises the format by the bytes.
    audio = `data:application/octet-stream;base64,${await readFile(audio, "base64")}`;
  }
  const task = await submit(audio, model, prompt);
  console.error(`task ${task.id}`);
  // The stream of a cancelled task ends with an error, like that of any failed task. A second Ctrl-C exits at once.
  process.once("SIGINT", () => persist("POST", `/v1/tasks/${task.id}/cancel`).catch(report));

  let text = "";
  let isThinking = false;
  for await (const chunk of chunks(task)) {
    const { content, refusal, reasoning_content: reasoning } = chunk.choices[0].delta;
    if (reasoning) {
      isThinking = true;
      process.stderr.write(reasoning);
    }
    // A model that refuses to answer says so in `refusal`.
    const piece = content || refusal;
    if (piece) {
      if (isThinking) console.error();
      isThinking = false;
      text += piece;
      process.stdout.write(piece);
    }
  }
  const { choices, usage } = await result(task);
  const { content, refusal } = choices[0].message;
  const whole = content || refusal || "";
  process.stdout.write(`${whole.startsWith(text) ? whole.slice(text.length) : whole}\n`);
  console.error(`completed (${choices[0].finish_reason}), ${usage.total_tokens} tokens`);
}

const args = process.argv.slice(2);
if (!KEY || args.length < 1 || args.length > 3) {
  console.error("usage: HEARKEN_API_KEY=sk-... node stream.mjs AUDIO [MODEL] [PROMPT]");
  process.exit(1);
}
await run(...args).catch(report);
