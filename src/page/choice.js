// The audio of a new task: a file that was chosen, dropped or pasted, a recording, or a URL. One of them at a time.

import { examine } from "./audio.js";
import { $, announce, button, h } from "./dom.js";
import { bytes, clock } from "./format.js";
import { MOST_SECONDS, Recorder } from "./recorder.js";
import { Waveform } from "./waveform.js";

/** A channel's usual bound of 20 MB is counted in base64. */
const USUAL_MOST_BYTES = 15_000_000;
/** As base64 this fills the largest body that a server takes unless it is told otherwise. */
const MOST_BYTES = 22_000_000;
/** How the API shows an address whose query it does not keep. */
const HIDDEN_QUERY = "?...";

/** Is this an address of which the API keeps only a part? */
export const isHidden = (url) => url.endsWith(HIDDEN_QUERY);

/** A file's name within a sentence, whose direction it leaves as it is. */
const named = (file) => h("bdi", {}, file.name);

export class AudioChoice {
  #file;
  #wave;
  #shown;
  #recorder;
  #onChange;

  /** `onChange` hears of each change: what was said of the audio before is not true of this one. */
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

  /** Anywhere on the page: who misses the box by a finger means it all the same. */
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
    if (second && this.#file === first) this.#complain("A task hears one file: only the first is taken, ", named(first), ".");
  }

  /** Takes a file, and shows what can be found out about it. */
  async take(file) {
    this.clear();
    this.#openUrl(false);
    if (file.size === 0) return this.#complain(named(file), " is empty. Choose another file.");
    if (file.size > MOST_BYTES) {
      return this.#complain(named(file), ` is too large: ${bytes(file.size)}, and at most ${bytes(MOST_BYTES)} can be sent.`,
        " Choose a shorter piece, or the same as mp3.");
    }
    this.#file = file;
    this.#wave = { name: file.name, size: file.size, note: "Looking at the audio." };
    this.#show();
    let wave;
    try {
      wave = { name: file.name, size: file.size, ...(await examine(file)) };
    } catch {
      const note = "This browser cannot show or play this file. It can be sent all the same.";
      wave = { name: file.name, size: file.size, note };
    }
    // Another one may have been chosen in the meantime.
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
    if (!isWhole) this.#complain("Complete the address: what stood after its question mark is not kept.");
  }

  /** What is chosen is not what is meant, and what is meant is gone. */
  askAgain() {
    this.clear();
    this.#openUrl(false);
    this.#complain("Choose the audio again: this page no longer has it.");
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
      this.#complain(`${bytes(this.#file.size)} is more than servers usually take (15 MB). A shorter piece, or mp3, will pass.`);
    }
  }

  /** Is whatever has the focus about to go, or gone? Then what takes its place is next for whoever uses the keyboard. */
  #hasFocus() {
    const { activeElement: focused } = document;
    return focused === document.body || ["drop", "recording", "chosen"].some((id) => $(id).contains(focused));
  }

  /** What is to be sent, or nothing: then the user was told what is missing. */
  chosen() {
    if (this.#recorder) {
      this.#complain("The recording still runs. Finish it first.");
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
    this.#complain("Choose a file, record something, or enter an address first.");
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
      // While the browser asked for permission, the form may have been left, or something else been chosen.
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
      this.#complain("Nothing was recorded. Try again, a little longer.");
      if (this.#hasFocus()) $("record").focus();
    }
  }

  /** The recording that runs, if there is one, which is then no longer this form's. */
  #endRecording() {
    const recorder = this.#recorder;
    this.#recorder = undefined;
    $("recording").hidden = true;
    $("drop").hidden = false;
    return recorder;
  }

  /** Is there something that a recording must not push aside? */
  #isUsed() {
    return Boolean(this.#file || this.#recorder || !$("url-box").hidden);
  }

  /** Says what is not right with the choice; nothing is. */
  #complain(...words) {
    $("audio-error").replaceChildren(...words);
  }

  /** The choice is another one. */
  #changed() {
    this.#complain();
    this.#onChange();
  }

  /** Nothing is chosen, and nothing is recorded. */
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

  /** The form is left: what plays or records stops, what was chosen or recorded stays. */
  pause() {
    this.#finish();
    if (this.#file) this.#show();
  }
}
