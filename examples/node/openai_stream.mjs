#!/usr/bin/env node
// Submits audio to hearken with OpenAI's package, and prints the answer while it arrives.
//
//     HEARKEN_API_KEY=sk-... node openai_stream.mjs AUDIO [MODEL] [PROMPT]
//
// One call submits the task and streams its answer. If the connection is lost, the program continues at the task's
// stream, at the chunk where it stopped. AUDIO is a file or an http(s) URL. HEARKEN_URL is the server (default:
// http://127.0.0.1:8080). The answer goes to standard output; reasoning and messages go to standard error. The exit
// status is 0 if the task completes, else 1. Ctrl-C cancels the task. Needs Node 18 and `npm install openai` (tested
// with 6.49).

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import OpenAI from "openai";

const SERVER = (process.env.HEARKEN_URL ?? "http://127.0.0.1:8080").replace(/\/+$/, "");
const KEY = process.env.HEARKEN_API_KEY;
// How often one request is repeated before the program gives up.
const MAX_RETRIES = 8;
// The package repeats requests without an answer, and waits for `Retry-After`. Before the first chunk there may be no
// answer for 90 seconds. Then the repeated request waits for the same task, thanks to its Idempotency-Key. In a
// stream, Node treats 300 seconds of silence as a lost connection; hearken sends a keep-alive every 15 seconds.
const client = new OpenAI({ baseURL: `${SERVER}/v1`, apiKey: KEY ?? "none", timeout: 90_000, maxRetries: MAX_RETRIES });

/** Submits the task. Returns its id and its stream. However often the request is sent, the key makes it one task. */
async function submit(audio, model, prompt) {
  const body = { model, audio_url: audio, prompt, sync: true, stream: true, reasoning: true };
  const headers = { "Idempotency-Key": randomUUID() };
  const { data, response } = await client.post("/llm/generations", { body, headers, stream: true }).withResponse();
  return { task: response.headers.get("X-Task-Id"), stream: data };
}

/** Yields every chunk of the task's answer once, over as many connections as it takes. */
async function* chunks(task, stream) {
  let received = 0;
  for (let retries = 0; ; retries += 1) {
    try {
      for await (const chunk of stream) {
        received += 1;
        retries = 0;
        yield chunk;
        // Only the last chunk of an answer has a finish reason. A stream that ends without one was cut.
        if (chunk.choices[0].finish_reason) return;
      }
    } catch (error) {
      // An error that hearken sent has a code of its own. Any other error is a lost connection.
      if (error instanceof OpenAI.APIError && error.code) throw error;
    }
    if (retries === MAX_RETRIES) throw new Error("the connection was lost");
    console.error("the connection was lost; trying again");
    await sleep(Math.min(2 ** retries, 30) * 1000);
    try {
      stream = await client.get(`/llm/generations/${task}/stream`, { query: { offset: received }, stream: true });
    } catch (error) {
      // The chunks are no longer kept, but the result is.
      if (error.code === "stream_expired") return;
      throw error;
    }
  }
}

/** Waits until the task ends. Returns its result, a ChatCompletion. */
async function result(task) {
  for (;;) {
    const { status, results, error } = await client.get(`/tasks/${task}`, { query: { wait: 60 } });
    if (status === "completed") return results[0];
    if (status === "failed") throw new Error(`${error.code}: ${error.message}`);
  }
}

function report(error) {
  const { code, error: body } = error instanceof OpenAI.APIError ? error : {};
  console.error(`\nerror: ${code ? `${code}: ${body.message}` : error.message}`);
  process.exitCode = 1;
}

async function run(audio, model = "local-inspect", prompt = "Please transcribe this audio file") {
  if (!/^https?:\/\//.test(audio)) {
    // hearken recognises the format by the bytes.
    audio = `data:application/octet-stream;base64,${await readFile(audio, "base64")}`;
  }
  const { task, stream } = await submit(audio, model, prompt);
  console.error(`task ${task}`);
  // The stream of a cancelled task ends with an error, like that of any failed task. A second Ctrl-C exits at once.
  process.once("SIGINT", () => client.post(`/tasks/${task}/cancel`).catch(report));

  let text = "";
  let isThinking = false;
  for await (const chunk of chunks(task, stream)) {
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
  console.error("usage: HEARKEN_API_KEY=sk-... node openai_stream.mjs AUDIO [MODEL] [PROMPT]");
  process.exit(1);
}
await run(...args).catch(report);
