//! Finds the name that a mistyped name may mean.

/// Returns the known name that is nearest to a mistyped one, if any is near enough.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase());
    let near = |(steps, name): &(usize, &str)| *steps <= name.len().max(3) / 3;
    known.into_iter().map(|name| (distance(name), name)).filter(near).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_word_is_not() {
        let known = ["stream", "store", "debug", "keep_alive_seconds"];
        assert_eq!(nearest("strem", known), Some("stream"));
        assert_eq!(nearest("debgu", known), Some("debug"));
        assert_eq!(nearest("keep_alive_second", known), Some("keep_alive_seconds"));
        assert_eq!(nearest("frobnicate", known), None);
    }
}
