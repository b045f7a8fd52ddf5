// The page at `/` in a real Chromium, used as a user uses it.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

import { Line, assertAccessible, assertFits, closeBrowser, shoot, signIn, tab } from "./browser.mjs";
import { KEY, ORIGIN, openGate, submit, upstreamCalls } from "./hearken.mjs";
import { AIFF, SPEECH, answer, api, ask, state, taskId } from "./page_parts.mjs";

after(closeBrowser);

async function drop(page, path, ...names) {
  const bytes = readFileSync(path).toString("base64");
  const carried = await page.evaluateHandle(([base64, fileNames]) => {
    const carries = new DataTransfer();
    const content = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    for (const name of fileNames) carries.items.add(new File([content], name, { type: "audio/wav" }));
    return carries;
  }, [bytes, names]);
  for (const event of ["dragenter", "dragover", "drop"]) await page.dispatchEvent("#drop", event, { dataTransfer: carried });
}

/** Switches to plain text, and returns it as it was sent. */
async function plainText(page) {
  const toggle = page.getByRole("button", { name: "Plain text" });
  if ((await toggle.getAttribute("aria-pressed")) !== "true") await toggle.click();
  return answer(page).evaluate((element) => [...element.children].map((line) => line.textContent).join("\n"));
}

async function assertSameAsResult(page) {
  const task = await api(`/v1/tasks/${taskId(page)}`);
  assert.equal(await plainText(page), task.results[0].choices[0].message.content);
}

/** Asserts that a paragraph that is shown in several blocks has the text of the result. */
async function assertSameTextAsResult(page) {
  const task = await api(`/v1/tasks/${taskId(page)}`);
  const shown = await answer(page).evaluate((element) => element.textContent);
  assert.equal(shown, task.results[0].choices[0].message.content);
}

const NOTES = [
  "## What is said\n\n", "A calm voice reads two short sentences, ", "about **two seconds** of speech, ",
  "in a quiet room without an echo.\n\n", "- `0:00.1` Hearken listens.\n", "- `0:01.1` Nothing is lost.\n\n",
  "The speaker pauses once, ", "after the first sentence. ", "There is no music and no second voice.",
];

test("a wrong key is refused with a reason; the right one survives a reload but not a sign-out", async (t) => {
  const page = await tab(t, { signedIn: false, refusals: [401] });
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Enter an API key.").waitFor();
  await signIn(page, "sk-wrong");
  await page.getByText("This key is not valid here.").waitFor();
  await signIn(page);
  await page.getByRole("heading", { name: "New task" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "New task" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await page.evaluate(() => [sessionStorage.getItem("key"), localStorage.length]), [null, 0]);
});

test("a dropped file is processed: waveform, separate reasoning, streamed answer, figures", async (t) => {
  const page = await tab(t);
  await page.getByText("Drop an audio file here").waitFor();
  await shoot(page, "empty");
  await drop(page, SPEECH, "two-sentences.wav");
  const playhead = page.locator("#chosen").getByRole("slider", { name: "Position in the audio" });
  await playhead.waitFor();
  await page.locator("#chosen").getByText("35 kB · 0:02").waitFor();
  await playhead.click({ position: { x: 400, y: 20 } });
  assert.notEqual(await playhead.getAttribute("aria-valuenow"), "0");
  await page.getByText("Options").click();
  await page.getByLabel("Show the model's reasoning").check();
  await shoot(page, "chosen");
  const [thinks, pauses] = ["page-thinks", "page-pauses"];
  await ask(page, { case: "page-drop", steps: [
    { think: "Two sentences, one voice. " }, { wait_for: thinks }, { think: "The pause is at one second." },
    ...NOTES.slice(0, 6).map((say) => ({ say })), { wait_for: pauses }, ...NOTES.slice(6).map((say) => ({ say })),
  ] }, { file: false });
  await state(page, "thinking");
  await page.getByText("Reasoning", { exact: true }).waitFor();
  assert.equal(await page.locator(".thoughts").getAttribute("open"), null, "the thoughts are folded");
  await openGate(thinks);
  await state(page, "streaming");
  await answer(page).getByText("Nothing is lost.").waitFor();
  assert.equal(await answer(page).getByText("no second voice").count(), 0);
  await shoot(page, "streaming");
  await openGate(pauses);
  await state(page, "done");
  await answer(page).getByText("no second voice").waitFor();
  await page.getByText("50", { exact: true }).waitFor();
  await page.getByText("40 in, 10 out, 3 of them for reasoning").waitFor();
  const tiles = await page.locator(".tiles").innerText();
  assert.match(tiles, /First chunk\s+[\d.]+ m?s/);
  assert.match(tiles, /[\d.]+ per second/);
  await shoot(page, "done");
  await page.locator("#view-task .play").click();
  await page.locator("#view-task .play.playing").waitFor();
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), NOTES.join(""));
  await page.locator(".thoughts summary").click();
  await page.getByText("The pause is at one second.").waitFor();
  await assertSameAsResult(page);
});

