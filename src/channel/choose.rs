//! Chooses the channels that could serve a request, in the order in which they are tried.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::Capability;
use super::request_check::{only_one_audio, temperature_out_of_range, too_large, unsupported_format};
use super::{Channel, Channels};
use crate::audio::Container;
use crate::error::{ErrorCode, Failure};
use crate::task::Question;
use crate::wire::path;

/// The properties of a request by which channels are chosen.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    question: &'a Question,
    /// Container and length of the base64 text of each known audio. Audio that is still to be fetched is not known.
    known: Vec<(Container, u64)>,
}

impl<'a> Wanted<'a> {
    /// Describes the request of a question. `known` holds the container and the length of the base64 text of each known
    /// audio.
    #[must_use]
    pub fn of(question: &'a Question, known: Vec<(Container, u64)>) -> Self {
        Self { question, known }
    }

    /// Returns the containers of the known audio.
    pub(super) fn containers(&self) -> impl Iterator<Item = Container> {
        self.known.iter().map(|(container, _)| *container)
    }

    /// Returns the bytes of all texts and of all known base64 audio.
    pub(super) fn request_bytes(&self) -> usize {
        let audio: u64 = self.known.iter().map(|(_, bytes)| bytes).sum();
        self.question.text_bytes().saturating_add(usize::try_from(audio).unwrap_or(usize::MAX))
    }
}

