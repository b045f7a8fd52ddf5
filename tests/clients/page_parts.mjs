// The page's form and its view of a task, for the scripts that use them.

import { fileURLToPath } from "node:url";

import { KEY, ORIGIN } from "./hearken.mjs";

export const SPEECH = fileURLToPath(new URL("../fixtures/audio/speech.wav", import.meta.url));
export const AIFF = fileURLToPath(new URL("../fixtures/audio/speech.aiff", import.meta.url));

const pill = (page) => page.locator("#view-task .title-box .pill");
export const state = (page, word) => pill(page).and(page.locator(`[data-state="${word}"]`)).waitFor();
export const answer = (page) => page.locator("#panel-Answer > .answer");

/** Fills the form with the sample and the upstream's script, and submits it. */
export async function ask(page, script, { file = true } = {}) {
  if (file) await page.setInputFiles("#file", SPEECH);
  await page.getByLabel("Model", { exact: true }).selectOption("gemini-2.5-pro");
  await page.getByLabel("Prompt", { exact: true }).fill(JSON.stringify(script));
  await page.getByRole("button", { name: "Listen" }).click();
}

export const taskId = (page) => new URL(page.url()).hash.replace("#task=", "");

export async function api(path) {
  const response = await fetch(ORIGIN + path, { headers: { Authorization: `Bearer ${KEY}` } });
  return response.json();
}
