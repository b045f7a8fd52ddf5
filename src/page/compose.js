// The form of a new task, from the choice of the audio to the submit.

import { toBase64 } from "./audio.js";
import { AudioChoice } from "./choice.js";
import { $, RUN_KEY, RUN_SHORTCUT, announce, h, isRunKey } from "./dom.js";
import { notice, partOf } from "./errors.js";
import { bytes, number } from "./format.js";
import { freshKey, submit } from "./submit.js";
import { keepAudio } from "./task.js";

const value = (id) => $(id).value;

/** Returns an address without the parts that may be secret, so that it can be kept and shown. */
const withoutSecrets = (url) => url.replace(/[?#].*$/s, "").replace(/\/\/[^/]*@/, "//");

/** The model that runs in the server and measures sound. For all other models, the server sends the audio to a service. */
const EMBEDDED_MODEL = "local-inspect";

export class ComposeView {
  #choice = new AudioChoice(() => this.#changed("audio"));
  /** The part of the form to which the shown error refers, if any. */
  #errorPart;
  #abort;
  /** The submitted content, with its key. Submitting the same content again after an error means the same task. */
  #wanted;
  /** Numbers of a task's request that no position of a slider matches. They are used until the user moves the slider. */
  #exact = {};

  /** `actions` holds `submitted(id)` and `signIn()`. */
  constructor(actions) {
    this.actions = actions;
    $("compose").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("run-hint").textContent = `or press ${RUN_KEY}`;
    $("submit").setAttribute("aria-keyshortcuts", RUN_SHORTCUT);
    document.addEventListener("keydown", (event) => {
      if ($("view-new").hidden || !isRunKey(event)) return;
      event.preventDefault();
      this.submit();
    });
    $("compose").addEventListener("input", ({ target }) => {
      if ($("options").contains(target) || target === $("prompt")) this.#changed("options");
    });
    $("abort").addEventListener("click", () => {
      $("upload-text").textContent = "stopping";
      this.#abort?.abort(new Error("stopped"));
    });
    for (const name of ["temperature", "max-tokens"]) {
      for (const id of [name, `${name}-unset`]) $(id).addEventListener("input", () => this.#showOptions(id === name && name));
    }
    this.#showOptions();
    $("model").addEventListener("change", () => {
      this.#showModel();
      this.#changed("model");
      if (!value("model")) $("model-name").focus();
    });
    $("model-name").addEventListener("input", () => {
      this.#showModel();
      this.#changed("model");
    });
  }

  /** Handles a change in a part of the form: an error about this part does not apply any more. */
  #changed(part) {
    if (this.#errorPart === part) this.#showError();
  }

  #showError(shown = "", part = undefined) {
    this.#errorPart = part;
    $("compose-error").replaceChildren(shown);
  }

  #showModel() {
    $("model-box").hidden = value("model") !== "";
    const model = this.#model();
    $("model-note").textContent = model === EMBEDDED_MODEL ? "This model measures sound on this server. The audio does not leave it."
      : model && "The server sends the audio to the service that runs this model.";
    this.#complainOfModel("");
  }

  #complainOfModel(text) {
    $("model-error").textContent = text;
    $("model-name").setAttribute("aria-invalid", Boolean(text));
  }

  /** A moved slider counts as set. */
  #showOptions(moved) {
    if (moved) {
      $(`${moved}-unset`).checked = false;
      delete this.#exact[moved];
    }
    const show = (name, text) => {
      const isUnset = $(`${name}-unset`).checked;
      $(`${name}-out`).textContent = isUnset ? "" : text;
      $(name).classList.toggle("unset", isUnset);
      $(name).setAttribute("aria-valuetext", isUnset ? "the model's own" : text);
    };
    const temperature = this.#temperature();
    show("temperature", Number.isInteger(temperature) ? temperature.toFixed(1) : String(temperature));
    show("max-tokens", number(this.#maxTokens()));
  }

  #temperature() {
    return this.#exact.temperature ?? Number(value("temperature"));
  }

  #maxTokens() {
    return this.#exact["max-tokens"] ?? Math.round(2 ** Number(value("max-tokens")));
  }

  /** Fills the list of models again. A channel whose models are a pattern lists none, so the user can also type a name. */
  setModels(models) {
    this.#changed("models");
    const chosen = this.#model();
    $("model").replaceChildren(...models.map(({ id }) => h("option", { value: id, dir: "auto" }, id)),
      h("option", { value: "" }, "Another model ..."));
    this.#choose(chosen || models[0]?.id || "");
  }

  #choose(model) {
    $("model").value = [...$("model").options].some((option) => option.value === model) ? model : "";
    if (!value("model")) $("model-name").value = model;
    this.#showModel();
  }

  #model() {
    return value("model") || value("model-name").trim();
  }

  /** Shows an error: the models could not be listed. */
  refuseModels(error, retry) {
    this.#showError(notice(error, { retry, signIn: this.actions.signIn }), "models");
  }

  /** Fills the form with a task's request, and with its audio if this page still has it. */
  async fill(task, file) {
    const asked = task.request;
    this.#choose(asked.model);
    $("prompt").value = asked.prompt === $("prompt").placeholder ? "" : asked.prompt;
    $("system-prompt").value = asked.system_prompt ?? "";
    $("reasoning").checked = asked.reasoning;
    this.#exact = { temperature: asked.temperature, "max-tokens": asked.max_tokens };
    $("temperature-unset").checked = asked.temperature === null;
    $("temperature").value = asked.temperature ?? 1;
    $("max-tokens-unset").checked = asked.max_tokens === null;
    $("max-tokens").value = Math.log2(asked.max_tokens ?? 4096);
    $("options").open = Boolean(asked.system_prompt || asked.reasoning || asked.temperature !== null || asked.max_tokens !== null);
    this.#showOptions();
    const { audio } = asked;
    this.#showError();
    if (file) await this.#choice.take(file);
    else if (audio?.source === "url") this.#choice.takeUrl(audio.url);
    else this.#choice.askAgain();
  }

  #fields() {
    const wanted = { model: this.#model(), stream: true, reasoning: $("reasoning").checked };
    if (value("prompt").trim()) wanted.prompt = value("prompt");
    if (value("system-prompt").trim()) wanted.system_prompt = value("system-prompt");
    if (!$("temperature-unset").checked) wanted.temperature = this.#temperature();
    if (!$("max-tokens-unset").checked) wanted.max_tokens = this.#maxTokens();
    return wanted;
  }

  async submit() {
    if (this.#abort) return;
    this.#showError();
    const audio = this.#choice.chosen();
    if (!audio) return;
    if (!this.#model()) {
      this.#complainOfModel("Enter the name of a model, or choose one from the list.");
      return $("model-name").focus();
    }
    this.#abort = new AbortController();
    this.#busy(true);
    const { signal } = this.#abort;
    try {
      const fields = JSON.stringify(this.#fields()).slice(0, -1);
      const type = audio.file?.type.startsWith("audio/") ? audio.file.type : "application/octet-stream";
      const body = audio.url
        ? new Blob([fields, `,"audio_url":${JSON.stringify(audio.url)}}`])
        : new Blob([fields, `,"audio_url":"data:${type};base64,`, await toBase64(audio.file), '"}']);
      const task = await submit(body, this.#key(fields, audio.file ?? audio.url), {
        signal,
        onProgress: (part) => signal.aborted || this.#progress(part, body.size),
        onAgain: (seconds) => {
          $("upload-text").textContent = `connection lost, sending again in ${seconds} s`;
          announce($("upload-text").textContent);
        },
      });
      this.#wanted = undefined;
      keepAudio(task.id, audio.wave ?? { name: withoutSecrets(audio.url), note: "The server downloads this audio." }, audio.file);
      this.#choice.clear();
      this.actions.submitted(task.id);
    } catch (error) {
      if (error !== signal.reason) return this.#refused(error);
      this.#wanted = undefined;
      announce("Stopped");
    } finally {
      this.#abort = undefined;
      this.#busy(false);
    }
  }

  #key(fields, source) {
    const { fields: lastFields, source: lastSource } = this.#wanted ?? {};
    if (fields !== lastFields || source !== lastSource) this.#wanted = { fields, source, key: freshKey() };
    return this.#wanted.key;
  }

  #refused(error) {
    this.#showError(notice(error, {
      retry: () => this.submit(),
      signIn: this.actions.signIn,
      models: () => $("model").focus(),
    }), partOf(error));
    $("compose-error").scrollIntoView({ block: "nearest" });
  }

  #progress(part, size) {
    $("upload-bar").value = part;
    $("upload-text").textContent = part < 1 ? `${bytes(part * size)} of ${bytes(size)}` : "sent, waiting for the server";
  }

  #busy(isBusy) {
    $("submit").disabled = $("run-hint").hidden = isBusy;
    $("abort").hidden = $("upload").hidden = !isBusy;
    $("upload-bar").value = 0;
    $("upload-text").textContent = "";
    if (isBusy) announce("Uploading");
  }

  close() {
    this.#choice.pause();
  }
}
