//! What a server without a configuration file says about models of providers that it has no channel for.

use super::ModelHint;

/// Returns what is to be said of models that no channel serves, given the variables that are set.
pub(super) fn hints(variable: &dyn Fn(&str) -> Option<String>) -> Vec<ModelHint> {
    let mut hints = vec![ModelHint {
        models: &["whisper-*", "*-transcribe*"],
        advice: "This server has no channel for transcription models; its operator adds one to the configuration file: \
                 [[channels]] with kind = \"transcription\" and an API key",
    }];
    if variable("GEMINI_API_KEY").is_none() {
        hints.push(ModelHint {
            models: &["gemini-*"],
            advice: "This server has no channel for Gemini; its operator enables it by starting the server with \
                     GEMINI_API_KEY set",
        });
    }
    if variable("OPENAI_API_KEY").is_none() {
        hints.push(ModelHint {
            models: &["gpt-*"],
            advice: "This server has no channel for OpenAI, whose audio models (gpt-audio and others) its operator \
                     enables by starting the server with OPENAI_API_KEY set",
        });
    }
    hints
}
