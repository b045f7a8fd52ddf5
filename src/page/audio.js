// Audio in the browser: the waveform of a file, and a recording as a file that the server accepts.

/** Number of bars in a waveform. */
const BARS = 240;
/** Sample rate for drawing. A long file, decoded at its own rate, would need more memory than a phone has. */
const DRAWING_RATE = 8000;
/** Sample rate of recordings: enough for speech, and the rate that models use. */
const SPEECH_RATE = 16_000;
const HEADER_BYTES = 44;
/** The largest compressed file that is drawn. A larger one may last hours, and would need too much memory when decoded. */
const MOST_TO_DRAW = 5_000_000;
const UNCOMPRESSED = /wav|flac|aiff/;

async function decode(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  return context.decodeAudioData(await blob.arrayBuffer());
}

/**
 * Returns a file's duration and, if it is not too long, its peaks over time as bars (0 to 100). Rejects if the
 * browser cannot decode the file.
 */
export async function examine(blob) {
  if (blob.size > MOST_TO_DRAW && !UNCOMPRESSED.test(blob.type)) {
    return { seconds: await duration(blob), note: "This file is too long to draw its waveform." };
  }
  const sound = await decode(blob, DRAWING_RATE);
  const samples = sound.getChannelData(0);
  const size = Math.max(1, Math.ceil(samples.length / BARS));
  const peaks = [];
  for (let start = 0; start < samples.length; start += size) {
    let peak = 0;
    for (const sample of samples.subarray(start, start + size)) peak = Math.max(peak, Math.abs(sample));
    peaks.push(peak);
  }
  const loudest = Math.max(...peaks, 0.01);
  return { seconds: sound.duration, peaks: peaks.map((peak) => Math.round((peak / loudest) * 100)) };
}

/** Returns the duration that the browser's own player reports for a file, in seconds. */
async function duration(blob) {
  const url = URL.createObjectURL(blob);
  try {
    return await new Promise((resolve, reject) => {
      const audio = new Audio(url);
      audio.onloadedmetadata = () => resolve(audio.duration);
      audio.onerror = () => reject(audio.error);
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Returns a recording as WAV (one channel, 16 bits). Browsers record WebM, which is not a format of the API. */
export async function toWav(blob) {
  const sound = await decode(blob, SPEECH_RATE);
  const channels = Array.from({ length: sound.numberOfChannels }, (_, index) => sound.getChannelData(index));
  const bytes = new DataView(new ArrayBuffer(HEADER_BYTES + sound.length * 2));
  const text = (at, word) => [...word].forEach((letter, index) => bytes.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, SPEECH_RATE, true);
  bytes.setUint32(28, SPEECH_RATE * 2, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, sound.length * 2, true);
  for (let index = 0; index < sound.length; index += 1) {
    let sum = 0;
    for (const channel of channels) sum += channel[index];
    const sample = Math.max(-1, Math.min(1, sum / channels.length));
    bytes.setInt16(HEADER_BYTES + index * 2, Math.round(sample * 32_767), true);
  }
  return new Blob([bytes], { type: "audio/wav" });
}

/** Returns a file as base64 text. */
export function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read. It may have been moved or changed. Choose it again."));
    reader.readAsDataURL(blob);
  });
}
