//! The models that a key may use. They are requested before a submit, and shown if the user has to choose one.

use super::calls;
use super::format::word;
use super::session::{CommandEnd, Session};

const MODELS: &str = "This key may use:";
const NO_MODEL: &str = "the server lists no model for this key";

impl Session<'_> {
    /// Returns the models that the key may use. The request is always made: it reveals a missing server or an unknown
    /// key before a large upload, which would otherwise fail as a cut connection.
    pub(super) async fn models(&mut self) -> Result<Vec<String>, CommandEnd> {
        match self.interrupts.unless(calls::models(self.server, self.progress)).await {
            Ok(Ok(models)) => Ok(models),
            Ok(Err(given_up)) => Err(self.given_up(&given_up).await),
            Err(interrupt) => {
                self.progress.hide();
                self.say("interrupted; nothing was submitted");
                Err(CommandEnd::Interrupted(interrupt))
            }
        }
    }

    /// Reports that the user has to choose a model: the command named none, and the server lists none or several.
    pub(super) fn ask_for_model(&self, models: &[String], command_line: &str) -> CommandEnd {
        self.progress.hide();
        match models.first() {
            None => self.complain(&format!("{NO_MODEL}; name one with --model")),
            Some(first) => {
                self.complain(&format!("no model was chosen. {MODELS}"));
                self.list(models);
                self.say(&format!("Choose one, as in:\n  {command_line} --model {}", word(first)));
            }
        }
        CommandEnd::Unclear
    }

    /// Lists the models after an error about a model that does not exist.
    pub(super) fn say_models(&self, models: &[String]) {
        self.say(if models.is_empty() { NO_MODEL } else { MODELS });
        self.list(models);
    }

    fn list(&self, models: &[String]) {
        for model in models {
            self.say(&format!("  {model}"));
        }
    }
}
