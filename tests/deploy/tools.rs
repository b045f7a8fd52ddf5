//! The tools that check the files. A missing tool fails the test.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::files::project;
use crate::kit::process::hearken;

/// Runs a command at the top of the project, which must succeed. Returns everything that it has written.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .current_dir(project(""))
        .output()
        .unwrap_or_else(|err| panic!("{command:?}: {err}: run ./tests/run, which installs it"));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said.into_owned()
}

/// Runs a command as [`run`] does. Returns what it has written to standard output.
pub(crate) fn output_of(command: &mut Command) -> String {
    let output = command.current_dir(project("")).output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{complaints}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command at the top of the project, which must fail. Returns what it has written to standard error.
pub(crate) fn complaint_of(command: &mut Command) -> String {
    let output = command.current_dir(project("")).output().unwrap_or_else(|err| panic!("{command:?}: {err}"));
    assert!(!output.status.success(), "{command:?} succeeds");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn prepared_python() -> PathBuf {
    let python: OsString = std::env::var_os("HEARKEN_TEST_PYTHON")
        .expect("HEARKEN_TEST_PYTHON is not set: run ./tests/run, which installs the linters");
    python.into()
}

/// Returns the Python that has the linters.
pub(crate) fn python() -> Command {
    Command::new(prepared_python())
}

/// Returns a linter that was installed with pip.
pub(crate) fn python_tool(name: &str) -> Command {
    Command::new(prepared_python().with_file_name(name))
}

/// Returns a linter that was installed with npm.
pub(crate) fn node_tool(name: &str) -> Command {
    let modules: OsString = std::env::var_os("HEARKEN_TEST_NODE_MODULES")
        .expect("HEARKEN_TEST_NODE_MODULES is not set: run ./tests/run, which installs the linters");
    Command::new(PathBuf::from(modules).join(".bin").join(name))
}

/// Returns the command of Compose, which is a program of its own or a part of Docker's.
pub(crate) fn compose() -> Command {
    let exists =
        |command: &mut Command| command.arg("version").output().is_ok_and(|output| output.status.success());
    if exists(&mut Command::new("docker-compose")) {
        return Command::new("docker-compose");
    }
    let mut docker = Command::new("docker");
    docker.arg("compose");
    docker
}

/// Runs `hearken check` on a configuration, which it must accept without a warning. Returns what it prints.
pub(crate) fn hearken_check(file: &str) -> String {
    let data = TempDir::new().unwrap();
    let output = run(hearken(&["check", "--config", file])
        .env("HEARKEN_DATA_DIR", data.path())
        .env("HEARKEN_LISTEN", "127.0.0.1:0")
        .env("HEARKEN_METRICS__LISTEN", "127.0.0.1:0")
        .env("GEMINI_API_KEY", "AIza-deploy-0123456789")
        .env("ADMIN_KEY", "sk-deploy-0123456789"));
    assert!(!output.contains("warning"), "{file}: {output}");
    output
}
