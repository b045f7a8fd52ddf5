// The text of an answer, shown while it is received. Only the last line is redrawn, and a long line only in part.

import { h } from "./dom.js";
import { Blocks, PlainLines } from "./markdown.js";

/** The longest line that is formatted before it is complete. A longer line is shown as raw text until then. */
const LONG_LINE = 2000;
/** The longest block. A longer paragraph continues in a new block, because the browser lays out a whole block for each piece. */
const MOST_BLOCK = 12_000;
/** The longest word that is not divided at the end of a block. Some languages write without spaces. */
const LONG_WORD = 200;

export class AnswerText {
  text = "";
  #lines;
  /** The content of the last block. */
  #line = "";
  /** True if a part of the last block is shown as raw text, because it is long. */
  #isRaw = false;
  /** True if the last block continues a long paragraph. */
  #isContinued = false;

  constructor(label) {
    this.element = h("div", { class: "answer", "aria-label": label, role: "group" });
    this.#lines = new Blocks(this.element);
  }

  append(text) {
    this.text += text;
    this.#draw(text);
  }

  /** Ends the text: no more text follows. */
  end() {
    this.#finish();
  }

  /** Shows the text as it was sent, or formatted. */
  setPlain(isPlain) {
    this.element.replaceChildren();
    this.#lines = isPlain ? new PlainLines(this.element) : new Blocks(this.element);
    this.#begin(false);
    this.#draw(this.text);
  }

  #draw(text) {
    text.split("\n").forEach((part, index) => {
      if (index > 0) this.#close(false);
      this.#fill(part);
    });
  }

  /** Ends the last block, so that the next text starts a new one. */
  #begin(isContinued) {
    this.#line = "";
    this.#isRaw = false;
    this.#isContinued = isContinued;
  }

  /** Adds a part of a line, in as many blocks as needed. */
  #fill(part) {
    let rest = part;
    while (rest) {
      const room = MOST_BLOCK - this.#line.length;
      if (rest.length <= room) return this.#grow(rest);
      const space = rest.lastIndexOf(" ", Math.max(room, 0)) + 1 || rest.indexOf(" ") + 1;
      const most = Math.max(0, room + LONG_WORD);
      // The next piece may complete the word.
      if (space === 0 && rest.length <= most) return this.#grow(rest);
      let cut = Math.min(space || most, most);
      // A character of two halves (a surrogate pair) is not split.
      if (/[\uD800-\uDBFF]$/.test(rest.slice(0, cut))) cut += 1;
      this.#grow(rest.slice(0, cut));
      this.#close(true);
      rest = rest.slice(cut);
    }
  }

  #grow(part) {
    const isShown = this.#line !== "";
    this.#line += part;
    if (isShown && this.#line.length > LONG_LINE) {
      this.#isRaw = true;
      return this.#lines.append(part);
    }
    this.#lines.show(this.#line, this.#isContinued);
  }

  /** Completes the block. */
  #close(isContinued) {
    this.#finish();
    this.#lines.next();
    this.#begin(isContinued);
  }

  /** Formats the text that was shown as raw text. */
  #finish() {
    if (!this.#isRaw) return;
    this.#lines.show(this.#line, this.#isContinued);
    this.#isRaw = false;
  }
}