test("stop ends the task at once and keeps what had come", async (t) => {
  const page = await tab(t);
  await ask(page, { case: "page-stop", steps: [{ say: "So far. " }, { wait_for: "page-never" }] });
  await answer(page).getByText("So far.").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await state(page, "stopped");
  await answer(page).getByText("So far.").waitFor();
  assert.equal((await api(`/v1/tasks/${taskId(page)}`)).error.code, "task_cancelled");
  assert.equal(await page.getByRole("button", { name: "Stop" }).isVisible(), false);
});

test("a cut connection is shown and resumed by offset, and nothing is lost or shown twice", async (t) => {
  const line = await Line.start(t);
  const page = await tab(t, { origin: line.origin, isCut: true });
  const gates = ["page-cut-1", "page-cut-2"];
  await ask(page, { case: "page-cut", steps: [
    { say: "One. " }, { say: "Two. " }, { wait_for: gates[0] }, { say: "Three. " }, { wait_for: gates[1] }, { say: "Four." },
  ] });
  await answer(page).getByText("Two.").waitFor();
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/stream") && asked.push(request.headers()["last-event-id"]));
  line.cut();
  await page.locator(".connection").getByText("Connection lost, resuming from chunk 3").waitFor();
  await shoot(page, "cut");
  await openGate(gates[0]);
  line.restore();
  await page.getByText("Resumed from chunk 3.").waitFor();
  await answer(page).getByText("One. Two. Three.").waitFor();
  assert.ok(asked.length > 0 && asked.every((last) => last === "2"), `${asked}`);
  await openGate(gates[1]);
  await state(page, "done");
  await assertSameAsResult(page);
  assert.equal(await upstreamCalls("page-cut"), 1);
});

test("a submit that was cut is sent again and runs once", async (t) => {
  const line = await Line.start(t);
  const page = await tab(t, { origin: line.origin, isCut: true });
  let tries = 0;
  await page.route("**/v1/llm/generations", async (route) => {
    tries += 1;
    if (tries > 1) return route.continue();
    // The server has the submit, and its reply is lost.
    await route.fetch();
    return route.abort("connectionreset");
  });
  await ask(page, { case: "page-again", steps: [{ say: "Once." }] });
  await state(page, "done");
  assert.deepEqual([tries, await upstreamCalls("page-again")], [2, 1]);
});

test("a reload resumes the running task where it was", async (t) => {
  const page = await tab(t);
  const gate = "page-reload";
  await ask(page, { case: "page-reload", steps: [{ say: "Before. " }, { wait_for: gate }, { say: "After." }] });
  await answer(page).getByText("Before.").waitFor();
  const resumed = page.waitForRequest((request) => request.url().endsWith("/stream"));
  await page.reload();
  assert.equal((await resumed).headers()["last-event-id"], "1");
  await page.getByText("Resumed from chunk 2.").waitFor();
  await page.getByRole("img", { name: "Waveform of speech.wav" }).waitFor();
  await openGate(gate);
  await state(page, "done");
  await answer(page).getByText("Before. After.").waitFor();
  await assertSameAsResult(page);
});

test("a second tab on the same task shows the same stream", async (t) => {
  const first = await tab(t);
  const gate = "page-second";
  await ask(first, { case: "page-second", steps: [{ say: "Shared. " }, { wait_for: gate }, { say: "By both." }] });
  await answer(first).getByText("Shared.").waitFor();
  const second = await tab(t, { signedIn: false });
  await second.goto(first.url());
  await signIn(second);
  await answer(second).getByText("Shared.").waitFor();
  await openGate(gate);
  for (const page of [first, second]) {
    await state(page, "done");
    await assertSameAsResult(page);
  }
});

