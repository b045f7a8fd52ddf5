// A real Chromium for the scripts of the page: tabs, checks that hold in every tab, and a connection that can be cut.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { KEY, ORIGIN, PATIENCE, require } from "./hearken.mjs";

const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
];

const screenshots = process.env.HEARKEN_TEST_SCREENSHOTS;
mkdirSync(screenshots, { recursive: true });

const executablePath = execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser"], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath, args: FLAGS, headless: true });
let largeBrowser;

/** A browser with letters of twice the usual size. */
async function large() {
  largeBrowser ??= await chromium.launch({ executablePath, args: [...FLAGS, "--blink-settings=defaultFontSize=32"], headless: true });
  return largeBrowser;
}

export async function closeBrowser() {
  await browser.close();
  await largeBrowser?.close();
}

/** Saves a screenshot for a later look at the page. */
export const shoot = (page, name) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });

/** A large file of this name. It is on the disk, because bytes that are passed to the browser are sent as base64. */
export function fileOf(t, name, bytes) {
  const directory = mkdtempSync(join(tmpdir(), "page-file-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, name), bytes);
  return join(directory, name);
}

/** A connection to the program that can be cut and restored, and that can stop in both directions or only for replies. */
export class Line {
  #sockets = new Set();
  #isCut = false;
  #isHeld = false;
  #isMute = false;

  static async start(t) {
    const line = new Line();
    const server = net.createServer((client) => line.#connect(client));
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    line.origin = `http://127.0.0.1:${server.address().port}`;
    t.after(() => {
      line.cut();
      server.close();
    });
    return line;
  }

  #connect(client) {
    if (this.#isCut) return client.destroy();
    const program = net.connect(new URL(ORIGIN).port, "127.0.0.1");
    for (const socket of [client, program]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        client.destroy();
        program.destroy();
      });
    }
    let isStranded = false;
    client.on("data", (bytes) => {
      isStranded ||= this.#isMute;
      program.write(bytes);
      if (this.#isHeld) client.pause();
    });
    program.on("data", (bytes) => this.#isMute || isStranded || client.write(bytes));
  }

  /** From now on, nothing that the browser sends is read. */
  hold() {
    this.#isHeld = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** From now on, no reply arrives. A connection that sends something before `restore` never gets a reply. */
  mute() {
    this.#isMute = true;
  }

  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore() {
    this.#isCut = this.#isMute = false;
  }
}

/**
 * A tab of its own. It fails the case at the end if something forbidden has happened in it: an error, a violation of the
 * policy, a request to another server. `refusals` are the statuses that the case provokes; Chromium logs each as an error.
 */
export async function tab(t, { origin = ORIGIN, signedIn = true, refusals = [], isCut = false, isLarge = false, platform,
  context: options } = {}) {
  const context = await (isLarge ? await large() : browser).newContext({ viewport: { width: 1100, height: 900 }, colorScheme: "light",
    permissions: ["clipboard-read", "clipboard-write", "microphone"], ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const text = message.text();
    const isProvoked = refusals.some((status) => text.includes(`status of ${status}`));
    const isLost = isCut && text.includes("net::ERR_");
    if (!isProvoked && !isLost) wrong.push(`console: ${text} ${message.location().url}`);
  });
  page.on("request", (request) => {
    const { protocol, origin: where } = new URL(request.url());
    if (!["blob:", "data:"].includes(protocol) && where !== origin) wrong.push(`request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(wrong, []);
  });
  if (platform) {
    await page.addInitScript((name) => Object.defineProperty(navigator, "platform", { get: () => name }), platform);
  }
  await page.goto(`${origin}/`);
  if (signedIn) {
    await signIn(page);
    // The page sets the focus there after the sign-in; a case that starts earlier would lose its own focus.
    await page.waitForFunction(() => document.activeElement.id === "main");
  }
  return page;
}

export async function signIn(page, key = KEY) {
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Asserts that the page needs no sideways scrolling on a narrow screen. */
export async function assertFits(page) {
  const [needed, given] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= given, `the page is ${needed} wide, the screen ${given}`);
}

/** Asserts that no shown text is cut off, except in boxes that scroll. */
export async function assertUnclipped(page, what) {
  const clipped = await page.evaluate(() => [...document.querySelectorAll("body *")].filter((element) => {
    const { overflowX, overflowY, position } = getComputedStyle(element);
    if (!element.checkVisibility() || element.closest(".sr, svg, select") || position === "absolute" || !element.textContent.trim()) return false;
    const isCut = (overflow, needed, given) => (["hidden", "clip"].includes(overflow) || element.localName === "button") && needed > given + 1;
    return isCut(overflowX, element.scrollWidth, element.clientWidth) || isCut(overflowY, element.scrollHeight, element.clientHeight);
  }).map(({ outerHTML }) => outerHTML.slice(0, 200)));
  assert.deepEqual(clipped, [], what);
}

/** Asserts that axe-core finds nothing serious or critical, and that no heading skips a level. The checker runs outside of the page's policy, which does not change. */
export async function assertAccessible(page, what) {
  if (!await page.evaluate(() => "axe" in window)) await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
  const serious = violations.filter(({ id, impact }) => ["serious", "critical"].includes(impact) || id === "heading-order")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
  assert.deepEqual(serious, [], what);
}
