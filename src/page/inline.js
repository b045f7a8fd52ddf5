// Converts the Markdown within a line to elements and texts: emphasis, code, links, escapes and entities. No text is parsed
// as HTML.

import { h } from "./dom.js";

/** The schemes that links may have. Links to scripts, files and places in this page are not allowed. */
const PROTOCOLS = ["http:", "https:", "mailto:"];
/** Longest text of a link, in characters. It limits the search for a closing bracket. */
const MOST_LABEL = 1000;

const SPECIAL = /[\\`[<*_~&]|!\[|https?:\/\//g;
const ESCAPE = /\\([!-/:-@[-`{-~])/y;
const CODE = /(`+)(?!`)(.*?[^`])\1(?!`)/y;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-zA-Z]{2,8}));/y;
/** HTML entities that models write. */
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "\u2026", ndash: "\u2013", mdash: "\u2014",
  lsquo: "\u2018", rsquo: "\u2019", ldquo: "\u201c", rdquo: "\u201d", laquo: "\u00ab", raquo: "\u00bb", bull: "\u2022", middot: "\u00b7",
  deg: "\u00b0", times: "\u00d7", copy: "\u00a9", reg: "\u00ae", trade: "\u2122", euro: "\u20ac", rarr: "\u2192", larr: "\u2190" };
const BREAK = /<br *\/?>/iy;
const BRACKETED = /<((?:https?|mailto):[^\s<>]*)>/y;
const BARE = /https?:\/\/[^\s<>"`、。，）」』】]+/y;
const TARGET = /\s*(?:<([^<>]*)>|((?:[^\s()<>]|\([^\s()]*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/y;
const RUN = /\*+|_+|~+/y;
const PAIRS = /[`*_~]+/y;
const WORD = /[\p{L}\p{N}]/u;

/** A sequence of the same mark: `*`, `_` or `~`. The marks that open or close an emphasis are removed from it. */
class Run {
  constructor(mark, before, after) {
    this.mark = mark[0];
    this.count = mark.length;
    this.opens = /\S/.test(after);
    this.closes = /\S/.test(before);
    // An underscore within a word is not a mark. A star is a mark even there, because some languages have no spaces.
    if (this.mark === "_") {
      this.opens &&= !WORD.test(before);
      this.closes &&= !WORD.test(after);
    }
  }

  /** Returns how many marks of both sequences form an emphasis; 0 if they form none. */
  pairs(closer) {
    const most = Math.min(2, this.count, closer.count);
    return this.mark !== closer.mark || !this.opens || (this.mark === "~" && most < 2) ? 0 : most;
  }

  toString() {
    return this.mark.repeat(this.count);
  }
}

/** Returns the character of an entity. Returns nothing if there is no such character, or only half of one. */
function character([, decimal, hexadecimal, name]) {
  if (name) return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined;
  const code = decimal ? Number(decimal) : Number.parseInt(hexadecimal, 16);
  const isOne = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return isOne ? String.fromCodePoint(code) : undefined;
}

const match = (pattern, text, at) => {
  pattern.lastIndex = at;
  return pattern.exec(text);
};

/** Returns the address if a link may lead to it, and otherwise nothing. */
function safe(address) {
  try {
    const url = new URL(address);
    return PROTOCOLS.includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a link that opens in a new tab. The target does not get the address of this page. */
const linked = (href, ...label) => h("a", { href, title: href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...label);

/** Returns the position of the bracket that closes the one at `from`. */
function closing(text, from) {
  let depth = 0;
  for (let at = from; at < Math.min(text.length, from + MOST_LABEL); at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "[") depth += 1;
    else if (text[at] === "]") {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

/** Reads `[label](address)`. An image becomes a link, because the page loads nothing from other hosts. */
function link(text, at) {
  const from = text[at] === "!" ? at + 1 : at;
  const to = closing(text, from);
  if (to < 0 || text[to + 1] !== "(") return undefined;
  const target = match(TARGET, text, to + 2);
  const href = target && safe(target[1] ?? target[2]);
  if (!href) return undefined;
  const label = text.slice(from + 1, to);
  return { part: linked(href, ...(label ? inline(label, true) : [href])), end: TARGET.lastIndex };
}

/** Reads an address in the text, without the punctuation after it. */
function bare(text, at) {
  if (WORD.test(text[at - 1] ?? "")) return undefined;
  let address = match(BARE, text, at)?.[0] ?? "";
  for (;;) {
    const shorter = address.replace(/[.,:;!?'*_~\]]+$/, "");
    const isSurplus = shorter.endsWith(")") && shorter.split(")").length > shorter.split("(").length;
    if (shorter === address && !isSurplus) break;
    address = isSurplus ? shorter.slice(0, -1) : shorter;
  }
  const href = safe(address);
  return href && { part: linked(href, address), end: at + address.length };
}

/** Returns the markup that begins at a special character, and its end. */
function special(text, at, isInLink) {
  const sign = text[at];
  const found = (pattern, make) => {
    const all = match(pattern, text, at);
    return all && { part: make(all), end: at + all[0].length };
  };
  if (sign === "\\") return found(ESCAPE, (all) => all[1]);
  if (sign === "&") return found(ENTITY, (all) => character(all) ?? all[0]);
  if (sign === "`") return found(CODE, (all) => h("code", { dir: "ltr" }, all[2].replace(/^ (.*\S.*) $/, "$1")));
  if (sign === "<") {
    const address = !isInLink && match(BRACKETED, text, at);
    const href = address && safe(address[1]);
    return href ? { part: linked(href, address[1]), end: at + address[0].length } : found(BREAK, () => h("br"));
  }
  if (sign === "[" || sign === "!") return isInLink ? undefined : link(text, at);
  if (sign === "h") return isInLink ? undefined : bare(text, at);
  return found(RUN, ([mark]) => new Run(mark, text[at - 1] ?? " ", text[at + mark.length] ?? " "));
}

/** Wraps the parts between two sequences of the same mark in an element. */
function emphasize(parts) {
  const done = [];
  for (const part of parts) {
    if (part instanceof Run && part.closes) {
      while (part.count > 0) {
        const at = done.findLastIndex((earlier) => earlier instanceof Run && earlier.pairs(part) > 0);
        if (at < 0) break;
        const opener = done[at];
        const size = opener.pairs(part);
        const inner = done.splice(at + 1).map((each) => (each instanceof Run ? String(each) : each));
        done.push(h(part.mark === "~" ? "del" : size === 2 ? "strong" : "em", {}, ...inner));
        opener.count -= size;
        part.count -= size;
        if (opener.count === 0) done.splice(at, 1);
      }
    }
    if (!(part instanceof Run) || part.count > 0) done.push(part);
  }
  return done.map((part) => (part instanceof Run ? String(part) : part));
}

/** Converts the text of a line to elements and texts. A link contains no other link. */
export function inline(text, isInLink = false) {
  const parts = [];
  let at = 0;
  while (at < text.length) {
    const next = match(SPECIAL, text, at)?.index ?? text.length;
    if (next > at) parts.push(text.slice(at, next));
    if (next === text.length) break;
    const found = special(text, next, isInLink);
    // Anything else is text. A sequence of the same sign stays together.
    const end = found?.end ?? next + (match(PAIRS, text, next)?.[0].length ?? 1);
    parts.push(found?.part ?? text.slice(next, end));
    at = end;
  }
  return emphasize(parts);
}
