//! The request of a task without the audio, in a form in which it can be sent again.

use super::submission::{Message, Part, Question};
use crate::audio::AudioFacts;
use crate::wire::task::{MessageObject, MessagesObject, PartObject, RequestObject, RequestView};

/// The request from which a task was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The question to the model.
    pub question: Question,
    /// True if clients can subscribe to the task's chunks.
    pub stream: bool,
    /// The facts about each audio of the question, in order.
    pub audio: Vec<AudioFacts>,
}

impl Request {
    /// Returns the request as clients read it, in the short form if possible.
    #[must_use]
    pub fn object(&self) -> RequestView<'_, AudioFacts> {
        let Self { question, stream, audio } = self;
        let Question { model, messages, max_tokens, temperature, reasoning } = question;
        let (max_tokens, temperature, reasoning, stream) = (*max_tokens, *temperature, *reasoning, *stream);
        if let Some((prompt, system_prompt)) = question.as_short() {
            let audio = audio.first();
            return RequestView::Short(RequestObject {
                model,
                prompt,
                system_prompt,
                max_tokens,
                temperature,
                reasoning,
                stream,
                audio,
            });
        }
        let mut audio = audio.iter();
        let messages = messages.iter().map(|message| message_object(message, &mut audio)).collect();
        RequestView::Messages(MessagesObject { model, messages, max_tokens, temperature, reasoning, stream })
    }
}

/// Returns a message as clients read it. Takes the facts about its audio from `audio`.
fn message_object<'a>(
    Message { role, content }: &'a Message,
    audio: &mut impl Iterator<Item = &'a AudioFacts>,
) -> MessageObject<'a, AudioFacts> {
    let part = |part: &'a Part| match part {
        Part::Text(text) => PartObject::Text { kind: "text", text },
        Part::Audio => PartObject::Audio(audio.next()),
    };
    MessageObject { role: role.as_str(), content: content.iter().map(part).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::submission::Role;

    #[test]
    fn a_conversation_is_shown_with_its_audio_where_it_stands() {
        let sent = |url: &str| AudioFacts::Url { url: url.to_owned(), sound: None };
        let mut question = Question::short("m".into(), "first".into(), None);
        question.messages.push(Message::text(Role::Assistant, "answer".into()));
        question.messages.push(Message { role: Role::User, content: vec![Part::Audio] });
        let request = Request { question, stream: true, audio: vec![sent("http://a/1"), sent("http://a/2")] };
        assert_eq!(
            json!(request.object()),
            json!({"model": "m", "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "first"}, {"source": "url", "url": "http://a/1"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "answer"}]},
                {"role": "user", "content": [{"source": "url", "url": "http://a/2"}]},
            ], "max_tokens": null, "temperature": null, "reasoning": false, "stream": true})
        );
    }
}
