//! Prepares an upstream's message for clients: removes keys, addresses, and names and numbers of accounts, and shortens
//! it. A word that may be one of these is removed as a whole. Ordinary words, model names and paths of fields stay.
//! [Sentences](sentences) that have no meaning without the removed words are removed, too.

mod sentences;

use std::net::IpAddr;

use super::surrogates;
use sentences::{Word, readable};

/// Longest text that is passed on, in characters.
const MAX_CHARACTERS: usize = 500;

/// Most bytes of a text that are read: more than is passed on.
const MAX_LOOKED_AT: usize = 16 * 1024;
/// Fewest characters of a real key: no provider issues shorter ones.
const SHORTEST_KEY: usize = 8;

/// Beginnings of words that are keys or account names: Google and OpenAI keys, bearer tokens, and the resource names of
/// Google's projects.
const SECRET_STARTS: &[&str] =
    &["AIza", "sk-", "ya29.", "projects/", "key=", "api_key", "org-", "proj_", "Bearer"];

/// Beginnings of other providers' keys and account names. Ordinary words also begin like these, so they count only with
/// a digit after them.
const KEY_STARTS: &[&str] = &[
    "gsk_", "hf_", "xai-", "pplx-", "nvapi-", "r8_", "sk_", "pk_", "AKIA", "csk-", "fw_", "tgp_", "eyJ",
    "acct_", "cus_",
];

/// Last labels of host names. No field path and no source file's name ends in one of them.
const HOST_ENDS: &[&str] = &[
    "ai",
    "app",
    "azure",
    "biz",
    "cloud",
    "cn",
    "co",
    "com",
    "corp",
    "de",
    "dev",
    "edu",
    "eu",
    "example",
    "fr",
    "gov",
    "home",
    "info",
    "internal",
    "invalid",
    "io",
    "jp",
    "lan",
    "local",
    "localdomain",
    "net",
    "org",
    "ru",
    "sh",
    "site",
    "test",
    "uk",
    "xyz",
];

/// Words that announce a key or an account in the next word. A plain word after them is neither: "account has", "key
/// not valid".
const LABELS: &[&str] = &[
    "account",
    "account_id",
    "accountid",
    "user_id",
    "userid",
    "project",
    "project_id",
    "organization",
    "organisation",
    "tenant",
    "subscription",
    "customer",
    "x-api-key",
    "api-key",
    "api_key",
    "apikey",
    "token",
    "secret",
    "password",
    "key",
];

/// The beginnings of file paths on the upstream's servers.
const PATHS: &[&str] =
    &["/home/", "/root/", "/usr/", "/var/", "/opt/", "/etc/", "/mnt/", "/srv/", "/tmp/", "/workspace/"];

/// Returns an upstream's message for clients. `secret` is the channel's own key.
#[must_use]
pub(super) fn redact(message: &str, secret: &str) -> String {
    let end = message.floor_char_boundary(MAX_LOOKED_AT);
    let message = surrogates::settled(message.get(..end).unwrap_or_default());
    let mut words = Vec::new();
    let (mut is_key, mut announced) = (false, false);
    // Control characters separate words here. Characters that change the direction of writing are removed, too.
    let blank = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    for word in message.split(blank).filter(|word| !word.is_empty()) {
        // "Authorization: Bearer ..." is one key in three words, whatever the key looks like.
        let is_value = is_key || (announced && !is_plain(word));
        words.push(Word { original: word, is_removed: is_value || names_a_secret(word, secret) });
        is_key = ["bearer", "basic"].contains(&bare(word).to_ascii_lowercase().as_str());
        announced = announces(word);
    }
    let clean = readable(&words);
    match clean.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", clean.get(..end).unwrap_or_default()),
        None if clean.is_empty() => "no reason given".to_owned(),
        None => clean,
    }
}

/// Returns true if the word announces a key or an account's number.
fn announces(word: &str) -> bool {
    let label = bare(word).to_ascii_lowercase();
    LABELS.contains(&label.as_str())
}