/// Returns the channels that could serve the request: higher priority first; among equals, a random order by weight.
/// The list is never empty.
///
/// # Errors
/// `no_available_model`, `model_not_support_capability`, `unsupported_audio_format`, `model_rule_violation` or
/// `audio_too_large`.
pub fn choose(
    channels: &Channels,
    wanted: &Wanted<'_>,
    rng: &mut impl Rng,
) -> Result<Vec<Arc<Channel>>, Failure> {
    let Question { model, temperature, .. } = wanted.question;
    let mut candidates: Vec<&Arc<Channel>> = channels.iter().filter(|c| c.serves(model)).collect();
    if candidates.is_empty() {
        let advice = channels.hint(model).unwrap_or("No channel serves this model");
        return Err(Failure::new(
            ErrorCode::NoAvailableModel,
            format!("{advice}; GET {} lists the models", path::MODELS),
        )
        .with_param("model"));
    }
    let audio = wanted.question.audio_parts();
    candidates.retain(|channel| audio == 0 || channel.capabilities.contains(&Capability::Audio));
    if candidates.is_empty() {
        return Err(Failure::new(
            ErrorCode::ModelNotSupportCapability,
            format!("This model does not take audio; GET {} lists each model's capabilities", path::MODELS),
        )
        .with_param("model"));
    }
    candidates.retain(|channel| audio == 1 || !channel.takes_one_audio);
    if candidates.is_empty() {
        return Err(only_one_audio(audio));
    }
    for container in wanted.containers() {
        let accepted: Vec<_> = Container::all()
            .iter()
            .copied()
            .filter(|known| candidates.iter().any(|channel| channel.formats.contains(known)))
            .collect();
        candidates.retain(|channel| channel.formats.contains(&container));
        if candidates.is_empty() {
            return Err(unsupported_format(container, &accepted));
        }
    }
    if let Some(temperature) = *temperature {
        let most = candidates.iter().map(|channel| channel.max_temperature).fold(0.0, f64::max);
        candidates.retain(|channel| temperature <= channel.max_temperature);
        if candidates.is_empty() {
            return Err(temperature_out_of_range(temperature, most));
        }
    }
    let most = candidates.iter().map(|channel| channel.max_request_bytes).max().unwrap_or(0);
    let bytes = wanted.request_bytes();
    candidates.retain(|channel| bytes <= channel.max_request_bytes);
    if candidates.is_empty() {
        return Err(too_large(bytes, most));
    }
    // A weighted order without replacement: each draws u^(1/weight), larger values first (Efraimidis, Spirakis).
    let mut drawn: Vec<_> = candidates
        .into_iter()
        .map(|channel| (channel.priority, rng.random::<f64>().powf(1.0 / f64::from(channel.weight)), channel))
        .collect();
    drawn.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    Ok(drawn.into_iter().map(|(_, _, channel)| Arc::clone(channel)).collect())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::task::{Message, Part, Role};
    use crate::upstream::testing::silent_channel;

    fn names(channels: &Channels, wanted: &Wanted<'_>, seed: u64) -> Result<Vec<String>, ErrorCode> {
        choose(channels, wanted, &mut StdRng::seed_from_u64(seed))
            .map(|chosen| chosen.iter().map(|channel| channel.name.clone()).collect())
            .map_err(|failure| failure.code)
    }

    fn about(model: &str) -> Question {
        Question::short(model.to_owned(), "prompt".to_owned(), None)
    }

    /// Returns a request of ten bytes about a recording.
    fn wanted(question: &Question) -> Wanted<'_> {
        Wanted::of(question, vec![(Container::Wav, 4)])
    }

    #[test]
    fn a_higher_priority_comes_first_and_others_follow() {
        let channels = Channels::new([
            Channel { priority: -1, ..silent_channel("low", &["m"]) },
            Channel { priority: 5, ..silent_channel("high", &["m*"]) },
            silent_channel("other", &["x"]),
        ]);
        assert_eq!(names(&channels, &wanted(&about("m")), 1).unwrap(), ["high", "low"]);
    }

    #[test]
    fn channels_of_equal_priority_share_by_weight() {
        let channels = Channels::new([
            Channel { weight: 3, ..silent_channel("three", &["m"]) },
            silent_channel("one", &["m"]),
        ]);
        let first = (0..4000)
            .filter(|seed| names(&channels, &wanted(&about("m")), *seed).unwrap()[0] == "three")
            .count();
        assert!((2850..3150).contains(&first), "{first}");
    }

    #[test]
    fn a_request_that_no_channel_can_serve_is_refused_with_the_reason() {
        let deaf = Channel { capabilities: vec![Capability::Text], ..silent_channel("deaf", &["deaf"]) };
        let channels =
            Channels::new([deaf, Channel { max_request_bytes: 9, ..silent_channel("small", &["m"]) }]);
        assert_eq!(names(&channels, &wanted(&about("none")), 0), Err(ErrorCode::NoAvailableModel));
        assert_eq!(names(&channels, &wanted(&about("deaf")), 0), Err(ErrorCode::ModelNotSupportCapability));
        assert_eq!(names(&channels, &wanted(&about("m")), 0), Err(ErrorCode::AudioTooLarge));
    }

    #[test]
    fn only_channels_that_take_the_format_and_temperature_are_chosen() {
        let channels = Channels::new([
            Channel { formats: vec![Container::Mp3, Container::Wav], ..silent_channel("two", &["m", "two"]) },
            Channel { formats: vec![Container::Flac], ..silent_channel("flac", &["m"]) },
            Channel { max_temperature: 1.0, ..silent_channel("cool", &["m", "cool"]) },
        ]);
        let question = about("m");
        let sent = |known: &[_]| names(&channels, &Wanted::of(&question, known.to_vec()), 1).unwrap();
        assert_eq!(sent(&[]).len(), 3);
        let mut chosen = sent(&[(Container::Flac, 1)]);
        chosen.sort_unstable();
        assert_eq!(chosen, ["cool", "flac"]);
        assert_eq!(sent(&[(Container::Flac, 1), (Container::Wav, 1)]), ["cool"]);
        let hot = |model| Question { temperature: Some(1.5), ..about(model) };
        assert_eq!(names(&channels, &wanted(&hot("m")), 1).unwrap(), ["two"]);

        let refusal = |question: Question, container| {
            let wanted = Wanted::of(&question, vec![(container, 4)]);
            choose(&channels, &wanted, &mut StdRng::seed_from_u64(0)).unwrap_err()
        };
        let failure = refusal(hot("cool"), Container::Wav);
        assert_eq!(
            (failure.code, failure.param.as_deref()),
            (ErrorCode::ModelRuleViolation, Some("temperature"))
        );
        assert!(failure.message.contains("from 0 to 1, and 1.5"), "{failure}");
        let failure = refusal(about("two"), Container::Ogg);
        assert_eq!(failure.code, ErrorCode::UnsupportedAudioFormat);
        assert!(failure.message.contains("is ogg") && failure.message.contains("wav, mp3"), "{failure}");
    }

    #[test]
    fn only_conversation_channels_get_none_or_several_audio_parts() {
        let channel =
            |name, models, takes_one_audio| Channel { takes_one_audio, ..silent_channel(name, models) };
        let deaf = Channel { capabilities: vec![Capability::Text], ..channel("deaf", &["m"], false) };
        let channels =
            Channels::new([channel("one", &["m", "one"], true), channel("chat", &["m"], false), deaf]);
        let sent = |model, content: &[Part]| {
            let question = Question {
                messages: vec![Message { role: Role::User, content: content.to_vec() }],
                ..about(model)
            };
            let mut names = names(&channels, &Wanted::of(&question, vec![]), 1)?;
            names.sort_unstable();
            Ok(names)
        };
        let text = || Part::Text("x".into());
        assert_eq!(sent("m", &[text(), Part::Audio]).unwrap(), ["chat", "one"]);
        assert_eq!(sent("m", &[Part::Audio, text(), Part::Audio]).unwrap(), ["chat"]);
        assert_eq!(sent("m", &[text()]).unwrap(), ["chat", "deaf"]);
        for content in [vec![text()], vec![Part::Audio, Part::Audio]] {
            assert_eq!(sent("one", &content), Err(ErrorCode::ModelNotSupportCapability));
        }
    }
}