test("a failure shows the reason and what to do, and can be retried with the same audio", async (t) => {
  const page = await tab(t);
  await ask(page, { case: "page-fails", refusals: [503], steps: [{ say: "Better." }] });
  await state(page, "failed");
  await page.locator(".notice").getByText("The model's service failed").waitFor();
  await page.locator(".notice").getByText("The fake is out of order.").waitFor();
  await page.getByText("(the model's service answered 503)").waitFor();
  await shoot(page, "failed");
  const failed = taskId(page);
  await page.getByRole("button", { name: "Try again" }).click();
  await state(page, "done");
  await answer(page).getByText("Better.").waitFor();
  assert.notEqual(taskId(page), failed);
  await page.getByText("speech.wav").waitFor();
  assert.equal(await upstreamCalls("page-fails"), 2);
});

test("an unusable file is refused with a reason, and one that the browser cannot play can be sent", async (t) => {
  const page = await tab(t, { refusals: [422] });
  await page.getByRole("button", { name: "Listen" }).click();
  await page.getByText("Choose a file, record something, or enter an address.").waitFor();
  await page.setInputFiles("#file", { name: "notes.wav", mimeType: "audio/wav", buffer: Buffer.from("no sound at all") });
  await page.getByText("This browser cannot show or play this file.").waitFor();
  await page.getByRole("button", { name: "Listen" }).click();
  await page.locator(".notice").getByText("This audio cannot be used").waitFor();
  await page.getByRole("button", { name: "Remove" }).click();
  await page.setInputFiles("#file", AIFF);
  await page.getByText("This browser cannot show or play this file.").waitFor();
  await ask(page, { case: "page-aiff", steps: [{ say: "Heard." }] }, { file: false });
  await state(page, "done");
});

