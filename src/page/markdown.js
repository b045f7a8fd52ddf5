// Shows Markdown line by line while it is received. The last line can be redrawn when it grows. Earlier lines are not
// redrawn, so that a long answer costs no more per piece than a short one. A parser of whole documents would parse a long
// transcript again for each piece.
//
// Every line break is kept, because models mean line breaks so. No text is parsed as HTML.

import { h } from "./dom.js";
import { inline } from "./inline.js";

/** The deepest nesting of lists and quotes. Deeper ones are shown as text. */
const MOST_DEPTH = 8;

const FENCE = /^([ \t]*)(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/;
const UNDERLINE = /^ {0,3}(={2,}|-{3,})[ \t]*$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^([ \t]*)([-*+]|(\d{1,9})[.)])([ \t]+)(.*)$/;
const TASK = /^\[([ xX])\][ \t]+(.*)$/;
const QUOTE = /^ {0,3}>[ \t]?(.*)$/;
const DELIMITERS = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
/** Indentation of a line that belongs to the last item of a list. */
const INDENT = 2;

const widthOf = (blank) => blank.replaceAll("\t", "    ").length;
const indentOf = (line) => widthOf(/^[ \t]*/.exec(line)[0]);

/** Returns the line with its indentation reduced by this width. */
const outdented = (line, width) => line.replace(/^[ \t]*/, (blank) => " ".repeat(Math.max(0, widthOf(blank) - width)));

/** Returns the cells of a table's row. A divider after a backslash does not count. */
const cellsOf = (line) => line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1")
  .split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

const alignmentOf = (cell) => (/^:-+:$/.test(cell) ? "center" : /^-+:$/.test(cell) ? "end" : "");

/** Draws the lines of a text as blocks into `element`. */
export class Blocks {
  #element;
  #depth;
  /** The blocks that the earlier lines have opened: `fence`, `list`, `quote`, `table`, or the `text` of one line. */
  #open = {};
  /** The last line as it is shown: its `element`, `undo()`, and the blocks that it opens. */
  #shown;
  /** The marks of the first heading. It is shown one level below the page's heading, whatever level the model starts with. */
  #topMarks;

  constructor(element, depth = 0) {
    this.#element = element;
    this.#depth = depth;
  }

  /** Shows the last line instead of its earlier version. `isContinued` is true if it continues a long line. */
  show(line, isContinued = false) {
    this.undo();
    this.#shown = isContinued ? this.#text(line, "text long") : this.#place(line);
  }

  /** Adds raw text to the last line; it is parsed when the line is complete. */
  append(text) {
    if (this.#shown.inner) this.#shown.inner.append(text);
    else this.#shown.element.append(text);
  }

  /** Completes the last line. */
  next() {
    this.#shown ??= this.#place("");
    this.#shown.inner?.next();
    this.#open = this.#shown.open;
    this.#shown = undefined;
  }

  /** Removes the last line. */
  undo() {
    this.#shown?.undo();
    this.#shown = undefined;
  }

  #place(line) {
    const { fence, list, quote, table, text } = this.#open;
    if (fence) return fence.ends.test(line) ? this.#add(h("div", { class: "fence" }), {}) : this.#code(line, fence);
    if (!line.trim()) return this.#blank();
    if (list && indentOf(line) >= list.indent + INDENT) {
      return this.#within(list.item, outdented(line, list.offset), { list });
    }
    const opened = FENCE.exec(line);
    if (opened) return this.#fence(opened);
    const heading = HEADING.exec(line);
    if (heading) return this.#heading(heading[1].length, heading[2]);
    const underline = text?.isAlone && !text.line.includes("|") && UNDERLINE.exec(line);
    if (underline) return this.#underlined(underline[1][0] === "=" ? 1 : 2, text);
    if (RULE.test(line)) return this.#add(h("hr"), {});
    const item = this.#depth < MOST_DEPTH && ITEM.exec(line);
    if (item) return this.#item(item);
    const quoted = this.#depth < MOST_DEPTH && QUOTE.exec(line);
    if (quoted) return this.#quote(quoted[1], quote);
    if (table && line.includes("|")) return this.#row(line, table);
    return this.#table(line) ?? this.#text(line);
  }

  #add(element, open, undo = () => element.remove()) {
    // The text of a block determines its direction, and that of nested blocks.
    if (this.#depth === 0 && !element.dir) element.dir = "auto";
    if (this.#open.isGap) element.classList.add("apart");
    if (!element.parentNode) this.#element.append(element);
    return { element, open, undo };
  }

  /** Shows a line in a nested block. */
  #within(inner, line, open, undo = () => {}) {
    inner.show(line);
    return { inner, open, undo: () => {
      inner.undo();
      undo();
    } };
  }

