//! An upstream's words, before they may be passed on: no keys, no URLs, no account names, not too long.

/// Longest text that is passed on, in characters.
const MAX_CHARACTERS: usize = 500;

/// Beginnings of words that are keys or name accounts: Google and OpenAI keys, bearer tokens, and the
/// resource names in which Google spells out projects.
const SECRET_STARTS: &[&str] =
    &["AIza", "sk-", "ya29.", "projects/", "key=", "api_key", "org-", "proj_", "Bearer"];

/// Makes an upstream's message fit to be passed on. `secret` is the channel's own key.
#[must_use]
pub fn redact(message: &str, secret: &str) -> String {
    let mut clean = String::new();
    for word in message.split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(if names_a_secret(word, secret) { "[removed]" } else { word });
    }
    match clean.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", clean.get(..end).unwrap_or_default()),
        None if clean.is_empty() => "no reason given".to_owned(),
        None => clean,
    }
}

fn names_a_secret(word: &str, secret: &str) -> bool {
    let bare = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    word.contains("://")
        || bare.contains('@')
        || (!secret.is_empty() && word.contains(secret))
        || SECRET_STARTS.iter().any(|start| bare.starts_with(start))
        || word.contains("?key=")
        || word.contains("/projects/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_urls_and_accounts_are_removed_and_the_rest_stays() {
        let said = "API key AIzaSyD-x not valid.\n See https://console.example/x?key=1 (\"projects/12345/quota\") \
                    or mail a@b.example about hush.";
        assert_eq!(
            redact(said, "hush"),
            "API key [removed] not valid. See [removed] [removed] or mail [removed] about [removed]"
        );
    }

    #[test]
    fn long_and_empty_texts_become_short_ones() {
        assert_eq!(redact(&"é".repeat(600), "").chars().count(), 503);
        assert_eq!(redact(" \n", ""), "no reason given");
    }
}
