//! The commands of the README's quick start and of the guide in the OpenAPI document, pasted in their order.

use crate::support::hearken::{Hearken, KEY};
use crate::support::pasted::{SHELLS, blocks, paste};
use crate::support::upstream::FakeUpstream;

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

/// Asserts that all these words are printed, in this order.
fn assert_printed(output: &str, words: &[&str]) {
    let mut rest = output;
    for word in words {
        let (_, behind) = rest.split_once(word).unwrap_or_else(|| panic!("no {word:?} in:\n{output}"));
        rest = behind;
    }
}

#[test]
fn the_quick_start_of_the_readme_works_as_pasted() {
    let upstream = FakeUpstream::gemini().say("A calm voice.").start();
    let hearken = Hearken::before(&upstream).local().start();
    let readme = include_str!("../../README.md");
    let (_, behind) = readme.split_once("\n## Five minutes\n").unwrap();
    let (quick_start, _) = behind.split_once("\n### ").unwrap();
    let (starts, commands): (Vec<&str>, Vec<&str>) =
        blocks(quick_start).into_iter().partition(|block| block.contains("cargo run --release\n"));
    // In this test, the server runs already.
    assert_eq!((starts.len(), commands.len()), (2, 5), "{starts:?} {commands:?}");
    let commands = adapted(&commands.concat(), &hearken);
    for shell in SHELLS {
        let output = paste(shell, &commands);
        let words = [
            "{\"id\":\"task-llm-",
            "\"status\":\"pending\"",
            "event: chunk\nid: 20\n",
            "- Clipping: none\\n",
            "event: done\nid: 22\ndata: [DONE]",
            "# Sound, measured\n",
            "Duration: 3.10 s",
            "\"content\":\"A calm voice.\"",
            "data: [DONE]",
        ];
        assert_printed(&output, &words);
    }
}

#[test]
fn the_guide_of_the_document_works_as_pasted() {
    let hearken = Hearken::builder().local().start();
    let document = hearken.get("/openapi.json").expect(200).json();
    let guide = document["info"]["description"].as_str().unwrap();
    let commands = adapted(&blocks(guide).concat(), &hearken);
    for shell in SHELLS {
        let output = paste(shell, &commands);
        assert_printed(&output, &["\"status\":\"completed\"", "event: done", "data: [DONE]"]);
    }
}
