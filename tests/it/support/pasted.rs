//! Commands as readers paste them from a document: into an interactive shell, one after another.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Shells without personal settings: Linux has bash, and macOS has zsh, which accepts no comments in typed commands.
pub(crate) const SHELLS: [&[&str]; 2] = [&["bash", "--noprofile", "--norc", "-i"], &["zsh", "-f", "-i"]];

/// Returns the commands of a document, one block for each fence that is marked `sh`.
pub(crate) fn blocks(document: &str) -> Vec<&str> {
    let fenced = document.split("```sh\n").skip(1);
    fenced.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Pastes commands into a shell that is started in the project's folder. Returns what they print.
pub(crate) fn paste(shell: &[&str], commands: &str) -> String {
    let home = TempDir::new().unwrap();
    let mut shell = Command::new(shell[0])
        .args(&shell[1..])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("HEARKEN_URL")
        .env_remove("HEARKEN_API_KEY")
        .env_remove("KEY")
        .env_remove("TASK")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|err| panic!("{}: {err}: run ./tests/run, which installs it", shell[0]));
    // An unset variable is an error, and so is pasted text that ends within a command.
    let input = format!("set -u\n{commands}\n");
    shell.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    for complaint in
        ["not found", "unbound variable", "parameter not set", "no matches", "parse error", "syntax error"]
    {
        assert!(!told.contains(complaint), "{told}");
    }
    String::from_utf8(output.stdout).unwrap()
}
