//! Which channels could serve a request, in the order in which they are asked. Pure.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::judge::{too_hot, too_large, unsupported_format};
use super::{Channel, Channels};
use crate::audio::container::Container;
use crate::config::Capability;
use crate::error::{ErrorCode, Failure};
use crate::task::submission::Question;

/// What has to be served.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The model.
    pub model: &'a str,
    /// Prompt, system prompt and base64 audio together, in bytes; of audio that is still to be fetched
    /// nothing is known and nothing counted.
    pub request_bytes: usize,
    /// What the audio is; nothing is known of audio that is still to be fetched.
    pub container: Option<Container>,
    /// The temperature, where one is asked for.
    pub temperature: Option<f64>,
}

impl<'a> Wanted<'a> {
    /// What it takes to answer a question about audio in this container, with so many bytes of base64; about audio that
    /// is still to be fetched nothing is known.
    #[must_use]
    pub fn of(question: &'a Question, audio: Option<(Container, usize)>) -> Self {
        Self {
            model: &question.model,
            request_bytes: question.text_bytes().saturating_add(audio.map_or(0, |(_, bytes)| bytes)),
            container: audio.map(|(container, _)| container),
            temperature: question.temperature,
        }
    }
}

/// The channels that could serve it: higher priority first, among equals by chance and weight. Never empty.
///
/// # Errors
/// `no_available_model`, `model_not_support_capability`, `unsupported_audio_format`, `model_rule_violation` or
/// `audio_too_large`.
pub fn choose(
    channels: &Channels,
    wanted: Wanted<'_>,
    rng: &mut impl Rng,
) -> Result<Vec<Arc<Channel>>, Failure> {
    let mut candidates: Vec<&Arc<Channel>> = channels.iter().filter(|c| c.serves(wanted.model)).collect();
    if candidates.is_empty() {
        let advice = channels.hint(wanted.model).unwrap_or("No channel serves this model");
        return Err(Failure::new(
            ErrorCode::NoAvailableModel,
            format!("{advice}; GET /v1/configs/llm_generations_models lists what there is"),
        )
        .with_param("model"));
    }
    candidates.retain(|channel| channel.capabilities.contains(&Capability::Audio));
    if candidates.is_empty() {
        return Err(Failure::new(
            ErrorCode::ModelNotSupportCapability,
            "This model does not take audio; GET /v1/configs/llm_generations_models lists capabilities",
        )
        .with_param("model"));
    }
    if let Some(container) = wanted.container {
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
    if let Some(temperature) = wanted.temperature {
        let most = candidates.iter().map(|channel| channel.max_temperature).fold(0.0, f64::max);
        candidates.retain(|channel| temperature <= channel.max_temperature);
        if candidates.is_empty() {
            return Err(too_hot(temperature, most));
        }
    }
    let most = candidates.iter().map(|channel| channel.max_request_bytes).max().unwrap_or(0);
    candidates.retain(|channel| wanted.request_bytes <= channel.max_request_bytes);
    if candidates.is_empty() {
        return Err(too_large(wanted.request_bytes, most));
    }
    // A weighted order without replacement: each draws u^(1/weight), the larger first (Efraimidis, Spirakis).
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
    use crate::upstream::testing::silent_channel;

    fn names(channels: &Channels, wanted: Wanted<'_>, seed: u64) -> Result<Vec<String>, ErrorCode> {
        choose(channels, wanted, &mut StdRng::seed_from_u64(seed))
            .map(|chosen| chosen.iter().map(|channel| channel.name.clone()).collect())
            .map_err(|failure| failure.code)
    }

    fn wanted(model: &str) -> Wanted<'_> {
        Wanted { model, request_bytes: 10, container: Some(Container::Wav), temperature: None }
    }

    #[test]
    fn a_higher_priority_comes_first_and_others_follow() {
        let channels = Channels::new([
            Channel { priority: -1, ..silent_channel("low", &["m"]) },
            Channel { priority: 5, ..silent_channel("high", &["m*"]) },
            silent_channel("other", &["x"]),
        ]);
        assert_eq!(names(&channels, wanted("m"), 1).unwrap(), ["high", "low"]);
    }

    #[test]
    fn equals_share_by_weight() {
        let channels = Channels::new([
            Channel { weight: 3, ..silent_channel("three", &["m"]) },
            silent_channel("one", &["m"]),
        ]);
        let first =
            (0..4000).filter(|seed| names(&channels, wanted("m"), *seed).unwrap()[0] == "three").count();
        assert!((2850..3150).contains(&first), "{first}");
    }

    #[test]
    fn what_nobody_can_serve_is_refused_with_the_reason() {
        let deaf = Channel { capabilities: vec![Capability::Text], ..silent_channel("deaf", &["deaf"]) };
        let channels =
            Channels::new([deaf, Channel { max_request_bytes: 9, ..silent_channel("small", &["m"]) }]);
        assert_eq!(names(&channels, wanted("none"), 0), Err(ErrorCode::NoAvailableModel));
        assert_eq!(names(&channels, wanted("deaf"), 0), Err(ErrorCode::ModelNotSupportCapability));
        assert_eq!(names(&channels, wanted("m"), 0), Err(ErrorCode::AudioTooLarge));
    }

    #[test]
    fn only_channels_that_take_format_and_temperature_are_asked() {
        let channels = Channels::new([
            Channel { formats: vec![Container::Mp3, Container::Wav], ..silent_channel("two", &["m", "two"]) },
            Channel { formats: vec![Container::Flac], ..silent_channel("flac", &["m"]) },
            Channel { max_temperature: 1.0, ..silent_channel("cool", &["m", "cool"]) },
        ]);
        let sent = |container| Wanted { container, ..wanted("m") };
        assert_eq!(names(&channels, sent(None), 1).unwrap().len(), 3);
        let mut who = names(&channels, sent(Some(Container::Flac)), 1).unwrap();
        who.sort_unstable();
        assert_eq!(who, ["cool", "flac"]);
        let hot = |model| Wanted { temperature: Some(1.5), ..wanted(model) };
        assert_eq!(names(&channels, hot("m"), 1).unwrap(), ["two"]);

        let refusal = |wanted| choose(&channels, wanted, &mut StdRng::seed_from_u64(0)).unwrap_err();
        let failure = refusal(hot("cool"));
        assert_eq!(
            (failure.code, failure.param.as_deref()),
            (ErrorCode::ModelRuleViolation, Some("temperature"))
        );
        assert!(failure.message.contains("from 0 to 1, and 1.5"), "{failure}");
        let failure = refusal(Wanted { container: Some(Container::Ogg), ..wanted("two") });
        assert_eq!(failure.code, ErrorCode::UnsupportedAudioFormat);
        assert!(failure.message.contains("is ogg") && failure.message.contains("wav, mp3"), "{failure}");
    }
}
