//! What the command line says of itself: help, completions of shells, man pages.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::hearken::run;

/// Runs hearken, which succeeds, and returns what it prints.
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let (_, behind) = help.split_once("Commands:\n").unwrap();
    let (listed, _) = behind.split_once("\n\n").unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Feeds a script to a shell, which succeeds, and returns what the shell prints.
fn fed(shell: &str, arguments: &[&str], script: &str) -> String {
    let mut child = Command::new(shell)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_help_lists_every_command() {
    let listed = commands(&printed(&["--help"]));
    let expected =
        ["serve", "submit", "login", "logout", "keys", "check", "fake-upstream", "completions", "man"];
    assert_eq!(listed, expected);
}

#[test]
fn bash_completes_commands_and_options() {
    let script = printed(&["completions", "bash"]);
    let completed = |words: &str, word: &str, before: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=(hearken {words} {word}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _hearken hearken '{word}' {before}; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        fed("bash", &["--noprofile", "--norc"], &ask)
    };
    assert_eq!(completed("", "ch", "hearken"), "check\n");
    assert_eq!(completed("keys", "re", "keys"), "revoke\n");
    assert_eq!(completed("serve", "--da", "serve"), "--data-dir\n");
}

#[test]
fn every_supported_shell_gets_completions_of_every_command() {
    let listed = commands(&printed(&["--help"]));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for command in &listed {
            assert!(script.contains(command.as_str()), "{shell} lacks {command}");
        }
    }
    fed("zsh", &["-f", "-n"], &printed(&["completions", "zsh"]));
}

#[test]
fn an_unknown_shell_is_an_error_that_lists_the_known_ones() {
    let output = run(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("bash, elvish, fish, powershell, zsh"), "{told}");
}

#[test]
fn every_command_has_a_man_page_with_its_options() {
    let page = printed(&["man"]);
    assert!(page.contains(".TH hearken 1"), "{page}");
    for command in commands(&printed(&["--help"])) {
        assert!(page.contains(&command.replace('-', "\\-")), "the page lacks {command}");
        let page = printed(&["man", &command]);
        let title = format!(".TH hearken-{command} 1  \"hearken {}\"", env!("CARGO_PKG_VERSION"));
        assert!(page.contains(&title), "{title} in {page}");
    }
    let page = printed(&["man", "keys", "create"]);
    assert!(page.contains("\\-\\-requests\\-per\\-minute"), "{page}");
}

#[test]
fn a_man_page_of_an_unknown_command_is_an_error() {
    let output = run(&["man", "keys", "destroy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, "hearken: keys has no command `destroy`; see `hearken --help`\n");
}
