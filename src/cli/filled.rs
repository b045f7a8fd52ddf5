//! Options whose value is some text: an empty one is most often a variable that is not set.

/// Reads a text that is not empty.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("it is empty; if it comes from a variable, set that variable, or leave the option out");
    }
    Ok(text.to_owned())
}
