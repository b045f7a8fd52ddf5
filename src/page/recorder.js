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

  /** Rejects with words for the user. `onLevel(level, seconds)` is called with each frame. */
  static async start(onLevel) {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      throw new Error("Browsers record only on pages that are served by HTTPS or by this machine. Choose a file instead.");
    }
    const recorder = new Recorder();
    try {
      recorder.stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      throw new Error(reason(error));
    }
    recorder.recorder = new MediaRecorder(recorder.stream);
    recorder.recorder.ondataavailable = (event) => recorder.#chunks.push(event.data);
    recorder.recorder.start(1000);
    recorder.#watch(onLevel);
    return recorder;
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
    const stopped = new Promise((resolve) => (this.recorder.onstop = resolve));
    this.recorder.stop();
    await stopped;
    const type = this.recorder.mimeType;
    this.#release();
    const wav = await toWav(new Blob(this.#chunks, { type }));
    const stamp = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
    return new File([wav], `recording-${stamp}.wav`, { type: wav.type });
  }

  discard() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    this.#release();
  }

  #release() {
    clearInterval(this.timer);
    this.context.close();
    for (const track of this.stream.getTracks()) track.stop();
  }
}
