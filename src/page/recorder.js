// A recording from the microphone, with its level while it lasts.

import { toWav } from "./audio.js";

/** As WAV this is just below what fits into a submit. */
export const MOST_SECONDS = 450;

/** Why there is no recording, for whoever wanted one. */
function reason(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser does not let this page use the microphone. Allow it in the address bar, then try again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Connect one, then try again, or choose a file.";
    case "NotReadableError":
      return "Another program uses the microphone. Close it, then try again.";
    default:
      return "The microphone cannot be used here. Choose a file instead.";
  }
}

/** One recording, from `start` to `finish` or `discard`. */
export class Recorder {
  #chunks = [];
  #isEnding = false;

  /**
   * Rejects with words for the user. `onLevel(level, seconds)` is called while it records, `onEnd()` when it ends by
   * itself, as when the microphone is unplugged: what was recorded until then is there to be finished.
   */
  static async start({ onLevel, onEnd }) {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      throw new Error("Browsers record only on pages that are served by HTTPS or by this machine. Choose a file instead.");
    }
    const recorder = new Recorder();
    try {
      recorder.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(reason(error));
    }
    try {
      recorder.#begin(onEnd);
      recorder.#watch(onLevel);
    } catch (error) {
      recorder.discard();
      throw new Error(reason(error));
    }
    return recorder;
  }

  #begin(onEnd) {
    this.recorder = new MediaRecorder(this.stream);
    this.recorder.ondataavailable = (event) => this.#chunks.push(event.data);
    this.stopped = new Promise((resolve) => (this.recorder.onstop = () => {
      resolve();
      if (!this.#isEnding) onEnd();
    }));
    this.recorder.start(1000);
  }

  #watch(onLevel) {
    this.context = new AudioContext();
    const meter = this.context.createAnalyser();
    this.context.createMediaStreamSource(this.stream).connect(meter);
    const samples = new Float32Array(meter.fftSize);
    const began = performance.now();
    const look = () => {
      meter.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // -60 dBFS is an empty meter.
      const level = power > 0 ? Math.max(0, 1 + (10 * Math.log10(power)) / 60) : 0;
      onLevel(level, (performance.now() - began) / 1000);
    };
    // Not by animation frames: a hidden page must notice when the time is over, too.
    this.timer = setInterval(look, 66);
  }

  /** The recording as a WAV file. */
  async finish() {
    this.#end();
    await this.stopped;
    const type = this.recorder.mimeType;
    this.#release();
    const wav = await toWav(new Blob(this.#chunks, { type }));
    const stamp = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    return new File([wav], `recording-${stamp}.wav`, { type: wav.type });
  }

  discard() {
    this.#end();
    this.#release();
  }

  #end() {
    this.#isEnding = true;
    if (this.recorder && this.recorder.state !== "inactive") this.recorder.stop();
  }

  #release() {
    clearInterval(this.timer);
    this.context?.close();
    for (const track of this.stream.getTracks()) track.stop();
  }
}
