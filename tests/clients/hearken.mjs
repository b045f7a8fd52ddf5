// What the scripts for Node share: where the program and the fake upstream are, how to submit, how to wait.
//
// tests/clients.rs starts both and tells their addresses. Each case writes into its prompt what the upstream
// shall do (see gemini.rs).

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { sep } from "node:path";

export const ORIGIN = process.env.HEARKEN_TEST_URL;
export const KEY = process.env.HEARKEN_TEST_KEY;
const UPSTREAM = process.env.HEARKEN_TEST_UPSTREAM;

/** The installed clients lie apart from the sources; a plain `import` looks only above this file. */
export const require = createRequire(process.env.HEARKEN_TEST_NODE_MODULES + sep);

/** Any wait of any case, in milliseconds: far longer than it takes, because other work may fill the machine. */
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

/** The promise's outcome, or an error that names what did not happen in time. */
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