  #blank() {
    const { list } = this.#open;
    const open = { list, isGap: true };
    // The next line may belong to the last item of the list.
    return list ? this.#within(list.item, "", open) : { element: h("div"), open, undo: () => {} };
  }

  #fence([, blank, marks]) {
    const ends = new RegExp(`^[ \\t]*${marks[0]}{${marks.length},}[ \\t]*$`);
    return this.#add(h("div", { class: "fence" }), { fence: { ends, indent: widthOf(blank) } });
  }

  #code(line, fence) {
    return this.#add(h("div", { class: "code-line", dir: "ltr" }, outdented(line, Math.min(fence.indent, indentOf(line)))), { fence });
  }

  #heading(marks, text) {
    const top = this.#topMarks ?? marks;
    const level = Math.min(6, Math.max(2, marks - top + 2));
    const heading = this.#add(h("div", { class: `head head-${marks + 1}`, role: "heading", "aria-level": level }, inline(text)), {});
    if (this.#topMarks !== undefined) return heading;
    this.#topMarks = marks;
    return { ...heading, undo: () => {
      this.#topMarks = undefined;
      heading.undo();
    } };
  }

  /** Turns the previous line into a heading, if that line is a separate paragraph. */
  #underlined(marks, { element, line }) {
    element.remove();
    const heading = this.#heading(marks, line.trim());
    if (element.classList.contains("apart")) heading.element.classList.add("apart");
    return { ...heading, undo: () => {
      heading.undo();
      this.#element.append(element);
    } };
  }

  #item([, blank, marker, count, space, text]) {
    const kind = count === undefined ? "ul" : "ol";
    const indent = widthOf(blank);
    const open = this.#open.list;
    const isSame = open?.kind === kind;
    const element = isSame ? open.element : h(kind, {});
    const task = TASK.exec(text);
    const item = h("li", { value: count, class: task && "task" }, task && h("input", { type: "checkbox", disabled: true,
      checked: task[1] !== " ", "aria-label": task[1] === " " ? "not done" : "done" }));
    if (isSame && this.#open.isGap) item.classList.add("apart");
    element.append(item);
    if (!isSame) this.#add(element, {});
    const inner = new Blocks(item, this.#depth + 1);
    const list = { kind, element, indent, offset: indent + marker.length + widthOf(space), item: inner };
    return this.#within(inner, task ? task[2] : text, { list }, () => (isSame ? item : element).remove());
  }

  #quote(text, open) {
    if (open) return this.#within(open, text, { quote: open });
    const element = h("blockquote", {});
    this.#add(element, {});
    const quote = new Blocks(element, this.#depth + 1);
    return this.#within(quote, text, { quote }, () => element.remove());
  }

  /** Turns the previous line into a table. */
  #table(line) {
    const head = this.#open.text;
    if (!head?.line.includes("|") || !DELIMITERS.test(line)) return undefined;
    const [names, columns] = [cellsOf(head.line), cellsOf(line).map(alignmentOf)];
    if (names.length !== columns.length) return undefined;
    const body = h("tbody", {});
    const box = h("div", { class: "table-box", tabindex: 0, role: "group", "aria-label": "Table" }, h("table", {},
      h("thead", {}, h("tr", {}, names.map((name, index) => h("th", { scope: "col", class: columns[index] }, inline(name))))),
      body));
    if (head.element.classList.contains("apart")) box.classList.add("apart");
    head.element.replaceWith(box);
    return this.#add(box, { table: { body, columns } }, () => box.replaceWith(head.element));
  }

  #row(line, table) {
    const cells = cellsOf(line);
    const row = h("tr", {}, table.columns.map((column, index) => h("td", { class: column }, inline(cells[index] ?? ""))));
    table.body.append(row);
    return { element: row.lastElementChild, open: { table }, undo: () => row.remove() };
  }

  #text(line, kind = "text") {
    const { fence } = this.#open;
    if (fence) return this.#code(line, fence);
    const element = h("div", { class: kind }, inline(line));
    return this.#add(element, { text: { element, line, isAlone: !this.#open.text } });
  }
}

/** Draws text as it was sent. It has the same interface as the class for Markdown. */
export class PlainLines {
  #element;
  #shown;

  constructor(element) {
    this.#element = element;
  }

  show(line) {
    this.undo();
    this.#shown = h("div", { class: "plain", dir: "auto" }, line);
    this.#element.append(this.#shown);
  }

  append(text) {
    this.#shown.append(text);
  }

  next() {
    if (!this.#shown) this.show("");
    this.#shown = undefined;
  }

  undo() {
    this.#shown?.remove();
    this.#shown = undefined;
  }
}
