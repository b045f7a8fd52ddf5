// An EventSource, as browsers have it, as a client of hearken. A proxy cuts its connection at chosen places, and it
// reconnects on its own. Nothing is lost and nothing comes twice.

import assert from "node:assert/strict";
import net from "node:net";
import test from "node:test";

import { KEY, ORIGIN, openGate, require, submit, within } from "./hearken.mjs";

const { EventSource } = require("eventsource");

/** The end of a frame. Neither the head of a response nor HTTP's own chunks contain these two bytes. */
const FRAME_END = "\n\n";
/** The position of a cut in the middle of a frame, in bytes: within its JSON. */
const INTO_THE_FRAME = 60;

/**
 * A proxy in front of the program. `cuts` has an entry for each connection, in order: the connection is cut after this
 * many `frames`, or in the middle of the next one. Later connections are not cut.
 */
class Proxy {
  /** The requests and replies of the connections so far. */
  connections = [];

  static async start(...cuts) {
    const proxy = new Proxy();
    proxy.server = net.createServer((client) => proxy.connect(client, cuts.shift()));
    await new Promise((listening) => proxy.server.listen(0, "127.0.0.1", listening));
    proxy.origin = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  connect(client, cut) {
    const connection = {};
    this.connections.push(connection);
    const program = net.connect(new URL(ORIGIN).port, "127.0.0.1");
    const end = () => {
      client.destroy();
      program.destroy();
    };
    for (const socket of [client, program]) socket.on("error", end);
    client.on("close", end);
    program.on("end", () => client.end());
    client.on("data", (bytes) => {
      connection.lastEventId ??= /^last-event-id: *(\S+)/im.exec(bytes)?.[1];
      program.write(bytes);
    });
    let received = Buffer.alloc(0);
    program.on("data", (bytes) => {
      const passed = received.length;
      received = Buffer.concat([received, bytes]);
      connection.status ??= Number(/^HTTP\/1\.1 (\d+)/.exec(received)?.[1]);
      const until = cut ? cutIn(received, cut) : Infinity;
      client.write(received.subarray(passed, until), until < Infinity ? end : undefined);
      if (until < Infinity) program.pause();
    });
  }
}

/** The position at which the bytes are cut, or `Infinity` while there are too few bytes. */
function cutIn(bytes, { frames, inTheMiddle }) {
  let end = 0;
  for (let frame = 0; frame < frames; frame += 1) {
    const found = bytes.indexOf(FRAME_END, end);
    if (found < 0) return Infinity;
    end = found + FRAME_END.length;
  }
  if (!inTheMiddle) return end;
  const next = bytes.indexOf("event:", end);
  return next < 0 || bytes.length < next + INTO_THE_FRAME ? Infinity : next + INTO_THE_FRAME;
}

/** An `EventSource` and all its events. No case closes it: the program must make it stop. */
class Listener {
  heard = [];

