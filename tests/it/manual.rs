//! The manual in `docs/` names everything that the program has, and nothing else: `docs/cli.md` its commands and
//! options, `docs/api.md` its paths, fields and parameters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::hearken::{Hearken, run};

const CLI: &str = include_str!("../../docs/cli.md");
const API: &str = include_str!("../../docs/api.md");

/// Returns the help of a command, such as `["keys", "create"]`, or of the program if there are no words.
fn help(command: &[&str]) -> String {
    let output = run(&[command, &["--help"]].concat());
    assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, behind)) = help.split_once("Commands:\n") else { return Vec::new() };
    let (listed, _) = behind.split_once("\n\n").unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Returns the long options that a help text lists.
fn options(help: &str) -> Vec<String> {
    // Options are indented by the width of `-x, `. Other text that begins with an option is not.
    let options = help.lines().filter_map(|line| {
        let rest = line.strip_prefix("      --").or_else(|| {
            let short = line.strip_prefix("  -")?;
            short.get(1..)?.strip_prefix(", --")
        })?;
        rest.split_whitespace().next()
    });
    options.map(|name| format!("--{name}")).collect()
}

/// Returns every command of the program with its long options, such as `keys create` with `--models`.
fn commands() -> BTreeMap<String, Vec<String>> {
    let mut commands = BTreeMap::new();
    for name in subcommands(&help(&[])) {
        let text = help(&[&name]);
        for second in subcommands(&text) {
            commands.insert(format!("{name} {second}"), options(&help(&[&name, &second])));
        }
        commands.insert(name, options(&text));
    }
    assert!(commands["keys create"].contains(&"--models".to_owned()), "{commands:?}");
    assert!(commands["submit"].contains(&"--model".to_owned()), "{commands:?}");
    commands
}

/// Returns the part of a document below a heading, up to the next heading of the same level or a higher one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, behind) =
        document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let (marks, _) = heading.split_once(' ').unwrap();
    let ends = (2..=marks.len()).filter_map(|level| behind.find(&format!("\n{} ", "#".repeat(level))));
    &behind[..ends.min().unwrap_or(behind.len())]
}

/// Returns the rows of the table that begins with this column, as far as the first cell.
fn first_cells<'a>(text: &'a str, column: &str) -> Vec<&'a str> {
    let (_, behind) =
        text.split_once(&format!("\n| {column} |")).unwrap_or_else(|| panic!("no table of {column:?}"));
    let rows = behind.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim()).collect()
}

/// Returns the texts in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_command_line_page_has_every_command_with_its_options() {
    let mut missing = Vec::new();
    for (command, options) in commands() {
        let name = command.split(' ').next().unwrap();
        let level = if command.contains(' ') { "###" } else { "##" };
        if !CLI.contains(&format!("\n{level} hearken {command}\n")) {
            missing.push(format!("{level} hearken {command}"));
            continue;
        }
        let section = section(CLI, &format!("## hearken {name}"));
        let general = CLI.split("\n## ").next().unwrap();
        // An option is in a table of its command or, if all commands have it, in the introduction.
        let is_missing = |option: &String| {
            let rows = [format!("\n| `{option}`"), format!("\n| `{option} ")];
            !rows.iter().any(|row| section.contains(row)) && !general.contains(&format!("`{option}`"))
        };
        missing.extend(options.into_iter().filter(is_missing).map(|option| format!("{command} {option}")));
    }
    assert!(missing.is_empty(), "docs/cli.md lacks {missing:#?}");
}

#[test]
fn the_command_line_page_names_no_unknown_command_or_option() {
    let commands = commands();
    let known: BTreeSet<&str> = commands.values().flatten().map(String::as_str).collect();
    for word in CLI.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-')) {
        let is_option = word.strip_prefix("--").is_some_and(|name| name.starts_with(char::is_alphabetic));
        assert!(!is_option || known.contains(word) || word == "--version", "there is no option {word}");
    }
    for heading in CLI.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(" hearken ")) {
        let is_known = commands.contains_key(heading) || heading == "help";
        assert!(
            !CLI.contains(&format!("# hearken {heading}\n")) || is_known,
            "there is no command {heading}"
        );
    }
}

/// Returns the OpenAPI document of a running server.
fn document() -> Value {
    Hearken::builder().local().start().get("/openapi.json").expect(200).json()
}

/// Returns the names of an object's members.
fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_api_page_lists_exactly_the_paths_of_the_server() {
    let document = document();
    let mut served = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in names(operations) {
            // Each of these takes HEAD as well, as the page says.
            if ["get", "post", "put", "patch", "delete"].contains(&method) {
                served.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let listed: BTreeSet<String> = first_cells(section(API, "## Endpoints"), "Request")
        .into_iter()
        .flat_map(quoted)
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, served);
}

#[test]
fn the_api_page_lists_exactly_the_fields_of_a_submit_and_of_a_task() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let fields = |heading: &str, column: &str| -> BTreeSet<&str> {
        first_cells(section(API, heading), column).into_iter().flat_map(quoted).collect()
    };
    assert_eq!(fields("## Submit a task", "Field"), names(&schemas["SubmitRequest"]["properties"]));
    assert_eq!(fields("### The task", "Field"), names(&schemas["Task"]["properties"]));
}

#[test]
fn the_api_page_names_every_parameter_and_every_word_of_include() {
    let document = document();
    for operations in document["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let Some(name) = parameter["name"].as_str() else { continue };
                // This header is for tools, which use it as HTTP specifies.
                if name != "If-None-Match" {
                    let is_told = quoted(API).iter().any(|word| word.contains(name));
                    assert!(is_told, "docs/api.md does not name {name}");
                }
            }
        }
    }
    let details = &document["components"]["schemas"]["TaskDetails"]["allOf"][1]["properties"];
    let words: BTreeSet<&str> = first_cells(section(API, "### Ask for more with `include`"), "Word")
        .into_iter()
        .flat_map(quoted)
        .collect();
    assert_eq!(words, names(details));
}
