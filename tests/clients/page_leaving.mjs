// The page when something is stopped, left or lost: no unwanted task, recording or data remains.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { after } from "node:test";

import { Line, closeBrowser, fileOf, shoot, signIn, tab } from "./browser.mjs";
import { openGate, submit, upstreamCalls } from "./hearken.mjs";
import { SPEECH, answer, api, ask, state, taskId } from "./page_parts.mjs";

after(closeBrowser);

const upload = (page, words) => page.locator("#upload-text").getByText(words).waitFor();
const stopUpload = (page) => page.locator("#abort").click();
const stopped = (page) => page.locator("#status").getByText("Stopped", { exact: true }).waitFor({ state: "attached" });
const never = (name) => ({ case: name, steps: [{ say: "x" }, { wait_for: `${name}-never` }] });

/** Waits until the upstream is called: then there is a task. */
async function submitted(name) {
  while ((await upstreamCalls(name)) === 0) await new Promise((next) => setTimeout(next, 20));
}

/** A tab with the form, on a connection of its own. */
async function onLine(t) {
  const line = await Line.start(t);
  const page = await tab(t, { origin: line.origin, isCut: true });
  await page.getByRole("heading", { name: "New task" }).waitFor();
  return { line, page };
}

const newest = async () => (await api("/v1/tasks?limit=1")).data[0];

test("a stop in the middle of an upload submits nothing", async (t) => {
  const { line, page } = await onLine(t);
  await page.setInputFiles("#file", fileOf(t, "large.wav", Buffer.alloc(14_000_000)));
  await page.getByText("This browser cannot show or play this file.").waitFor();
  line.hold();
  await ask(page, never("page-stop-upload"), { file: false });
  await upload(page, " of 18.7 MB");
  await stopUpload(page);
  await stopped(page);
  await page.locator("#submit:enabled").waitFor();
  assert.equal(await upstreamCalls("page-stop-upload"), 0);
});

test("a stop just before the upload is reported as complete leaves no task behind", async (t) => {
  const { line, page } = await onLine(t);
  await page.evaluate(() => Object.defineProperty(XMLHttpRequestUpload.prototype, "onload", {
    set(listener) { window.tell = listener; },
  }));
  line.mute();
  await ask(page, never("page-stop-first"));
  await submitted("page-stop-first");
  line.restore();
  await page.evaluate(() => {
    document.getElementById("abort").click();
    window.tell();
  });
  await stopped(page);
  assert.equal((await newest()).error?.code, "task_cancelled");
});

test("a stop after a lost reply finds the task and cancels it", async (t) => {
  const { line, page } = await onLine(t);
  await page.clock.install();
  line.mute();
  await ask(page, never("page-stop-lost"));
  await submitted("page-stop-lost");
  await upload(page, "waiting for the server");
  // From here on, the clock of the page stands, so no pause ends.
  await page.clock.pauseAt(Date.now() + 10_000);
  line.cut();
  await upload(page, "sending again");
  line.restore();
  await stopUpload(page);
  await stopped(page);
  const task = await newest();
  assert.deepEqual([task.error.code, await upstreamCalls("page-stop-lost")], ["task_cancelled", 1]);
});

test("a stop without a reply is reported in time, and a repeated submit is the same task", async (t) => {
  const { line, page } = await onLine(t);
  await page.clock.install();
  line.mute();
  await ask(page, never("page-stop-mute"));
  await submitted("page-stop-mute");
  await upload(page, "waiting for the server");
  await stopUpload(page);
  await page.clock.fastForward(10_000);
  await page.locator(".notice").getByText("A task may still be running").waitFor();
  line.restore();
  await page.getByRole("button", { name: "Listen" }).click();
  await state(page, "streaming");
  await page.getByRole("button", { name: "Stop" }).click();
  await state(page, "stopped");
  assert.equal(await upstreamCalls("page-stop-mute"), 1);
});

test("a stop does not wait for a reply that is held back", async (t) => {
  const { line, page } = await onLine(t);
  await page.clock.install();
  line.mute();
  await ask(page, never("page-stop-held"));
  await submitted("page-stop-held");
  await upload(page, "waiting for the server");
  line.restore();
  await stopUpload(page);
  await page.clock.fastForward(2000);
  await stopped(page);
  const task = await newest();
  assert.deepEqual([task.error.code, await upstreamCalls("page-stop-held")], ["task_cancelled", 1]);
});

test("a stop while the connection is lost takes effect when it is back", async (t) => {
  const { line, page } = await onLine(t);
  await ask(page, never("page-stop-gone"));
  await answer(page).getByText("x").waitFor();
  line.cut();
  await page.locator(".connection").getByText("Connection lost").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator(".connection").getByText("The task will be stopped when the connection is back").waitFor();
  await page.locator(".pill").getByText("stopping").waitFor();
  await shoot(page, "stopping");
  assert.equal(await page.locator("#panel-Answer .notice.bad").count(), 0);
  line.restore();
  await state(page, "stopped");
  assert.equal(await page.locator(".connection").isVisible(), false);
});

