// The page and its reader: texts of any direction and size, Markdown in answers, errors that are shown only as long as
// they are true, and the way back.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after } from "node:test";

import { assertAccessible, assertFits, assertUnclipped, closeBrowser, shoot, signIn, tab } from "./browser.mjs";
import { KEY, PATIENCE, submit, upstreamCalls } from "./hearken.mjs";
import { SPEECH, answer, api, ask, state, taskId } from "./page_parts.mjs";

after(closeBrowser);

const say = (text, size = 7) => text.match(new RegExp(`[^]{1,${size}}`, "gu")).map((piece) => ({ say: piece }));
const noticed = (page, words) => page.locator(".notice").getByText(words).waitFor();
/** From here on, the case controls the page's clock: a slow machine must not miss a second of a countdown. */
async function stopTime(page) {
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 10_000);
}

/** Advances the page's clock in small steps until it shows this: the page paints and counts only while time passes. */
async function passUntil(page, locator) {
  const end = Date.now() + PATIENCE;
  while (!(await locator.isVisible())) {
    assert.ok(Date.now() < end, `${locator} is not seen`);
    await page.clock.runFor(20);
  }
}

const file = (name, bytes) => ({ name, mimeType: "audio/wav", buffer: Buffer.from(bytes) });

const MARKDOWN = `# Call *17*

It is **calm**, _clear_ and ~~long~~ ***short***: 2 * 3 * 4, snake_case_name, **「重要」**です.
See [the notes](https://example.com/a_(b)?x=1 "Notes"), <https://example.com/c> or https://example.com/d.
Not [this](javascript:alert(1)), not [that](/v1/tasks), not <script>alert(1)</script>; ![a picture](https://example.com/p.png)

Part two
--------
A &amp; B &lt;i&gt; &#8364;&#x20ac; &nothing; \`&amp;\`

Two lines
are no heading
---
- one with \`a *b*\`
  - two
    three
- [x] done
- [ ] open
3. third
4. fourth

> A quote
> - in it

| Speaker | Said |
|:--------|-----:|
| A \\| B | **yes** |
| C |

\`\`\`js
| no | table |
\`\`\`
`;

test("an answer's Markdown is shown formatted, and nothing in it runs", async (t) => {
  const page = await tab(t);
  await page.evaluate(() => (window.alert = () => (window.alerted = true)));
  await ask(page, { case: "page-markdown", steps: say(MARKDOWN) });
  await state(page, "done");
  const texts = (selector) => answer(page).locator(selector).allTextContents();
  const links = await answer(page).locator("a").evaluateAll((all) => all.map((each) => [each.textContent, each.href, each.rel, each.target]));
  const elsewhere = ["noopener noreferrer nofollow", "_blank"];
  assert.deepEqual(links, [
    ["the notes", "https://example.com/a_(b)?x=1", ...elsewhere], ["https://example.com/c", "https://example.com/c", ...elsewhere],
    ["https://example.com/d", "https://example.com/d", ...elsewhere], ["a picture", "https://example.com/p.png", ...elsewhere]]);
  await answer(page).getByText("Not [this](javascript:alert(1)), not [that](/v1/tasks), not <script>").waitFor();
  assert.deepEqual(await texts("[role=heading]"), ["Call 17", "Part two"]);
  assert.equal(await answer(page).locator("hr").count(), 1);
  await answer(page).getByText("A & B <i> €€ &nothing; &amp;", { exact: true }).waitFor();
  assert.deepEqual(await texts("em"), ["17", "clear", "short"]);
  assert.deepEqual(await texts("strong"), ["calm", "short", "「重要」", "yes"]);
  assert.deepEqual(await texts("del"), ["long"]);
  assert.deepEqual(await texts("li li > .text"), ["two", "three"]);
  assert.deepEqual(await answer(page).locator(".task input").evaluateAll((all) => all.map(({ checked }) => checked)), [true, false]);
  assert.deepEqual(await answer(page).locator("ol > li").evaluateAll((all) => all.map(({ value }) => value)), [3, 4]);
  assert.deepEqual(await texts("blockquote > .text, blockquote li"), ["A quote", "in it"]);
  assert.deepEqual(await texts("th"), ["Speaker", "Said"]);
  assert.deepEqual(await texts("td"), ["A | B", "yes", "C", ""]);
  assert.deepEqual(await texts("code, .code-line"), ["&amp;", "a *b*", "| no | table |"]);
  assert.equal(await answer(page).locator("img, script, iframe").count(), 0);
  // The result is the same, whether the answer came in pieces or at once.
  const streamed = await answer(page).innerHTML();
  await assertAccessible(page, "marks");
  await shoot(page, "marks");
  await page.emulateMedia({ colorScheme: "dark" });
  await assertAccessible(page, "marks in the dark");
  await shoot(page, "dark-marks");
  const plain = page.getByRole("button", { name: "Plain text" });
  await plain.click();
  assert.equal(await answer(page).evaluate((element) => [...element.children].map((line) => line.textContent).join("\n")), MARKDOWN.trimEnd());
  await plain.click();
  assert.equal(await answer(page).innerHTML(), streamed);
  assert.equal(await page.evaluate(() => window.alerted), undefined);
});

