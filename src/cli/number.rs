//! Numbers on the command line, with advice where one is wrong.

/// Reads a whole number of 0 or more.
pub(super) fn whole(text: &str) -> Result<u64, &'static str> {
    text.trim().parse().map_err(|_| "write a whole number of 0 or more")
}

/// Reads a whole number of 1 or more.
pub(super) fn positive(text: &str) -> Result<u64, &'static str> {
    let number = whole(text).ok().filter(|number| *number > 0);
    number.ok_or("write a whole number of 1 or more, or leave the option out")
}

/// Reads a whole number that fits into a limit of a key.
pub(super) fn small(text: &str) -> Result<u32, &'static str> {
    text.trim().parse().map_err(|_| "write a whole number from 0 (no limit) to 4294967295")
}
