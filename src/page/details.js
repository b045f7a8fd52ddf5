// The details of a task besides its answer: request, timeline, frames, code.

import { ask, serverNow, streamPath } from "./api.js";
import { isHidden as isAddressHidden } from "./choice.js";
import { curl, python } from "./code.js";
import { batched, copyButton, h } from "./dom.js";
import { notice } from "./errors.js";
import { bytes, clock, moment, number, span } from "./format.js";

/** The most characters of frames that are shown, so that the page stays fast. */
const MOST_FRAME_TEXT = 300_000;

const row = (name, value) => value !== undefined && value !== null && value !== "" &&
  h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value));

const orOwn = (value) => (value === null || value === undefined ? h("span", { class: "help" }, "the model's own") : number(value));

/** Returns the view of a request. `name` is the name of the audio file, if this tab knows it. */
export function request(task, name) {
  const asked = task.request;
  if (!asked) return h("p", { class: "help" }, "The server does not show this request.");
  const audio = asked.audio;
  return h("dl", { class: "facts" },
    row("Model", h("bdi", {}, asked.model)),
    row("Prompt", h("div", { class: "quoted", dir: "auto" }, asked.prompt)),
    row("System prompt", asked.system_prompt && h("div", { class: "quoted", dir: "auto" }, asked.system_prompt)),
    row("Audio", audio && (audio.source === "url"
      ? h("span", { class: "breakable", dir: "ltr" }, audio.url)
      : name ? h("bdi", {}, name) : "sent with the request")),
    row("Format", audio?.format),
    row("Size", audio?.bytes !== undefined && bytes(audio.bytes)),
    row("Length", audio?.duration_seconds !== undefined && clock(audio.duration_seconds)),
    row("Temperature", orOwn(asked.temperature)),
    row("Most tokens", orOwn(asked.max_tokens)),
    row("Reasoning", asked.reasoning ? "requested" : "not requested"),
    row("Stream", asked.stream ? "kept for some time after the end" : "none"),
    row("Task", h("code", { class: "breakable" }, task.id)));
}

/** Returns a table in a box in which it can scroll sideways. */
const table = (label, columns, ...rows) =>
  h("div", { class: "table-box", tabindex: 0, role: "region", "aria-label": label }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows)));

/** Returns the timeline as a bar with its parts, and as tables. */
export function timeline(task) {
  const line = task.timeline;
  if (!line) return h("p", { class: "help" }, "The server does not show this task's timeline.");
  const began = line.queued_at_ms;
  const end = line.ended_at_ms ?? Math.max(serverNow(), began + 1);
  const called = line.attempts[0]?.started_at_ms ?? (line.ended_at_ms ?? end);
  const parts = [];
  const part = (kind, label, from, to) => {
    if (from !== null && from !== undefined && to > from) parts.push({ kind, label, from, to });
  };
  part("waited", "queued", began, line.fetch_started_at_ms ?? called);
  part("fetched", "download", line.fetch_started_at_ms, line.fetched_at_ms ?? end);
  line.attempts.forEach((attempt, index) => {
    const until = attempt.ended_at_ms ?? end;
    const isLast = index === line.attempts.length - 1;
    const first = isLast && line.first_answered_at_ms ? Math.min(line.first_answered_at_ms, until) : until;
    const previous = line.attempts[index - 1]?.ended_at_ms;
    part("waited", "pause", previous, attempt.started_at_ms);
    const failed = attempt.outcome && attempt.outcome !== "completed" && first === until;
    part(failed ? "broken" : "asked", `${attempt.channel}: ${failed ? attempt.outcome : "until the first chunk"}`,
      attempt.started_at_ms, first);
    if (first < until) part("answered", "answer", first, until);
  });
  const all = Math.max(1, end - began);
  const bar = h("div", { class: "bar", role: "img", "aria-label": parts.map(({ label, from, to }) =>
    `${label} ${span(to - from)}`).join(", ") || "no time at all" },
  parts.map(({ kind, label, from, to }) => {
    const piece = h("span", { class: `bar-part ${kind}`, title: `${label}: ${span(to - from)}` });
    piece.style.flexGrow = Math.max((to - from) / all, 0.004);
    return piece;
  }));
  const legend = h("ul", { class: "legend" }, parts.map(({ kind, label, from, to }) =>
    h("li", {}, h("span", { class: `swatch ${kind}` }), label, " ", h("span", { class: "num help" }, span(to - from)))));
  const at = (name, ms) => h("tr", {}, h("th", { scope: "row" }, name),
    h("td", { class: "num" }, ms ? moment(ms) : h("span", { class: "help" }, "not reached")),
    h("td", { class: "num" }, ms ? `+${span(ms - began)}` : ""));
  return h("div", {}, bar, legend,
    table("Moments", ["Moment", "When", "After"], at("Queued", began),
      line.fetch_started_at_ms && at("Download began", line.fetch_started_at_ms),
      task.request?.audio?.source === "url" && at("Audio downloaded", line.fetched_at_ms),
      at("First chunk", line.first_answered_at_ms), at("End", line.ended_at_ms)),
    h("h2", {}, "Attempts"),
    line.attempts.length === 0 ? h("p", { class: "help" }, "No model service was called.")
      : table("Attempts", ["Channel", "Began", "Took", "Outcome"],
        line.attempts.map((attempt) => h("tr", {}, h("th", { scope: "row", dir: "auto" }, attempt.channel),
          h("td", { class: "num" }, `+${span(attempt.started_at_ms - began)}`),
          h("td", { class: "num" }, attempt.ended_at_ms ? span(attempt.ended_at_ms - attempt.started_at_ms) : "runs"),
          h("td", {}, attempt.outcome ?? "", attempt.upstream_status ? ` (${attempt.upstream_status})` : "")))));
}

