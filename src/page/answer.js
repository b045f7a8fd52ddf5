// The text of an answer, line by line as it comes: headings, lists, bold and code look like that, the rest is text.
//
// Only the last line is ever made again, so that a long answer costs no more than a short one. Nothing of the text
// is ever read as HTML.

import { h } from "./dom.js";

/** A line that grows beyond this is not looked at again before it is complete. */
const LONG_LINE = 2000;
/** A paragraph is laid out as a whole with each piece that is added to it: one that is longer goes on in another block. */
const MOST_BLOCK = 12_000;

const inline = (text) => text.split(/(\*\*[^*]+\*\*|`[^`]+`)/).map((part) => {
  if (/^\*\*[^*]+\*\*$/.test(part)) return h("strong", {}, part.slice(2, -2));
  if (/^`[^`]+`$/.test(part)) return h("code", {}, part.slice(1, -1));
  return part;
});

export class AnswerText {
  text = "";
  /** The last block, and its text. */
  #line = "";
  #element;
  /** Is it the continuation of a long paragraph? */
  #goesOn = false;
  #isCode = false;
  #isPlain = false;

  constructor(label) {
    this.element = h("div", { class: "answer", "aria-label": label, role: "group" });
  }

  append(text) {
    this.text += text;
    this.#draw(text);
  }

  /** The text as it was sent, or as it is meant. */
  setPlain(isPlain) {
    this.#isPlain = isPlain;
    this.element.replaceChildren();
    this.#begin(false);
    this.#isCode = false;
    this.#draw(this.text);
  }

  #draw(text) {
    const added = document.createDocumentFragment();
    const parts = text.split("\n");
    parts.forEach((part, index) => {
      if (index > 0) {
        this.#close(added);
        this.#begin(false);
      }
      this.#fill(part, added);
    });
    this.element.append(added);
  }

  /** The next text makes a new block. */
  #begin(goesOn) {
    this.#line = "";
    this.#element = undefined;
    this.#goesOn = goesOn;
  }

  /** Adds a part of a line, in as many blocks as it takes. */
  #fill(part, added) {
    let rest = part;
    while (rest) {
      const room = MOST_BLOCK - this.#line.length;
      const space = rest.lastIndexOf(" ", Math.max(room, 0)) + 1 || rest.indexOf(" ") + 1;
      if (rest.length <= room || space === 0) return this.#grow(rest, added);
      this.#grow(rest.slice(0, space), added);
      this.#close(added);
      this.#begin(true);
      rest = rest.slice(space);
    }
  }

  #grow(part, added) {
    this.#line += part;
    if (this.#element && this.#line.length > LONG_LINE) return this.#element.append(part);
    const made = this.#make(this.#line);
    if (this.#element) this.#element.replaceWith(made);
    else added.append(made);
    this.#element = made;
  }

  /** The line is complete. */
  #close(added) {
    if (!this.#element) {
      added.append(h("div", { class: this.#isPlain ? "plain" : "gap" }));
      return;
    }
    if (this.#line.length > LONG_LINE) this.#element.replaceWith(this.#make(this.#line));
    if (!this.#isPlain && this.#line.startsWith("```")) this.#isCode = !this.#isCode;
  }

  #make(line) {
    if (this.#isPlain) return h("div", { class: "plain" }, line);
    if (this.#goesOn) return h("div", { class: "text long" }, inline(line));
    if (line.startsWith("```")) return h("div", { class: "fence" });
    if (this.#isCode) return h("div", { class: "code-line" }, line);
    const heading = /^(#{1,6})\s+(.*)/.exec(line);
    if (heading) {
      const level = Math.min(6, heading[1].length + 1);
      return h("div", { class: `head head-${level}`, role: "heading", "aria-level": level }, inline(heading[2]));
    }
    const bullet = /^(\s*)[-*+]\s+(.*)/.exec(line);
    if (bullet) return h("div", { class: bullet[1].length > 1 ? "bullet deep" : "bullet" }, inline(bullet[2]));
    if (/^\s*\d+[.)]\s/.test(line)) return h("div", { class: "numbered" }, inline(line));
    if (/^(---+|\*\*\*+)$/.test(line.trim())) return h("hr");
    return h("div", { class: "text" }, inline(line));
  }
}
