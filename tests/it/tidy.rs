//! Conventions of the source that no compiler checks.

use std::path::{Path, PathBuf};

/// Returns every text file below a folder of the project, with its text.
fn texts(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found
}

/// Returns every Rust file below a folder of the project, with its text.
pub(crate) fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = texts(folder);
    found.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(!found.is_empty());
    found
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of a file without its tests and comments.
fn program(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_file_begins_with_its_purpose() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.strip_prefix("//! ").is_some_and(|job| job.len() > 10),
            "{}: {first:?}",
            path.display()
        );
    }
}

#[test]
fn a_module_is_a_file_of_its_own_name() {
    // The source has one style, `room.rs` beside `room/` and no `room/mod.rs`, so that a file is found by its name.
    for folder in ["src", "tests", "benches"] {
        for (path, _) in sources(folder) {
            assert!(!path.ends_with("mod.rs"), "{} must be named as its folder", path.display());
        }
    }
}

#[test]
fn the_words_that_make_riddles_are_rare() {
    // Sentences that are built on these words make a reader search for the subject. Sample prompts may have them.
    let riddles = ["who", "whom", "whoever", "nobody", "mend"];
    let mut found = Vec::new();
    for (path, text) in ["src", "tests", "docs"].iter().flat_map(|folder| texts(folder)) {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            let mut words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
            if words.any(|word| riddles.contains(&word)) {
                found.push(format!("{}:{}: {line}", path.display(), number + 1));
            }
        }
    }
    assert!(found.len() < 20, "{}", found.join("\n"));
}

#[test]
fn every_queue_has_a_limit() {
    for (path, text) in sources("src") {
        for word in ["do_send", "unbounded"] {
            assert!(!program(&text).contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn the_interface_of_the_store_names_no_database() {
    let seam = ["promises", "records", "error", "reads", "writes", "settings", "memory"];
    let found = sources("src/store").into_iter().filter(|(path, _)| {
        let inside = path.strip_prefix(root().join("src/store")).unwrap().with_extension("");
        seam.iter().any(|name| inside.starts_with(name))
    });
    let found: Vec<_> = found.collect();
    assert!(found.len() > seam.len(), "{found:?}");
    for (path, text) in found {
        for word in ["rusqlite", "sqlite::", "SQLite"] {
            assert!(!program(&text).contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn the_code_of_audio_formats_uses_no_other_room() {
    for (path, text) in sources("src/audio/format") {
        let program = program(&text);
        let reading = program.matches("crate::audio::reading::").count();
        assert_eq!(program.matches("crate::").count(), reading, "{} uses more", path.display());
        for word in ["super::super", "symphonia"] {
            assert!(!program.contains(word), "{} says {word}", path.display());
        }
    }
}

/// The head of the table of error codes. The program has all columns but the last one.
const CODES: &str = "| status | code | type | retryable | when | what to do |\n|---|---|---|---|---|---|\n";

/// `HEARKEN_UPDATE_DOCUMENTS=1 cargo test --test it error_page` writes the columns that the program has.
#[test]
fn the_error_page_lists_every_code_as_the_program_has_it() {
    let path = root().join("docs/errors.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(CODES).expect("the page has a table of codes");
    let (told, after) = rest.split_once("\n\n").expect("the table has an end");
    let advice = |code: &str| {
        let row = told.lines().find(|row| row.contains(&format!(" | `{code}` | ")));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md has no row for {code}: add one"));
        row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default()
    };
    let rows = hearken::error::ErrorCode::ALL.iter().map(|code| {
        let (status, name, kind, when) = (code.status(), code.as_str(), code.kind(), code.meaning());
        let retryable = if code.retryable() { "yes" } else { "no" };
        format!("| {status} | `{name}` | `{kind}` | {retryable} | {when} | {} |", advice(name))
    });
    let rows = rows.collect::<Vec<_>>().join("\n");
    if told != rows && std::env::var_os("HEARKEN_UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, format!("{before}{CODES}{rows}\n\n{after}")).unwrap();
        return;
    }
    assert!(told == rows, "docs/errors.md has:\n{told}\nbut the program has:\n{rows}");
}

#[test]
fn every_path_is_in_the_url_table() {
    // In that table, each path is beside its description for the OpenAPI document.
    for (path, text) in sources("src/api").into_iter().chain(sources("src/server")) {
        let inside = path.strip_prefix(root().join("src")).unwrap();
        let allowed = usize::from(inside == Path::new("api.rs"));
        let program = program(&text);
        for word in [".service(", "web::resource(", ".route("] {
            let found = program.matches(word).count();
            assert!(found <= allowed, "{} says {word}: put the path into api::ENDPOINTS", inside.display());
        }
    }
}
