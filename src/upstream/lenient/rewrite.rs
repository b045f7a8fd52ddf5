//! Rewrites the almost-JSON of servers as JSON, one token at a time.

use crate::upstream::surrogates;

/// The deepest nesting that is kept; a deeper value becomes `null`. `serde_json` gives up at 128, and the text of an
/// answer is never nearly as deep.
const MAX_DEPTH: usize = 100;

/// Returns the text as JSON: parts that are not JSON but have a clear meaning are replaced. Other text stays, and the
/// parser refuses it.
pub(super) fn rewritten(text: &str) -> String {
    let mut rewriter = Rewriter { rest: text, out: String::with_capacity(text.len() + 16) };
    let mut depth = 0_usize;
    while let Some(first) = rewriter.rest.chars().next() {
        match first {
            '"' => rewriter.string(),
            '{' | '[' if depth >= MAX_DEPTH => rewriter.skip_nested(),
            '{' | '[' | '}' | ']' | ',' | ':' => {
                depth = if matches!(first, '{' | '[') { depth + 1 } else { depth };
                depth = if matches!(first, '}' | ']') { depth.saturating_sub(1) } else { depth };
                rewriter.copy(1);
            }
            first if first.is_whitespace() => rewriter.copy(first.len_utf8()),
            _ => rewriter.word(),
        }
    }
    rewriter.out
}

struct Rewriter<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Rewriter<'a> {
    /// Removes this many bytes from the start of the text, and returns them. They end at the end of a character; near
    /// the end of the text there may be fewer.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn copy(&mut self, bytes: usize) {
        let taken = self.take(bytes);
        self.out.push_str(taken);
    }

    /// Reads a number or a word.
    fn word(&mut self) {
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']' | '"');
        let word = self.take(self.rest.find(ends).unwrap_or(self.rest.len()));
        let is_endless = word.parse::<f64>().is_ok_and(|number| !number.is_finite());
        self.out.push_str(if is_endless { "null" } else { word });
    }

    /// Skips an object or an array.
    fn skip_nested(&mut self) {
        let mut open = 0_usize;
        self.out.push_str("null");
        while let Some(at) = self.rest.find(['{', '[', '}', ']', '"']) {
            self.take(at);
            match self.take(1) {
                "{" | "[" => open += 1,
                "\"" => self.skip_string(),
                _ => open = open.saturating_sub(1),
            }
            if open == 0 {
                return;
            }
        }
        // The text was cut.
        self.take(self.rest.len());
        self.out.truncate(self.out.len().saturating_sub("null".len()));
    }

    /// Skips the rest of a string.
    fn skip_string(&mut self) {
        while let Some(at) = self.rest.find(['"', '\\']) {
            self.take(at);
            if self.take(1) == "\"" {
                return;
            }
            self.take(self.rest.chars().next().map_or(0, char::len_utf8));
        }
        self.take(self.rest.len());
    }

    fn string(&mut self) {
        self.copy(1);
        while let Some(first) = self.rest.chars().next() {
            match first {
                '"' => return self.copy(1),
                '\\' => self.escape(),
                '\0'..='\x1f' => {
                    self.take(1);
                    self.out.push_str(&format!("\\u{:04x}", u32::from(first)));
                }
                _ => {
                    let plain = |c: char| matches!(c, '"' | '\\' | '\0'..='\x1f');
                    let run = self.take(self.rest.find(plain).unwrap_or(self.rest.len()));
                    self.out.push_str(&surrogates::guarded(run));
                }
            }
        }
    }

    fn escape(&mut self) {
        if let Some(unit) = unit_of(self.rest) {
            let escape = self.take(6);
            return match char::from_u32(unit.into()) {
                Some(_) => self.out.push_str(escape),
                // Both halves of a pair come here, one after the other: the joiner puts them together.
                None => surrogates::push_unit(&mut self.out, unit),
            };
        }
        match self.rest.as_bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.copy(2),
            // An escape that JSON does not know becomes its letters; at the end, the text was cut.
            Some(_) => {
                self.take(1);
                self.out.push_str("\\\\");
            }
            None => self.copy(1),
        }
    }
}

/// Returns the code unit of the `\uXXXX` at the start of a text.
fn unit_of(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        u16::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}
