// The page: the signed-in key, and the current view. The part of the address after # names the view.

import * as api from "./api.js";
import { ComposeView } from "./compose.js";
import { $, announce, h } from "./dom.js";
import { ListView } from "./list.js";
import * as session from "./session.js";
import { TaskView, fileOf } from "./task.js";
import { setUp as setUpTheme } from "./theme.js";

const VIEWS = ["sign-in", "new", "tasks", "task"];

let open;
/** The key of this page. All content of its forms belongs to the user of this key. */
let owner = session.key();

const compose = new ComposeView({ submitted: (id) => (location.hash = `#task=${id}`), signIn: leave });

function show(view) {
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== view;
  const isSignedIn = view !== "sign-in";
  $("nav").hidden = $("sign-out").hidden = !isSignedIn;
  for (const link of $("nav").querySelectorAll("a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Shows the view that the address names. */
function route() {
  // The list restores its position itself. In other views the browser does this.
  history.scrollRestoration = /^#tasks(=|$)/.test(location.hash) ? "manual" : "auto";
  open?.close();
  open = undefined;
  if (!session.key()) {
    show("sign-in");
    const message = session.takeMessage();
    if (message) {
      $("sign-in").before(h("p", { class: "notice" }, message));
      announce(message);
    }
    $("key").focus();
    return;
  }
  const id = /^#task=([\w-]+)$/.exec(location.hash)?.[1];
  if (id) {
    show("task");
    open = new TaskView(id, { again, repeat, signIn: leave });
  } else if (/^#tasks(=|$)/.test(location.hash)) {
    show("tasks");
    open = new ListView(location.hash.slice("#tasks=".length), { signIn: leave });
  } else {
    show("new");
    open = { close: () => compose.close() };
    if (!hasModels) loadModels();
  }
}

let hasModels = false;

async function loadModels() {
  try {
    compose.setModels(await api.models());
    hasModels = true;
  } catch (error) {
    if (error.status === 401) return leave();
    compose.refuseModels(error, loadModels);
  }
}

/** Opens the form with a task's request. */
async function again(task) {
  if (!hasModels) await loadModels();
  const filled = compose.fill(task, fileOf(task.id));
  location.hash = "#new";
  await filled;
}

/** Submits the same request again, as a new task. */
async function repeat(task) {
  await again(task);
  compose.submit();
}

/** Signs out, also if the key is no longer valid. */
function leave() {
  // The view saves some values when it closes. They are deleted, too.
  open?.close();
  open = undefined;
  session.forget();
  // A reload removes all data of this user from the page's memory.
  location.replace("/");
}

function signOut() {
  const isRunning = open?.isRunning;
  leave();
  if (isRunning) session.keepMessage("Signed out. Your task is still running. Sign in again to find it under Tasks.");
}

async function enter(event) {
  event.preventDefault();
  const key = $("key").value.trim();
  const refuse = (text) => {
    $("sign-in-error").textContent = text;
    $("key").setAttribute("aria-invalid", "true");
    $("key").focus();
  };
  if (!key) return refuse("Enter an API key.");
  // A header cannot have other characters.
  if (!/^[\x21-\x7e]+$/.test(key)) return refuse("This is not an API key: it has characters that no key has. Copy it again.");
  try {
    const models = await api.models(key);
    session.keepKey(key);
    owner = key;
    compose.setModels(models);
    hasModels = true;
  } catch (error) {
    return refuse(error.status === 401
      ? "This key is not valid here. Check that it was copied completely, and that it was not revoked." : error.message);
  }
  $("key").value = $("sign-in-error").textContent = "";
  $("key").removeAttribute("aria-invalid");
  announce("Signed in");
  route();
  $("main").focus();
}

setUpTheme($("theme"), () => open?.wave?.draw());
$("sign-in").addEventListener("submit", enter);
$("sign-out").addEventListener("click", signOut);
// An error about a key does not apply to another key.
$("key").addEventListener("input", () => {
  $("sign-in-error").textContent = "";
  $("key").removeAttribute("aria-invalid");
});
// A plain link to #main would remove the name of the view from the address.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("hashchange", () => {
  route();
  // Moving the focus tells screen readers that the view has changed.
  if (session.key()) document.querySelector("main > section:not([hidden]) h1")?.focus();
});
// Back may restore this page from the browser's cache. Its connections are then closed, and its key may be deleted.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  if (session.key() === owner) route();
  else location.reload();
});
addEventListener("pagehide", () => open?.keep?.());
document.addEventListener("visibilitychange", () => document.hidden && open?.keep?.());
route();