test("an answer with endless Markdown marks is shown in time", async (t) => {
  const page = await tab(t);
  for (const [index, mark] of ["[", "a* ", "`` ` ", "> ", "- ", "![", "|"].entries()) {
    await ask(page, { case: `page-endless-${index}`, steps: [{ say: mark.repeat(12_000 / mark.length) }, { say: "\nThe end." }] });
    await state(page, "done");
    await answer(page).getByText("The end.").waitFor();
    await page.getByRole("link", { name: "New task" }).click();
  }
});

test("a right-to-left text is aligned to the right", async (t) => {
  const page = await tab(t);
  const prompt = page.getByLabel("Prompt", { exact: true });
  await prompt.fill("من يتحدث؟");
  const isRtl = (locator) => locator.evaluate((element) => element.matches(":dir(rtl)"));
  assert.ok(await isRtl(prompt));
  await page.getByText("Options").click();
  await page.getByLabel("System prompt").fill("أجب بالعربية");
  assert.ok(await isRtl(page.getByLabel("System prompt")));
  await page.setInputFiles("#file", file("תמלול.wav", readFileSync(SPEECH)));
  await page.locator("#chosen").getByRole("slider").waitFor();
  assert.ok(await isRtl(page.locator("#chosen .wave-name")));
  const text = "# ملخص\n\nيتحدث شخصان بهدوء (2.3 s).\n\n- الأول: مرحبا\n- الثاني: **أهلا**\n\n| المتحدث | النص |\n|---|---|\n| أ | نعم |\n\n"
    + "> اقتباس\n\nAn English line.\n\n```\nlet a = 1;\n```";
  await ask(page, { case: "page-rtl", steps: [{ think: "تفكير" }, ...say(text)] }, { file: false });
  await state(page, "done");
  const shown = answer(page).locator("> *");
  const directions = await shown.evaluateAll((all) => all.map((each) => [
    each.localName === "div" ? each.className.split(" ")[0] : each.localName, each.matches(":dir(rtl)")]));
  assert.deepEqual(directions, [["head", true], ["text", true], ["ul", true], ["table-box", true], ["blockquote", true],
    ["text", false], ["fence", false], ["code-line", false], ["fence", false]]);
  const edges = await answer(page).locator(".text").first().evaluate((element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return [range.getBoundingClientRect().right, element.getBoundingClientRect().right];
  });
  assert.ok(Math.abs(edges[0] - edges[1]) < 2, `${edges}`);
  await shoot(page, "rtl");
  await page.getByRole("tab", { name: "Request" }).click();
  assert.ok(await isRtl(page.locator(".quoted").last()));
  await submit({ case: "page-rtl-list", steps: [{ say: "x" }] });
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.locator("a.task-row").first().waitFor();
  assert.equal(await page.locator("a.task-row .task-model").first().getAttribute("dir"), "auto");
});