test("an unlisted model can be entered, and one that no channel serves is reported", async (t) => {
  const page = await tab(t, { refusals: [422] });
  await page.setInputFiles("#file", SPEECH);
  await page.getByLabel("Model", { exact: true }).selectOption("Another model ...");
  await page.getByLabel("Name of the model").fill("no-channel-serves-this");
  await page.getByRole("button", { name: "Listen" }).click();
  await page.locator(".notice").getByText("The model is not available").waitFor();
  assert.doesNotMatch(await page.locator(".notice").innerText(), /GET|\/v1/);
  await page.getByRole("button", { name: "Choose another model" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "model");
});

test("a missing model name is requested, and the error disappears with the name", async (t) => {
  const page = await tab(t);
  await page.setInputFiles("#file", SPEECH);
  await page.getByLabel("Model", { exact: true }).selectOption("Another model ...");
  await page.getByRole("button", { name: "Listen" }).click();
  const name = page.getByLabel("Name of the model");
  await page.locator("#model-error").getByText("Enter the name of a model").waitFor();
  assert.deepEqual([await name.getAttribute("aria-invalid"), await name.getAttribute("aria-describedby")],
    ["true", "model-help model-error"]);
  await shoot(page, "no-model");
  await name.fill("x");
  await page.locator("#model-error:empty").waitFor({ state: "attached" });
  assert.equal(await name.getAttribute("aria-invalid"), "false");
});

test("the first of several files is used, and the page says so", async (t) => {
  const page = await tab(t);
  await drop(page, SPEECH, "first.wav", "second.wav");
  await page.getByText("Only the first is used: first.wav").waitFor();
  await page.locator("#chosen").getByRole("slider").waitFor();
  await page.getByText("Only the first is used: first.wav").waitFor();
});

test("a request that the model's service rejects can be changed and sent again", async (t) => {
  const page = await tab(t);
  for (const [status, advice] of [[400, "Change the prompt or the audio, or choose another model."], [413, "Send a shorter piece"]]) {
    await ask(page, { case: `page-rejects-${status}`, refusals: [status] });
    await page.locator(".notice").getByText(advice).waitFor();
    await page.getByRole("button", { name: "Choose another model" }).click();
    await page.locator("#chosen").getByText("speech.wav").waitFor();
  }
});

test("an answer that was cut short is not shown as just done", async (t) => {
  const page = await tab(t);
  const ends = [
    [[{ say: "Half of" }, { finish: "MAX_TOKENS" }], "The answer was cut off at its token limit"],
    [[{ say: "Half of" }, { finish: "SAFETY" }], "The content filter of the model's service cut off the answer"],
    [[{ think: "Hm." }, { finish: "MAX_TOKENS" }], "The model sent no text."],
  ];
  for (const [index, [steps, words]] of ends.entries()) {
    await ask(page, { case: `page-ends-${index}`, steps });
    await state(page, "done");
    await page.locator("#panel-Answer .notice").getByText(words).waitFor();
    await shoot(page, `ends-${index}`);
    await page.getByRole("link", { name: "New task" }).click();
  }
});

test("a model's refusal does not look like an answer", async (t) => {
  const page = await tab(t);
  await page.route("**/v1/tasks/*", async (route) => {
    const response = await route.fetch();
    const task = await response.json();
    for (const { message } of task.results?.[0]?.choices ?? []) Object.assign(message, { content: null, refusal: "I will not." });
    await route.fulfill({ response, json: task });
  });
  // The same in the stream: there, the upstream's text is a refusal.
  await page.evaluate(() => {
    const fetched = window.fetch;
    window.fetch = async (url, options) => {
      const response = await fetched(url, options);
      if (!String(url).endsWith("/stream")) return response;
      const refused = new TransformStream({
        transform: (text, out) => out.enqueue(text.replaceAll('"content":"I will not."', '"refusal":"I will not."')),
      });
      const body = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(refused).pipeThrough(new TextEncoderStream());
      return new Response(body, response);
    };
  });
  const gate = "page-refusal";
  await ask(page, { case: gate, steps: [{ say: "I will not." }, { wait_for: gate }] });
  await state(page, "streaming");
  await page.locator("#panel-Answer .notice").getByText("The model refused to answer.").waitFor();
  await answer(page).getByText("I will not.", { exact: true }).waitFor();
  await openGate(gate);
  await state(page, "done");
  await page.locator("#panel-Answer .notice").getByText("The model refused to answer.").waitFor();
  await answer(page).getByText("I will not.").waitFor();
});

test("the page waits for a task without a stream", async (t) => {
  const page = await tab(t);
  const gate = "page-plain";
  const task = await submit({ case: "page-plain", steps: [{ wait_for: gate }, { say: "All at once." }] });
  await page.goto(`${ORIGIN}/#task=${task.id}`);
  await state(page, "thinking");
  await page.getByText("Waiting for fake.").waitFor();
  await openGate(gate);
  await state(page, "done");
  await answer(page).getByText("All at once.").waitFor();
  await page.getByRole("tab", { name: "Frames" }).click();
  await page.getByText("it has no frames").waitFor();
});

test("a long answer is laid out piece by piece, also as one paragraph", async (t) => {
  const page = await tab(t);
  const gate = "page-long";
  const words = "word ".repeat(40);
  const steps = Array.from({ length: 400 }, (_, index) => ({ say: `${index} ${words}` }));
  await ask(page, { case: "page-long", steps: [{ say: "Long: " }, { wait_for: gate }, ...steps] });
  await answer(page).getByText("Long:").waitFor();
  await answer(page).evaluate((element) => {
    window.laidOut = 0;
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const { textContent } of addedNodes) window.laidOut += textContent.length;
    }).observe(element, { childList: true, subtree: true });
  });
  await openGate(gate);
  await state(page, "done");
  await assertSameTextAsResult(page);
  const [laidOut, length] = await answer(page).evaluate((element) => [window.laidOut, element.textContent.length]);
  assert.ok(laidOut < 6 * length, `${laidOut} characters were laid out for ${length}`);
});

test("a long line is formatted to its end, and one without spaces is cut as well", async (t) => {
  const page = await tab(t);
  const line = ["the beginning ".repeat(200), "and **the ", "end**"];
  const paragraph = "\u{20BB7}\u97F3".repeat(4500);
  await ask(page, { case: "page-line", steps: [paragraph, paragraph, "\n", ...line].map((say) => ({ say })) });
  await state(page, "done");
  await answer(page).locator("strong").getByText("the end", { exact: true }).waitFor();
  const blocks = await answer(page).locator("> div").allTextContents();
  assert.equal(blocks.slice(0, -1).join(""), paragraph + paragraph);
  assert.ok(blocks.length > 2 && blocks.every((block) => block.length < 13_000), `${blocks.map(({ length }) => length)}`);
});

