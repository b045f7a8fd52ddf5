//! The documents agree with the files that they link and include.
//!
//! A document includes a file by a line such as `<!-- file: ../deploy/caddy/Caddyfile -->` before a fenced block.
//!
//! `HEARKEN_UPDATE_DOCUMENTS=1 cargo test --test it documents` copies the files into the documents again.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::tidy::root;

/// The most lines that the README may have, so that a newcomer reads it to its end.
const README_LINES: usize = 200;
/// The line before an included file, in two parts around its path.
const INCLUDES: (&str, &str) = ("<!-- file: ", " -->");

/// Returns every document of the project.
fn documents() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = [".github", "docs", "deploy", "examples", "benches", "tests", "src"]
        .map(|name| root().join(name))
        .into();
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = top.filter(|path| path.is_file()).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(paths.len() > 10, "{paths:?}");
    paths
}

/// Returns the name of a document from the top of the project.
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Links and anchors of a document.
#[derive(Default)]
struct Outline {
    links: Vec<String>,
    /// The anchors of its headings, as GitHub makes them.
    anchors: HashSet<String>,
}

impl Outline {
    fn of(text: &str) -> Self {
        let mut outline = Self::default();
        let mut heading: Option<String> = None;
        let mut repeated: HashMap<String, usize> = HashMap::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    outline.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let earlier = repeated.entry(anchor.clone()).or_default();
                    outline.anchors.insert(if *earlier == 0 {
                        anchor
                    } else {
                        format!("{anchor}-{earlier}")
                    });
                    *earlier += 1;
                }
                _ => {}
            }
        }
        outline
    }
}

/// Returns the anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let outlines: HashMap<PathBuf, Outline> = documents
        .iter()
        .map(|path| (path.canonicalize().unwrap(), Outline::of(&std::fs::read_to_string(path).unwrap())))
        .collect();
    let mut broken = String::new();
    for (path, outline) in &outlines {
        for link in &outline.links {
            // Links to other sites are not checked. The guide's links lead to paths of a running server.
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with('/') {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let Ok(target) = target.canonicalize() else {
                let _ = writeln!(broken, "{}: {link} is no file", name(path));
                continue;
            };
            if let Some(anchor) = anchor
                && let Some(linked) = outlines.get(&target)
                && !linked.anchors.contains(anchor)
            {
                let _ = writeln!(broken, "{}: {link} names no heading", name(path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{broken}");
}

/// Returns a document whose included files are as they are now.
fn updated(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let mut updated = String::new();
    while let Some(line) = lines.next() {
        updated.push_str(line);
        updated.push('\n');
        let Some(target) = line.strip_prefix(INCLUDES.0).and_then(|rest| rest.strip_suffix(INCLUDES.1))
        else {
            continue;
        };
        let fence = lines.next().filter(|line| line.starts_with("```"));
        let fence = fence.unwrap_or_else(|| panic!("{}: a fenced block follows {line:?}", name(path)));
        let file = path.parent().unwrap().join(target);
        let included =
            std::fs::read_to_string(&file).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        let _ = writeln!(updated, "{fence}\n{included}```");
        assert!(lines.any(|line| line == "```"), "{}: the block after {line:?} has an end", name(path));
    }
    updated
}

#[test]
fn the_documents_show_the_files_that_they_include() {
    for path in documents() {
        let (told, now) = (std::fs::read_to_string(&path).unwrap(), updated(&path));
        if told != now && std::env::var_os("HEARKEN_UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&path, now).unwrap();
        } else {
            assert!(
                told == now,
                "run HEARKEN_UPDATE_DOCUMENTS=1 cargo test --test it documents: {}",
                name(&path)
            );
        }
    }
}

#[test]
fn the_readme_is_short() {
    let lines = std::fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES, "{lines} lines");
}
