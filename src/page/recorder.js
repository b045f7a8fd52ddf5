// Records from the microphone, and reports the level.

import { toWav } from "./audio.js";

/** Longest recording. As WAV, a longer one would not fit into a submit. */
export const MOST_SECONDS = 450;

/** Returns a message for the user about a failed recording. */
function reason(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser does not allow this page to use the microphone. Allow it in the address bar, then try again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Connect one, then try again, or choose a file.";
    case "NotReadableError":
      return "Another program is using the microphone. Close it, then try again.";
    default:
      return "The microphone cannot be used here. Choose a file instead.";
  }
}

/** One recording, from `start` to `finish` or `discard`. */
export class Recorder {
  #chunks = [];
  #isEnding = false;

  /**
     * Starts to record. Rejects with a message for the user. `onLevel(level, seconds)` is called while it records, `onEnd()`
     * when the recording ends without the user, as when the microphone is unplugged; it can still be finished then.
     */
  static async start({ onLevel, onEnd }) {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      throw new Error("Browsers record only on pages served over HTTPS or from this machine. Choose a file instead.");
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
      // The meter is empty at -60 dBFS.
      const level = power > 0 ? Math.max(0, 1 + (10 * Math.log10(power)) / 60) : 0;
      onLevel(level, (performance.now() - began) / 1000);
    };
    // A timer is used and not animation frames, because a hidden page must also notice the end of the time.
    this.timer = setInterval(look, 66);
  }

  /** Returns the recording as a WAV file. */
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
