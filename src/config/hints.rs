//! What a server without a configuration file says about models of providers that it has no channel for.

use super::ModelHint;
use crate::setting::{NotText, Variables};

/// Returns what is to be said of models that no channel serves, given the variables that are set.
pub(super) fn hints(variables: &Variables) -> Result<Vec<ModelHint>, NotText> {
    let mut hints = vec![ModelHint {
        models: &["whisper-*", "*-transcribe*"],
        advice: "This server has no channel for transcription models; its operator adds one to the configuration file: \
                 [[channels]] with kind = \"transcription\" and an API key",
    }];
    if variables.text("GEMINI_API_KEY")?.is_none() {
        hints.push(ModelHint {
            models: &["gemini-*"],
            advice: "This server has no channel for Gemini; its operator enables it by starting the server with \
                     GEMINI_API_KEY set",
        });
    }
    if variables.text("OPENAI_API_KEY")?.is_none() {
        hints.push(ModelHint {
            models: &["gpt-*"],
            advice: "This server has no channel for OpenAI, whose audio models (gpt-audio and others) its operator \
                     enables by starting the server with OPENAI_API_KEY set",
        });
    }
    Ok(hints)
}
