//! `hearken fake-upstream`: an upstream whose answers and accidents are written in the names of its models.

use std::process::ExitCode;

use super::{FAILED, USAGE, complain, filled, say};
use crate::fake_upstream::{self, Script, ScriptError};

/// What `--help` says below the options.
const HELP: &str = "\
SCRIPTS
  The name of a model says what happens: NAME is answered well, NAME+STEP+STEP... as the steps say. There are steps
  for the shape of the answer and one for the fault, in any order. So one server plays everything at once:

    gemini-x                              a good answer
    gemini-x+chunks=50+pause=20           50 texts, 20 ms between them
    gemini-x+429=7+first=2                two calls get 429 \"come back in 7 s\", later ones an answer
    gemini-x+delay=200+after=3+cut=0      200 ms of silence, three texts, and the connection is gone
    gemini-x+500+rate=0.1                 every tenth call fails, at random

  The shape:
    chunks=N         texts (5; at most 1000000)
    size=BYTES       bytes of each text (at least 16)
    pause=MS         between two texts (0)
    delay=MS         before the head of the response (0); before an error, too
    think[=N]        thoughts before the first text (2): Gemini's thought parts, chat's reasoning_content
    split[=BYTES]    the body goes out in pieces of this many bytes (1): characters and frames are split
    usage=WHERE      chat: apart (on a chunk of its own, if asked for), beside (on the last chunk), none
    style=STYLE      transcription: openai, diarize, mistral, vllm or speaches
    odd              beside the answer stands what JSON does not allow: NaN, half a character; between the
                     events, others that are no part of it: a string, a number, words
    gzip             the body is compressed, though nothing asks for it
    plain            transcription: `stream` is ignored, as by whisper-1

  Faults in place of an answer:
    400 ... 599      this HTTP error, in the dialect's words; 429=SECONDS and 503=SECONDS with the dialect's hint
    daily            429 for a quota that is used up: waiting does not help
    badkey           the key is refused
    region           the region that the call comes from is refused
    blocked          the prompt is refused by the content filter
    slam             the connection is closed without a word
    silent           the request is taken and never answered
    empty            200 without a body
    garbage          200 with a page of HTML; with after=N nonsense in place of a text

  Faults within an answer; after=N: N texts come first (0, but for the last four: all)
    stall            nothing more comes, and the connection stays open
    endless          the texts never end
    cut=BYTES        the connection is closed after so many bytes of the body; after=N: behind N texts
    half             the connection is closed in the middle of a frame
    torn             the body ends cleanly in the middle of a frame
    error[=FORM]     an error as an event; Gemini: bare (JSON without framing); chat and transcription: event
                     (`event: error`), field (`error: ...`); chat: beside (on a chunk). No stream: 200 with an error
    unfinished       the body ends cleanly, and nothing says that the answer has
    late-error[=FORM]  an error behind the finish
    filtered         the content filter ends the answer
    length           the limit of tokens ends the answer

  Who has the fault:
    first=N          the first N calls under this very name, script included; later ones are answered well
    rate=P           this share of the calls, from 0 to 1, at random

  What a dialect cannot do, and what is no step, is answered with 400 and the step.

ANSWERS
  The text with the number n, from 1, begins with \"n: \", so that loss and repetition show. Without size it is
  \"n: SENTENCE \" with one of five sentences in turn, of several scripts and with emoji. Usage is always the same: 125
  tokens of prompt (6 text, 119 audio), 7 for each text, 5 for each thought.

WHAT IT SERVES
  POST /v1beta/models/MODEL:generateContent and :streamGenerateContent, with and without ?alt=sse
  POST /v1/chat/completions, /v1/audio/transcriptions
  GET /stats       what was counted: calls, faults, clients that left early, calls by the model's name
  POST /stats/reset  forgets it, and with it whose first calls have been

  Requests are checked as the real ones check them: key, JSON or form, fields, audio and its base64; up to 64 MiB.
  SIGTERM and SIGINT end it at once.

EXAMPLE
  hearken fake-upstream --script '503=2' --rate 0.2

  and in hearken.toml:

  [[channels]]
  kind = \"gemini\"
  base_url = \"http://127.0.0.1:8090/v1beta\"
  api_key = \"any\"
  models = [\"gemini-*\"]";

/// Play an upstream, good or faulty, for tests and under load
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090", value_parser = filled::text)]
    listen: String,
    /// What happens to calls whose model carries no script
    #[arg(long, value_name = "SCRIPT", value_parser = filled::text)]
    script: Option<String>,
    /// The share of those calls that has the script's fault, from 0 to 1, at random
    #[arg(long, value_name = "P", requires = "script")]
    rate: Option<String>,
    /// What chance starts from: the same seed and the same calls have the same faults
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The one key that is right [default: any]
    #[arg(long, value_name = "KEY", value_parser = filled::text)]
    api_key: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { listen, script, rate, seed, api_key } = arguments;
    let script = match script.map(|script| parse(&script, rate.as_deref())).transpose() {
        Ok(script) => script,
        Err(err) => return complain(err, USAGE),
    };
    let settings = fake_upstream::Settings { listen: listen.clone(), script, seed, api_key };
    let served = actix_rt::System::new().block_on(fake_upstream::run(settings, |address| {
        say(format_args!("hearken fake-upstream listening on http://{address}"));
        say(format_args!("  Gemini            http://{address}/v1beta"));
        say(format_args!("  chat completions  http://{address}/v1"));
        say(format_args!("  transcriptions    http://{address}/v1"));
        say(format_args!("  what was counted  http://{address}/stats"));
    }));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => complain(
            format_args!(
                "cannot listen on {listen}: {err}; choose another address, as in --listen 127.0.0.1:8091"
            ),
            FAILED,
        ),
    }
}

/// The script, with the share of calls that is faulty.
fn parse(script: &str, rate: Option<&str>) -> Result<Script, ScriptError> {
    let script: Script = script.parse()?;
    match rate {
        None => Ok(script),
        Some(rate) => script.with_rate(rate),
    }
}
