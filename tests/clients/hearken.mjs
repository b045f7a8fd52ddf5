// The code that the scripts for Node share: the addresses of the program and of the fake upstream, submitting, waiting.
//
// tests/clients.rs starts both and passes their addresses. The prompt of each case says what the upstream does
// (see gemini.rs).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { sep } from "node:path";

export const ORIGIN = process.env.HEARKEN_TEST_URL;
export const KEY = process.env.HEARKEN_TEST_KEY;
const UPSTREAM = process.env.HEARKEN_TEST_UPSTREAM;

/** The installed clients are outside of the sources, where a plain `import` does not look. */
export const require = createRequire(process.env.HEARKEN_TEST_NODE_MODULES + sep);

/** The longest wait of a case, in milliseconds: far longer than it takes, because the machine may be busy. */
export const PATIENCE = 60_000;

const speech = readFileSync(new URL("../fixtures/audio/speech.mp3", import.meta.url));
const AUDIO_URL = `data:audio/mpeg;base64,${speech.toString("base64")}`;

export function submission(script, fields = {}) {
  return { model: "gemini-2.5-pro", audio_url: AUDIO_URL, prompt: JSON.stringify(script), ...fields };
}

export async function submit(script, fields = {}) {
  const response = await fetch(`${ORIGIN}/v1/llm/generations`, {
    method: "POST",
    headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
    body: JSON.stringify(submission(script, fields)),
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!response.ok) throw new Error(`the submit was refused: ${response.status} ${await response.text()}`);
  return response.json();
}

async function upstream(method, path) {
  const response = await fetch(UPSTREAM + path, { method, signal: AbortSignal.timeout(PATIENCE) });
  return response.json();
}

export const openGate = (gate) => upstream("POST", `/open/${gate}`);
export const upstreamCalls = (name) => upstream("GET", `/calls/${name}`);

/** Returns the promise's result, or fails with the name of what did not happen in time. */
export async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE} ms`)), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