test("letters of twice the size are not cut off", async (t) => {
  const page = await tab(t, { signedIn: false, isLarge: true });
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).fontSize), "32px");
  const wide = page.viewportSize();
  const look = async (name) => {
    for (const [size, viewport] of [["phone", { width: 400, height: 800 }], ["large", wide]]) {
      await page.setViewportSize(viewport);
      await assertFits(page);
      await assertUnclipped(page, name);
      await shoot(page, `${size}-large-${name}`);
    }
  };
  await look("sign-in");
  await signIn(page);
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  await page.getByText("Options").click();
  await look("new");
  await ask(page, { case: "page-large", steps: [{ think: "Hm." }, ...say(MARKDOWN, 40)] }, { file: false });
  await state(page, "done");
  await look("answer");
  for (const name of ["Request", "Timeline", "Frames", "Code"]) {
    await page.getByRole("tab", { name }).click();
    if (name === "Frames") await page.getByText("data: [DONE]").waitFor();
    await look(name);
  }
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.locator("a.task-row").first().waitFor();
  await look("list");
});

test("the page says for each model where the audio is sent", async (t) => {
  const page = await tab(t);
  await page.locator("#model-note").getByText("The server sends the audio to the service that runs this model.").waitFor();
  await page.getByLabel("Model", { exact: true }).selectOption("Another model ...");
  await page.getByLabel("Name of the model").fill("local-inspect");
  await page.locator("#model-note").getByText("The audio does not leave it").waitFor();
  assert.doesNotMatch(await page.locator("footer").innerText(), /on this server only/);
});

test("an error disappears with its cause, and only then", async (t) => {
  const page = await tab(t, { refusals: [422, 503] });
  const listen = page.getByRole("button", { name: "Listen" });
  const notice = page.locator("#compose-error .notice");
  const remains = async () => assert.equal(await notice.count(), 1);
  await page.setInputFiles("#file", file("notes.wav", "no sound at all"));
  await listen.click();
  await noticed(page, "This audio cannot be used");
  assert.doesNotMatch(await notice.innerText(), /Convert|encoded/, "one piece of advice, and one for a form");
  await page.getByLabel("Model", { exact: true }).selectOption("gemini-2.5-flash");
  await remains();
  await page.setInputFiles("#file", SPEECH);
  await notice.waitFor({ state: "detached" });
  await page.getByLabel("Model", { exact: true }).selectOption("Another model ...");
  await page.getByLabel("Name of the model").fill("nothing-serves-this");
  await listen.click();
  await noticed(page, "The model is not available");
  await page.setInputFiles("#file", SPEECH);
  await remains();
  await page.getByLabel("Name of the model").fill("another");
  await notice.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Remove" }).click();
  await page.setInputFiles("#file", file("empty.wav", ""));
  await page.locator("#audio-error").getByText("empty.wav is empty.").waitFor();
  await page.getByRole("button", { name: "Use a URL" }).click();
  await page.locator("#audio-error:empty").waitFor({ state: "attached" });
  await page.getByLabel("Address of an audio file").fill("ftp://a");
  await listen.click();
  await page.locator("#audio-error").getByText("must begin with http").waitFor();
  await page.getByLabel("Address of an audio file").fill("https://a");
  await page.locator("#audio-error:empty").waitFor({ state: "attached" });
  // The models cannot be listed for a moment.
  let isAway = true;
  await page.route("**/v1/configs/*", (route) => (isAway ? route.fulfill({ status: 503, json: { error: { message: "Away.", code: "shutting_down" } } })
    : route.continue()));
  await page.reload();
  await noticed(page, "Away.");
  isAway = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await notice.waitFor({ state: "detached" });
});

test("the error of a wrong key disappears when the next key is entered", async (t) => {
  const page = await tab(t, { signedIn: false, refusals: [401] });
  await signIn(page, "sk-wrong");
  await page.getByText("This key is not valid here.").waitFor();
  await page.getByLabel("API key").fill("sk-another");
  await page.locator("#sign-in-error:empty").waitFor({ state: "attached" });
});

