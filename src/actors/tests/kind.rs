//! Tests of a kind of channel that consists of one folder and one line, from the configuration's text to a completed
//! task.

use std::io::Write as _;
use std::time::Instant;

use super::*;
use crate::config::{Config, ConfigError, Flags};

fn load(channel: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[[channels]]\nkind = \"echo\"\n{channel}").unwrap();
    Config::load(&Flags { config: Some(file.path().to_owned()), ..Flags::default() })
}

#[actix_rt::test]
async fn a_kind_of_one_folder_and_one_line_completes_a_task_as_configured() {
    let config = load("models = [\"m\"]\necho_times = 3").unwrap();
    let service = service(Channel::open(&config.channels[0], Instant::now()).unwrap(), 10);
    let accepted = service.tasks.accept(service.task()).await.unwrap();
    let State::Completed(completion) = service.outcome(&accepted.snapshot.id).await else {
        panic!("not completed")
    };
    assert!(completion.chat().get().contains(r#""content":"ppp""#), "{completion:?}");
}

#[test]
fn messages_name_the_keys_that_only_a_kinds_folder_defines() {
    for (channel, message) in [
        ("echo_time = 3", ":3: channels[0].echo_time: unknown key; did you mean echo_times?"),
        (
            "echo_times = 0",
            ":3: channels[0].echo_times: a whole number of 1 or more is needed, and this is 0: write it as in echo_times = 2",
        ),
        (
            "stream = true",
            ":3: channels[0].stream: it is for channels of kind transcription, and this one is echo",
        ),
    ] {
        let error = load(channel).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
