//! The programs that `docs/getting-started.md` shows, run with OpenAI's packages and the real program.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use super::{KEY, embedded_channel, prepared, serve};

/// The server's address in the document.
const SUPPOSED: &str = "http://127.0.0.1:8080";

#[test]
fn the_python_program_of_getting_started_prints_the_answer() {
    check("python", "program.py", &mut Command::new(prepared("HEARKEN_TEST_PYTHON")));
}

#[test]
fn the_node_program_of_getting_started_prints_the_answer() {
    check("js", "program.mjs", &mut Command::new("node"));
}

/// Returns the document's only program in a language.
fn shown(language: &str) -> &'static str {
    let document = include_str!("../../docs/getting-started.md");
    let fence = format!("```{language}\n");
    let mut fenced = document.split(&fence).skip(1);
    let program = fenced.next().and_then(|rest| rest.split("```").next()).expect("a program");
    assert!(fenced.next().is_none(), "one program in {language}");
    program
}

/// Runs a program of the document as its reader does: in the project's folder, with the key in `KEY`.
fn check(language: &str, name: &str, interpreter: &mut Command) {
    let (program, address, _directory) = serve(embedded_channel());
    let shown = shown(language);
    assert_eq!(shown.matches(SUPPOSED).count(), 1, "the server is named once: {shown}");
    let folder = tempdir().expect("a folder for the program");
    let file = folder.path().join(name);
    std::fs::write(&file, shown.replace(SUPPOSED, &format!("http://{address}"))).expect("the program");
    // Node looks for packages beside the program.
    symlink(prepared("HEARKEN_TEST_NODE_MODULES"), folder.path().join("node_modules")).expect("the packages");
    let output = interpreter
        .arg(file)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .env("KEY", KEY)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("the interpreter starts: run ./tests/run, which prepares it");
    let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n--- the program's log ---\n{}", program.complaints());
    assert!(printed.starts_with("# Sound, measured\n"), "{printed}");
    assert!(printed.ends_with("- Clipping: none\n"), "{printed}");
}
