//! `/` and the files of the page, as the server gives them out. What the page does is tried in a browser by
//! `tests/clients/page.mjs`.

use std::path::Path;

use hearken::error::ErrorCode;

use crate::support::hearken::Hearken;

/// What may look like an address in the page: a namespace, an example, a rule. It loads nothing from any of them.
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
fn the_page_needs_no_key_and_keeps_to_itself() {
    let hearken = Hearken::builder().local().start();
    let nobody = hearken.without_key();
    let page = nobody.get("/").expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().starts_with("<!doctype html>"));
    for path in files().iter().map(|name| format!("/page/{name}")).chain(["/".to_owned()]) {
        let file = nobody.get(&path).expect(200);
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
fn a_file_that_is_known_is_not_sent_again() {
    let hearken = Hearken::builder().local().start();
    let nobody = hearken.without_key();
    let first = nobody.get("/page/page.js").expect(200);
    assert_eq!(first.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let tag = first.header("etag").unwrap();
    let again = nobody.call("GET", "/page/page.js", &[("if-none-match", tag)], None).expect(304);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), Some(tag));
    nobody.call("GET", "/page/page.js", &[("if-none-match", "\"another\"")], None).expect(200);
    let other = nobody.get("/page/page.css").expect(200);
    assert_ne!(other.header("etag"), Some(tag));
}

#[test]
fn other_methods_and_other_files_are_refused_as_json() {
    let hearken = Hearken::builder().local().start();
    let nobody = hearken.without_key();
    for path in ["/", "/page/page.css"] {
        let head = nobody.call("HEAD", path, &[], None).expect(200);
        assert!(head.body.is_empty());
        let refused = nobody.call("POST", path, &[], None);
        refused.error(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    for path in ["/page/", "/page/x.js", "/page/..%2findex.html", "/index.html", "/page"] {
        nobody.get(path).error(404, "not_found");
    }
}

/// Errors of programs that call the API wrongly: the page does not.
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
fn the_page_is_light() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
    let bytes: u64 = files().iter().map(|name| std::fs::metadata(folder.join(name)).unwrap().len()).sum();
    // No target, but a guard that notices what makes the page much heavier. A sixth of it reads Markdown as it streams.
    assert!(bytes < 160_000, "{bytes}");
}
