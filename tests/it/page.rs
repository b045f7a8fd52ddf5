//! `/` and the files of the page, as the server sends them. `tests/clients/page.mjs` tests in a browser what the page
//! does.

use std::path::Path;

use hearken::error::ErrorCode;

use crate::support::hearken::Hearken;

/// Texts in the page that look like addresses: a namespace, an example, a rule. The page loads nothing from them.
const ADDRESSES: [&str; 3] = [
    "xmlns=\"http://www.w3.org/2000/svg\"",
    "placeholder=\"https://example.com/talk.mp3\"",
    "The address must begin with http:// or https://.",
];

fn files() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn the_page_needs_no_key_and_loads_nothing_from_other_servers() {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    let page = anonymous.get("/").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!doctype html>"));
    for path in files().iter().map(|name| format!("/page/{name}")).chain(["/".to_owned()]) {
        let file = anonymous.get(&path).expect(200);
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(file.header("permissions-policy"), Some("microphone=(self)"));
        assert!(file.header("content-type").is_some(), "{path}");
        let rest = ADDRESSES.iter().fold(file.text(), |text, known| text.replace(known, ""));
        assert!(!rest.contains("http://") && !rest.contains("https://"), "{path}");
    }
}

#[test]
fn a_cached_file_is_not_sent_again() {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    let first = anonymous.get("/page/page.js").expect(200);
    assert_eq!(first.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let tag = first.header("etag").unwrap();
    let again = anonymous.call("GET", "/page/page.js", &[("if-none-match", tag)], None).expect(304);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), Some(tag));
    anonymous.call("GET", "/page/page.js", &[("if-none-match", "\"another\"")], None).expect(200);
    let other = anonymous.get("/page/page.css").expect(200);
    assert_ne!(other.header("etag"), Some(tag));
}

#[test]
fn other_methods_and_other_files_are_refused_as_json() {
    let hearken = Hearken::builder().local().start();
    let anonymous = hearken.without_key();
    for path in ["/", "/page/page.css"] {
        let head = anonymous.call("HEAD", path, &[], None).expect(200);
        assert!(head.body.is_empty());
        let refused = anonymous.call("POST", path, &[], None);
        refused.error(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    for path in ["/page/", "/page/x.js", "/page/..%2findex.html", "/index.html", "/page"] {
        anonymous.get(path).error(404, "not_found");
    }
}

/// Errors of programs that call the API incorrectly. The page never gets them.
const OF_PROGRAMS: [ErrorCode; 6] = [
    ErrorCode::InvalidJson,
    ErrorCode::NotFound,
    ErrorCode::MethodNotAllowed,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::IdempotencyKeyReused,
    ErrorCode::StreamNotEnabled,
];

#[test]
fn the_page_has_a_title_for_every_error_that_it_can_meet() {
    let titles = include_str!("../../src/page/errors.js");
    for code in ErrorCode::ALL.iter().filter(|code| !OF_PROGRAMS.contains(code)) {
        assert!(titles.contains(&format!("\n  {}: \"", code.as_str())), "{code:?}");
    }
}

#[test]
fn the_page_stays_below_its_size_limit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
    let bytes: u64 = files().iter().map(|name| std::fs::metadata(folder.join(name)).unwrap().len()).sum();
    // This is no target, but a guard against changes that make the page much larger. A sixth of it is the parser of
    // streamed Markdown.
    assert!(bytes < 160_000, "{bytes}");
}
