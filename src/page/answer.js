// The text of an answer, line by line as it comes: headings, lists, bold and code look like that, the rest is text.
//
// Only the last line is ever made again, so that a long answer costs no more than a short one. Nothing of the text
// is ever read as HTML.

import { h } from "./dom.js";

/** A line that grows beyond this is not looked at again before it is complete. */
const LONG_LINE = 2000;
/** A paragraph is laid out as a whole with each piece that is added to it: one that is longer goes on in another block. */
const MOST_BLOCK = 12_000;
/** A block ends between two words, unless a word is longer than this: in some languages all of a paragraph is one. */
const LONG_WORD = 200;

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
  /** Is some of it shown as it came, because it is long? */
  #isRaw = false;
  /** Is it the continuation of a long paragraph? */
  #goesOn = false;
  #isCode = false;
  #isPlain = false;
  /** The marks of the first heading, which stands right below the page's own, whatever the model counts from. */
  #topMarks;

  constructor(label) {
    this.element = h("div", { class: "answer", "aria-label": label, role: "group" });
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
    this.#isPlain = isPlain;
    this.element.replaceChildren();
    this.#begin(false);
    this.#isCode = false;
    this.#topMarks = undefined;
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
    this.#isRaw = false;
    this.#goesOn = goesOn;
  }

  /** Adds a part of a line, in as many blocks as it takes. */
  #fill(part, added) {
    let rest = part;
    while (rest) {
      const room = MOST_BLOCK - this.#line.length;
      if (rest.length <= room) return this.#grow(rest, added);
      const space = rest.lastIndexOf(" ", Math.max(room, 0)) + 1 || rest.indexOf(" ") + 1;
      const most = Math.max(0, room + LONG_WORD);
      // The word may end with what comes next.
      if (space === 0 && rest.length <= most) return this.#grow(rest, added);
      let cut = Math.min(space || most, most);
      // A character of two halves stays whole.
      if (/[\uD800-\uDBFF]$/.test(rest.slice(0, cut))) cut += 1;
      this.#grow(rest.slice(0, cut), added);
      this.#close(added);
      this.#begin(true);
      rest = rest.slice(cut);
    }
  }

  #grow(part, added) {
    this.#line += part;
    if (this.#element && this.#line.length > LONG_LINE) {
      this.#isRaw = true;
      return this.#element.append(part);
    }
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
    this.#finish();
    if (!this.#isPlain && this.#line.startsWith("```")) this.#isCode = !this.#isCode;
  }

  /** Shows as it is meant what was shown as it came. */
  #finish() {
    if (!this.#isRaw) return;
    const made = this.#make(this.#line);
    this.#element.replaceWith(made);
    this.#element = made;
    this.#isRaw = false;
  }

  #make(line) {
    if (this.#isPlain) return h("div", { class: "plain" }, line);
    if (this.#goesOn) return h("div", { class: "text long" }, inline(line));
    if (line.startsWith("```")) return h("div", { class: "fence" });
    if (this.#isCode) return h("div", { class: "code-line" }, line);
    const heading = /^(#{1,6})\s+(.*)/.exec(line);
    if (heading) {
      const marks = heading[1].length;
      this.#topMarks ??= marks;
      const level = Math.max(2, marks - this.#topMarks + 2);
      return h("div", { class: `head head-${marks + 1}`, role: "heading", "aria-level": level }, inline(heading[2]));
    }
    const bullet = /^(\s*)[-*+]\s+(.*)/.exec(line);
    if (bullet) return h("div", { class: bullet[1].length > 1 ? "bullet deep" : "bullet" }, inline(bullet[2]));
    if (/^\s*\d+[.)]\s/.test(line)) return h("div", { class: "numbered" }, inline(line));
    if (/^(---+|\*\*\*+)$/.test(line.trim())) return h("hr");
    return h("div", { class: "text" }, inline(line));
  }
}
