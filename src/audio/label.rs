//! The media types that clients and servers write on audio, in lower case and without parameters. They are hints: the
//! bytes decide.

use super::container::Container;

/// Is it a label that somebody puts on audio? Any `audio/` type, what ogg and mp4 files are also called, and what
/// browsers write when they do not know.
#[must_use]
pub fn is_of_audio(label: &str) -> bool {
    match label.split_once('/') {
        Some(("audio", subtype)) => {
            !subtype.is_empty()
                && subtype.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        }
        _ => matches!(label, "application/ogg" | "video/mp4" | "application/octet-stream"),
    }
}

/// Does a label name another container than the bytes show? Labels that name none never do.
#[must_use]
pub fn contradicts(label: &str, container: Container) -> bool {
    let subtype = label.split_once('/').map_or("", |(_, subtype)| subtype);
    let subtype = subtype.trim_start_matches("x-").trim_start_matches("vnd.");
    let named = match subtype {
        "wav" | "wave" => Container::Wav,
        "mp3" | "mpeg" | "mpeg3" | "mpga" => Container::Mp3,
        "aiff" | "aif" | "aifc" => Container::Aiff,
        "aac" | "aacp" => Container::Aac,
        "ogg" | "opus" | "vorbis" => Container::Ogg,
        "flac" => Container::Flac,
        "m4a" | "mp4" => Container::M4a,
        _ => return false,
    };
    named != container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_of_a_container_do_not_contradict_it() {
        for label in [
            "audio/wav",
            "audio/x-wav",
            "audio/wave",
            "audio/vnd.wave",
            "audio/basic",
            "application/octet-stream",
        ] {
            assert!(!contradicts(label, Container::Wav), "{label}");
        }
        assert!(contradicts("audio/mpeg", Container::Wav));
        assert!(!contradicts("audio/mpeg", Container::Mp3));
        assert!(!contradicts("video/mp4", Container::M4a));
        assert!(contradicts("video/mp4", Container::Ogg));
    }
}
