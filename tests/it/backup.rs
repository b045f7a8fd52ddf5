//! The commands of `docs/operate.md` that back up a running server and restore it, pasted as they are.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::hearken::{Hearken, run};
use crate::support::pasted::{SHELLS, blocks, paste};
use crate::support::subscriber::{Frame, content};
use crate::support::upstream::FakeUpstream;
use crate::support::{base64, fixture, until};
use crate::tidy::root;

/// Returns the commands of a section of the page, with the paths of a test in place of the paths in the example.
fn commands(section: &str, replacements: &[(&str, &str)]) -> String {
    let page = std::fs::read_to_string(root().join("docs/operate.md")).unwrap();
    let (_, behind) = page.split_once(&format!("\n{section}\n")).unwrap();
    let [commands] = blocks(behind.split("\n#").next().unwrap())[..] else {
        panic!("{section} has one block")
    };
    let mut commands = commands.to_owned();
    for (line, path) in replacements {
        let line = format!("{line}\n");
        assert_eq!(commands.matches(&line).count(), 1, "{line}: {commands}");
        let (name, _) = line.split_once('=').unwrap();
        commands = commands.replace(&line, &format!("{name}=\"{path}\"\n"));
    }
    commands
}

/// Backs a server up to this path. Runs `work` in the middle of the backup: its transaction has begun, but the database
/// is not copied yet. Returns what the commands print.
fn back_up(hearken: &Hearken, shell: &[&str], to: &Path, work: impl FnOnce()) -> String {
    let from = hearken.data_dir();
    let replacements = [
        ("DATA=/var/lib/hearken", from.to_str().unwrap()),
        ("BACKUP=/var/lib/hearken-backup-$(date +%Y%m%d-%H%M%S)", to.to_str().unwrap()),
    ];
    let commands = commands("### With sqlite3", &replacements);
    let [began, done] = ["began", "done"].map(|name| to.with_extension(name));
    let pause = to.with_extension("sh");
    let script = "touch \"$1\"; while ! [ -e \"$2\" ]; do sleep 0.02; done";
    std::fs::write(&pause, script).unwrap();
    let step = format!(".shell sh '{}' '{}' '{}'\n", pause.display(), began.display(), done.display());
    let (before, after) = commands.split_once(".backup ").unwrap();
    let commands = format!("{before}{step}.backup {after}");
    std::thread::scope(|scope| {
        let pasted = scope.spawn(|| paste(shell, &commands));
        until("the backup is in its middle", || began.exists().then_some(()));
        work();
        std::fs::write(done, "").unwrap();
        pasted.join().unwrap()
    })
}

/// Returns audio that is too large for the database.
fn audio(byte: u8) -> String {
    let bytes = [fixture("audio/speech.wav"), vec![byte; 100_000]].concat();
    format!("data:audio/wav;base64,{}", base64(&bytes))
}

fn bytes(frames: &[Frame]) -> String {
    frames.iter().map(Frame::bytes).collect()
}

fn answer(task: &Value) -> &str {
    task["results"][0]["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{task}"))
}

