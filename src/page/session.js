// What this tab keeps across a reload: the key, the theme, and how far it had read. Nothing else on the page is kept.

const storage = sessionStorage;
const MOST_WAVES = 10;
const MOST_TEXT = 1_000_000;

function put(name, value) {
  try {
    storage.setItem(name, value);
  } catch {
    // The storage is full: after a reload the stream is read from its start, and no waveform is drawn.
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

/** Saves a message for the page that replaces this one. */
export const keepFarewell = (text) => put("farewell", text);

/** Returns that message, once. */
export function takeFarewell() {
  const text = storage.getItem("farewell");
  storage.removeItem("farewell");
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

/** Returns what was saved of this task, once. */
export function takeReading(id) {
  const reading = parsed("reading");
  storage.removeItem("reading");
  return reading?.id === id ? reading : null;
}