/** Shows the raw frames of a task's stream while they are received. Aborts with `signal`. */
export function frames(task, signal) {
  const shown = h("pre", { class: "frames", dir: "ltr", tabindex: 0, "aria-label": "Frames" });
  const note = h("p", { class: "help" }, "Reading the stream.");
  let text = "";
  let drawn = 0;
  const draw = batched(() => {
    shown.append(text.slice(drawn, MOST_FRAME_TEXT));
    drawn = Math.min(text.length, MOST_FRAME_TEXT);
    note.textContent = text.length > MOST_FRAME_TEXT ? "Only the beginning is shown." : `GET ${streamPath(task.id)}`;
  });
  const read = async () => {
    const response = await ask(streamPath(task.id), { signal });
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (let piece = await pieces.read(); !piece.done && text.length <= MOST_FRAME_TEXT; piece = await pieces.read()) {
        text += piece.value;
        draw();
      }
    } finally {
      // The page does not read frames that it does not show.
      pieces.cancel().catch(() => {});
    }
  };
  const box = h("div", {}, h("div", { class: "panel-tools" }, note, copyButton(() => text)), shown);
  if (!task.stream) {
    box.replaceChildren(h("p", { class: "help" }, "This task was submitted without a stream, so it has no frames."));
    return box;
  }
  read().catch((error) => {
    if (signal.aborted) return;
    const retry = () => box.replaceWith(frames(task, signal));
    box.replaceChildren(error.code === "stream_expired" ? expired() : notice(error, { retry }));
  });
  return box;
}

const expired = () => h("p", { class: "help" },
  "The server no longer keeps the frames of this task. Its result is under Answer.");

/** Returns the view with code that submits the same request from a shell or a program. */
export function code(task, name) {
  const asked = { ...task.request, name };
  if (!task.request) return h("p", { class: "help" }, "The server does not show this request.");
  const isHidden = asked.audio?.url && isAddressHidden(asked.audio.url);
  const block = (title, text) => h("section", { class: "code-block" },
    h("div", { class: "panel-tools" }, h("h2", {}, title), copyButton(() => text)),
    h("pre", { tabindex: 0, dir: "ltr", "aria-label": title }, text));
  return h("div", {},
    h("p", { class: "help" }, "Both read the key from a variable. Set it with ",
      h("code", {}, "export HEARKEN_API_KEY=sk-..."),
      asked.audio?.source === "url" ? "." : ". They read the audio from a file.",
      isHidden && " The server does not keep the address's query: put yours in place of the dots."),
    block("curl", curl(asked, location.origin)), block("Python", python(asked, location.origin)));
}
