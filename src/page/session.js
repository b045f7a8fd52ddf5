// The data that this tab keeps across a reload: the key, the theme, and the reading positions. No other data is kept.

const storage = sessionStorage;
const MOST_WAVES = 10;
const MOST_TEXT = 1_000_000;

function put(name, value) {
  try {
    storage.setItem(name, value);
  } catch {
    // If the storage is full, a reload reads the stream from its start, and draws no waveform.
  }
}

const parsed = (name) => {
  try {
    return JSON.parse(storage.getItem(name));
  } catch {
    return null;
  }
};

export const key = () => storage.getItem("key");
export const theme = () => storage.getItem("theme") ?? "auto";
export const keepTheme = (name) => put("theme", name);
export const keepKey = (value) => put("key", value);

/** Deletes everything but the theme. */
export function forget() {
  const kept = theme();
  storage.clear();
  keepTheme(kept);
}

/** Saves a message that the page shows after a reload. */
export const keepMessage = (text) => put("message", text);

/** Returns the saved message, and deletes it. */
export function takeMessage() {
  const text = storage.getItem("message");
  storage.removeItem("message");
  return text;
}

/** Saves the waveform of a task's audio: name, size, seconds, peaks. The audio itself is not saved. */
export function keepWave(id, wave) {
  const names = parsed("waves") ?? [];
  for (const old of names.splice(0, Math.max(0, names.length + 1 - MOST_WAVES))) storage.removeItem(`wave:${old}`);
  put("waves", JSON.stringify([...names.filter((name) => name !== id), id]));
  put(`wave:${id}`, JSON.stringify(wave));
}

export const wave = (id) => parsed(`wave:${id}`);

/** Saves how far a running task was read; the position is the number of the next chunk. */
export function keepReading(id, reading) {
  if (reading.text.length + reading.reasoning.length < MOST_TEXT) {
    put("reading", JSON.stringify({ id, ...reading }));
  }
}

/** Returns the saved data of this task, and deletes it. */
export function takeReading(id) {
  const reading = parsed("reading");
  storage.removeItem("reading");
  return reading?.id === id ? reading : null;
}
