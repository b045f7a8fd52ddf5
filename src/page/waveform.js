// The waveform of some audio, with a playhead if the page has the audio.

import { button, h } from "./dom.js";
import { bytes, clock } from "./format.js";

const STEP = 5;
const BAR = 3;
const GAP = 2;

/** `wave` describes the audio: name, size, and, if it could be decoded, seconds and peaks. */
export class Waveform {
  #wave;
  #canvas;
  #audio;
  #url;
  #sizes;

  constructor(wave, file) {
    this.#wave = wave;
    this.element = h("div", { class: "wave" });
    const facts = [wave.size && bytes(wave.size), wave.seconds !== undefined && clock(wave.seconds)];
    const caption = h("div", { class: "wave-facts" },
      h("strong", { class: "wave-name", dir: "auto" }, wave.name),
      h("span", { class: "help num" }, facts.filter(Boolean).join(" · ")));
    if (!wave.peaks) {
      this.element.append(caption, wave.note ? h("p", { class: "help" }, wave.note) : "");
      if (file) this.element.append(this.#load(file));
      return;
    }
    this.#canvas = h("canvas", { class: "wave-bars" });
    this.#sizes = new ResizeObserver(() => this.draw());
    this.#sizes.observe(this.#canvas);
    if (file) this.#makePlayer(file, caption);
    else this.#canvas.setAttribute("role", "img");
    this.#canvas.setAttribute("aria-label", file ? "Position in the audio" : `Waveform of ${wave.name}`);
    this.element.append(caption, h("div", { class: "wave-row" }, this.toggle, this.#canvas));
  }

  /** Shows a player with its own controls, for audio without a drawn waveform. */
  #load(file) {
    this.#url = URL.createObjectURL(file);
    this.#audio = h("audio", { controls: true, src: this.#url, "aria-label": "Audio" });
    return this.#audio;
  }

  #makePlayer(file, caption) {
    this.#url = URL.createObjectURL(file);
    this.#audio = new Audio(this.#url);
    this.toggle = button("", () => (this.#audio.paused ? this.#audio.play().catch(() => {}) : this.#audio.pause()), "play");
    this.toggle.setAttribute("aria-label", "Play");
    this.time = h("span", { class: "help num wave-time" }, "0:00");
    caption.append(this.time);
    const moved = () => this.draw();
    const frame = () => {
      moved();
      if (!this.#audio.paused) requestAnimationFrame(frame);
    };
    for (const event of ["play", "pause", "ended"]) {
      this.#audio.addEventListener(event, () => {
        const isPlaying = !this.#audio.paused;
        this.toggle.classList.toggle("playing", isPlaying);
        this.toggle.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
        frame();
      });
    }
    this.#audio.addEventListener("seeked", moved);
    const canvas = this.#canvas;
    for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-valuemin": 0,
      "aria-valuemax": Math.floor(this.#wave.seconds) })) canvas.setAttribute(name, value);
    canvas.addEventListener("click", (event) => {
      this.#seek((event.offsetX / canvas.clientWidth) * this.#wave.seconds);
    });
    canvas.addEventListener("keydown", (event) => {
      const to = { ArrowRight: this.position + STEP, ArrowUp: this.position + STEP, ArrowLeft: this.position - STEP,
        ArrowDown: this.position - STEP, Home: 0, End: this.#wave.seconds }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.#seek(to);
    });
  }

  /** The position in seconds. A player may run slightly past the drawn end. */
  get position() {
    return Math.min(this.#audio?.currentTime ?? 0, this.#wave.seconds);
  }

  #seek(seconds) {
    this.#audio.currentTime = Math.max(0, Math.min(this.#wave.seconds, seconds));
    this.draw();
  }

  draw() {
    const canvas = this.#canvas;
    if (!canvas?.isConnected || canvas.clientWidth === 0) return;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(canvas);
    // The colours are real properties, because a canvas cannot resolve the page's custom properties.
    const { color: played, fill: ahead } = style;
    const brush = canvas.getContext("2d");
    brush.setTransform(scale, 0, 0, scale, 0, 0);
    brush.clearRect(0, 0, width, height);
    const { peaks, seconds } = this.#wave;
    const bars = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
    const head = this.#audio ? (this.position / seconds) * width : width;
    for (let bar = 0; bar < bars; bar += 1) {
      const from = Math.floor((bar / bars) * peaks.length);
      const to = Math.max(from + 1, Math.floor(((bar + 1) / bars) * peaks.length));
      const peak = Math.max(...peaks.slice(from, to)) / 100;
      const tall = Math.max(2, peak * height);
      brush.fillStyle = bar * (BAR + GAP) < head ? played : ahead;
      brush.fillRect(bar * (BAR + GAP), (height - tall) / 2, BAR, tall);
    }
    if (!this.#audio) return;
    canvas.setAttribute("aria-valuenow", Math.floor(this.position));
    canvas.setAttribute("aria-valuetext", `${clock(this.position)} of ${clock(seconds)}`);
    this.time.textContent = clock(this.position);
    if (this.position > 0) {
      brush.fillStyle = played;
      brush.fillRect(Math.min(head, width - 1), 0, 1.5, height);
    }
  }

  /** Stops playing and releases the file. */
  close() {
    this.#sizes?.disconnect();
    this.#audio?.pause();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }
}
