//! The commands of the README, of `docs/getting-started.md`, of `docs/api.md` and of the guide in the OpenAPI document,
//! pasted in their order.

use std::path::Path;

use tempfile::{TempDir, tempfile};

use crate::kit::process::{Process, SERVES};
use crate::support::hearken::{Hearken, KEY, command};
use crate::support::pasted::{SHELLS, blocks, paste};
use crate::support::until;
use crate::support::upstream::FakeUpstream;

const GETTING_STARTED: &str = include_str!("../../docs/getting-started.md");

/// The server's address in the documents.
const SUPPOSED: &str = "http://127.0.0.1:8080";
/// The placeholder that readers replace by their key.
const PLACE: &str = "KEY=sk-...";

/// Returns the commands for this server and its key.
fn adapted(commands: &str, hearken: &Hearken) -> String {
    assert_eq!(commands.matches(PLACE).count(), 1, "the key is put in once: {commands}");
    let address = format!("http://{}", hearken.address);
    commands.replace(SUPPOSED, &address).replace(PLACE, &format!("KEY={KEY}"))
}

/// Returns the commands with the program that the tests run, instead of the one that a user has built.
fn with_program(commands: &str) -> String {
    let built = "$PWD/target/release";
    assert_eq!(commands.matches(built).count(), 1, "the program is found once: {commands}");
    let folder = Path::new(env!("CARGO_BIN_EXE_hearken")).parent().unwrap();
    commands.replace(built, folder.to_str().unwrap())
}

/// Asserts that all these words are printed, in this order.
fn assert_printed(output: &str, words: &[&str]) {
    let mut rest = output;
    for word in words {
        let (_, behind) = rest.split_once(word).unwrap_or_else(|| panic!("no {word:?} in:\n{output}"));
        rest = behind;
    }
}

#[test]
fn the_commands_of_the_readme_work_as_pasted() {
    let upstream = FakeUpstream::gemini().say("A calm voice.").start();
    let hearken = Hearken::before(&upstream).local().start();
    let blocks = blocks(include_str!("../../README.md")).into_iter();
    // In this test, the server runs already, and in no container.
    let (starts, commands): (Vec<&str>, Vec<&str>) =
        blocks.partition(|block| block.contains("cargo run") || block.contains("docker"));
    assert_eq!((starts.len(), commands.len()), (4, 3), "{starts:?} {commands:?}");
    let commands = with_program(&adapted(&commands.concat(), &hearken));
    let commands = format!("export HEARKEN_URL=http://{}\n{commands}", hearken.address);
    for shell in SHELLS {
        let output = paste(shell, &commands);
        let words = [
            "# Sound, measured\n",
            "Speech: 2.34 s (75 %) in 2 segments\n",
            "event: chunk\nid: 20\n",
            "event: done\nid: 22\ndata: [DONE]",
            "A calm voice.",
        ];
        assert_printed(&output, &words);
    }
}

#[test]
fn the_commands_of_getting_started_work_as_pasted() {
    let upstream = FakeUpstream::gemini().say("A calm voice.").start();
    let hearken = Hearken::before(&upstream).local().start();
    let (starts, commands): (Vec<&str>, Vec<&str>) =
        blocks(GETTING_STARTED).into_iter().partition(|block| block.contains("cargo run --release\n"));
    // In this test, the server runs already.
    assert_eq!((starts.len(), commands.len()), (2, 10), "{starts:?} {commands:?}");
    let commands = with_program(&adapted(&commands.concat(), &hearken));
    for shell in SHELLS {
        let output = paste(shell, &commands);
        let words = [
            "Logged in to ",
            "# Sound, measured\n",
            "{\"id\":\"task-llm-",
            "\"status\":\"pending\"",
            "# Sound, measured\n",
            "Duration: 3.10 s",
            "event: chunk\nid: 20\n",
            "- Clipping: none\\n",
            "event: done\nid: 22\ndata: [DONE]",
            "event: chunk\nid: 21\n",
            "event: done\nid: 22\ndata: [DONE]",
            "- Clipping: none\n",
            "A calm voice.",
            "\"content\":\"A calm voice.\"",
            "data: [DONE]",
        ];
        assert_printed(&output, &words);
    }
}

/// Returns the lines of a first start that are the same at each start.
fn fixed_lines(output: &str) -> Vec<&str> {
    let is_fixed = |line: &&str| !line.starts_with("curl ") && !line.starts_with("  sk-");
    output.lines().filter(is_fixed).collect()
}

#[test]
fn the_first_start_prints_what_getting_started_shows() {
    let (_, behind) = GETTING_STARTED.split_once("```text\n").unwrap();
    let (shown, _) = behind.split_once("```").unwrap();
    let data_dir = TempDir::new().unwrap();
    let mut command = command(&["serve", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(data_dir.path());
    let (process, address) = Process::start(&mut command, tempfile().unwrap(), SERVES).unwrap();
    let address = format!("http://{address}");
    let last = shown.lines().last().unwrap();
    let said = until("the last line", || Some(process.said()).filter(|said| said.contains(last)));
    assert_eq!(fixed_lines(&said.replace(&address, SUPPOSED)), fixed_lines(shown));
}

#[test]
fn the_commands_of_the_api_page_work_as_pasted() {
    let hearken = Hearken::builder().local().start();
    let commands = blocks(include_str!("../../docs/api.md")).concat();
    let commands = adapted(&format!("{PLACE}\n{commands}"), &hearken);
    for shell in SHELLS {
        let output = paste(shell, &commands);
        let words = [
            "\"id\":\"task-llm-",
            ": keep-alive\n",
            "event: done\nid: 22\ndata: [DONE]",
            "\"status\":\"completed\"",
            "\"timeline\": {",
            "\"format\": \"mp3\"",
            "\"has_more\": ",
            "\"status\":\"completed\"",
            "\"capabilities\":[\"text\",\"audio\"]",
        ];
        assert_printed(&output, &words);
    }
}

#[test]
fn the_guide_in_the_openapi_document_works_as_pasted() {
    let hearken = Hearken::builder().local().start();
    let document = hearken.get("/openapi.json").expect(200).json();
    let guide = document["info"]["description"].as_str().unwrap();
    let commands = adapted(&blocks(guide).concat(), &hearken);
    for shell in SHELLS {
        let output = paste(shell, &commands);
        assert_printed(&output, &["\"status\":\"completed\"", "event: done", "data: [DONE]"]);
    }
}
