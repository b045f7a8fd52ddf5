// Errors of the API, or of the connection to it, in words that tell the user what to do.

import { announce, button, h } from "./dom.js";
import { secondsUntil } from "./format.js";

/** An error that the API answered. `body` is its `error` object. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(body?.message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = body?.code ?? "";
    this.param = body?.param ?? null;
    this.retryable = body?.retryable;
    this.upstreamStatus = body?.upstream_status;
    this.retryAfter = retryAfter;
  }
}

/** The error of a request for which the server was not reached, or its reply was cut off. */
export class ConnectionLost extends Error {
  constructor() {
    super("The server cannot be reached. Check that it is running and that you are online.");
    this.code = "connection_lost";
    this.retryable = true;
  }
}

/** The error of a submit that was stopped while the server did not answer, so that it is unknown whether there is a task. */
export class TaskUnknown extends Error {
  constructor() {
    super("The server does not answer. Look under Tasks. If the task is there, stop it.");
    this.code = "task_unknown";
  }
}

/** The codes of errors that the page detects. The API does not have them. */
const OWN = ["connection_lost", "task_unknown"];

const TITLES = {
  invalid_api_key: "This key is not valid here",
  model_not_allowed: "This key may not use the model",
  task_not_found: "There is no such task",
  task_cancelled: "Stopped",
  stream_expired: "The stream is no longer kept",
  request_too_large: "The file is too large",
  audio_too_large: "The audio is too large",
  unsupported_audio_format: "This audio cannot be used",
  invalid_audio_url: "This address cannot be used",
  audio_fetch_failed: "The audio could not be downloaded",
  invalid_param: "A value in the form is not valid",
  no_available_model: "The model is not available",
  model_not_support_capability: "The model does not accept audio",
  model_rule_violation: "The model does not accept this request",
  idempotency_conflict: "The same task is already being submitted",
  content_policy_violation: "The model refused the content",
  upstream_rejected: "The model's service rejected the request",
  rate_limit_exceeded: "Too many requests",
  queue_full: "The server is busy",
  task_interrupted: "The server was stopped while the task ran",
  upstream_auth_error: "The server may not use this model at the moment",
  upstream_disconnected: "The answer was cut off",
  upstream_rate_limited: "The model's service is busy",
  upstream_timeout: "The model took too long",
  upstream_error: "The model's service failed",
  upstream_invalid_response: "The model's service sent an invalid answer",
  all_channels_exhausted: "No service could answer",
  storage_full: "The server's storage is full",
  storage_unavailable: "The server cannot use its disk",
  shutting_down: "The server is restarting",
  internal_error: "The server has failed",
  connection_lost: "No connection",
  task_unknown: "A task may still be running",
};

const SHORTER = "Send a shorter piece, or convert it to mp3 or m4a.";

/** Advice that the page adds to the API's message. */
const ADVICE = {
  model_not_allowed: "Choose another model from the list.",
  no_available_model: "Choose another model from the list.",
  unsupported_audio_format: "Convert the file to wav or mp3, or choose a model that takes this format.",
  audio_too_large: SHORTER,
  request_too_large: SHORTER,
  content_policy_violation: "Change the prompt or the audio.",
  model_not_support_capability: "Choose another model from the list.",
  upstream_rejected: "Change the prompt or the audio, or choose another model.",
};

/** Codes whose API message is for operators and programmers. Users see the title and the advice instead. */
const NOT_FOR_USERS = ["no_available_model"];

/** Returns true if a service refused the audio because of its size. Some services report this only in the text. */
const isTooLarge = ({ code, upstreamStatus, message }) =>
  code === "upstream_rejected" && (upstreamStatus === 413 || /too (large|long|big)/i.test(message));

/** Returns the part of the form that an error is about, if any. A change of that part hides the error. */
export function partOf({ code, param }) {
  if (param === "audio_url" || ["request_too_large", "audio_too_large", "unsupported_audio_format", "invalid_audio_url",
    "audio_fetch_failed"].includes(code)) return "audio";
  if (param === "model" || ["model_not_allowed", "no_available_model", "model_not_support_capability"].includes(code)) return "model";
  return param ? "options" : undefined;
}

