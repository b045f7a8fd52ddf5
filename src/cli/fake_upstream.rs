//! `hearken fake-upstream`: an upstream that takes its answers and faults from the name of the model.

use std::process::ExitCode;

use super::{FAILED, USAGE, complain, non_empty, say};
use crate::fake_upstream::{self, Script, ScriptError};

/// The text below the options in `--help`.
const HELP: &str = "\
SCRIPTS
  The model's name contains the script: NAME gets a good answer, NAME+STEP+STEP... follows the steps. Some steps shape
  the answer, one sets the fault; their order does not matter. So one server can play every script at once:

    gemini-x                              a good answer
    gemini-x+chunks=50+pause=20           50 texts, 20 ms between them
    gemini-x+429=7+first=2                two calls get 429 \"retry in 7 s\", later ones a good answer
    gemini-x+delay=200+after=3+cut=0      200 ms of silence, three texts, then the connection is closed
    gemini-x+500+rate=0.1                 every tenth call fails, at random

  The shape (defaults in brackets):
    chunks=N         number of texts (5; at most 1000000)
    size=BYTES       bytes of each text (not set; at least 16)
    pause=MS         milliseconds between two texts (0)
    delay=MS         milliseconds before the head of the response (0); also before an error
    think[=N]        thoughts before the first text (2): Gemini's thought parts, chat's reasoning_content
    split[=BYTES]    the body is sent in pieces of this many bytes (1), so characters and frames are split
    usage=WHERE      chat: apart (on a chunk of its own, if the request asks for it), beside (on the last chunk), none
    style=STYLE      transcription: openai, diarize, mistral, vllm or speaches
    odd              the answer comes with text that JSON does not allow (NaN, half a character), and events that do
                     not belong to it come between its events: a string, a number, words
    gzip             the body is compressed, although the request does not ask for it
    plain            transcription: `stream` is ignored, as by whisper-1

  Faults in place of an answer:
    400 ... 599      this HTTP error, in the dialect's format; 429=SECONDS and 503=SECONDS with its retry hint
    daily            429 for a quota that is used up: waiting does not help
    badkey           the key is rejected
    region           the caller's region is rejected
    blocked          the content filter rejects the prompt
    slam             the connection is closed without a response
    silent           the request is read and never answered
    empty            200 without a body
    garbage          200 with an HTML page; with after=N nonsense in place of a text

  Faults within an answer; after=N: N texts come first (0; for the last four: all)
    stall            nothing more is sent, and the connection stays open
    endless          the texts never end
    cut=BYTES        the connection is closed after this many bytes of the body; after=N: after N texts
    half             the connection is closed in the middle of a frame
    torn             the body ends cleanly in the middle of a frame
    error[=FORM]     an error as an event; Gemini: bare (JSON without framing); chat and transcription: event
                     (`event: error`), field (`error: ...`); chat: beside (on a chunk). No stream: 200 with an error
    unfinished       the body ends cleanly without a sign that the answer is finished
    late-error[=FORM]  an error after the finish
    filtered         the content filter ends the answer
    length           the token limit ends the answer

  Which calls have the fault:
    first=N          the first N calls to this exact name, script included; later ones get a good answer
    rate=P           this share of the calls, from 0 to 1, at random

  A step that is unknown, or impossible in the dialect, is answered with 400 and the name of the step.

ANSWERS
  Text number n, from 1, begins with \"n: \", so that lost and repeated texts can be seen. Without size it is
  \"n: SENTENCE \" with one of five sentences in turn, in several alphabets and with emoji. Usage is always the same:
  125 prompt tokens (6 text, 119 audio), 7 for each text, 5 for each thought.

ENDPOINTS
  POST /v1beta/models/MODEL:generateContent and :streamGenerateContent, with and without ?alt=sse
  POST /v1/chat/completions, /v1/audio/transcriptions
  GET /stats       counters: calls, faults, clients that disconnected early, calls per model name
  POST /stats/reset  sets the counters to zero; first=N counts from the start again

  Requests are checked as the real providers check them: key, JSON or form, fields, audio and its base64; up to 64 MiB.
  SIGTERM and SIGINT stop the server at once.

EXAMPLE
  hearken fake-upstream --script '503=2' --rate 0.2

  and in hearken.toml:

  [[channels]]
  kind = \"gemini\"
  base_url = \"http://127.0.0.1:8090/v1beta\"
  api_key = \"any\"
  models = [\"gemini-*\"]";

/// Run a fake upstream that answers, or fails as a script says, for tests and load tests
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090", value_parser = non_empty::text)]
    listen: String,
    /// Script for calls whose model name contains none [default: none, a good answer]
    #[arg(long, value_name = "SCRIPT", value_parser = non_empty::text)]
    script: Option<String>,
    /// Share of those calls that have the script's fault, from 0 to 1, at random [default: 1]
    #[arg(long, value_name = "P", requires = "script")]
    rate: Option<String>,
    /// Seed of the random choices: the same seed and the same calls give the same faults
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The only API key that is accepted [default: any]
    #[arg(long, value_name = "KEY", value_parser = non_empty::text)]
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
        say(format_args!("  counters          http://{address}/stats"));
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

/// Returns the script, with the share of calls that have its fault.
fn parse(script: &str, rate: Option<&str>) -> Result<Script, ScriptError> {
    let script: Script = script.parse()?;
    match rate {
        None => Ok(script),
        Some(rate) => script.with_rate(rate),
    }
}