  constructor(url) {
    const authorised = (input, init) =>
      fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${KEY}` } });
    this.source = new EventSource(url, { fetch: authorised });
    this.stopped = new Promise((stopped) => {
      for (const name of ["message", "chunk", "done", "error"]) {
        this.source.addEventListener(name, (event) => {
          // The source's own errors, which report lost connections, have no data.
          if (event.data !== undefined) {
            this.heard.push({ name, id: event.lastEventId, data: event.data });
            this.onHeard?.();
          } else if (this.source.readyState === this.source.CLOSED) {
            stopped(event);
          }
        });
      }
    });
  }

  /** Waits until it has received this many events. */
  async events(count) {
    const enough = new Promise((resolve) => {
      this.onHeard = () => this.heard.length >= count && resolve();
      this.onHeard();
    });
    await within(enough, `${count} events`);
  }

  names = () => this.heard.map(({ name }) => name);
  ids = () => this.heard.map(({ id }) => Number(id));
  text = () =>
    this.heard
      .filter(({ name }) => name === "chunk")
      .map(({ data }) => JSON.parse(data).choices[0].delta.content ?? "")
      .join("");
}

const upTo = (count) => Array.from({ length: count }, (_, index) => index);

async function listen(t, task, ...cuts) {
  const proxy = await Proxy.start(...cuts);
  const listener = new Listener(proxy.origin + task.stream.url);
  // At the end of the case, so that a failed case does not keep the process alive.
  t.after(() => {
    listener.source.close();
    proxy.server.close();
  });
  return { proxy, listener };
}

async function assertStoppedBy204({ proxy, listener }, connections) {
  const last = await within(listener.stopped, "the end of the reconnecting");
  assert.equal(last.code, 204);
  assert.equal(listener.source.readyState, listener.source.CLOSED);
  assert.deepEqual(proxy.connections.map(({ lastEventId }) => lastEventId), connections);
  const statuses = connections.map((_, index) => (index + 1 < connections.length ? 200 : 204));
  assert.deepEqual(proxy.connections.map(({ status }) => status), statuses);
}

test("a stream that is cut between and within its frames arrives whole, each chunk once", async (t) => {
  const gates = ["event-source-1", "event-source-2"];
  const steps = [
    { say: "One" }, { say: " two" }, { wait_for: gates[0] },
    { say: " three" }, { say: " four" }, { wait_for: gates[1] }, { say: " five ü" },
  ];
  const task = await submit({ case: "event-source-cut", steps }, { stream: true });
  // Frames 0 and 1 of the first connection, 2 and half of 3 of the second, 3 and half of 4 of the third.
  const inTheMiddle = true;
  const both = await listen(t, task, { frames: 2 }, { frames: 1, inTheMiddle }, { frames: 1, inTheMiddle });
  const { listener } = both;
  await listener.events(3);
  await openGate(gates[0]);
  await listener.events(4);
  await openGate(gates[1]);
  await listener.events(8);

  assert.equal(listener.text(), "One two three four five ü");
  assert.deepEqual(listener.names(), [...Array(7).fill("chunk"), "done"]);
  assert.deepEqual(listener.ids(), upTo(8));
  assert.equal(listener.heard.at(-1).data, "[DONE]");
  await assertStoppedBy204(both, [undefined, "1", "2", "3", "7"]);
});

test("a stream that is cut while nothing is sent is resumed", async (t) => {
  const gate = "event-source-silence";
  const steps = [{ say: "One" }, { wait_for: gate }, { say: " two" }];
  const task = await submit({ case: "event-source-silence", steps }, { stream: true });
  const both = await listen(t, task, { frames: 2 });
  const { proxy, listener } = both;
  const reconnected = new Promise((resolve) => listener.source.addEventListener("open", () => {
    if (proxy.connections.length === 2) resolve();
  }));
  await within(reconnected, "the second connection");
  await openGate(gate);
  await listener.events(5);

  assert.equal(listener.text(), "One two");
  assert.deepEqual(listener.ids(), upTo(5));
  await assertStoppedBy204(both, [undefined, "1", "4"]);
});

test("an error frame is an event with hearken's error and ends the reconnecting", async (t) => {
  const task = await submit({ case: "event-source-error", steps: [{ say: "Half" }, "cut"] }, { stream: true });
  const both = await listen(t, task, { frames: 1 });
  const { listener } = both;
  await listener.events(3);

  assert.deepEqual(listener.names(), ["chunk", "chunk", "error"]);
  assert.deepEqual(listener.ids(), upTo(3));
  assert.equal(JSON.parse(listener.heard.at(-1).data).error.code, "upstream_disconnected");
  await assertStoppedBy204(both, [undefined, "0", "2"]);
});

test("a listener that connects after the end receives everything and stops", async (t) => {
  const task = await submit({ case: "event-source-replay", steps: [{ say: "Again" }] }, { stream: true });
  const first = await listen(t, task);
  await assertStoppedBy204(first, [undefined, "3"]);
  const second = await listen(t, task);
  await assertStoppedBy204(second, [undefined, "3"]);
  assert.deepEqual(second.listener.heard, first.listener.heard);
});
