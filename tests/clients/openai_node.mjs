// OpenAI's own package for Node as a client of hearken: how it lists models, submits, streams and fails.

import assert from "node:assert/strict";
import test from "node:test";

import {
  KEY, ORIGIN, PATIENCE, openGate, require, submission, submit, upstreamCalls, within,
} from "./hearken.mjs";

const OpenAI = require("openai");
const { Stream } = require("openai/streaming");

const KEEP_ALIVE = ": keep-alive\n";
/** The number of keep-alives before a gate is opened. */
const SILENCE = 3;

const settings = { baseURL: `${ORIGIN}/v1`, apiKey: KEY, timeout: PATIENCE };
const client = new OpenAI(settings);

const chunksOf = (task, reader = client) => reader.get(task.stream.url.slice("/v1".length), { stream: true });
const streamOf = (script, caller = client) =>
  caller.post("/llm/generations", { body: submission(script, { sync: true, stream: true }), stream: true });
const completionOf = (script, caller = client) =>
  caller.post("/llm/generations", { body: submission(script, { sync: true }) });

async function all(stream) {
  const chunks = [];
  for await (const chunk of await stream) chunks.push(chunk);
  return chunks;
}

/** Opens one gate after the other, each when enough keep-alives have come since the previous one. */
class Silences {
  keepAlives = 0;

  constructor(...gates) {
    this.closed = gates;
  }

  /** A `fetch` that sees a response's bytes before the package does. */
  fetch = async (...request) => {
    const response = await fetch(...request);
    const decoder = new TextDecoder();
    const watch = new TransformStream({
      transform: async (bytes, controller) => {
        this.keepAlives += decoder.decode(bytes, { stream: true }).split(KEEP_ALIVE).length - 1;
        if (this.closed.length > 0 && this.keepAlives >= SILENCE) {
          this.keepAlives = 0;
          await openGate(this.closed.shift());
        }
        controller.enqueue(bytes);
      },
    });
    return new Response(response.body.pipeThrough(watch), response);
  };

  client = () => new OpenAI({ ...settings, fetch: this.fetch });
}

const SLOW_ANSWER = ["One", " two", " three"];

function slow(name) {
  const gates = [`${name}-1`, `${name}-2`];
  const [first, second, third] = SLOW_ANSWER.map((say) => ({ say }));
  const steps = [first, { wait_for: gates[0] }, second, { wait_for: gates[1] }, third];
  return { script: { case: name, steps }, silences: new Silences(...gates) };
}

/** Asserts that the role, the pieces and a last chunk with finish reason and usage came. */
function assertWholeAnswer(chunks, ...pieces) {
  const deltas = chunks.map((chunk) => chunk.choices[0].delta);
  assert.equal(deltas.at(0).role, "assistant");
  assert.deepEqual(deltas.slice(1, -1).map((delta) => delta.content), pieces);
  assert.deepEqual(deltas.at(-1), {});
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.equal(chunks.at(-1).usage.total_tokens, 50);
  assert.deepEqual(new Set(chunks.map((chunk) => chunk.object)), new Set(["chat.completion.chunk"]));
  assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1);
}

/** Asserts that the pieces came, and then hearken's error. */
async function assertBrokenOff(stream, ...pieces) {
  const received = [];
  const error = await all(
    (async function* () {
      for await (const chunk of await stream) {
        received.push(chunk.choices[0].delta.content);
        yield chunk;
      }
    })(),
  ).then(() => assert.fail("the stream ended as if it were whole"), (err) => err);
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.deepEqual(received, ["", ...pieces]);
  // No HTTP status: the response had begun as a success.
  assert.equal(error.status, undefined);
  assert.equal(error.code, "upstream_disconnected");
  assert.equal(error.type, "upstream_error");
  return error;
}

async function assertRefused(call, kind, status, code) {
  const error = await call.then(() => assert.fail("the call succeeded"), (err) => err);
  assert.ok(error instanceof kind, `${error.constructor.name}: ${error}`);
  assert.deepEqual([error.status, error.code], [status, code]);
  return error;
}

/** A case, which fails when it takes too long. */
const it = (name, check) => test(name, () => within(check(), name));

it("a slow task is streamed whole with keep-alives between its frames", async () => {
  const { script, silences } = slow("node-slow-task");
  const task = await submit(script, { stream: true });
  assertWholeAnswer(await all(chunksOf(task, silences.client())), ...SLOW_ANSWER);
  assert.deepEqual(silences.closed, []);
});

it("keep-alives before the first frame are no frames", async () => {
  const name = "node-slow-start";
  const task = await submit({ case: name, steps: [{ wait_for: name }, { say: "At last" }] }, { stream: true });
  const silences = new Silences(name);
  assertWholeAnswer(await all(chunksOf(task, silences.client())), "At last");
  assert.deepEqual(silences.closed, []);
});

