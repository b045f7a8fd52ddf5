// The theme: light, dark, or the system's. The tab keeps it.

import * as session from "./session.js";

const THEMES = ["auto", "light", "dark"];

/** Makes `toggle` switch to the next theme. Calls `changed` when the colours change. */
export function setUp(toggle, changed) {
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    toggle.textContent = `Theme: ${theme}`;
    changed();
  };
  toggle.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(session.theme()) + 1) % THEMES.length];
    session.keepTheme(theme);
    show(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show(session.theme());
}
