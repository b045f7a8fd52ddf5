//! Checks whether a channel's upstream takes a request, and makes the refusal if it does not.

use super::Channel;
use super::choose::Wanted;
use crate::audio::Container;
use crate::error::{ErrorCode, Failure};

impl Channel {
    /// Checks that the channel takes audio in these containers, in a request of this size.
    ///
    /// # Errors
    /// `unsupported_audio_format` with the list of accepted formats, or `audio_too_large`.
    pub fn check_request(&self, wanted: &Wanted<'_>) -> Result<(), Failure> {
        if let Some(container) = wanted.containers().find(|container| !self.formats.contains(container)) {
            return Err(unsupported_format(container, &self.formats));
        }
        let bytes = wanted.request_bytes();
        if bytes > self.max_request_bytes {
            return Err(too_large(bytes, self.max_request_bytes));
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

pub(super) fn only_one_audio(sent: usize) -> Failure {
    Failure::new(
        ErrorCode::ModelNotSupportCapability,
        format!("This model takes exactly one audio in a request, and {sent} were sent; send one, or use another model"),
    )
    .with_param("messages")
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

pub(super) fn temperature_out_of_range(temperature: f64, most: f64) -> Failure {
    Failure::new(
        ErrorCode::ModelRuleViolation,
        format!("This model takes a temperature from 0 to {most}, and {temperature} was sent; lower it"),
    )
    .with_param("temperature")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Question;
    use crate::upstream::testing::silent_channel;

    #[test]
    fn format_and_size_are_judged_and_the_message_says_what_to_do() {
        let channel = Channel {
            formats: vec![Container::Wav, Container::Mp3],
            max_request_bytes: 10,
            ..silent_channel("narrow", &["m"])
        };
        let question = Question::short("m".into(), "prompt".into(), None);
        let check_request = |known: &[_]| channel.check_request(&Wanted::of(&question, known.to_vec()));
        assert_eq!(check_request(&[(Container::Mp3, 4)]), Ok(()));
        assert_eq!(check_request(&[(Container::Mp3, 2), (Container::Wav, 2)]), Ok(()));
        let failure = check_request(&[(Container::Wav, 1), (Container::M4a, 5)]).unwrap_err();
        assert_eq!(failure.code, ErrorCode::UnsupportedAudioFormat);
        assert!(failure.message.contains("is m4a") && failure.message.contains("wav, mp3"), "{failure}");
        let failure = check_request(&[(Container::Wav, 3), (Container::Wav, 2)]).unwrap_err();
        assert_eq!((failure.code, failure.param.as_deref()), (ErrorCode::AudioTooLarge, Some("audio_url")));
    }
}
