//! What a client asked for, as it can be asked for again: the request of a task, without the audio.

use super::submission::Question;
use crate::audio::facts::AudioFacts;
use crate::wire::task::RequestObject;

/// The request that a task was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What was asked of the model.
    pub question: Question,
    /// May the task's chunks be subscribed to?
    pub stream: bool,
    /// What is known of the audio.
    pub audio: AudioFacts,
}

impl Request {
    /// The request as clients read it.
    #[must_use]
    pub fn object(&self) -> RequestObject<'_, AudioFacts> {
        RequestObject {
            model: &self.question.model,
            prompt: &self.question.prompt,
            system_prompt: self.question.system_prompt.as_deref(),
            max_tokens: self.question.max_tokens,
            temperature: self.question.temperature,
            reasoning: self.question.reasoning,
            stream: self.stream,
            audio: Some(&self.audio),
        }
    }
}
