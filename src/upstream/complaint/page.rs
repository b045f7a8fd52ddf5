//! The text of an HTML page that a proxy sends instead of an error: its title and its first words.

/// Most bytes of a page that are read.
const MAX_LOOKED_AT: usize = 16 * 1024;
/// Most characters of a page's text that are used.
const MAX_CHARACTERS: usize = 200;

/// Returns the text of a page, if it has any.
pub(super) fn words(page: &str) -> Option<String> {
    let page = page.get(..page.floor_char_boundary(MAX_LOOKED_AT)).unwrap_or_default();
    let mut title = String::new();
    let mut text = String::new();
    let (mut rest, mut in_title) = (page, false);
    while let Some((before, tag)) = rest.split_once('<') {
        if in_title { &mut title } else { &mut text }.push_str(before);
        // Words on both sides of a tag are separate words.
        text.push(' ');
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric() && c != '/' && c != '!' && c != '-').next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        in_title = name == "title";
        // Scripts, styles and comments are skipped up to their end.
        let end = match name.as_str() {
            "script" => "</script",
            "style" => "</style",
            name if name.starts_with("!--") => "-->",
            _ => ">",
        };
        let behind = find_ignoring_case(tag, end).and_then(|at| tag.get(at..)).unwrap_or_default();
        rest = behind.split_once('>').map_or("", |(_, rest)| rest);
    }
    if in_title { &mut title } else { &mut text }.push_str(rest);
    let (title, text) = (plain(&title), plain(&text));
    let text = text.strip_prefix(title.as_str()).map_or(text.as_str(), str::trim_start);
    let words = match (title.as_str(), text) {
        ("", "") => return None,
        (title, "") => title.to_owned(),
        ("", text) => text.to_owned(),
        (title, text) => format!("{title}: {text}"),
    };
    Some(words.chars().take(MAX_CHARACTERS).collect())
}

fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    text.as_bytes().windows(what.len()).position(|part| part.eq_ignore_ascii_case(what.as_bytes()))
}

/// Returns a text without entities and without repeated spaces.
fn plain(text: &str) -> String {
    let text =
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
            .into_iter()
            .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_its_title_and_its_first_words() {
        for (page, expected) in [
            ("<html>Bad Gateway</html>", Some("Bad Gateway")),
            (
                "<html><head><title>403 Forbidden</title></head><body>Your country is blocked</body></html>",
                Some("403 Forbidden: Your country is blocked"),
            ),
            (
                "<!doctype html><TITLE>Bad Request</TITLE><style>p > a {}</style><!-- <p>no</p> -->\n<h1>Bad\n Request</h1>\
                 <script>if (a < b) {}</script><p>Junk &amp; more",
                Some("Bad Request: Junk & more"),
            ),
            ("<title>502</title>", Some("502")),
            ("<html><body></body></html>", None),
            ("<", None),
            ("<script>x", None),
        ] {
            assert_eq!(words(page).as_deref(), expected, "{page}");
        }
        assert_eq!(
            words(&format!("<p>{}", "\u{e9}".repeat(20_000))).map(|text| text.chars().count()),
            Some(200)
        );
    }
}
