// Sound in the browser: what a file looks like, and a recording as a file that the server takes.

/** Bars of a waveform. */
const BARS = 240;
/** Enough to draw; a long file decoded at its own rate would fill the memory of a phone. */
const DRAWING_RATE = 8000;
/** Enough for speech, and what models listen at. */
const SPEECH_RATE = 16_000;
const HEADER_BYTES = 44;
/** Compressed audio beyond this may be hours, which decoded fill the memory of any machine. */
const MOST_TO_DRAW = 5_000_000;
const UNCOMPRESSED = /wav|flac|aiff/;

async function decode(blob, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  return context.decodeAudioData(await blob.arrayBuffer());
}

/**
 * How long a file lasts, and its loudest moments in a row (0 to 100), if it is not too long for that. Rejects where the
 * browser cannot decode it.
 */
export async function examine(blob) {
  if (blob.size > MOST_TO_DRAW && !UNCOMPRESSED.test(blob.type)) {
    return { seconds: await duration(blob), note: "This is too long for its waveform to be drawn." };
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

/** How long the browser's own player says that a file lasts, in seconds. */
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

/** What a browser recorded, as WAV: one channel, 16 bits. WebM, which browsers record, is no format of the API. */
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

/** The base64 text of a file. */
export function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read. Was it moved or changed? Choose it again."));
    reader.readAsDataURL(blob);
  });
}