test("a retry waits as long as the server asks, and is then sent", async (t) => {
  const page = await tab(t, { refusals: [429] });
  await stopTime(page);
  let tries = 0;
  await page.route("**/v1/llm/generations", (route) => {
    tries += 1;
    return tries > 1 ? route.continue() : route.fulfill({ status: 429, headers: { "Retry-After": "7" }, json: {
      error: { message: "Too many tasks are waiting already; try again after Retry-After", code: "queue_full", param: null } } });
  });
  await ask(page, { case: "page-countdown", steps: [{ say: "x" }] });
  await page.getByRole("button", { name: "Try again in 7 s" }).waitFor();
  assert.doesNotMatch(await page.locator(".notice").innerText(), /Retry-After/);
  await page.clock.runFor(4000);
  await page.getByRole("button", { name: "Try again in 3 s" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Try again in 3 s" }).isDisabled());
  await page.clock.runFor(3000);
  await page.clock.resume();
  await page.getByRole("button", { name: "Try again", exact: true }).click();
  await state(page, "done");
  assert.deepEqual([tries, await upstreamCalls("page-countdown")], [2, 1]);
});

test("a failed task can be retried after the pause in its error", async (t) => {
  const page = await tab(t);
  await page.clock.install();
  await ask(page, { case: "page-pause", refusals: [429], retry_delay: "600s", steps: [{ say: "x" }] });
  await state(page, "failed");
  await noticed(page, "The model's service is busy");
  const again = page.getByRole("button", { name: "Try again in " });
  await again.waitFor();
  assert.ok(await again.isDisabled());
  assert.doesNotMatch(await page.locator("#panel-Answer .notice").innerText(), /600 seconds/);
  const failed = taskId(page);
  await page.clock.fastForward(600_000);
  await page.getByRole("button", { name: "Try again", exact: true }).click();
  await state(page, "done");
  assert.equal(await upstreamCalls("page-pause"), 2);
  // A reader without the audio gets the form, which can be filled in at once. The text says when to run it.
  const other = await tab(t);
  await other.evaluate((id) => (location.hash = `#task=${id}`), failed);
  await noticed(other, "try again in 600 seconds");
  await other.locator(".notice").getByRole("button", { name: "Use again", exact: true }).click();
  await other.getByRole("heading", { name: "New task" }).waitFor();
});

test("the page waits as long as the server asks, and counts the seconds", async (t) => {
  const task = await submit({ case: "page-patience", steps: [{ say: "x" }] }, { stream: true });
  const page = await tab(t, { refusals: [503] });
  await stopTime(page);
  let tries = 0;
  await page.route("**/v1/tasks/*", (route) => {
    tries += 1;
    return tries > 1 ? route.continue() : route.fulfill({ status: 503, headers: { "Retry-After": "9" }, json: {
      error: { message: "Restarting.", code: "shutting_down", param: null } } });
  });
  await page.evaluate((id) => (location.hash = `#task=${id}`), task.id);
  await passUntil(page, page.locator(".connection").getByText("trying again in 9 s."));
  await page.clock.runFor(5000);
  await passUntil(page, page.locator(".connection").getByText("trying again in 4 s."));
  await page.clock.runFor(4000);
  await page.clock.resume();
  await state(page, "done");
});

test("a failed task without its audio offers no retry", async (t) => {
  const task = await submit({ case: "page-gone", refusals: [503], steps: [{ say: "x" }] });
  await api(`/v1/tasks/${task.id}?wait=20`);
  const page = await tab(t);
  await page.evaluate((id) => (location.hash = `#task=${id}`), task.id);
  await state(page, "failed");
  assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0);
  await page.locator(".notice").getByRole("button", { name: "Use again" }).click();
  await page.getByText("Choose the audio again. This page no longer has it.").waitFor();
});

test("messages are written for the page's users and repeat nothing", async (t) => {
  const page = await tab(t, { refusals: [422] });
  await page.getByRole("button", { name: "Use a URL" }).click();
  for (const address of ["http://10.0.0.1/a.wav", "http://server.internal/a.wav", "http://me:pw@example.com/a"]) {
    await page.getByLabel("Address of an audio file").fill(address);
    await page.getByRole("button", { name: "Listen" }).click();
    await noticed(page, "This address cannot be used");
    const words = (await page.locator("#compose-error .notice p:not(.help)").allInnerTexts()).join("\n");
    assert.doesNotMatch(words, /fetch\.|limits\.|audio_url|data:|GET|\/v1|operator|file as a file/i, words);
  }
  await page.getByRole("link", { name: "Tasks" }).click();
  const said = async (problem) => {
    await page.route("**/v1/tasks?*", (route) => route.fulfill({ status: 422, json: { error: problem } }));
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.locator("#list-error .notice").waitFor();
    const lines = await page.locator("#list-error .notice > :is(strong, p:not(.help))").allInnerTexts();
    await page.unroute("**/v1/tasks?*");
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.locator("#list-error .notice").waitFor({ state: "detached" });
    return lines;
  };
  assert.deepEqual(await said({ code: "upstream_error", message: "The upstream failed: The upstream failed: Out of order. Out of order." }),
    ["The model's service failed", "Out of order."]);
  assert.deepEqual(await said({ code: "upstream_error", message: "The upstream failed: no reason given" }), ["The model's service failed"]);
  assert.deepEqual(await said({ code: "no_available_model", message: "The model is not available; GET /v1/models lists it" }),
    ["The model is not available", "Choose another model from the list."]);
  assert.deepEqual(await said({ code: "content_policy_violation", message: "The upstream refuses this content (SAFETY); change the prompt or the audio" }),
    ["The model refused the content", "The model's service refuses this content (SAFETY); change the prompt or the audio"]);
  assert.deepEqual(await said({ code: "content_policy_violation", message: "No." }),
    ["The model refused the content", "No.", "Change the prompt or the audio."]);
  assert.deepEqual(await said({ code: "queue_full", message: "Too many tasks are waiting already; try again after Retry-After" }),
    ["The server is busy", "Too many tasks are waiting already"]);
});

test("the list is where it was left when a reader comes back from a task", async (t) => {
  for (let count = 0; count < 45; count += 1) await submit({ case: "page-back", steps: [{ say: "x" }] });
  const page = await tab(t, { context: { viewport: { width: 900, height: 500 } } });
  await page.getByRole("link", { name: "Tasks" }).click();
  const rows = page.locator("a.task-row");
  await rows.first().waitFor();
  await page.getByLabel("Show", { exact: true }).selectOption("completed");
  for (const shown of [20, 40]) {
    await rows.nth(shown - 1).waitFor();
    await page.getByRole("button", { name: "Show older tasks" }).click();
  }
  await rows.nth(44).waitFor();
  const row = rows.nth(33);
  const href = await row.getAttribute("href");
  await row.evaluate((element) => element.scrollIntoView({ block: "center" }));
  const top = () => page.locator(`a.task-row[href="${href}"]`).evaluate((element) => Math.round(element.getBoundingClientRect().top));
  const before = await top();
  const isBack = async () => {
    await page.waitForFunction((wanted) => document.activeElement.getAttribute("href") === wanted, href);
    assert.ok(Math.abs((await top()) - before) <= 1, `${await top()}, not ${before}`);
    assert.ok((await rows.count()) >= 45);
    assert.equal(await page.getByLabel("Show", { exact: true }).inputValue(), "completed");
  };
  await row.click();
  await state(page, "done");
  await page.goBack();
  await isBack();
  // The page was loaded again, and a task was added before that.
  await page.locator(`a.task-row[href="${href}"]`).click();
  await state(page, "done");
  const fresh = await submit({ case: "page-back", steps: [{ say: "x" }] });
  await api(`/v1/tasks/${fresh.id}?wait=20`);
  await page.reload();
  await state(page, "done");
  await page.goBack();
  await isBack();
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.waitForFunction(() => scrollY === 0 && document.querySelectorAll("a.task-row").length === 20);
  // The loaded tasks are there again, even if none was opened. New tasks are at the top.
  await page.getByRole("button", { name: "Show older tasks" }).click();
  await rows.nth(39).waitFor();
  await page.evaluate(() => {
    document.activeElement.blur();
    scrollTo(0, 0);
  });
  await page.getByRole("link", { name: "New task" }).click();
  const newest = await submit({ case: "page-back", steps: [{ say: "x" }] });
  await page.goBack();
  await rows.nth(39).waitFor();
  await page.waitForFunction((id) => document.querySelector("a.task-row").hash === `#task=${id}` && scrollY === 0, newest.id);
});

test("the curl command of a task works in any shell and with any prompt", async (t) => {
  const files = http.createServer((_, response) => response.end(readFileSync(SPEECH)));
  await new Promise((listening) => files.listen(0, "127.0.0.1", listening));
  t.after(() => files.close());
  const page = await tab(t);
  const words = `It's "50 %" of $HOME!! \\n \`id\` #1\nsecond line`;
  for (const [index, audio] of [{}, { audio_url: `http://localhost:${files.address().port}/talk.wav` }].entries()) {
    const script = { case: `page-curl-${index}`, steps: [{ say: words }] };
    const task = await submit(script, audio);
    await api(`/v1/tasks/${task.id}?wait=20`);
    await page.evaluate((id) => (location.hash = `#task=${id}`), task.id);
    await state(page, "done");
    await page.getByRole("tab", { name: "Code" }).click();
    const line = await page.locator(".code-block pre").first().innerText();
    for (const shell of [["bash", "--noprofile", "--norc", "-i"], ["zsh", "-f", "-i"]]) {
      const directory = mkdtempSync(join(tmpdir(), "page-curl-"));
      t.after(() => rmSync(directory, { recursive: true }));
      writeFileSync(join(directory, "audio.mp3"), readFileSync(SPEECH.replace(".wav", ".mp3")));
      // Not `spawnSync`: this process serves the audio.
      const child = spawn(shell[0], shell.slice(1), { cwd: directory, env: { ...process.env, HOME: directory, HEARKEN_API_KEY: KEY } });
      let printed = "";
      for (const output of [child.stdout, child.stderr]) output.on("data", (bytes) => (printed += bytes));
      child.stdin.end(`${line}\n`);
      await new Promise((ended) => child.on("close", ended));
      assert.match(printed, /data: \[DONE\]/, printed);
      const [again] = (await api("/v1/tasks?limit=1&include=request")).data;
      assert.notEqual(again.id, task.id);
      const { request } = await api(`/v1/tasks/${again.id}?include=request`);
      assert.deepEqual(JSON.parse(request.prompt), script);
    }
  }
});

test("Ctrl+Enter submits the form", async (t) => {
  const page = await tab(t);
  await page.locator("#run-hint").getByText("or press Ctrl+Enter").waitFor();
  await page.setInputFiles("#file", SPEECH);
  await page.locator("#chosen").getByRole("slider").waitFor();
  const prompt = page.getByLabel("Prompt", { exact: true });
  await prompt.fill(JSON.stringify({ case: "page-shortcut", steps: [{ say: "Run." }] }));
  await prompt.press("Enter");
  assert.match(await prompt.inputValue(), /\n$/);
  await prompt.press("Control+Enter");
  await state(page, "done");
  assert.equal(await upstreamCalls("page-shortcut"), 1);
  assert.ok(taskId(page));
});

test("on an Apple computer, Cmd+Enter submits the form", async (t) => {
  const page = await tab(t, { platform: "MacIntel" });
  await page.locator("#run-hint").getByText("or press Cmd+Enter").waitFor();
  await page.getByLabel("Prompt", { exact: true }).press("Control+Enter");
  assert.equal(await page.locator("#audio-error").innerText(), "");
  await page.getByLabel("Prompt", { exact: true }).press("Meta+Enter");
  await page.getByText("Choose a file, record something, or enter an address.").waitFor();
});
