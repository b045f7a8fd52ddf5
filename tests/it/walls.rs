//! The boundaries between the rooms of the source: the map in `src/lib.rs` says which room may use which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tidy::{root, sources};

/// The libraries on the map, by the beginnings of their names: those of actors, network and disk.
const LIBRARIES: [&str; 9] =
    ["actix", "awc", "h2", "mio", "rusqlite", "rustls", "socket2", "tempfile", "tokio_rustls"];

/// The parts of the system on the map, each with the words in the source that use it.
const SYSTEM: [(&str, &[&str]); 6] = [
    ("arbiters", &["Arbiter::new", "Arbiter::with_tokio_rt"]),
    ("clock", &["Instant::now", "SystemTime::now", "Timestamp::now"]),
    ("disk", &["std::fs", "unix::fs", "rustix::fs", "tokio::fs"]),
    ("environment", &["std::env"]),
    ("sockets", &["TcpListener", "TcpSocket", "TcpStream", "UdpSocket", "UnixListener", "UnixStream"]),
    ("stderr", &["stderr()", "eprint!", "eprintln!"]),
];

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Reads the map: a line for each room with all that it uses, the lowest rooms first.
fn map() -> (Vec<String>, Uses) {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, block) = text.split_once("//! ```text\n").expect("there is no map");
    let (block, _) = block.split_once("//! ```\n").expect("the map has no end");
    let lines = block.lines().map(|line| {
        let line = line.trim_start_matches("//!").trim();
        let (room, uses) = line.split_once(" ->").unwrap_or_else(|| panic!("{line:?} is no line of the map"));
        let uses = uses.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        (room.to_owned(), uses.collect())
    });
    let lines: Vec<(String, BTreeSet<String>)> = lines.collect();
    (lines.iter().map(|(room, _)| room.clone()).collect(), lines.into_iter().collect())
}

/// Splits a file into its program and the names of modules that exist for tests only. Leaves out comments and
/// everything after `#[cfg(test)]`.
fn split(text: &str) -> (String, Vec<String>) {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let (mut program, mut modules) = (String::new(), Vec::new());
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            program += line;
            program += "\n";
            continue;
        }
        let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
        let Some(item) = item else { break };
        if let Some(name) = item.trim_end().strip_suffix(';').and_then(|item| item.split("mod ").nth(1)) {
            modules.push(name.to_owned());
        } else if !item.ends_with([';', ',', '}']) {
            let end = lines.by_ref().find(|line| {
                indentation(line) == indentation(item) && line.trim_start().starts_with(['}', ']', ')'])
            });
            assert!(end.is_some(), "{item:?} has no end");
        }
    }
    (program, modules)
}

/// Returns what a program uses of the map: the rooms after `crate::`, libraries, and parts of the system.
fn used(program: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for rest in program.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let (mut depth, mut is_first) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_first = true,
                c if is_first && !c.is_whitespace() => {
                    names.insert(name(&group[at..]));
                    is_first = false;
                }
                _ => {}
            }
        }
    }
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
    for line in program.lines() {
        let stands = |(at, _): &(usize, &str)| {
            let before = &line[..*at];
            !before.ends_with(is_of_name) && before.matches('"').count() % 2 == 0
        };
        for (at, _) in LIBRARIES.iter().flat_map(|library| line.match_indices(library)).filter(stands) {
            let whole = name(&line[at..]);
            if !line[..at].ends_with(':') && line[at + whole.len()..].starts_with("::") {
                names.insert(whole);
            }
        }
        for (part, words) in SYSTEM {
            let ends = |(at, word): (usize, &str)| !line[at + word.len()..].starts_with(is_of_name);
            if words.iter().flat_map(|word| line.match_indices(word)).filter(stands).any(ends) {
                names.insert(part.to_owned());
            }
        }
    }
    names
}

/// Returns whether a name on the map is not a room.
fn is_outside(name: &str) -> bool {
    LIBRARIES.iter().any(|library| name.starts_with(library)) || SYSTEM.iter().any(|(part, _)| name == *part)
}

/// Returns whether some `super::` of a file leads out of its room. `depth` is the number of folders between `src` and
/// the file.
fn leaves_by_super(program: &str, depth: usize) -> bool {
    program.contains(&"super::".repeat(depth + 1))
}

/// Reads every file of the rooms that is not a test, by its path below `src`, as [`split`] returns it.
fn programs() -> Vec<(PathBuf, String)> {
    let src = root().join("src");
    let files: Vec<_> = sources("src").into_iter().map(|(path, text)| (path, split(&text))).collect();
    let mut for_tests: Vec<PathBuf> = Vec::new();
    for (path, (_, modules)) in &files {
        let folder = if path.ends_with("src/lib.rs") { src.clone() } else { path.with_extension("") };
        for_tests.extend(modules.iter().map(|module| folder.join(module)));
    }
    let inside = files.into_iter().filter_map(|(path, (program, _))| {
        let is_for_tests = for_tests.iter().any(|module| path.with_extension("").starts_with(module));
        let inside = path.strip_prefix(&src).unwrap().to_owned();
        let is_top = inside == Path::new("lib.rs") || inside == Path::new("main.rs");
        (!is_top && !is_for_tests).then_some((inside, program))
    });
    inside.collect()
}

