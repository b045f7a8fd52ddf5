//! The media types that clients and servers write on audio, in lower case and without parameters. They are hints: the
//! bytes decide.

use super::container::Container;

/// Returns true for a media type that is used for audio: any `audio/` type; any `video/` type, because a video has a
/// sound track and phones and browsers label recordings so; and the general types that programs write for unknown
/// content.
#[must_use]
pub(super) fn is_of_audio(label: &str) -> bool {
    match label.split_once('/') {
        Some(("audio" | "video", subtype)) => {
            !subtype.is_empty()
                && subtype.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        }
        Some(("application" | "binary", subtype)) => {
            matches!(
                subtype.trim_start_matches("x-"),
                "ogg" | "mp4" | "octet-stream" | "octetstream" | "binary"
            )
        }
        _ => false,
    }
}

/// Returns true if a label names another container than the bytes show. A label that names no container never
/// contradicts.
#[must_use]
pub fn contradicts_label(label: &str, container: Container) -> bool {
    let subtype = label.split_once('/').map_or("", |(_, subtype)| subtype);
    let subtype = subtype.trim_start_matches("x-").trim_start_matches("vnd.");
    let named = match subtype {
        "wav" | "wave" => Container::Wav,
        "mp3" | "mpeg" | "mpeg3" | "mpga" => Container::Mp3,
        "aiff" | "aif" | "aifc" => Container::Aiff,
        "aac" | "aacp" => Container::Aac,
        "ogg" | "opus" | "vorbis" => Container::Ogg,
        "flac" => Container::Flac,
        "m4a" | "m4b" | "m4v" | "mp4" | "quicktime" | "3gpp" | "3gpp2" => Container::M4a,
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
            assert!(!contradicts_label(label, Container::Wav), "{label}");
        }
        assert!(contradicts_label("audio/mpeg", Container::Wav));
        assert!(!contradicts_label("audio/mpeg", Container::Mp3));
        assert!(!contradicts_label("video/mp4", Container::M4a));
        assert!(contradicts_label("video/mp4", Container::Ogg));
        for label in ["video/quicktime", "video/3gpp", "audio/3gpp2"] {
            assert!(
                !contradicts_label(label, Container::M4a) && contradicts_label(label, Container::Wav),
                "{label}"
            );
        }
    }

    #[test]
    fn labels_of_recorders_and_stores_count_as_audio() {
        for label in [
            "audio/wav",
            "audio/x-caf",
            "video/mp4",
            "video/quicktime",
            "video/3gpp",
            "video/webm",
            "application/ogg",
            "application/x-ogg",
            "application/mp4",
            "application/octet-stream",
            "application/x-octet-stream",
            "binary/octet-stream",
        ] {
            assert!(is_of_audio(label), "{label}");
        }
        for label in
            ["", "audio", "audio/", "video/", "audio/a b", "text/plain", "image/png", "application/json"]
        {
            assert!(!is_of_audio(label), "{label}");
        }
    }
}
