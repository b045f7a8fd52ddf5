// The key's tasks, newest first. While a task runs and the page is visible, the list is requested again at intervals.

import * as api from "./api.js";
import { $, h } from "./dom.js";
import { notice } from "./errors.js";
import { moment, span, word } from "./format.js";

const PAGE = 20;
/** Most tasks that the API returns at once. */
const MOST = 100;
/** Pause between two requests while tasks run, in milliseconds. */
const REFRESH = 3000;
/** Pause after an error, in milliseconds. In this time, a screen reader can read the whole error. */
const REFRESH_AFTER_ERROR = 30_000;
const RUNNING = ["pending", "processing"];
/** Time without scrolling after which the position of the list is saved, in milliseconds. */
const REST = 150;

const stateOf = (task) => (task.error?.code === "task_cancelled" ? "stopped" : word(task.status));

/** Returns how long a task has taken so far, including the time in which it waited. */
function duration({ timeline }) {
  return timeline ? span((timeline.ended_at_ms ?? api.serverNow()) - timeline.queued_at_ms) : "";
}

function item(task) {
  const state = stateOf(task);
  return h("li", {}, h("a", { class: "task-row", href: `#task=${task.id}` },
    h("span", { class: "pill", "data-state": state }, state),
    h("span", { class: "task-model", dir: "auto" }, task.model),
    h("span", { class: "task-id help" }, task.error && state !== "stopped" ? task.error.code : task.id.split("-").at(-1)),
    h("span", { class: "task-took num" }, duration(task)),
    h("time", { class: "task-when num help", datetime: new Date(task.created * 1000).toISOString() },
      moment(task.created * 1000))));
}

const head = () => h("div", { class: "task-row list-head", "aria-hidden": true }, ["Status", "Model", "Task", "Took", "When"].map(
  (name, index) => h("span", { class: ["", "task-model", "task-id", "task-took", "task-when"][index] }, name)));

export class ListView {
  #tasks = [];
  #hasMore = false;
  #stop = new AbortController();
  #asks = 0;
  /** True while the saved position of the list is being restored. */
  #isReturning = false;

