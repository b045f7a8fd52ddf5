//! Options that take a text and refuse an empty one, which most often comes from a variable that is not set.

/// Reads a text that is not empty.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("it is empty; if it comes from a variable, set that variable, or leave out the option");
    }
    Ok(text.to_owned())
}
