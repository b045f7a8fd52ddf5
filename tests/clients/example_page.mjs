// The page in `examples/browser/`, behind its own small server, in a real Chromium. A proxy between that server and the
// program loses the reply to the first submit, and cuts the first two streams (see cutting_proxy.rs).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import test, { after } from "node:test";

import { assertAccessible, assertFits, closeBrowser, shoot, tab } from "./browser.mjs";
import { KEY } from "./hearken.mjs";

after(closeBrowser);

const SPEECH = fileURLToPath(new URL("../fixtures/audio/speech.mp3", import.meta.url));

/** Starts the example's server in front of hearken. Returns its origin. */
async function serve(t, hearken) {
  const env = { ...process.env, HEARKEN_URL: hearken, HEARKEN_API_KEY: KEY, PORT: "0" };
  const server = spawn(process.execPath, [process.env.HEARKEN_TEST_EXAMPLE], { env, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => server.kill());
  const [line] = await once(server.stdout.setEncoding("utf8"), "data");
  return /http:\/\/[0-9.:]+/.exec(line)[0];
}

async function submit(page, script) {
  await page.getByLabel("Audio file").setInputFiles(SPEECH);
  await page.getByLabel("Model").fill("gemini-2.5-pro");
  await page.getByLabel("Prompt").fill(JSON.stringify(script));
  await page.getByRole("button", { name: "Submit" }).click();
}

const text = (page, id) => page.locator(`#${id}`).evaluate((element) => element.textContent);

test("the page shows an answer whole although the connection is lost three times", async (t) => {
  const origin = await serve(t, process.env.HEARKEN_TEST_PROXY);
  const page = await tab(t, { origin, signedIn: false, isCut: true });
  await submit(page, JSON.parse(process.env.HEARKEN_TEST_SCRIPT));
  await page.getByText("Completed (stop), 50 tokens.").waitFor();
  assert.equal(await text(page, "answer"), "One two three four ü");
  assert.equal(await text(page, "reasoning"), "Hm.");
  assert.equal(await text(page, "problem"), "");
  await shoot(page, "example");
});

test("the page shows why a task failed, and cancels a task", async (t) => {
  const origin = await serve(t, process.env.HEARKEN_TEST_URL);
  const page = await tab(t, { origin, signedIn: false, refusals: [422] });
  await assertAccessible(page, "the page");
  await assertFits(page);
  await submit(page, { case: "page-half", steps: [{ say: "Half" }, "cut"] });
  await page.getByText("(upstream_disconnected)").waitFor();
  assert.equal(await text(page, "answer"), "Half");

  await submit(page, { case: "page-cancel", steps: [{ say: "One" }, { wait_for: "never" }] });
  await page.locator("#answer", { hasText: "One" }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("(task_cancelled)").waitFor();

  await page.getByLabel("Model").fill("no-such-model");
  await page.getByRole("button", { name: "Submit" }).click();
  await page.getByText("(no_available_model)").waitFor();
});

test("the page has no key, and its server passes on only the requests of the page", async (t) => {
  const origin = await serve(t, process.env.HEARKEN_TEST_URL);
  const page = await (await fetch(origin)).text();
  assert.ok(!page.includes(KEY));
  for (const path of ["/v1/tasks", "/v1/models", "/v1/tasks/../models", "/server.mjs"]) {
    assert.equal((await fetch(origin + path)).status, 404, path);
  }
});
