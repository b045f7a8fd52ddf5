//! The steps of a release in `.ci/release`.

use std::path::Path;
use std::process::Command;

use tempfile::{TempDir, tempdir};

use crate::files::{project, read};
use crate::tools::{complaint_of, output_of, run};

const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n### Added\n- Not yet.\n\n\
    ## [1.2.3] - 2026-12-01\n\n### Added\n- One.\n\n### Fixed\n- Two.\n\n## [1.2.2] - 2026-11-30\n- Before.\n";

/// Makes a project of version 1.2.3 with this `CHANGELOG.md` and the script.
fn project_with(changelog: &str) -> TempDir {
    let directory = tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    std::fs::create_dir_all(directory.path().join(".ci")).unwrap();
    std::fs::create_dir_all(directory.path().join("src")).unwrap();
    write("Cargo.toml", "[package]\nname = \"hearken\"\nversion = \"1.2.3\"\nedition = \"2024\"\n");
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"hearken\"\nversion = \"1.2.3\"\n");
    write("src/main.rs", "fn main() {}\n");
    write("CHANGELOG.md", changelog);
    std::fs::copy(project(".ci/release"), directory.path().join(".ci/release")).unwrap();
    directory
}

fn release(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(directory.join(".ci/release"));
    command.args(arguments);
    command
}

#[test]
fn a_release_needs_the_same_version_in_tag_package_and_changelog() {
    let directory = project_with(CHANGELOG);
    run(&mut release(directory.path(), &["check", "v1.2.3"]));
    for (tag, reason) in [
        ("1.2.3", "a tag must look like v1.2.3"),
        ("v1.2", "a tag must look like v1.2.3"),
        ("v1.2.4", "the version in Cargo.toml is 1.2.3"),
    ] {
        let complaint = complaint_of(&mut release(directory.path(), &["check", tag]));
        assert!(complaint.contains(reason), "{tag}: {complaint}");
    }
}

#[test]
fn a_release_needs_a_date_and_a_text_in_the_changelog() {
    for (changelog, reason) in [
        ("## [Unreleased]\n- Something.\n", "CHANGELOG.md needs a line"),
        ("## [1.2.3] - not yet released\n- Something.\n", "CHANGELOG.md needs a line"),
        ("## [1.2.3] - 2026-12-01\n\n## [1.2.2] - 2026-11-30\n- Before.\n", "CHANGELOG.md has no text"),
    ] {
        let directory = project_with(changelog);
        let complaint = complaint_of(&mut release(directory.path(), &["check", "v1.2.3"]));
        assert!(complaint.contains(reason), "{changelog}: {complaint}");
    }
}

#[test]
fn the_text_of_a_release_is_its_section_of_the_changelog() {
    let directory = project_with(CHANGELOG);
    let notes = |version| output_of(&mut release(directory.path(), &["notes", version]));
    assert_eq!(notes("1.2.3"), "### Added\n- One.\n\n### Fixed\n- Two.\n");
    assert_eq!(notes("1.2.2"), "- Before.\n");
}

#[test]
fn a_preview_does_not_take_the_tags_of_a_release() {
    let tags = |version| output_of(&mut release(&project(""), &["image-tags", version]));
    assert_eq!(tags("1.2.3"), "1.2.3\n1.2\nlatest\n1\n");
    assert_eq!(tags("0.1.0"), "0.1.0\n0.1\nlatest\n");
    assert_eq!(tags("1.2.3-rc.1"), "1.2.3-rc.1\n");
}

#[test]
fn an_archive_has_the_program_and_everything_that_belongs_to_it() {
    let directory = tempdir().unwrap();
    // The program of the tests has hundreds of megabytes of debug information.
    let program = directory.path().join("program");
    run(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_hearken")));
    let mut pack = release(&project(""), &["pack"]);
    pack.arg(&program).arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH)).arg(directory.path());
    let archive = output_of(&mut pack);
    run(Command::new("tar").arg("-xzf").arg(archive.trim()).arg("-C").arg(directory.path()));
    let version = env!("CARGO_PKG_VERSION");
    let root =
        directory.path().join(format!("hearken-{version}-{}-unknown-linux-gnu", std::env::consts::ARCH));

    for name in [
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "completions/_hearken",
        "completions/hearken.bash",
        "completions/hearken.fish",
        "deploy/prometheus/alerts.yml",
        "deploy/systemd/hearken.service",
        "docs/deploy.md",
        "man/man1/hearken.1",
        "man/man1/hearken-keys-create.1",
        "man/man1/hearken-submit.1",
    ] {
        let file = root.join(name);
        assert!(file.metadata().is_ok_and(|found| found.len() > 0), "{name} is missing or empty");
    }
    assert!(!root.join("docs/decisions").exists());
    assert_eq!(
        output_of(Command::new(root.join("hearken")).arg("--version")),
        format!("hearken {version}\n")
    );
    let notices = std::fs::read_to_string(root.join("THIRD-PARTY-LICENSES.txt")).unwrap();
    for part in ["actix-web 4", "symphonia-core 0", "Mozilla Public License", "Permission is hereby granted"]
    {
        assert!(notices.contains(part), "{part}");
    }
    assert!(!notices.contains("criterion"), "criterion is in the tests only");
}

#[test]
fn the_next_release_has_a_text() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").contains(&format!("\n## [{version}] - ")), "CHANGELOG.md has no {version}");
    run(&mut release(&project(""), &["notes", version]));
}
