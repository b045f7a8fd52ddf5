// The page: the signed-in key, and the current view. The part of the address behind # names the view.

import * as api from "./api.js";
import { ComposeView } from "./compose.js";
import { $, announce, h } from "./dom.js";
import { ListView } from "./list.js";
import * as session from "./session.js";
import { TaskView, fileOf } from "./task.js";
import { setUp as setUpTheme } from "./theme.js";

const VIEWS = ["sign-in", "new", "tasks", "task"];

let open;
/** The key that this page belongs to, with everything in its forms. */
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
  // The list restores its own position; elsewhere the browser does.
  history.scrollRestoration = /^#tasks(=|$)/.test(location.hash) ? "manual" : "auto";
  open?.close();
  open = undefined;
  if (!session.key()) {
    show("sign-in");
    const farewell = session.takeFarewell();
    if (farewell) {
      $("sign-in").before(h("p", { class: "notice" }, farewell));
      announce(farewell);
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

/** Signs out, or drops a key that is no longer valid. */
function leave() {
  // What the view saves when it closes is deleted with the rest.
  open?.close();
  open = undefined;
  session.forget();
  // A new page: the next user finds nothing of this one in memory.
  location.replace("/");
}

function signOut() {
  const isRunning = open?.isRunning;
  leave();
  if (isRunning) session.keepFarewell("Signed out. Your task is still running. Sign in again to find it under Tasks.");
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
  // A header cannot carry other characters.
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
// An error about a key does not apply to the next one.
$("key").addEventListener("input", () => {
  $("sign-in-error").textContent = "";
  $("key").removeAttribute("aria-invalid");
});
// The address must keep its task; a plain link to #main would remove it.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("hashchange", () => {
  route();
  // Moving the focus tells screen readers that the view has changed.
  if (session.key()) document.querySelector("main > section:not([hidden]) h1")?.focus();
});
// Back may restore this page from the browser's cache: its connections are closed, and its key may be gone.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  if (session.key() === owner) route();
  else location.reload();
});
addEventListener("pagehide", () => open?.keep?.());
document.addEventListener("visibilitychange", () => document.hidden && open?.keep?.());
route();
