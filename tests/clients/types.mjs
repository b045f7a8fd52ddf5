// The OpenAPI document in TypeScript: the types of openapi-typescript must accept every request and every response
// in the document, and the smallest request that the server accepts.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";

import { ORIGIN, require } from "./hearken.mjs";

const run = promisify(execFile);

/** The command that a package installs under this name. */
const bin = (name, file) => join(dirname(require.resolve(`${name}/package.json`)), file);

const CHECKS = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--module", "esnext",
  "--moduleResolution", "bundler", "--pretty", "false"];

const literal = (value) => JSON.stringify(value);

/** The examples of a body, with their generated type. */
function* bodies(where, content = {}) {
  for (const [type, { example, examples = {} }] of Object.entries(content)) {
    const values = example === undefined ? Object.values(examples).map(({ value }) => value) : [example];
    for (const value of values) yield `${where}["content"][${literal(type)}] = ${literal(value)}`;
  }
}

/** Every example of the document, as a value of its type. */
function* shown(document) {
  for (const operation of Object.values(document.paths).flatMap((item) => Object.values(item))) {
    const own = `operations[${literal(operation.operationId)}]`;
    if (operation.requestBody) yield* bodies(`NonNullable<${own}["requestBody"]>`, operation.requestBody.content);
    for (const [status, response] of Object.entries(operation.responses)) {
      yield* bodies(`${own}["responses"][${Number(status)}]`, response.content);
    }
    const query = (operation.parameters ?? []).filter((parameter) => parameter.in === "query");
    const examples = query.filter(({ example }) => example !== undefined).map(({ name, example }) => [name, example]);
    // A query without parameters is valid, too.
    for (const value of query.length ? [{}, Object.fromEntries(examples)] : []) {
      yield `NonNullable<${own}["parameters"]["query"]> = ${literal(value)}`;
    }
  }
}

test("the types of openapi-typescript accept the smallest request and all examples", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "hearken-types-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const address = `${ORIGIN}/openapi.json`;
  // The command is that of docs/api.md.
  await run("node", [bin("openapi-typescript", "bin/cli.js"), address, "-o", join(directory, "hearken.ts")]);
  const document = await (await fetch(address)).json();
  const examples = [...shown(document)];
  assert.ok(examples.filter((example) => example.includes("requestBody")).length >= 2, "requests are among them");
  writeFileSync(join(directory, "use.ts"), [
    'import type { components, operations } from "./hearken";',
    'type Submit = components["schemas"]["SubmitRequest"];',
    'export const smallest: Submit = { model: "m", audio_url: "https://example.com/a.mp3" };',
    "export const nulls: Submit = { ...smallest, prompt: null, sync: null, stream: null, max_tokens: null, temperature: null,",
    "  system_prompt: null, reasoning: null };",
    "// @ts-expect-error The audio is required.",
    'export const silent: Submit = { model: "m" };',
    "// @ts-expect-error A text is not a number.",
    'export const wrong: Submit = { ...smallest, max_tokens: "100" };',
    ...examples.map((example, index) => `export const example${index}: ${example};`),
  ].join("\n"));
  const checked = await run("node", [bin("typescript", "bin/tsc"), ...CHECKS, "use.ts"], { cwd: directory }).catch((error) => error);
  assert.equal(checked.stdout, "");
  assert.equal(checked.code ?? 0, 0, checked.stderr);
});
