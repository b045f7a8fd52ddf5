//! The models that a key may use: requested before anything is sent, and shown to a user who has to choose one.

use super::calls;
use super::format::word;
use super::session::{Ending, Session};

const MODELS: &str = "This key may use:";
const NO_MODEL: &str = "this key may use no named model";

impl Session<'_> {
    /// Returns the models that the key may use. The request is always made: it reveals a missing server or an unknown
    /// key before a large upload, which would otherwise fail as a cut connection.
    pub(super) async fn models(&mut self) -> Result<Vec<String>, Ending> {
        match self.interrupts.unless(calls::models(self.server, self.progress)).await {
            Ok(Ok(models)) => Ok(models),
            Ok(Err(given_up)) => Err(self.given_up(&given_up).await),
            Err(interrupt) => {
                self.progress.make_way();
                self.say("interrupted; nothing was submitted");
                Err(Ending::Interrupted(interrupt))
            }
        }
    }

    /// Asks the user for a model: the command named none, and there is not exactly one.
    pub(super) fn ask_for_model(&self, models: &[String], typed: &str) -> Ending {
        self.progress.make_way();
        match models.first() {
            None => self.complain(&format!("{NO_MODEL}; name one with --model")),
            Some(first) => {
                self.complain(&format!("which model? {MODELS}"));
                self.list(models);
                self.say(&format!("Choose one, as in:\n  {typed} --model {}", word(first)));
            }
        }
        Ending::Unclear
    }

    /// Lists the models for a user who asked for a model that does not exist.
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
