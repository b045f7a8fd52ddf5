// The text of an answer, shown as it comes. Only the last line is ever made again, and a long one not as a whole.

import { h } from "./dom.js";
import { Blocks, PlainLines } from "./markdown.js";

/** A line that grows beyond this is not looked at again before it is complete. */
const LONG_LINE = 2000;
/** A paragraph is laid out as a whole with each piece that is added to it: one that is longer goes on in another block. */
const MOST_BLOCK = 12_000;
/** A block ends between two words, unless a word is longer than this: in some languages all of a paragraph is one. */
const LONG_WORD = 200;

export class AnswerText {
  text = "";
  #lines;
  /** What the last block shows. */
  #line = "";
  /** Is some of it shown as it came, because it is long? */
  #isRaw = false;
  /** Is it the continuation of a long paragraph? */
  #goesOn = false;

  constructor(label) {
    this.element = h("div", { class: "answer", "aria-label": label, role: "group" });
    this.#lines = new Blocks(this.element);
  }

  append(text) {
    this.text += text;
    this.#draw(text);
  }

  /** Nothing comes after this. */
  end() {
    this.#finish();
  }

  /** The text as it was sent, or as it is meant. */
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

  /** The next text makes a new block. */
  #begin(goesOn) {
    this.#line = "";
    this.#isRaw = false;
    this.#goesOn = goesOn;
  }

  /** Adds a part of a line, in as many blocks as it takes. */
  #fill(part) {
    let rest = part;
    while (rest) {
      const room = MOST_BLOCK - this.#line.length;
      if (rest.length <= room) return this.#grow(rest);
      const space = rest.lastIndexOf(" ", Math.max(room, 0)) + 1 || rest.indexOf(" ") + 1;
      const most = Math.max(0, room + LONG_WORD);
      // The word may end with what comes next.
      if (space === 0 && rest.length <= most) return this.#grow(rest);
      let cut = Math.min(space || most, most);
      // A character of two halves stays whole.
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
    this.#lines.show(this.#line, this.#goesOn);
  }

  /** The block is complete. */
  #close(goesOn) {
    this.#finish();
    this.#lines.next();
    this.#begin(goesOn);
  }

  /** Shows as it is meant what was shown as it came. */
  #finish() {
    if (!this.#isRaw) return;
    this.#lines.show(this.#line, this.#goesOn);
    this.#isRaw = false;
  }
}
