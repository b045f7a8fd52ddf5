//! The question to a model: a conversation. The audio is kept separately.

use serde::{Deserialize, Serialize};

/// The question to the model, without the audio. The store keeps it in this form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The model as the client named it.
    pub model: String,
    /// The conversation, oldest message first.
    pub messages: Vec<Message>,
    /// The token limit, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// The temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// True if the answer is to include the model's reasoning.
    #[serde(default)]
    pub reasoning: bool,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The parts of the content, in order; never empty.
    pub content: Vec<Part>,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions to the model, outside of the conversation.
    System,
    /// The user.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

impl Role {
    /// Returns the role's word in chat completions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text(String),
    /// Audio: the n-th such part of a question is the n-th audio of its task.
    Audio,
}

impl Part {
    /// Returns the text of a text part; `None` for audio.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Audio => None,
        }
    }
}

impl Message {
    /// Makes a message with one text part.
    #[must_use]
    pub fn text(role: Role, text: String) -> Self {
        Self { role, content: vec![Part::Text(text)] }
    }
}

impl Question {
    /// Makes a question in the short form: one prompt about one audio, after a system prompt if there is one.
    #[must_use]
    pub fn short(model: String, prompt: String, system_prompt: Option<String>) -> Self {
        let system = system_prompt.map(|text| Message::text(Role::System, text));
        let user = Message { role: Role::User, content: vec![Part::Text(prompt), Part::Audio] };
        let messages = system.into_iter().chain([user]).collect();
        Self { model, messages, max_tokens: None, temperature: None, reasoning: false }
    }

    /// Returns the prompt and the system prompt of a question in the short form; `None` for another question.
    #[must_use]
    pub fn as_short(&self) -> Option<(&str, Option<&str>)> {
        let (system_prompt, user) = match self.messages.as_slice() {
            [user] => (None, user),
            [Message { role: Role::System, content }, user] => match content.as_slice() {
                [Part::Text(text)] => (Some(text.as_str()), user),
                _ => return None,
            },
            _ => return None,
        };
        match (user.role, user.content.as_slice()) {
            (Role::User, [Part::Text(prompt), Part::Audio]) => Some((prompt, system_prompt)),
            _ => None,
        }
    }

    /// Returns the number of audio parts in the question.
    #[must_use]
    pub fn audio_parts(&self) -> usize {
        self.parts().filter(|part| **part == Part::Audio).count()
    }

    /// Returns the size of all texts together, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.parts().filter_map(Part::text).map(str::len).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.messages.iter().flat_map(|message| &message.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_distinguished_from_a_conversation() {
        let short = Question::short("m".into(), "prompt".into(), Some("system".into()));
        assert_eq!(short.as_short(), Some(("prompt", Some("system"))));
        assert_eq!((short.text_bytes(), short.audio_parts()), (12, 1));
        let bare = Question::short("m".into(), "prompt".into(), None);
        assert_eq!(bare.as_short(), Some(("prompt", None)));

        let [_, user] = short.messages.as_slice() else { panic!("two messages") };
        let answered = Message::text(Role::Assistant, "answer".into());
        for messages in [
            vec![],
            vec![Message::text(Role::User, "no audio".into())],
            vec![answered.clone(), user.clone()],
            vec![user.clone(), answered, user.clone()],
            vec![Message { role: Role::User, content: vec![Part::Audio, Part::Text("x".into())] }],
        ] {
            let question = Question { messages, ..bare.clone() };
            assert_eq!(question.as_short(), None, "{question:?}");
        }
    }
}
