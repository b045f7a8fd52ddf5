// The audio of a new task: a file that was chosen, dropped or pasted, a recording, or a URL. The form holds one at a
// time.

import { examine } from "./audio.js";
import { $, announce, button, h } from "./dom.js";
import { bytes, clock } from "./format.js";
import { MOST_SECONDS, Recorder } from "./recorder.js";
import { Waveform } from "./waveform.js";

/** The largest file that most channels accept: their limit of 20 MB applies to base64. */
const USUAL_MOST_BYTES = 15_000_000;
/** The largest file in a body that a server accepts by default, in base64. */
const MOST_BYTES = 22_000_000;
/** The end of an address in the API's replies if the API did not keep the query of the address. */
const HIDDEN_QUERY = "?...";

/** Returns true if the API keeps only a part of this address. */
export const isHidden = (url) => url.endsWith(HIDDEN_QUERY);

/** Returns a file's name for use in a sentence, isolated from the sentence's text direction. */
const named = (file) => h("bdi", {}, file.name);

export class AudioChoice {
  #file;
  #wave;
  #shown;
  #recorder;
  #onChange;

  /** Calls `onChange` on each change, because an error about the audio does not apply any more then. */
  constructor(onChange) {
    this.#onChange = onChange;
    $("choose").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      this.#takeFirst($("file").files);
      $("file").value = "";
    });
    $("by-url").addEventListener("click", () => this.#openUrl($("url-box").hidden));
    $("record").addEventListener("click", () => this.#record());
    $("record-stop").addEventListener("click", () => this.#finish());
    $("record-cancel").addEventListener("click", () => {
      this.#endRecording()?.discard();
      this.#complain();
      $("record").focus();
    });
    $("url").addEventListener("input", () => this.#changed());
    this.#acceptDrops();
    document.addEventListener("paste", (event) => {
      if (!$("view-new").hidden) this.#takeFirst(event.clipboardData?.files ?? []);
    });
  }

  /** Accepts drops on the whole page, and not only on the box. */
  #acceptDrops() {
    let depth = 0;
    const isOpen = () => !$("view-new").hidden;
    const over = (change) => (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      depth = Math.max(0, depth + change);
      $("drop").classList.toggle("over", depth > 0 && isOpen());
    };
    addEventListener("dragenter", over(1));
    addEventListener("dragleave", over(-1));
    addEventListener("dragover", over(0));
    addEventListener("drop", (event) => {
      over(-depth)(event);
      if (isOpen()) this.#takeFirst(event.dataTransfer?.files ?? []);
    });
  }

  #takeFirst(files) {
    if (!files.length) return;
    const [first, second] = files;
    this.take(first);
    if (second && this.#file === first) this.#complain("A task uses one file. Only the first is used: ", named(first), ".");
  }

  /** Chooses a file, and shows what the browser finds out about it. */
  async take(file) {
    this.clear();
    this.#openUrl(false);
    if (file.size === 0) return this.#complain(named(file), " is empty. Choose another file.");
    if (file.size > MOST_BYTES) {
      return this.#complain(named(file), ` is too large: it has ${bytes(file.size)}, and the limit is ${bytes(MOST_BYTES)}.`,
        " Choose a shorter piece, or convert it to mp3.");
    }
    this.#file = file;
    this.#wave = { name: file.name, size: file.size, note: "Reading the audio." };
    this.#show();
    let wave;
    try {
      wave = { name: file.name, size: file.size, ...(await examine(file)) };
    } catch {
      const note = "This browser cannot show or play this file. You can still send it.";
      wave = { name: file.name, size: file.size, note };
    }
    // In the meantime the user may have chosen another file.
    if (this.#file !== file) return;
    this.#wave = wave;
    this.#show();
    announce(`${file.name}, ${bytes(file.size)}${wave.seconds ? `, ${clock(wave.seconds)}` : ""}`);
  }

  takeUrl(url) {
    this.clear();
    this.#openUrl(true);
    const isWhole = !isHidden(url);
    $("url").value = isWhole ? url : url.slice(0, -HIDDEN_QUERY.length);
    if (!isWhole) this.#complain("Complete the address: the part after its question mark was not kept.");
  }

  /** Asks for the audio again, because the page no longer has it. */
  askAgain() {
    this.clear();
    this.#openUrl(false);
    this.#complain("Choose the audio again. This page no longer has it.");
  }

  #show() {
    this.#shown?.close();
    this.#shown = new Waveform(this.#wave, this.#wave.seconds && this.#file);
    const remove = button("Remove", () => {
      this.clear();
      $("choose").focus();
    }, "small");
    const isNext = this.#hasFocus();
    $("drop").hidden = true;
    $("chosen").hidden = false;
    $("chosen").replaceChildren(this.#shown.element, remove);
    if (isNext) $("chosen").querySelector("button, audio")?.focus();
    if (this.#file.size > USUAL_MOST_BYTES) {
      this.#complain(`${bytes(this.#file.size)} is more than the usual limit of 15 MB. Send a shorter piece, or convert it to mp3.`);
    }
  }

  /** Returns true if the focused element disappears. The focus then moves to the element that replaces it. */
  #hasFocus() {
    const { activeElement: focused } = document;
    return focused === document.body || ["drop", "recording", "chosen"].some((id) => $(id).contains(focused));
  }

  /** Returns the audio to send. If it is missing, shows a message to the user and returns nothing. */
  chosen() {
    if (this.#recorder) {
      this.#complain("The recording is still running. Finish it first.");
      $("record-stop").focus();
      return null;
    }
    if (this.#file) return { file: this.#file, wave: this.#wave };
    const url = $("url").value.trim();
    if (!$("url-box").hidden && url) {
      this.#complain();
      if (/^https?:\/\/[^/]+/i.test(url)) return { url };
      this.#complain("The address must begin with http:// or https://.");
      $("url").focus();
      return null;
    }
    this.#complain("Choose a file, record something, or enter an address.");
    ($("url-box").hidden ? $("choose") : $("url")).focus();
    return null;
  }

  #openUrl(isOpen) {
    $("url-box").hidden = !isOpen;
    $("by-url").setAttribute("aria-expanded", isOpen);
    this.#complain();
    if (isOpen) $("url").focus();
  }

  async #record() {
    this.clear();
    this.#openUrl(false);
    $("record").disabled = true;
    try {
      const recorder = await Recorder.start({
        onLevel: (level, seconds) => {
          $("record-level").value = level;
          $("record-time").textContent = clock(seconds);
          if (seconds >= MOST_SECONDS) this.#finish();
        },
        onEnd: () => this.#finish(),
      });
      // While the browser asked for permission, the user may have closed the form, or chosen other audio.
      if ($("view-new").hidden || this.#isUsed()) return recorder.discard();
      this.#recorder = recorder;
      $("drop").hidden = true;
      $("recording").hidden = false;
      $("record-stop").focus();
      announce("Recording");
    } catch (error) {
      this.#complain(error.message);
    } finally {
      $("record").disabled = false;
    }
  }

  async #finish() {
    try {
      const file = await this.#endRecording()?.finish();
      if (file && !this.#isUsed()) await this.take(file);
    } catch {
      this.#complain("Nothing was recorded. Try again, and record a little longer.");
      if (this.#hasFocus()) $("record").focus();
    }
  }

  /** Returns the running recording, if there is one, and removes it from the form. */
  #endRecording() {
    const recorder = this.#recorder;
    this.#recorder = undefined;
    $("recording").hidden = true;
    $("drop").hidden = false;
    return recorder;
  }

  /** Returns true if the form has audio that a recording must not replace. */
  #isUsed() {
    return Boolean(this.#file || this.#recorder || !$("url-box").hidden);
  }

  /** Shows an error about the choice. Without arguments, removes the error. */
  #complain(...words) {
    $("audio-error").replaceChildren(...words);
  }

  /** Calls `onChange`, because the choice has changed. */
  #changed() {
    this.#complain();
    this.#onChange();
  }

  /** Removes the choice, and discards a running recording. */
  clear() {
    this.#endRecording()?.discard();
    this.#shown?.close();
    this.#shown = this.#file = this.#wave = undefined;
    $("url").value = "";
    $("chosen").hidden = true;
    $("chosen").replaceChildren();
    $("drop").hidden = false;
    this.#changed();
  }

  /** Stops playback and recording when the user leaves the form. The choice stays. */
  pause() {
    this.#finish();
    if (this.#file) this.#show();
  }
}
