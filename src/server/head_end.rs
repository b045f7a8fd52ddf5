//! Finds the end of the head of an HTTP/1 request, and overwrites a request for another protocol.
//!
//! A server that does not support the protocol that an `Upgrade` header names ignores the header
//! ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-7.8)): curl and Java's client request `h2c` in this way,
//! and continue with HTTP/1. actix-http does not ignore it: it closes the connection after `Connection: upgrade`, and
//! with `Upgrade: websocket` it neither ends the request's body nor frames the response. So this module overwrites both
//! words.

/// The header that names another protocol, and the option in `Connection` that announces this header.
const UPGRADE: &[u8] = b"upgrade";
/// The names of the headers that are changed. A line that may be one of them is held back until it is complete.
const CHANGED: [&[u8]; 2] = [UPGRADE, b"connection"];
/// The length in bytes from which on a line is no longer held back. The name of such a line is overwritten, so it has
/// no effect.
pub(super) const LONGEST_HELD: usize = 256;
/// The byte that replaces each overwritten byte.
const FILLING: u8 = b'x';

/// The state of the search for the end of a head.
#[derive(Debug)]
pub(super) struct HeadEnd {
    /// True while the line that is arriving has no bytes, except perhaps of its end. The empty line is the last line of
    /// a head.
    is_line_empty: bool,
    /// True within the request line, which has no name.
    is_first_line: bool,
}

impl HeadEnd {
    /// Returns the state at the beginning of a head.
    pub(super) fn new() -> Self {
        Self { is_line_empty: true, is_first_line: true }
    }

    /// Processes the next bytes of the connection. Returns how many of them can be passed on as parts of the head, and
    /// whether the head ends with them. If the head does not end, the caller must pass the remaining bytes again, with
    /// more bytes after them.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> (usize, bool) {
        let mut start = 0;
        while let Some(rest) = bytes.get_mut(start..)
            && let Some(end) = memchr::memchr(b'\n', rest)
            && let Some(line) = rest.get_mut(..end)
        {
            start += end + 1;
            let is_whole = std::mem::replace(&mut self.is_line_empty, true);
            if is_whole && matches!(&*line, b"" | b"\r") {
                self.is_first_line = true;
                return (start, true);
            }
            let has_name = !std::mem::replace(&mut self.is_first_line, false);
            if is_whole && has_name {
                overwrite(line);
            }
        }
        let line = bytes.get_mut(start..).unwrap_or_default();
        let length = line.len();
        if self.is_line_empty
            && !self.is_first_line
            && let Some(name) = CHANGED.into_iter().find(|name| may_have(line, name))
        {
            match line.get_mut(..name.len()) {
                Some(name) if length >= LONGEST_HELD => name.fill(FILLING),
                _ => return (start, false),
            }
        }
        self.is_line_empty &= matches!(bytes.get(start..), Some(b"" | b"\r"));
        (bytes.len(), false)
    }
}

/// Returns true if an unfinished line has this name, or may have it when it is complete.
fn may_have(line: &[u8], name: &[u8]) -> bool {
    match (line.get(..name.len()), line.get(name.len())) {
        (Some(begin), end) => begin.eq_ignore_ascii_case(name) && matches!(end, None | Some(b':')),
        (None, _) => {
            !line.is_empty() && name.get(..line.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(line))
        }
    }
}

/// Overwrites the name of an `Upgrade` header, and the option `upgrade` in a `Connection` header.
fn overwrite(line: &mut [u8]) {
    let Some(colon) = memchr::memchr(b':', line) else { return };
    let Some((name, value)) = line.split_at_mut_checked(colon) else { return };
    if name.eq_ignore_ascii_case(UPGRADE) {
        return name.fill(FILLING);
    }
    if !name.eq_ignore_ascii_case(b"connection") {
        return;
    }
    for option in value.split_mut(|byte| matches!(byte, b':' | b',')) {
        let blank = option.len() - option.trim_ascii_start().len();
        if option.trim_ascii().eq_ignore_ascii_case(UPGRADE)
            && let Some(word) = option.get_mut(blank..blank + UPGRADE.len())
        {
            word.fill(FILLING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes a head that arrives in two pieces. Returns the bytes that were passed on.
    fn given(text: &str, cut: usize) -> (String, bool) {
        let mut end = HeadEnd::new();
        let mut first = text.as_bytes()[..cut].to_vec();
        let (taken, is_end) = end.take(&mut first);
        let mut all = first[..taken].to_vec();
        if is_end {
            return (String::from_utf8(all).unwrap(), true);
        }
        let mut second = [&first[taken..], &text.as_bytes()[cut..]].concat();
        let (taken, is_end) = end.take(&mut second);
        all.extend_from_slice(&second[..taken]);
        (String::from_utf8(all).unwrap(), is_end)
    }

    #[test]
    fn a_head_is_passed_on_up_to_its_end_however_it_arrives() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\nGET", 27),
            ("GET / HTTP/1.1\nhost: x\n\nGET", 24),
            ("GET / HTTP/1.1\r\nx: \r\n\n\r\n", 22),
            ("GET / HTTP/1.1\r\n\rx\r\n\r\n", 22),
            ("no end\r\n\r", 10),
        ] {
            for cut in 0..=text.len() {
                let (given, _) = given(text, cut);
                assert_eq!(given, text[..end.min(text.len())], "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn an_upgrade_is_overwritten_however_it_arrives() {
        for (sent, seen) in [
            ("Upgrade: websocket\r\n", "xxxxxxx: websocket\r\n"),
            ("UPGRADE:h2c\nconnection: \tUpgrade \n", "xxxxxxx:h2c\nconnection: \txxxxxxx \n"),
            ("Connection: Upgrade, HTTP2-Settings\r\n", "Connection: xxxxxxx, HTTP2-Settings\r\n"),
            ("connection:close,upgrade\r\n", "connection:close,xxxxxxx\r\n"),
            ("connection: keep-alive, upgraded\r\n", "connection: keep-alive, upgraded\r\n"),
            ("x: upgrade: upgrade\r\nupgrades: x\r\n", "x: upgrade: upgrade\r\nupgrades: x\r\n"),
            ("upgrad: x\r\nconnection\r\n", "upgrad: x\r\nconnection\r\n"),
        ] {
            let sent = format!("GET /upgrade HTTP/1.1\r\n{sent}\r\n");
            for cut in 0..=sent.len() {
                let expected = (format!("GET /upgrade HTTP/1.1\r\n{seen}\r\n"), true);
                assert_eq!(given(&sent, cut), expected, "{sent:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_request_line_and_a_long_line_are_not_held_back() {
        let mut end = HeadEnd::new();
        assert_eq!(end.take(&mut b"conn".to_owned()), (4, false));
        assert_eq!(end.take(&mut b"\nupgrade".to_owned()), (1, false));
        let mut long = format!("connection: {}", "x".repeat(LONGEST_HELD)).into_bytes();
        let length = long.len();
        assert_eq!(end.take(&mut long), (length, false));
        assert!(long.starts_with(b"xxxxxxxxxx: "));
        // The rest of that line is not treated as a new line.
        let mut rest = b"connection: upgrade\r\n\r\n".to_owned();
        let length = rest.len();
        assert_eq!(end.take(&mut rest), (length, true));
        assert!(rest.starts_with(b"connection: upgrade"));
    }
}
