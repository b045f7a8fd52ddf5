// What this tab remembers across a reload, and nothing else does: the key, the theme, and how far it had read.

const storage = sessionStorage;
const MOST_WAVES = 10;
const MOST_TEXT = 1_000_000;

function put(name, value) {
  try {
    storage.setItem(name, value);
  } catch {
    // Full: a reload will read the stream from its beginning, and draw no waveform.
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

/** Forgets everything but the theme. */
export function forget() {
  const kept = theme();
  storage.clear();
  keepTheme(kept);
}

/** What the page that takes this one's place shall say. */
export const keepFarewell = (text) => put("farewell", text);

/** What was kept of that, once. */
export function takeFarewell() {
  const text = storage.getItem("farewell");
  storage.removeItem("farewell");
  return text;
}

/** What was drawn of a task's audio: name, size, seconds, peaks. The audio itself is not kept. */
export function keepWave(id, wave) {
  const names = parsed("waves") ?? [];
  for (const old of names.splice(0, Math.max(0, names.length + 1 - MOST_WAVES))) storage.removeItem(`wave:${old}`);
  put("waves", JSON.stringify([...names.filter((name) => name !== id), id]));
  put(`wave:${id}`, JSON.stringify(wave));
}

export const wave = (id) => parsed(`wave:${id}`);

/** How far a running task was read: the position is that of the next chunk. */
export function keepReading(id, reading) {
  if (reading.text.length + reading.reasoning.length < MOST_TEXT) {
    put("reading", JSON.stringify({ id, ...reading }));
  }
}

/** What was kept of this task, once. */
export function takeReading(id) {
  const reading = parsed("reading");
  storage.removeItem("reading");
  return reading?.id === id ? reading : null;
}
