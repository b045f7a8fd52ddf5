//! What a channel's upstream takes, and in which words a request is refused that it does not.

use super::Channel;
use crate::audio::container::Container;
use crate::error::{ErrorCode, Failure};

impl Channel {
    /// Does the channel take audio in this container, in a request of this size (prompt, system prompt and base64
    /// audio together, in bytes)?
    ///
    /// # Errors
    /// `unsupported_audio_format` with the list of what it takes, or `audio_too_large`.
    pub fn judge(&self, container: Container, request_bytes: usize) -> Result<(), Failure> {
        if !self.formats.contains(&container) {
            return Err(unsupported_format(container, &self.formats));
        }
        if request_bytes > self.max_request_bytes {
            return Err(too_large(request_bytes, self.max_request_bytes));
        }
        Ok(())
    }
}

pub(super) fn unsupported_format(sent: Container, accepted: &[Container]) -> Failure {
    let accepted = accepted.iter().map(|container| container.name()).collect::<Vec<_>>().join(", ");
    Failure::new(
        ErrorCode::UnsupportedAudioFormat,
        format!("The audio is {sent}, and this model takes {accepted}; convert it, or use another model"),
    )
    .with_param("audio_url")
}

pub(super) fn too_large(bytes: usize, most: usize) -> Failure {
    Failure::new(
        ErrorCode::AudioTooLarge,
        format!(
            "Prompt, system prompt and base64 audio together are {bytes} bytes, this model takes {most}; \
             send a shorter or more compressed recording"
        ),
    )
    .with_param("audio_url")
}

pub(super) fn too_hot(temperature: f64, most: f64) -> Failure {
    Failure::new(
        ErrorCode::ModelRuleViolation,
        format!("This model takes a temperature from 0 to {most}, and {temperature} was sent; lower it"),
    )
    .with_param("temperature")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::testing::silent_channel;

    #[test]
    fn format_and_size_are_judged_and_the_message_says_what_to_do() {
        let channel = Channel {
            formats: vec![Container::Wav, Container::Mp3],
            max_request_bytes: 10,
            ..silent_channel("narrow", &["m"])
        };
        assert_eq!(channel.judge(Container::Mp3, 10), Ok(()));
        let failure = channel.judge(Container::M4a, 11).unwrap_err();
        assert_eq!(failure.code, ErrorCode::UnsupportedAudioFormat);
        assert!(failure.message.contains("is m4a") && failure.message.contains("wav, mp3"), "{failure}");
        let failure = channel.judge(Container::Wav, 11).unwrap_err();
        assert_eq!((failure.code, failure.param.as_deref()), (ErrorCode::AudioTooLarge, Some("audio_url")));
    }
}