test("a recording from the microphone is sent as WAV", async (t) => {
  const page = await tab(t);
  await page.getByRole("button", { name: "Record" }).click();
  await page.getByText("0:01").waitFor();
  await page.waitForFunction(() => document.getElementById("record-level").value > 0);
  await page.getByRole("button", { name: "Finish" }).click();
  await page.getByRole("slider", { name: "Position in the audio" }).waitFor();
  await ask(page, { case: "page-record", steps: [{ say: "Beep." }] }, { file: false });
  await state(page, "done");
  const { audio } = (await api(`/v1/tasks/${taskId(page)}?include=request`)).request;
  assert.equal(audio.format, "wav");
  assert.ok(audio.duration_seconds >= 1, `${audio.duration_seconds}`);
});

test("a forbidden microphone is reported, and a file still works", async (t) => {
  const page = await tab(t);
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotAllowedError"));
  });
  await page.getByRole("button", { name: "Record" }).click();
  await page.getByText("Allow it in the address bar").waitFor();
  await page.getByRole("button", { name: "Choose a file" }).waitFor();
});

test("a URL is downloaded by the server", async (t) => {
  const files = http.createServer((_, response) => response.end(readFileSync(SPEECH)));
  await new Promise((listening) => files.listen(0, "127.0.0.1", listening));
  t.after(() => files.close());
  const page = await tab(t, { refusals: [422] });
  await page.getByRole("button", { name: "Use a URL" }).click();
  await page.getByLabel("Address of an audio file").fill("http://10.0.0.1/a.wav");
  await page.getByRole("button", { name: "Listen" }).click();
  await page.locator(".notice").getByText("This address cannot be used").waitFor();
  await page.getByLabel("Address of an audio file").fill(`http://localhost:${files.address().port}/talk.wav?signature=s3cret`);
  await ask(page, { case: "page-url", steps: [{ say: "Fetched." }] }, { file: false });
  await state(page, "done");
  await page.getByRole("tab", { name: "Request" }).click();
  await page.getByText("/talk.wav?...").waitFor();
  await page.getByRole("tab", { name: "Timeline" }).click();
  await page.getByText("Audio downloaded").waitFor();
});

