//! The models that a key may use: asked for before anything is sent, and told to whoever has to choose one.

use super::calls;
use super::format::word;
use super::session::{Ending, Session};

const MODELS: &str = "This key may use:";
const NO_MODEL: &str = "this key may use no model that has a name";

impl Session<'_> {
    /// The models that the key may use. The server is asked in any case: one that is not there, or a key that it does not
    /// know, shows before a large upload and not as its cut connection.
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

    /// Several models, or none, and none was named.
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

    /// What there is, for whoever has asked for something else.
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
