//! Which channels could serve a request, in the order in which they are asked. Pure.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{Channel, Channels};
use crate::config::Capability;
use crate::error::{ErrorCode, Failure};

/// What has to be served.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The model.
    pub model: &'a str,
    /// Prompt, system prompt and base64 audio together, in bytes; of audio that is still to be fetched
    /// nothing is known and nothing counted.
    pub request_bytes: usize,
}

/// The channels that could serve it: higher priority first, among equals by chance and weight. Never empty.
///
/// # Errors
/// `no_available_model`, `model_not_support_capability` or `audio_too_large`.
pub fn choose(
    channels: &Channels,
    wanted: Wanted<'_>,
    rng: &mut impl Rng,
) -> Result<Vec<Arc<Channel>>, Failure> {
    let mut candidates: Vec<&Arc<Channel>> = channels.iter().filter(|c| c.serves(wanted.model)).collect();
    if candidates.is_empty() {
        return Err(Failure::new(
            ErrorCode::NoAvailableModel,
            "No channel serves this model; GET /v1/configs/llm_generations_models lists what there is",
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
        Wanted { model, request_bytes: 10 }
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
}