test("the list shows the key's tasks, and a task its request, timeline, frames and code", async (t) => {
  const page = await tab(t);
  const gate = "page-list";
  const running = await submit({ case: "page-list", steps: [{ think: "Hm." }, { say: "x" }, { wait_for: gate }] },
    { stream: true, reasoning: true });
  await page.getByRole("link", { name: "Tasks" }).click();
  const row = page.locator(`a[href="#task=${running.id}"]`);
  await row.getByText("running").waitFor();
  await openGate(gate);
  await row.getByText("done").waitFor();
  await shoot(page, "list");
  await page.getByLabel("Show", { exact: true }).selectOption("failed");
  await page.locator('a.task-row .pill[data-state="done"]').first().waitFor({ state: "detached" });
  await page.getByLabel("Show", { exact: true }).selectOption("");
  await row.click();
  // A role chunk, a thought, a text, the finish. Only the last frame has the count.
  await page.locator(".tile", { hasText: "Chunks" }).getByText("4", { exact: true }).waitFor();
  await page.getByRole("tab", { name: "Request" }).click();
  await page.getByRole("tabpanel").getByText("mp3", { exact: true }).waitFor();
  await page.getByRole("tab", { name: "Timeline" }).click();
  await page.getByRole("row", { name: /fake .*completed/ }).waitFor();
  await shoot(page, "detail-timeline");
  await page.getByRole("tab", { name: "Frames" }).click();
  await page.getByText("data: [DONE]").waitFor();
  await shoot(page, "detail-frames");
  await page.getByRole("tab", { name: "Code" }).click();
  await shoot(page, "detail-code");
  const [curl, python] = await page.locator(".code-block pre").allInnerTexts();
  for (const code of [curl, python]) assert.equal(code.includes(KEY), false);
  const directory = mkdtempSync(join(tmpdir(), "page-code-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "audio.mp3"), readFileSync(SPEECH.replace(".wav", ".mp3")));
  const run = (command, text, key = KEY) => spawnSync(command, ["-c", text],
    { cwd: directory, encoding: "utf8", env: { ...process.env, HEARKEN_API_KEY: key } });
  assert.match(run("sh", curl).stdout, /"content":"x"[^]*data: \[DONE\]/);
  const { stdout, stderr } = run("python3", python);
  assert.deepEqual([stdout, stderr], ["x", "Hm."]);
  const refused = run("python3", python, "sk-wrong");
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^\{"error":.*invalid_api_key/);
});

test("the address contains the filter of the list", async (t) => {
  const task = await submit({ case: "page-address", steps: [{ say: "x" }] });
  const page = await tab(t);
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.locator(`a[href="#task=${task.id}"]`).getByText("done").waitFor();
  const filter = page.getByLabel("Show", { exact: true });
  await filter.selectOption("Done");
  await page.reload();
  await page.locator("a.task-row").first().waitFor();
  assert.equal(await filter.inputValue(), "completed");
  await page.locator(`a[href="#task=${task.id}"]`).click();
  await state(page, "done");
  await page.goBack();
  await page.locator("a.task-row").first().waitFor();
  assert.equal(await filter.inputValue(), "completed");
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.waitForFunction(() => location.hash === "#tasks" && document.getElementById("filter").value === "");
});

test("older tasks come page by page", async (t) => {
  const page = await tab(t);
  for (let count = 0; count < 21; count += 1) await submit({ case: "page-many", steps: [{ say: "x" }] });
  await page.getByRole("link", { name: "Tasks" }).click();
  const rows = page.locator("a.task-row");
  await rows.nth(19).waitFor();
  assert.equal(await rows.count(), 20);
  const more = page.getByRole("button", { name: "Show older tasks" });
  await more.click();
  await rows.nth(20).waitFor();
  while (await more.isVisible()) {
    const shown = await rows.count();
    await more.click();
    await rows.nth(shown).waitFor();
  }
  await page.waitForFunction(() => document.activeElement.matches("a.task-row"));
});

test("everything can be done by keyboard", async (t) => {
  const page = await tab(t, { signedIn: false });
  // This is set early, because Chromium needs a moment to register the handler of the file chooser.
  const chooser = page.waitForEvent("filechooser");
  const reach = async (locator) => {
    for (let step = 0; step < 40; step += 1) {
      if (await locator.evaluate((element) => element === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`${locator} is not reached by Tab`);
  };
  await page.keyboard.type(KEY);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "New task" }).waitFor();
  await reach(page.getByRole("button", { name: "Choose a file" }));
  await page.keyboard.press("Enter");
  await (await chooser).setFiles(SPEECH);
  const playhead = page.getByRole("slider", { name: "Position in the audio" });
  await reach(playhead);
  await page.keyboard.press("End");
  assert.equal(await playhead.getAttribute("aria-valuenow"), "2");
  await reach(page.getByLabel("Prompt", { exact: true }));
  await page.keyboard.type(JSON.stringify({ case: "page-keyboard", steps: [{ say: "Typed." }] }));
  await reach(page.getByRole("button", { name: "Listen" }));
  await page.keyboard.press("Enter");
  await state(page, "done");
  await reach(page.getByRole("tab", { name: "Answer" }));
  await page.keyboard.press("ArrowRight");
  await page.getByRole("tabpanel").getByText("speech.wav").waitFor();
  await page.keyboard.press("End");
  await page.getByRole("heading", { name: "curl" }).waitFor();
  await page.keyboard.press("Home");
  await page.getByRole("tab", { name: "Answer", selected: true }).waitFor();
});

test("the focus is never lost on the way to a submit", async (t) => {
  const page = await tab(t);
  const focused = (selector) => page.waitForFunction((wanted) => document.activeElement.matches(wanted), selector);
  await page.locator("#choose").focus();
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  await focused("#chosen .play");
  await page.getByRole("button", { name: "Remove" }).press("Enter");
  await focused("#choose");
  await page.getByRole("button", { name: "Record" }).press("Enter");
  await page.getByRole("button", { name: "Discard" }).press("Enter");
  await focused("#record");
  await page.keyboard.press("Enter");
  await page.getByText("0:01").waitFor();
  await page.getByRole("button", { name: "Finish" }).press("Enter");
  await page.locator("#chosen").getByRole("slider").waitFor();
  await focused("#chosen .play");
  await ask(page, { case: "page-focus-stop", steps: [{ say: "x" }, { wait_for: "page-focus-never" }] }, { file: false });
  await state(page, "streaming");
  await page.getByRole("button", { name: "Stop" }).press("Enter");
  await state(page, "stopped");
  await focused(".title-actions button");
});

test("the playhead ends where the audio does", async (t) => {
  const page = await tab(t);
  const wav = readFileSync(SPEECH);
  // 2.6 seconds would be 3 when rounded; the clock shows 2.
  const [rate, frame] = [wav.readUInt32LE(24), wav.readUInt16LE(32)];
  const sound = Buffer.alloc(Math.round(2.6 * rate) * frame);
  const head = Buffer.from(wav.subarray(0, 44));
  head.writeUInt32LE(36 + sound.length, 4);
  head.writeUInt32LE(sound.length, 40);
  await page.setInputFiles("#file", { name: "long.wav", mimeType: "audio/wav", buffer: Buffer.concat([head, sound]) });
  const playhead = page.getByRole("slider", { name: "Position in the audio" });
  await playhead.press("End");
  const said = ["aria-valuetext", "aria-valuenow", "aria-valuemax"].map((name) => playhead.getAttribute(name));
  assert.deepEqual(await Promise.all(said), ["0:02 of 0:02", "2", "2"]);
});

test("a view that is opened has the focus", async (t) => {
  const page = await tab(t);
  const focused = (id) => page.waitForFunction((wanted) => document.activeElement.id === wanted, id);
  await page.getByRole("link", { name: "Tasks" }).click();
  await focused("tasks-title");
  await page.getByRole("link", { name: "New task" }).click();
  await focused("new-title");
  await ask(page, { case: "page-focus", steps: [{ say: "x" }] });
  await focused("task-title");
});

for (const scheme of ["light", "dark"]) {
  test(`the page is accessible to assistive technology: ${scheme}`, async (t) => {
    const page = await tab(t, { signedIn: false, context: { colorScheme: scheme } });
    await assertAccessible(page, "sign-in");
    await signIn(page);
    await page.setInputFiles("#file", SPEECH);
    await page.locator("#chosen").getByRole("slider").waitFor();
    await page.getByText("Options").click();
    await assertAccessible(page, "new task");
    const steps = [{ think: "Hm." }, ...NOTES.map((say) => ({ say }))];
    await ask(page, { case: `page-axe-${scheme}`, steps }, { file: false });
    await state(page, "done");
    if (scheme === "dark") await shoot(page, "dark");
    for (const name of ["Answer", "Request", "Timeline", "Frames", "Code"]) {
      await page.getByRole("tab", { name }).click();
      if (name === "Frames") await page.getByText("data: [DONE]").waitFor();
      await assertAccessible(page, name);
    }
    await page.getByRole("link", { name: "Tasks" }).click();
    await page.locator("a.task-row").first().waitFor();
    await assertAccessible(page, "tasks");
    if (scheme === "dark") await shoot(page, "dark-list");
    await page.getByRole("button", { name: "Theme: auto" }).click();
    await page.getByRole("button", { name: "Theme: light" }).waitFor();
  });
}

test("a phone shows the whole page without sideways scrolling", async (t) => {
  const page = await tab(t, { signedIn: false, context: { viewport: { width: 320, height: 740 }, deviceScaleFactor: 2 } });
  await assertFits(page);
  await signIn(page);
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  await page.getByText("Options").click();
  await assertFits(page);
  await shoot(page, "phone-new");
  await ask(page, { case: "page-phone", steps: [{ think: "Hm." }, ...NOTES.map((say) => ({ say })), { say: "\n" + "long".repeat(99) }] }, { file: false });
  await state(page, "done");
  await shoot(page, "phone");
  const ends = await page.getByRole("tab").evaluateAll((tabs) => tabs.map((each) => each.getBoundingClientRect().right));
  assert.ok(ends.length === 5 && Math.max(...ends) <= 320, `tabs end at ${ends}`);
  for (const name of ["Request", "Timeline", "Frames", "Code"]) {
    await page.getByRole("tab", { name }).click();
    if (name === "Frames") await page.getByText("data: [DONE]").waitFor();
    await assertFits(page);
  }
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.locator("a.task-row").first().waitFor();
  await assertFits(page);
  await shoot(page, "phone-list");
});