#[test]
fn a_backup_of_a_running_server_is_restored_as_the_page_says() {
    for shell in SHELLS {
        let upstream = FakeUpstream::gemini()
            .say("ended")
            .then()
            .say("half")
            .hold()
            .then()
            .hold()
            .say("quiet")
            .then()
            .say("again")
            .start();
        let mut hearken = Hearken::before(&upstream).channel("max_running_tasks = 2").start();
        let submit = |audio_url: String, stream: bool| {
            hearken.submit(json!({"audio_url": audio_url, "stream": stream}))
        };
        let ended = submit(audio(1), true);
        let replayed = bytes(&hearken.stream(&ended).rest());
        let before = hearken.task(&ended);
        let streaming = submit(audio(2), true);
        let seen: Vec<Frame> = {
            let mut reader = hearken.stream(&streaming);
            (0..2).map(|_| reader.frame()).collect()
        };
        let quiet = submit(audio(3), false);
        upstream.held(2);
        let waiting = submit(audio(4), false);
        let backup = hearken.directory().join("back up");
        // During the backup, the server completes all of its tasks.
        let said = back_up(&hearken, shell, &backup, || {
            upstream.release();
            upstream.release();
            for (id, text) in [(&streaming, "half"), (&quiet, "quiet"), (&waiting, "again")] {
                assert_eq!(answer(&hearken.wait(id)), text);
            }
        });
        assert!(said.contains("commits: ") && said.contains("back up.tar.gz"), "{said}");
        assert!(!backup.exists() && !said.contains("not complete"), "{said}");
        let late = hearken.submit(json!({}));
        hearken.wait(&late);
        assert_eq!(upstream.requests(), 5);
        hearken.signal("KILL");
        hearken.exit_status();

        let restored = hearken.directory().join("restored");
        let archive = format!("{}.tar.gz", backup.display());
        let replacements = [
            ("ARCHIVE=/var/lib/hearken-backup-20261201-020000.tar.gz", archive.as_str()),
            ("NEW=/var/lib/hearken", restored.to_str().unwrap()),
        ];
        paste(shell, &commands("## Restore", &replacements));
        let config = std::fs::read_to_string(hearken.config_file()).unwrap();
        let old = hearken.data_dir().display().to_string();
        std::fs::write(hearken.config_file(), config.replace(&old, restored.to_str().unwrap())).unwrap();
        let checked = run(&["check", "--config", hearken.config_file().to_str().unwrap()]);
        let checked = String::from_utf8(checked.stdout).unwrap();
        assert!(checked.contains("keeps its data in ") && !checked.contains("lacks commits"), "{checked}");
        hearken.start_again();

        // A task that had ended is unchanged. A task of which a subscriber has seen chunks ends as interrupted.
        assert_eq!(hearken.task(&ended), before);
        assert_eq!(bytes(&hearken.stream(&ended).rest()), replayed);
        assert_eq!(hearken.wait(&streaming)["error"]["code"], "task_interrupted");
        let frames = hearken.stream(&streaming).rest();
        assert_eq!(bytes(&frames[..2]), bytes(&seen));
        assert_eq!((content(&frames).as_str(), frames.last().unwrap().event.as_str()), ("half", "error"));
        // All other tasks run again, with their audio, and are paid for twice.
        for id in [&quiet, &waiting] {
            assert_eq!(answer(&hearken.wait(id)), "again");
        }
        assert_eq!(upstream.requests(), 7);
        let told = |number: usize| String::from_utf8_lossy(&upstream.request(number).body).into_owned();
        let sent = [told(5), told(6)];
        for byte in [3, 4] {
            let audio = audio(byte);
            let (_, base64) = audio.split_once(',').unwrap();
            assert!(sent.iter().any(|body| body.contains(base64)), "the audio {byte} is sent again");
        }
        hearken.get(&format!("/v1/tasks/{late}")).error(404, "task_not_found");
        let left = |folder: &str| std::fs::read_dir(restored.join(folder)).unwrap().count();
        assert_eq!((left("spool"), left("frames")), (0, 2));
    }
}

#[test]
fn a_backup_without_the_audio_of_a_task_is_not_reported_as_complete() {
    let upstream = FakeUpstream::gemini().hold().start();
    let hearken = Hearken::start(&upstream);
    hearken.submit(json!({"audio_url": audio(1)}));
    upstream.held(1);
    let [file] = &hearken.files("spool")[..] else { panic!("the audio is in one file") };
    let (kept, backup) = (hearken.directory().join("kept"), hearken.directory().join("backup"));
    std::fs::rename(file, &kept).unwrap();
    let said = back_up(&hearken, SHELLS[0], &backup, || ());
    assert!(said.contains("The backup is not complete"), "{said}");
    assert!(!backup.with_extension("tar.gz").exists(), "{said}");
    std::fs::rename(&kept, file).unwrap();
    let said = back_up(&hearken, SHELLS[0], &hearken.directory().join("second"), || ());
    assert!(said.contains("second.tar.gz") && !said.contains("not complete"), "{said}");
    let third = hearken.directory().join("third");
    let replacements = [
        ("DATA=/var/lib/hearken", kept.to_str().unwrap()),
        ("BACKUP=/var/lib/hearken-backup-$(date +%Y%m%d-%H%M%S)", third.to_str().unwrap()),
    ];
    let said = paste(SHELLS[0], &commands("### With sqlite3", &replacements));
    assert!(said.contains("The backup is not complete"), "there is no data directory: {said}");
}

#[test]
fn a_restored_server_without_channels_ends_unfinished_tasks_without_a_call() {
    let upstream = FakeUpstream::gemini().hold().start();
    let mut hearken = Hearken::start(&upstream);
    let id = hearken.submit(json!({}));
    upstream.held(1);
    hearken.signal("KILL");
    hearken.exit_status();
    let config = std::fs::read_to_string(hearken.config_file()).unwrap();
    let (without, _) = config.split_once("[[channels]]").unwrap();
    std::fs::write(hearken.config_file(), without).unwrap();
    hearken.start_again();
    hearken.log_line("resumed the tasks that an earlier run left unfinished");
    assert_eq!(hearken.wait(&id)["error"]["code"], "no_available_model");
    assert_eq!(upstream.requests(), 1);
}
