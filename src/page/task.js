// The view of one task: its audio, its numbers, its answer while it is received, and its details.

import { serverNow } from "./api.js";
import { AnswerText } from "./answer.js";
import { isHidden } from "./choice.js";
import * as details from "./details.js";
import { $, announce, batched, button, copyButton, h } from "./dom.js";
import { notice } from "./errors.js";
import { moment, number, secondsUntil, span, word } from "./format.js";
import { Run } from "./run.js";
import * as session from "./session.js";
import { Waveform } from "./waveform.js";

/** Pause between two announcements of new text to a screen reader, in milliseconds. Each has a few sentences. */
const SPEAK_EVERY = 4000;
const MOST_SPOKEN = 600;
const TICK = 200;

/** Messages for ends without an error after which a part of the answer is missing, by finish reason. */
const CUT_SHORT = {
  length: "The answer was cut off at its token limit. Choose Use again, and raise Most tokens under Options.",
  content_filter: "The content filter of the model's service cut off the answer.",
};

/** The audio of the tasks that this page has submitted since it was loaded. */
const files = new Map();

/** Keeps the audio of a new task: the file until the page closes, its waveform until the tab closes. */
export function keepAudio(id, wave, file) {
  if (file) files.set(id, file);
  session.keepWave(id, wave);
}

export const fileOf = (id) => files.get(id);

const TABS = ["Answer", "Request", "Timeline", "Frames", "Code"];

export class TaskView {
  #run;
  #answer = new AnswerText("Answer");
  #reasoning = new AnswerText("Reasoning");
  #shown = { text: "", reasoning: "" };
  #spoken = 0;
  #spokenAt = 0;
  #panels = {};
  #tabs = {};
  #frames;
  #draw = batched(() => this.#update());

  /** `actions`: `again(task)` opens the form with the same request, `repeat(task)` also submits it, `signIn()`. */
  constructor(id, actions) {
    this.id = id;
    this.actions = actions;
    this.root = $("view-task");
    this.#build();
    this.#begin();
  }

  #begin() {
    this.#run?.close();
    clearInterval(this.timer);
    this.#run = new Run(this.id, (kind) => this.#changed(kind));
    this.#run.start();
    this.timer = setInterval(() => this.#tick(), TICK);
  }

