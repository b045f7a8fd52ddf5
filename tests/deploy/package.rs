//! The package for crates.io has only the files that build, deploy and explain the program.

use std::collections::BTreeSet;
use std::process::Command;

use crate::files::project;
use crate::tools::output_of;

/// The names at the top of the package. Cargo adds the files with `Cargo` and `cargo` in their names.
const TOP: [&str; 13] = [
    ".cargo_vcs_info.json",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "deploy",
    "docs",
    "examples",
    "src",
];
/// The limit for the unpacked package. crates.io accepts 10 MB, packed.
const MOST_BYTES: u64 = 5_000_000;

/// Returns the paths of the files in the package. The release workflow also builds the package.
fn packed() -> Vec<String> {
    let list = output_of(Command::new(env!("CARGO")).args([
        "package",
        "--list",
        "--allow-dirty",
        "--locked",
        "--offline",
    ]));
    list.lines().map(str::to_owned).collect()
}

#[test]
fn the_package_has_only_what_its_users_need() {
    let files = packed();
    let top: BTreeSet<_> = files.iter().map(|file| file.split('/').next().unwrap()).collect();
    assert_eq!(top, BTreeSet::from(TOP));
    for file in &files {
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        assert!(!file.starts_with("docs/decisions"), "{file}: decisions are for developers");
        assert!(extension != "png", "{file}: pictures are large");
    }
    let bytes: u64 =
        files.iter().filter_map(|file| project(file).metadata().ok()).map(|file| file.len()).sum();
    assert!(bytes < MOST_BYTES, "{bytes}");
}
