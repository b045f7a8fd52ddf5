// Creates elements without HTML, so that text from a model or a server is always shown as text.

export const $ = (id) => document.getElementById(id);

/** True on Apple's machines, which use Cmd where others use Ctrl. */
const isMac = /^(Mac|iP)/.test(navigator.platform);

/** Returns true for the keys that submit the form: Ctrl+Enter, on Apple's machines Cmd+Enter. */
export const isRunKey = (event) => event.key === "Enter" && (isMac ? event.metaKey : event.ctrlKey) && !event.isComposing;

export const RUN_KEY = isMac ? "Cmd+Enter" : "Ctrl+Enter";
export const RUN_SHORTCUT = isMac ? "Meta+Enter" : "Control+Enter";

/** Creates an element. Properties that start with "on" are listeners; children are elements, texts, or nothing. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Announces a text to screen readers. */
export function announce(text) {
  $("status").textContent = text;
}

export function button(text, onclick, className) {
  return h("button", { type: "button", class: className, onclick }, text);
}

/** Returns a button that copies the result of `text`, and shows that it did. */
export function copyButton(text, label = "Copy") {
  const copy = button(label, async () => {
    copy.textContent = (await toClipboard(text())) ? "Copied" : "Not copied";
    announce(copy.textContent);
    clearTimeout(copy.timer);
    copy.timer = setTimeout(() => (copy.textContent = label), 1500);
  }, "small");
  return copy;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS there is no clipboard API. The older command works.
    const area = h("textarea", { class: "sr", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    const before = document.activeElement;
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    before?.focus();
    return copied;
  }
}

/** Returns a function that requests a call of `draw` in the next frame of the screen, or within a second on a hidden page. */
export function batched(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    const run = () => {
      asked = false;
      draw();
    };
    if (document.hidden) setTimeout(run, 1000);
    else requestAnimationFrame(run);
  };
}