/** Returns the API's message for a user of the form: without fields, headers and paths. */
function inWords(message) {
  const words = message
    .replace(/; (GET \/v1\/|try again after Retry-After).*$/s, "")
    .replace(/send the audio inline|send (?:it|the file) as a data: URI/, "choose the file itself")
    .replace("check what is encoded, and send a whole recording", "choose a whole recording")
    .replace(/ \(the operator of this service can allow the \w+\)/, "")
    .replace(/ (of|behind) audio_url/, "")
    // The title already has this information.
    .replace(/^audio_url cannot be used: (?=.)/s, "")
    .replace(/^(?:The upstream (?:failed|refuses this request|limits how often it may be asked|does not serve this): )+(?=.)/s, "")
    .replace(/^no reason given$/, "")
    .replace(/^audio_url/, "The address")
    .replaceAll(/\b([Tt])he upstream's/g, "$1he service's")
    .replaceAll(/\b([Tt])he upstream\b/g, "$1he model's service");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** hearken's advice to wait, at the end of the message of an error that has no `Retry-After`. */
const PAUSE = /; try again in (\d+) seconds?$/;
/** The longest pause that is counted down, in seconds. For a longer pause, the message shows it, and the user decides. */
const MOST_COUNTED = 3600;

/** Returns the pause in the message of a task's error, in seconds. */
export function pauseOf(message) {
  const seconds = Number(PAUSE.exec(message)?.[1]);
  return seconds <= MOST_COUNTED ? seconds : undefined;
}

const sentencesOf = (text) => text.split(/(?<=[.!?])\s+/);
const bareOf = (sentence) => sentence.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();

/** Returns advice, unless the API's message has advice after a semicolon. (A service's text may have a semicolon, too.) */
function adviceFor(error, words) {
  if (isTooLarge(error)) return SHORTER;
  return error.code !== "upstream_rejected" && words.includes("; ") ? "" : ADVICE[error.code] ?? "";
}

/** Returns the lines without sentences that the title or an earlier line already contains. */
function unrepeated(title, lines) {
  const said = new Set([bareOf(title), ""]);
  const fresh = (sentence) => !said.has(bareOf(sentence)) && said.add(bareOf(sentence));
  return lines.map((line) => sentencesOf(line).filter(fresh).join(" ")).filter(Boolean);
}

/**
 * Returns a notice about an error. `actions` may hold `signIn`, `retry` and `models`: the actions of its buttons, if they
 * make sense; `retryLabel`, if the button does not repeat the request; and `pause`, the seconds to wait before it, if they
 * differ from the error's.
 */
export function notice(error, actions = {}) {
  const title = TITLES[error.code] ?? "The request failed";
  // The button counts down the rest of the pause, and the number in the message would not change.
  const pause = actions.retry ? actions.pause ?? error.retryAfter ?? 0 : 0;
  const message = pause > 0 ? error.message.replace(PAUSE, "") : error.message;
  const words = NOT_FOR_USERS.includes(error.code) ? "" : inWords(message);
  const text = unrepeated(title, [words, adviceFor(error, words)]);
  const buttons = [];
  if (error.code === "invalid_api_key" && actions.signIn) buttons.push(button("Sign in again", actions.signIn));
  if (actions.models && ["model_not_allowed", "no_available_model", "model_not_support_capability",
    "model_rule_violation", "upstream_auth_error", "upstream_rejected"].includes(error.code)) {
    buttons.push(button("Choose another model", actions.models));
  }
  if (actions.retry && (error.retryable || error.status >= 500 || error.status === 429)) {
    buttons.push(retryButton(actions.retryLabel ?? "Try again", actions.retry, pause));
  }
  announce([`${title}.`, ...text, pause > 0 && `Try again in ${Math.ceil(pause)} s.`].filter(Boolean).join(" "));
  return h("div", { class: "notice bad", role: "group", "aria-label": "Error" },
    h("strong", {}, title),
    text.map((line) => h("p", { dir: "auto" }, line)),
    error.code && !OWN.includes(error.code) &&
      h("p", { class: "help" }, h("code", {}, error.code),
        error.upstreamStatus ? ` (the model's service answered ${error.upstreamStatus})` : ""),
    buttons.length > 0 && h("div", { class: "notice-actions" }, buttons));
}

/** Returns a button that counts down the pause before it can be used. */
function retryButton(label, retry, seconds) {
  const again = button(label, retry);
  const until = Date.now() + seconds * 1000;
  const tick = () => {
    const left = secondsUntil(until);
    again.disabled = left > 0;
    again.textContent = left > 0 ? `${label} in ${left} s` : label;
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
  return again;
}

/** Returns the seconds of a `Retry-After`. A proxy may have sent a date. */
export function secondsOf(retryAfter) {
  if (!retryAfter) return undefined;
  const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : secondsUntil(Date.parse(retryAfter));
  return seconds > 0 ? seconds : undefined;
}