test("a stop that fails can be repeated, which removes its error", async (t) => {
  const page = await tab(t, { refusals: [500] });
  await ask(page, never("page-stop-fails"));
  await answer(page).getByText("x").waitFor();
  let tries = 0;
  await page.route("**/cancel", (route) => {
    tries += 1;
    return tries > 1 ? route.continue() : route.fulfill({ status: 500, json: {
      error: { message: "Something went wrong.", code: "internal_error", retryable: true } } });
  });
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByRole("button", { name: "Stop again" }).click();
  await state(page, "stopped");
  assert.equal(await page.locator("#panel-Answer .notice.bad").count(), 0);
});

test("an answer that breaks off is not shown with 'nothing was lost'", async (t) => {
  const { line, page } = await onLine(t);
  const gate = "page-breaks-off";
  await ask(page, { case: gate, steps: [{ say: "Before." }, { wait_for: gate }, "cut"] });
  await answer(page).getByText("Before.").waitFor();
  line.cut();
  await page.locator(".connection").getByText("Connection lost").waitFor();
  line.restore();
  await page.locator(".connection").getByText("Resumed from chunk 2.", { exact: true }).waitFor();
  await openGate(gate);
  await state(page, "failed");
  await page.locator(".notice").getByText("The answer was cut off").waitFor();
  assert.equal(await page.locator(".connection").isVisible(), false);
});

test("the submit is sent again to a server that is silent after the upload", async (t) => {
  const { line, page } = await onLine(t);
  await page.clock.install();
  line.mute();
  await ask(page, { case: "page-silent", steps: [{ say: "Heard." }] });
  await submitted("page-silent");
  await upload(page, "waiting for the server");
  // The silence has lasted long enough. From here on, the clock of the page stands, so no pause ends.
  await page.clock.pauseAt(Date.now() + 100_000);
  await upload(page, "sending again");
  line.restore();
  await page.clock.resume();
  await state(page, "done");
  assert.equal(await upstreamCalls("page-silent"), 1);
});

test("a retry after a reply without information is the same submit", async (t) => {
  const page = await tab(t, { refusals: [502] });
  let tries = 0;
  await page.route("**/v1/llm/generations", async (route) => {
    tries += 1;
    if (tries > 1) return route.continue();
    await route.fetch();
    return route.fulfill({ status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" });
  });
  await ask(page, { case: "page-502", steps: [{ say: "Once." }] });
  await page.getByRole("button", { name: "Try again" }).click();
  await state(page, "done");
  assert.deepEqual([tries, await upstreamCalls("page-502")], [2, 1]);
});

test("signing out while an answer streams leaves nothing in the tab", async (t) => {
  const page = await tab(t);
  const gate = "page-sign-out";
  await ask(page, { case: "page-sign-out", steps: [{ say: "A secret. " }, { wait_for: gate }] });
  await answer(page).getByText("A secret.").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#view-sign-in").getByText("Your task is still running").waitFor();
  await shoot(page, "signed-out");
  assert.deepEqual(await page.evaluate(() => Object.keys(sessionStorage)), ["theme"]);
  await openGate(gate);
});

test("a key that is no longer valid clears the form", async (t) => {
  const page = await tab(t, { refusals: [401] });
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  await page.route("**/v1/tasks?*", (route) => route.fulfill({ status: 401, json: {
    error: { message: "This key was revoked.", code: "invalid_api_key", retryable: false } } }));
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.getByRole("button", { name: "Sign in again" }).click();
  await signIn(page);
  await page.getByText("Drop an audio file here").waitFor();
});

test("using a task without its audio again asks for the audio and keeps the exact numbers", async (t) => {
  const script = { case: "page-use-again", steps: [{ say: "x" }] };
  const task = await submit(script, { temperature: 0.25, max_tokens: 1000 });
  const page = await tab(t);
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  await page.evaluate((id) => (location.hash = `#task=${id}`), task.id);
  await state(page, "done");
  await page.getByRole("button", { name: "Use again" }).click();
  await page.getByText("Choose the audio again. This page no longer has it.").waitFor();
  assert.equal(await page.locator("#chosen").isVisible(), false);
  assert.deepEqual(await page.locator("output").allTextContents(), ["0.25", "1,000"]);
  await page.setInputFiles("#file", SPEECH);
  await page.getByRole("button", { name: "Listen" }).click();
  await state(page, "done");
  const { request } = await api(`/v1/tasks/${taskId(page)}?include=request`);
  assert.deepEqual([request.temperature, request.max_tokens], [0.25, 1000]);
});

test("the signature of an address is neither shown nor kept", async (t) => {
  const page = await tab(t);
  await page.getByRole("button", { name: "Use a URL" }).click();
  await page.getByLabel("Address of an audio file").fill("http://someone:pass@localhost:9/talk.wav?signature=s3cret#part");
  await page.route("**/v1/llm/generations", async (route) => {
    const accepted = await submit({ case: "page-signed", steps: [{ say: "x" }] });
    return route.fulfill({ json: accepted });
  });
  await ask(page, { case: "page-signed", steps: [] }, { file: false });
  await state(page, "done");
  await page.getByText("http://localhost:9/talk.wav").first().waitFor();
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify(sessionStorage)), /s3cret|pass/);
});