  /** Shows the tasks of one status, or all tasks. The address has the status, so that a reload and Back keep it. */
  constructor(status, actions) {
    this.actions = actions;
    const { signal } = this.#stop;
    const known = [...$("filter").options].some(({ value }) => value === status);
    $("filter").value = known ? status : "";
    // A click may open another view.
    document.addEventListener("click", ({ target }) => this.#notePlace(target.closest("a.task-row") ?? undefined),
      { signal, capture: true });
    addEventListener("scroll", () => {
      clearTimeout(this.rest);
      this.rest = setTimeout(() => this.#notePlace(), REST);
    }, { signal });
    $("filter").addEventListener("change", () => {
      history.replaceState(null, "", $("filter").value ? `#tasks=${$("filter").value}` : "#tasks");
      this.#begin();
    }, { signal });
    $("refresh").addEventListener("click", () => this.#load(), { signal });
    $("more").addEventListener("click", () => this.#showOlder(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#load(), { signal });
    this.#begin(history.state?.place);
  }

  /**
     * Saves the list's position in the browser's history: the number of shown tasks, the task at the top of the window or
     * the opened one, and its distance from there. Back and a reload restore it. At the top of the list no task is saved,
     * because the user wants to see new tasks there.
     */
  #notePlace(row = document.activeElement.closest?.("a.task-row")) {
    if (this.#isReturning || this.#tasks.length === 0) return;
    const isSeen = (each) => each && each.getBoundingClientRect().bottom > 0 && each.getBoundingClientRect().top < innerHeight;
    const atTop = scrollY > 0 ? [...$("list").querySelectorAll("a.task-row")].find(isSeen) : undefined;
    const anchor = isSeen(row) ? row : atTop;
    const place = { count: this.#tasks.length, href: anchor?.getAttribute("href"), top: anchor?.getBoundingClientRect().top,
      isFocused: anchor === row };
    history.replaceState({ place }, "");
  }

  /** Restores the number of shown tasks, and the saved task at the same height. */
  async #return({ count, href, top, isFocused }) {
    this.#isReturning = true;
    const row = () => href && $("list").querySelector(`a[href="${href}"]`);
    let isThere = await this.#load(count);
    // Newer tasks are above the saved one.
    while (isThere && this.#hasMore && (this.#tasks.length < count || (href && !row() && this.#tasks.length < count + MOST))) {
      isThere = await this.#older(MOST);
    }
    this.#isReturning = false;
    if (!isThere || !row()) return;
    if (isFocused) row().focus({ preventScroll: true });
    scrollBy({ top: row().getBoundingClientRect().top - top, behavior: "instant" });
  }

  /** Starts an empty list, with the saved position, if any. */
  #begin(place) {
    this.#tasks = [];
    $("more").hidden = true;
    $("list").replaceChildren(h("p", { class: "help" }, "Looking."));
    if (place) this.#return(place);
    else this.#load();
  }

  /** Requests tasks, and draws the result of `take`. Returns false if it failed or a newer request has replaced it. */
  async #ask(query, take) {
    this.#asks += 1;
    const asks = this.#asks;
    clearTimeout(this.timer);
    let refresh = REFRESH;
    let isDrawn = true;
    try {
      const page = await api.tasks({ ...query, status: $("filter").value, signal: this.#stop.signal });
      // A newer request has replaced this one.
      if (asks !== this.#asks) return false;
      take(page);
      $("list-error").replaceChildren();
      this.#draw();
      this.#notePlace();
    } catch (error) {
      if (this.#stop.signal.aborted || asks !== this.#asks) return false;
      isDrawn = false;
      $("list-error").replaceChildren(notice(error, { retry: () => this.#load(), signIn: this.actions.signIn }));
      if (error.status === 401) return false;
      refresh = REFRESH_AFTER_ERROR;
    }
    // Tasks after the requested ones do not change.
    if (!document.hidden && this.#tasks.slice(0, MOST).some(({ status }) => RUNNING.includes(status))) {
      this.timer = setTimeout(() => this.#load(), refresh);
    }
    return isDrawn;
  }

  /** Requests as many tasks as are shown, but at most one page, because almost all older tasks have ended. */
  #load(count = this.#tasks.length) {
    const limit = Math.min(MOST, Math.max(PAGE, count));
    return this.#ask({ limit }, ({ data, has_more: hasMore }) => {
      const last = data.at(-1)?.id;
      const place = this.#tasks.findIndex(({ id }) => id === last);
      const older = hasMore && place >= 0 ? this.#tasks.slice(place + 1) : [];
      this.#tasks = [...data, ...older];
      if (older.length === 0) this.#hasMore = hasMore;
    });
  }

  #older(limit) {
    return this.#ask({ limit, after: this.#tasks.at(-1)?.id }, ({ data, has_more: hasMore }) => {
      this.#tasks.push(...data);
      this.#hasMore = hasMore;
    });
  }

  async #showOlder() {
    const before = this.#tasks.length;
    await this.#older(PAGE);
    // The pressed button has disappeared, so the focus moves to the first new task.
    if ($("more").hidden) $("list").querySelectorAll("a.task-row")[before]?.focus();
  }

  #draw() {
    const focused = document.activeElement?.closest?.(".task-row")?.getAttribute("href");
    $("more").hidden = !this.#hasMore;
    if (this.#tasks.length === 0) {
      $("list").replaceChildren(h("div", { class: "card empty" },
        h("p", {}, $("filter").value ? "No task has this status." : "Nothing was submitted with this key yet."),
        h("p", {}, h("a", { href: "#new" }, "Submit a task"))));
      return;
    }
    $("list").replaceChildren(h("div", { class: "task-list card" }, head(), h("ul", {}, this.#tasks.map(item))));
    // A keyboard user keeps the focused row.
    if (focused) $("list").querySelector(`[href="${focused}"]`)?.focus();
  }

  /** Saves the position, because the page may be about to close. */
  keep() {
    this.#notePlace();
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.rest);
    this.#stop.abort();
    $("list").replaceChildren();
    $("list-error").replaceChildren();
  }
}