/// Returns true for an ordinary word: letters with signs around them.
fn is_plain(word: &str) -> bool {
    let bare = bare(word);
    bare.chars().all(char::is_alphabetic)
        || bare.split('\'').all(|part| part.chars().all(char::is_alphabetic))
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn names_a_secret(word: &str, secret: &str) -> bool {
    word.contains("://")
        || word.contains(":\\/\\/")
        || PATHS.iter().any(|path| word.contains(path))
        || is_labelled(word)
        || holds(word, secret)
        || word.contains("?key=")
        || word.contains("/projects/")
        || is_masked(word)
        || word.split(is_between).any(part_names_a_secret)
}

/// Returns true for a label and its value in one word: `key=...`, `"account_id":"..."`.
fn is_labelled(word: &str) -> bool {
    word.split(['&', ',', '{', '(', ';']).any(|part| {
        let pair = part.split_once('=').or_else(|| part.split_once(':'));
        pair.is_some_and(|(label, value)| announces(label) && !bare(value).is_empty() && !is_plain(value))
    })
}

/// Returns true if the word holds the channel's key. A short key is a placeholder for a server that checks no keys: it
/// counts as a whole word only.
fn holds(word: &str, secret: &str) -> bool {
    if secret.len() < SHORTEST_KEY {
        bare(word) == secret && !secret.is_empty()
    } else {
        word.contains(secret)
    }
}

/// Returns true for a sign between the parts of a word in JSON, in a query or in a list.
fn is_between(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | ',' | ';' | '(' | ')' | '<' | '>' | '{' | '}' | '=' | '&' | '|')
}

fn part_names_a_secret(part: &str) -> bool {
    let bare = part.trim_start_matches(|c: char| !c.is_alphanumeric());
    bare.contains('@')
        || bare.split(':').any(starts_like_a_key)
        || holds_an_account_number(part)
        || holds_a_token(part)
        || is_uuid(part)
        || names_a_host(part)
}

/// Returns true for a key that is partly shown: with stars, or with dots between its ends.
fn is_masked(word: &str) -> bool {
    let dots = word.split_once("...").or_else(|| word.split_once('\u{2026}'));
    let cut = dots.is_some_and(|(start, end)| {
        start.ends_with(char::is_alphanumeric)
            && end.starts_with(char::is_alphanumeric)
            && word.contains(|c: char| c.is_ascii_digit())
    });
    cut || (word.contains("**") && word.contains(char::is_alphanumeric)) || word.contains("****")
}

fn starts_like_a_key(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    SECRET_STARTS.iter().any(|start| text.starts_with(start))
        || KEY_STARTS.iter().any(|start| {
            text.strip_prefix(start).is_some_and(|rest| rest.contains(|c: char| c.is_ascii_digit()))
        })
}

/// Returns true for a number that is as long as project and account numbers: they have at least nine digits. Sizes,
/// times and counts mostly have fewer, except after a decimal point: Google sends a delay as `48.939935699s`.
fn holds_an_account_number(part: &str) -> bool {
    part.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .filter_map(|number| number.trim_start_matches('.').split('.').next())
        .any(|whole| whole.len() >= 9)
}

/// Returns true for letters and digits without a sign between them that are too long for a word: a key, an id, a hash.
/// Model names have signs in between.
fn holds_a_token(part: &str) -> bool {
    part.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| {
        let mixed = run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
        let hex = run.len() >= 16 && run.bytes().all(|b| b.is_ascii_hexdigit());
        mixed && (run.len() >= 20 || hex)
    })
}