it("a slow synchronous stream is read whole and its task can be queried", async () => {
  const { script, silences } = slow("node-slow-synchronous");
  const { data, response } = await streamOf(script, silences.client()).withResponse();
  const chunks = await all(data);
  assertWholeAnswer(chunks, ...SLOW_ANSWER);
  assert.deepEqual(silences.closed, []);
  const task = await client.get(`/tasks/${response.headers.get("x-task-id")}`);
  assert.equal(task.status, "completed");
  assert.equal(task.results[0].choices[0].message.content, SLOW_ANSWER.join(""));
  assert.equal(task.results[0].id, chunks[0].id);
});

it("the package's stream class reads a response that other code fetched", async () => {
  const { script, silences } = slow("node-slow-response");
  const task = await submit(script, { stream: true });
  const controller = new AbortController();
  const response = await silences.fetch(ORIGIN + task.stream.url, {
    headers: { Authorization: `Bearer ${KEY}` },
    signal: controller.signal,
  });
  assertWholeAnswer(await all(Stream.fromSSEResponse(response, controller)), ...SLOW_ANSWER);
  assert.deepEqual(silences.closed, []);
});

it("an error frame of a task raises its message", async () => {
  const task = await submit({ case: "node-cut-task", steps: [{ say: "Half" }, "cut"] }, { stream: true });
  const error = await assertBrokenOff(chunksOf(task), "Half");
  const ended = await client.get(`/tasks/${task.id}`);
  assert.equal(error.error.message, ended.error.message);
  assert.ok(error.message.includes(ended.error.message), error.message);
});

it("an error frame of a synchronous stream raises behind keep-alives and is not repeated", async () => {
  const name = "node-cut-synchronous";
  const silences = new Silences(name);
  const script = { case: name, steps: [{ say: "Half" }, { wait_for: name }, "cut"] };
  await assertBrokenOff(streamOf(script, silences.client()), "Half");
  assert.deepEqual(silences.closed, []);
  assert.equal(await upstreamCalls(name), 1);
});

// The upstream would succeed the second time: a client that repeated these calls would not fail.

it("a failed synchronous stream raises by status and is not repeated", async () => {
  const script = { case: "node-500-stream", refusals: [500], steps: [{ say: "Too late" }] };
  const error = await assertRefused(streamOf(script), OpenAI.InternalServerError, 502, "upstream_error");
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(await upstreamCalls("node-500-stream"), 1);
});

it("a failed blocking call raises by status and is not repeated", async () => {
  const script = { case: "node-500-blocking", refusals: [500], steps: [{ say: "Too late" }] };
  const error = await assertRefused(completionOf(script), OpenAI.InternalServerError, 502, "upstream_error");
  assert.equal(error.headers.get("x-should-retry"), "false");
  assert.equal(await upstreamCalls("node-500-blocking"), 1);
});

it("a blocking call that broke off is not repeated", async () => {
  const script = { case: "node-cut-blocking", steps: [{ say: "Half" }, "cut"] };
  await assertRefused(completionOf(script), OpenAI.InternalServerError, 502, "upstream_disconnected");
  assert.equal(await upstreamCalls("node-cut-blocking"), 1);
});

it("a call that was refused without cost is repeated and succeeds", async () => {
  const completion = await completionOf({ case: "node-429", refusals: [429], steps: [{ say: "Now" }] });
  assert.equal(completion.choices[0].message.content, "Now");
  assert.equal(await upstreamCalls("node-429"), 2);
});

it("an invalid key is an authentication error", async () => {
  const stranger = new OpenAI({ ...settings, apiKey: "sk-unknown" });
  const kind = OpenAI.AuthenticationError;
  await assertRefused(completionOf({ case: "node-401" }, stranger), kind, 401, "invalid_api_key");
  await assertRefused(all(stranger.models.list()), kind, 401, "invalid_api_key");
  assert.equal(await upstreamCalls("node-401"), 0);
});

it("a parameter that breaks its rule is unprocessable and named", async () => {
  const call = client.post("/llm/generations", { body: submission({ case: "node-422" }, { temperature: 7 }) });
  const error = await assertRefused(call, OpenAI.UnprocessableEntityError, 422, "invalid_param");
  assert.equal(error.param, "temperature");
});

it("an unknown task is not found", async () => {
  const task = { stream: { url: "/v1/llm/generations/task-llm-1-aaaaaaaa/stream" } };
  await assertRefused(chunksOf(task), OpenAI.NotFoundError, 404, "task_not_found");
});

it("a blocking call returns a chat completion", async () => {
  const completion = await completionOf({ case: "node-blocking", steps: [{ say: "One" }, { say: " two" }] });
  assert.equal(completion.object, "chat.completion");
  assert.equal(completion.choices[0].message.content, "One two");
  assert.equal(completion.choices[0].finish_reason, "stop");
  assert.equal(completion.usage.total_tokens, 50);
});

it("the models are listed", async () => {
  const models = await all(client.models.list());
  assert.deepEqual(models.map((model) => model.id).sort(), ["gemini-2.5-flash", "gemini-2.5-pro"]);
  for (const model of models) assert.deepEqual([model.object, model.owned_by], ["model", "fake"]);
});