/** Starts a recording. The microphone is granted when the page calls `allow()`; `window.tracks` has its tracks. */
async function askForMicrophone(page) {
  await page.evaluate(() => {
    const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    const allowed = new Promise((resolve) => (window.allow = resolve));
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      await allowed;
      const stream = await given(wanted);
      window.tracks = stream.getTracks();
      return stream;
    };
  });
  await page.getByRole("button", { name: "Record" }).click();
}

const microphoneIsOff = (page) => page.waitForFunction(() => window.tracks?.every(({ readyState }) => readyState === "ended"));

test("a microphone that is allowed after the form was left is released", async (t) => {
  const page = await tab(t);
  await askForMicrophone(page);
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.getByRole("heading", { name: "Tasks" }).waitFor();
  await page.evaluate(() => window.allow());
  await microphoneIsOff(page);
  await page.getByRole("link", { name: "New task" }).click();
  await page.getByText("Drop an audio file here").waitFor();
  assert.equal(await page.locator("#recording").isVisible(), false);
});

test("a file that is pasted during a recording replaces the recording", async (t) => {
  const page = await tab(t);
  await askForMicrophone(page);
  await page.evaluate(() => window.allow());
  await page.getByText("0:01").waitFor();
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByText("speech.wav").waitFor();
  await microphoneIsOff(page);
  assert.equal(await page.locator("#recording").isVisible(), false);
});

test("a microphone that is unplugged ends the recording, which is kept", async (t) => {
  const page = await tab(t);
  await askForMicrophone(page);
  await page.evaluate(() => window.allow());
  await page.getByText("0:01").waitFor();
  await page.evaluate(() => window.tracks.forEach((track) => track.stop()));
  await page.locator("#chosen").getByText(/recording-.*\.wav/).waitFor();
});

test("a recording is finished and kept when the form is left", async (t) => {
  const page = await tab(t);
  await askForMicrophone(page);
  await page.evaluate(() => window.allow());
  await page.getByText("0:01").waitFor();
  await page.getByRole("link", { name: "Tasks" }).click();
  await microphoneIsOff(page);
  await page.getByRole("link", { name: "New task" }).click();
  await page.locator("#chosen").getByText(/recording-.*\.wav/).waitFor();
});

test("a file that is too large is refused unread, and one that is too long to draw can be played", async (t) => {
  const page = await tab(t);
  await page.setInputFiles("#file", fileOf(t, "film.mp4", Buffer.alloc(22_100_000)));
  await page.getByText("film.mp4 is too large").waitFor();
  assert.equal(await page.locator("#chosen").isVisible(), false);
  const piece = readFileSync(SPEECH.replace("speech.wav", "speech-bare.mp3"));
  const buffer = Buffer.concat(Array.from({ length: Math.ceil(5_100_000 / piece.length) }, () => piece));
  await page.setInputFiles("#file", fileOf(t, "long.mp3", buffer));
  await page.getByText("This file is too long to draw its waveform.").waitFor();
  await page.locator("#chosen audio").waitFor();
});

test("the page waits for a task and its frames while the server is away", async (t) => {
  const task = await submit({ case: "page-away", steps: [{ say: "x" }] }, { stream: true });
  const page = await tab(t, { isCut: true });
  let isAway = true;
  await page.route("**/v1/tasks/*", (route) => (isAway ? route.abort("connectionrefused") : route.continue()));
  await page.evaluate((id) => (location.hash = `#task=${id}`), task.id);
  await page.locator(".connection").getByText("Connection lost, trying again").waitFor();
  await page.getByRole("tab", { name: "Frames" }).click();
  isAway = false;
  await state(page, "done");
  await page.getByText("data: [DONE]").waitFor();
});

test("a task that cannot be read is not called failed", async (t) => {
  const page = await tab(t, { refusals: [404] });
  await page.evaluate(() => (location.hash = "#task=no-such-task"));
  await page.locator(".notice").getByText("There is no such task").waitFor();
  await state(page, "unknown");
});

test("another filter shows no tasks of the previous one", async (t) => {
  await submit({ case: "page-filter", steps: [{ say: "x" }] });
  const page = await tab(t);
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.locator("a.task-row").first().waitFor();
  let answers;
  const answered = new Promise((resolve) => (answers = resolve));
  await page.route("**/v1/tasks?*", async (route) => {
    await answered;
    await route.continue();
  });
  await page.getByLabel("Show", { exact: true }).selectOption("pending");
  await page.getByText("Looking.").waitFor();
  assert.equal(await page.locator("a.task-row").count(), 0);
  answers();
  await page.getByText("No task has this status.").waitFor();
});