fn is_uuid(part: &str) -> bool {
    let digits_at = |lengths: [usize; 5], groups: &[&str]| {
        groups.iter().zip(lengths).all(|(group, length)| {
            group.len() == length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let run = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    part.split(run).any(|text| {
        let groups: Vec<&str> = text.split('-').collect();
        groups.windows(5).any(|five| {
            // The first group may have a prefix, as in `req-` or `chatcmpl-`. The prefix is then a group of its own.
            digits_at([8, 4, 4, 4, 12], five)
        })
    })
}

fn names_a_host(part: &str) -> bool {
    let text = part.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '[' || c == ':' || c == ']'));
    let host = text.split(['/', '?', '#']).next().unwrap_or_default();
    // An IPv6 address, bare, or in brackets before a port. A time such as 12:30:05 is not an address.
    let inner = host.trim_start_matches('[').split(']').next().unwrap_or_default();
    if inner.parse::<IpAddr>().is_ok() {
        return true;
    }
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    if name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let mut labels = name.split('.');
    let is_name = labels.clone().all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    }) && name.contains(|c: char| c.is_ascii_alphabetic());
    let last = labels.next_back().unwrap_or_default();
    let ends_like_a_host = name.contains('.') && HOST_ENDS.iter().any(|end| last.eq_ignore_ascii_case(end));
    // A service name without dots may have such a port; smaller numbers after a colon are statuses and counts.
    let has_port =
        port.and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port >= 1024 || name.contains('.'));
    is_name && (ends_like_a_host || has_port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_urls_and_accounts_are_removed_and_the_rest_stays() {
        let original = "API key AIzaSyD-x not valid.\n See https://console.example/x?key=1 (\"projects/12345/quota\") \
                    or mail a@b.example about hush.";
        assert_eq!(redact(original, "hush"), "API key [removed] not valid.");
    }

    #[test]
    fn long_and_empty_texts_become_short_ones() {
        assert_eq!(redact(&"é".repeat(600), "").chars().count(), 503);
        assert_eq!(redact(" \n", ""), "no reason given");
    }

    #[test]
    fn words_that_may_be_keys_accounts_or_addresses_are_removed() {
        for word in [
            "invalid-*****2345.",
            "sk-proj-****abcd",
            "********",
            "abc12...9xyz",
            "gsk_4fj2",
            "'hf_a1B2c3'",
            "key:sk-abcdef",
            "{\"user\":\"org-1\",\"x\":1}",
            "AbCdEf0123456789GhIjKl",
            "req_01khrvt2r6e9rb7e8qsg86ywkw",
            "(4f39f3af-3267-4ac1-a0cf-6aa7451877dc)",
            "chatcmpl-4f39f3af-3267-4ac1-a0cf-6aa7451877dc.",
            "d41d8cd98f00b204",
            "123456789012",
            "project:123456789,",
            "arn:aws:bedrock:us-east-1:123456789012:model/x",
            "api.openai.com",
            "(api.mistral.ai/v1/chat),",
            "whisper.svc.cluster.local:8000",
            "localhost",
            "worker-3:8000",
            "redis:6379/0",
            "10.1.2.3",
            "10.1.2.3:443.",
            "[fe80::1]:8080",
            "fe80::1",
            "somebody@corp.example",
            "eyJhbGciOiJIUzI1NiJ9.x.y",
            "acct_1MqLiJLkdIwHu7ix",
            "key=AbCdEf123456",
            "\"account_id\":998877",
            "user_id=998877",
            "http:\\/\\/api.hidden",
            "(/home/ubuntu/vllm/server.py)",
        ] {
            let end = word.strip_prefix(word.trim_end_matches(['.', ','])).unwrap();
            assert_eq!(redact(&format!("a {word} b"), ""), format!("a [removed]{end} b"), "{word}");
        }
        assert_eq!(
            redact("Authorization: Bearer abc was wrong", ""),
            "Authorization: [removed] [removed] was wrong"
        );
        assert_eq!(redact("bearer abc1 was wrong", ""), "bearer [removed] was wrong");
        assert_eq!(
            redact("AccountID 4432-9981 x-api-key: abcdef9876", ""),
            "AccountID [removed] x-api-key: [removed]"
        );
        assert_eq!(redact("in project my-project-42 today", ""), "in project [removed] today");
        assert_eq!(
            redact("your account has no key, or a token expired", ""),
            "your account has no key, or a token expired"
        );
        assert_eq!(redact("a\u{0}b \u{1b}[31mc \u{202e}d", ""), "a b [31mc d");
    }

    #[test]
    fn ordinary_words_models_and_fields_stay() {
        let original = "Unsupported value: 'temperature' does not support 1.5 with this model (status 404, code:400). \
                    Invalid generationConfig.temperature, messages.0.content[1].input_audio.format, body.file; \
                    gpt-4o-audio-preview-2024-12-17 mistralai/Voxtral-Mini-3B-2507 Qwen2-Audio-7B-Instruct \
                    llama3.2:8b gemini-2.5-pro @cf/openai/whisper models/gemini-2.0-flash-001 \
                    took 12:30:05 on 2026-01-17, retry in 48.939935699s. 26214400 bytes, 128000 tokens, v1.2.3, e.g. wait... internationalization \
                    tool_use_failed invalid_request_error node.js main.rs RESOURCE_EXHAUSTED max_completion_tokens **";
        let kept: Vec<&str> = original.split_whitespace().collect();
        for word in kept {
            assert_eq!(redact(word, ""), word);
        }
    }

    #[test]
    fn a_placeholder_key_is_removed_only_as_a_whole_word() {
        assert_eq!(
            redact("Too many requests; key any refused", "any"),
            "Too many requests; key [removed] refused"
        );
        assert_eq!(redact("max_tokens exceeds the context", "x"), "max_tokens exceeds the context");
    }

    proptest! {
        #[test]
        fn any_text_is_bounded_and_free_of_the_channels_key(text in "\\PC{0,700}", secret in "[a-z0-9]{8,20}") {
            let redacted = redact(&format!("{text}{secret} {text}"), &secret);
            prop_assert!(!redacted.contains(&secret), "{redacted}");
            prop_assert!(redacted.chars().count() <= MAX_CHARACTERS + 3);
        }
    }
}