  #build() {
    const wave = session.wave(this.id);
    this.wave = wave && new Waveform(wave, files.get(this.id));
    this.name = wave?.name;
    this.pill = h("span", { class: "pill", "data-state": "queued" }, "loading");
    this.stopButton = button("Stop", () => this.#run.stop(), "stop");
    this.againButton = button("Use again", () => this.actions.again(this.#run.task));
    this.title = h("h1", { id: "task-title", tabindex: -1, dir: "auto" }, "Task");
    this.facts = h("p", { class: "help task-facts" });
    this.note = h("p", { class: "connection", hidden: true });
    this.numbers = Object.fromEntries(["First chunk", "Chunks", "Tokens", "Time"].map((name) => {
      const [value, more] = [h("dd", { class: "num" }, "-"), h("dd", { class: "help num" })];
      return [name, { value, more, box: h("div", { class: "tile" }, h("dt", {}, name), value, more) }];
    }));
    this.plain = button("Plain text", () => this.#setPlain(this.plain.getAttribute("aria-pressed") !== "true"), "small");
    this.plain.setAttribute("aria-pressed", "false");
    this.thoughts = h("details", { class: "thoughts", hidden: true },
      h("summary", {}, h("span", { class: "thoughts-title" }, "Reasoning")), this.#reasoning.element);
    this.waiting = h("p", { class: "help waiting" });
    this.problem = h("div");
    this.tools = h("div", { class: "panel-tools" }, this.plain, copyButton(() => this.#answer.text));
    this.#panels.Answer = h("div", {}, this.problem, this.thoughts, this.waiting, this.#answer.element, this.tools);
    const list = h("div", { class: "tabs", role: "tablist", "aria-label": "Task" });
    for (const name of TABS) {
      const tab = h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`,
        onclick: () => this.#open(name) }, name);
      this.#tabs[name] = tab;
      this.#panels[name] ??= h("div");
      for (const [attribute, value] of Object.entries({ role: "tabpanel", id: `panel-${name}`, "aria-labelledby": tab.id,
        class: "card panel" })) this.#panels[name].setAttribute(attribute, value);
      list.append(tab);
    }
    list.addEventListener("keydown", (event) => {
      const at = TABS.indexOf(this.tab);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = TABS.at(to % TABS.length);
      this.#open(next);
      this.#tabs[next].focus();
    });
    this.root.replaceChildren(
      h("div", { class: "title-row" }, h("div", { class: "title-box" }, this.title, this.pill),
        h("div", { class: "title-actions" }, this.stopButton, this.againButton)),
      this.facts, this.note,
      this.wave ? h("div", { class: "card" }, this.wave.element) : "",
      h("dl", { class: "tiles" }, Object.values(this.numbers).map(({ box }) => box)),
      list, ...TABS.map((name) => this.#panels[name]));
    this.stopButton.hidden = this.againButton.hidden = true;
    this.#open("Answer");
  }

  #open(name) {
    this.tab = name;
    for (const tab of TABS) {
      const isOpen = tab === name;
      this.#tabs[tab].setAttribute("aria-selected", isOpen);
      this.#tabs[tab].tabIndex = isOpen ? 0 : -1;
      this.#panels[tab].hidden = !isOpen;
    }
    this.#frames?.abort();
    this.#frames = undefined;
    this.#drawDetails();
  }

  #drawDetails() {
    const task = this.#run?.task;
    if (!task) return;
    if (this.tab === "Request") this.#panels.Request.replaceChildren(details.request(task, this.name));
    if (this.tab === "Timeline") this.#panels.Timeline.replaceChildren(details.timeline(task));
    if (this.tab === "Frames" && !this.#frames) {
      this.#frames = new AbortController();
      this.#panels.Frames.replaceChildren(details.frames(task, this.#frames.signal));
    }
    if (this.tab === "Code") this.#panels.Code.replaceChildren(details.code(task, this.name));
  }

  #setPlain(isPlain) {
    this.plain.setAttribute("aria-pressed", isPlain);
    this.#answer.setPlain(isPlain);
  }

  #changed(kind) {
    if (kind === "task") this.#drawDetails();
    if (kind === "state") this.#stateChanged();
    this.#draw();
  }

  #stateChanged() {
    const said = this.#run.lost ? this.#lost() : this.#word();
    if (said !== this.announced) announce(said);
    this.announced = said;
    if (this.#run.isOver) {
      this.#drawDetails();
      this.#speak(true);
    }
  }

  /** True if the task would continue if the user closed the view now. */
  get isRunning() {
    return Boolean(this.#run.task) && !this.#run.isRead;
  }

  #word() {
    const { isStopping, isOver, state } = this.#run;
    return isStopping && !isOver ? "stopping" : word(state) ?? "loading";
  }

  #lost() {
    const { isStopping, lost: { from, until } } = this.#run;
    if (isStopping) return "Connection lost. The task will be stopped when the connection is back.";
    const seconds = secondsUntil(until);
    return `Connection lost, ${from ? `resuming from chunk ${from}` : "trying again"} ${seconds ? `in ${seconds} s` : "now"}.`;
  }

  /** Shows the state of the connection. "Nothing was lost" needs new text, and is not shown for an answer that was cut off. */
  #showConnection() {
    const { lost, resumedFrom, next, isRead, state } = this.#run;
    const isDone = state === "done";
    this.note.hidden = !lost && (resumedFrom === undefined || (isRead && !isDone));
    this.note.classList.toggle("bad", Boolean(lost));
    const isGood = isDone || next > resumedFrom;
    this.note.textContent = lost ? this.#lost() : `Resumed from chunk ${resumedFrom}.${isGood ? " Nothing was lost." : ""}`;
  }

  #update() {
    const run = this.#run;
    this.#grow("text", this.#answer);
    this.#grow("reasoning", this.#reasoning);
    if (run.isOver) for (const shown of [this.#answer, this.#reasoning]) shown.end();
    this.thoughts.hidden = !run.reasoning;
    this.pill.dataset.state = run.state ?? "queued";
    this.pill.textContent = this.#word();
    document.title = `${this.pill.textContent} - hearken`;
    const wasAtStop = document.activeElement === this.stopButton;
    // The button is not `disabled`, so that it keeps the keyboard focus.
    this.stopButton.setAttribute("aria-disabled", run.isStopping);
    this.stopButton.hidden = !run.task || run.isOver;
    this.againButton.hidden = !run.isOver || !run.task?.request;
    if (wasAtStop && this.stopButton.hidden) this.againButton.focus();
    this.#showConnection();
    this.tools.hidden = !run.text;
    if (run.task) {
      this.title.textContent = run.task.model;
      this.facts.replaceChildren(h("code", {}, run.task.id), ` · ${moment(run.task.created * 1000)}`);
    }
    this.waiting.hidden = Boolean(run.text) || Boolean(run.error) || run.isOver;
    this.waiting.textContent = this.#waitingFor();
    this.#showProblem();
    this.#tick();
    this.#speak(false);
  }

  /** Adds new text to the shown text. A text that does not begin with the shown text replaces it. */
  #grow(field, element) {
    const text = this.#run[field];
    const shown = this.#shown[field];
    if (text === shown) return;
    if (text.length > shown.length && text.startsWith(shown)) {
      element.append(text.slice(shown.length));
    } else {
      element.text = text;
      element.setPlain(field === "text" && this.plain.getAttribute("aria-pressed") === "true");
    }
    this.#shown[field] = text;
  }

  #waitingFor() {
    const { state, task } = this.#run;
    const attempts = task?.timeline?.attempts ?? [];
    const again = attempts.length > 1 ? `, attempt ${attempts.length}` : "";
    if (state === "queued") return "Waiting for a free slot.";
    if (task?.request?.audio?.source === "url" && !task.timeline?.fetched_at_ms) return "The server is downloading the audio.";
    if (state === "thinking" && attempts.length) return `Waiting for ${attempts.at(-1).channel}${again}.`;
    return "";
  }

  /** Shows the error, or a remark about the end. */
  #showProblem() {
    const problem = this.#run.error ?? this.#run.stopError ?? this.#remark();
    if (problem === this.problemShown) return;
    this.problemShown = problem;
    this.problem.replaceChildren(problem ? this.#notice(problem) : "");
  }

  #remark() {
    const { state, text, finishReason, isRefusal } = this.#run;
    const refused = isRefusal && "The model refused to answer. Its reply is below. Change the prompt or the audio, or choose another model.";
    if (state !== "done") return refused || "";
    return [refused, !text && "The model sent no text.", CUT_SHORT[finishReason]].filter(Boolean).join(" ");
  }

  #notice(problem) {
    const run = this.#run;
    const { signIn } = this.actions;
    if (problem === run.stopError) return notice(problem, { retry: () => run.stop(), retryLabel: "Stop again", signIn });
    if (problem !== run.error) {
      announce(`${this.#word()}. ${problem}`);
      return h("p", { class: "notice" }, problem);
    }
    if (problem.code === "task_cancelled") {
      return h("p", { class: "notice" }, h("strong", {}, "Stopped"),
        run.text ? " The text so far is below." : " No text had come so far.");
    }
    const again = () => this.actions.again(run.task);
    // A failed read says nothing about the task, so the page can read it again.
    if (run.task?.status !== "failed") return notice(problem, { retry: () => this.#begin(), signIn });
    const { audio } = run.task.request ?? {};
    const hasAudio = files.has(this.id) || (audio?.source === "url" && !isHidden(audio.url));
    // If the page no longer has the audio, it cannot send it again, and the user adds it in the form.
    const repeated = hasAudio ? { retry: () => this.actions.repeat(run.task) } : { retry: again, retryLabel: "Use again", pause: 0 };
    return notice(problem, { ...repeated, models: again, signIn });
  }

  /** Updates the numbers that change without events. */
  #tick() {
    const run = this.#run;
    if (run.lost) this.#showConnection();
    const line = run.task?.timeline;
    if (!line) return;
    const end = line.ended_at_ms ?? (run.isRead ? undefined : serverNow());
    const set = (name, value, more = "") => {
      this.numbers[name].value.textContent = value || "-";
      this.numbers[name].more.textContent = more;
    };
    const first = line.first_answered_at_ms;
    set("First chunk", first ? span(first - line.queued_at_ms) : "", first ? "after it was queued" : "");
    const answering = first && end ? (end - first) / 1000 : 0;
    const rate = answering > 0.05 && run.next > 1 ? `${(run.next / answering).toFixed(1)} per second` : "";
    set("Chunks", run.next ? number(run.next) : "", rate);
    const { usage } = run;
    const thought = usage?.completion_tokens_details?.reasoning_tokens;
    set("Tokens", usage?.total_tokens ? number(usage.total_tokens) : "",
      usage?.total_tokens ? `${number(usage.prompt_tokens)} in, ${number(usage.completion_tokens)} out${thought ? `, ${number(thought)} of them for reasoning` : ""}` : "");
    set("Time", end ? span(Math.max(0, end - line.queued_at_ms)) : "",
      run.finishReason && run.isOver ? `ended by: ${run.finishReason}` : "");
    if (this.tab === "Timeline" && !run.isRead) this.#panels.Timeline.replaceChildren(details.timeline(run.task));
    if (run.isRead) clearInterval(this.timer);
  }

  /** Announces new text to a screen reader, in whole sentences. */
  #speak(isOver) {
    const now = performance.now();
    if (!isOver && now - this.#spokenAt < SPEAK_EVERY) return;
    const fresh = this.#run.text.slice(this.#spoken);
    const until = isOver ? fresh.length : Math.max(fresh.lastIndexOf(". "), fresh.lastIndexOf("\n")) + 1;
    if (until <= 0) return;
    // Only the end of a fast answer is announced. The user can read the rest on the page.
    $("spoken").textContent = fresh.slice(0, until).slice(-MOST_SPOKEN);
    this.#spoken += until;
    this.#spokenAt = now;
  }

  /** Saves the reading position, because the page may be about to close. */
  keep() {
    this.#run.keep();
  }

  close() {
    clearInterval(this.timer);
    this.#frames?.abort();
    this.#run.close();
    this.wave?.close();
    $("spoken").textContent = "";
    this.root.replaceChildren();
    document.title = "hearken";
  }
}