/// Reads what each room of the source uses.
fn source() -> Uses {
    let mut uses = Uses::new();
    for (inside, program) in programs() {
        let first = Path::new(inside.components().next().unwrap().as_os_str()).with_extension("");
        let room = first.to_str().unwrap().to_owned();
        let depth = inside.components().count() - 1;
        assert!(!leaves_by_super(&program, depth), "{}: super:: leads out of the room", inside.display());
        let found = used(&program).into_iter().filter(|name| *name != room);
        uses.entry(room.clone()).or_default().extend(found);
    }
    uses
}

#[test]
fn each_room_uses_what_the_map_says_and_nothing_else() {
    let (order, allowed) = map();
    let source = source();
    let mut wrong = Vec::new();
    for (room, uses) in &source {
        let Some(allowed) = allowed.get(room) else {
            wrong.push(format!("{room} is not on the map"));
            continue;
        };
        wrong.extend(uses.difference(allowed).map(|other| format!("{room} may not use {other}")));
        wrong.extend(allowed.difference(uses).map(|other| format!("{room} does not use {other}")));
    }
    wrong.extend(
        order.iter().filter(|room| !source.contains_key(*room)).map(|room| format!("{room} is no room")),
    );
    assert!(wrong.is_empty(), "the rooms differ from the map in src/lib.rs: {}", wrong.join("; "));
}

#[test]
fn each_room_of_the_map_uses_only_rooms_above_it() {
    let (order, allowed) = map();
    for (place, room) in order.iter().enumerate() {
        for other in allowed[room].iter().filter(|other| !is_outside(other)) {
            let is_below = order.iter().take(place).any(|known| known == other);
            assert!(is_below, "{room} comes before {other}, which it uses");
        }
    }
}

/// Words that only one file of a room, or of all rooms, may contain: the invariants in `src/lib.rs` name that place.
const ONE_PLACE: [(&str, &str, &str); 5] = [
    ("", "Connector::new", "net/client.rs"),
    ("api", "HttpResponse::build", "api/reply.rs"),
    ("task", "SystemTime::now", "task/timestamp.rs"),
    ("task", "Instant::now", "no file"),
    ("upstream", "serde_json::from_", "upstream/lenient.rs"),
];

#[test]
fn no_other_file_does_what_one_place_is_responsible_for() {
    for (inside, program) in programs() {
        for (room, word, place) in ONE_PLACE {
            let is_in_room = inside.with_extension("").starts_with(room);
            let may = !is_in_room || inside == Path::new(place);
            assert!(may || !program.contains(word), "{} says {word}", inside.display());
        }
    }
}

/// Rooms of which others may use a module by its name: one module for each outside format, and the texts of a fake.
const OPEN_MODULES: [(&str, &str); 2] = [("wire", ""), ("fake_upstream", "text")];

#[test]
fn a_room_exports_names_and_keeps_its_modules_private() {
    for (path, text) in sources("src") {
        let inside = path.strip_prefix(root().join("src")).unwrap();
        let room = inside.file_stem().and_then(|stem| stem.to_str()).unwrap();
        if inside.components().count() > 1 || ["lib", "main"].contains(&room) {
            continue;
        }
        for module in text.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
            let module = module.trim_end_matches(';');
            let is_open = |(open, name): &(&str, &str)| room == *open && (name.is_empty() || module == *name);
            // Modules for tests are not on the map, either.
            let is_open = OPEN_MODULES.iter().any(is_open) || module == "testing";
            assert!(is_open, "{room} opens its module {module}: export the names that others need");
        }
    }
}

#[test]
fn the_reader_of_the_source_finds_every_name_of_the_map() {
    let text = "use crate::wire::error;\nuse crate::{audio::{self, gate}, task::Task};\n\
                // crate::comment\n#[cfg(test)]\nmod testing;\n#[cfg(test)]\nuse crate::fake;\n\
                fn f() -> crate::net::Reach {\n    awc::Client::new()\n}\n#[cfg(test)]\nmod tests {\n    use crate::store;\n}\n\
                use actix_rt::spawn;\nlet b = bactix::c(\"awc::\");\n\
                use std::fs::{self, File};\nlet c = \"std::env\";\nlet d = std::net::TcpStream::connect(SystemTime::now);\n\
                use mio::net::TcpStreams;\n";
    let (program, modules) = split(text);
    assert_eq!(modules, ["testing"]);
    let names: Vec<_> = used(&program).into_iter().collect();
    assert_eq!(names, ["actix_rt", "audio", "awc", "clock", "disk", "mio", "net", "sockets", "task", "wire"]);
    assert!(leaves_by_super("use super::other;", 0) && !leaves_by_super("use super::other;", 1));
}
