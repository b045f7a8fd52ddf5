//! Our request as a form (RFC 7578) with a file in it.
//!
//! The file stands last: who reads a form as it comes knows what to do with the file when it begins.

use bytes::Bytes;

use crate::config::kind::{ResponseFormat, TranscriptionOptions};
use crate::random::random_text;
use crate::task::submission::DEFAULT_PROMPT;
use crate::upstream::UpstreamRequest;
use crate::upstream::body::BodyPiece;

/// Random characters of the boundary: no prompt holds it by chance or by intent.
const BOUNDARY_CHARACTERS: usize = 32;

/// A form, ready to be sent.
#[derive(Debug)]
pub(super) struct Form {
    /// Names the boundary.
    pub(super) content_type: String,
    /// The body.
    pub(super) pieces: [BodyPiece; 3],
}

/// Makes the form of a request.
pub(super) fn form(request: UpstreamRequest, options: &TranscriptionOptions) -> Form {
    let boundary = format!("hearken-{}", random_text(BOUNDARY_CHARACTERS));
    let mut before = String::new();
    for (name, value) in fields(&request, options) {
        // A value may hold anything but the boundary, also line breaks: it stands in no header.
        before +=
            &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let container = request.audio.container;
    before += &format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.{}\"\r\n\
         Content-Type: {}\r\n\r\n",
        container.name(),
        container.media_type()
    );
    let behind = format!("\r\n--{boundary}--\r\n");
    Form {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        pieces: [
            Bytes::from(before).into(),
            BodyPiece::plain(request.audio.bytes),
            Bytes::from(behind).into(),
        ],
    }
}

/// What stands beside the file. There is no field for a system prompt, a token limit or reasoning.
fn fields(request: &UpstreamRequest, options: &TranscriptionOptions) -> Vec<(&'static str, String)> {
    let question = &request.question;
    let diarized = options.response_format == ResponseFormat::DiarizedJson;
    // A hint of style and names, not an instruction: what is asked when nothing is asked would be taken for speech.
    // The models that tell speakers apart refuse it.
    let hint = Some(&question.prompt).filter(|prompt| *prompt != DEFAULT_PROMPT && !diarized);
    let yes = |is: bool| is.then(|| "true".to_owned());
    let fields = [
        ("model", Some(question.model.clone())),
        ("response_format", Some(options.response_format.as_str().to_owned())),
        ("prompt", hint.cloned()),
        ("language", options.language.clone()),
        ("temperature", question.temperature.map(|temperature| temperature.to_string())),
        ("stream", yes(options.stream)),
        ("stream_include_usage", yes(options.stream && options.stream_options)),
        // Asked for by OpenAI where speakers are told apart in more than 30 s.
        ("chunking_strategy", diarized.then(|| "auto".to_owned())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::{BodySize, MessageBody, to_bytes};

    use super::*;
    use crate::audio::Audio;
    use crate::audio::container::Container;
    use crate::task::submission::Question;
    use crate::upstream::body::PiecedBody;
    use crate::upstream::{Hold, Terms};

    const PLAIN: TranscriptionOptions = TranscriptionOptions {
        language: None,
        response_format: ResponseFormat::Json,
        stream: true,
        stream_options: false,
    };

    fn request(prompt: &str) -> UpstreamRequest {
        UpstreamRequest {
            question: Question {
                model: "whisper-1".into(),
                prompt: prompt.into(),
                system_prompt: Some("be brief".into()),
                max_tokens: Some(7),
                temperature: Some(0.5),
                reasoning: true,
            },
            audio: Audio {
                container: Container::Mp3,
                bytes: Bytes::from_static(b"ID3\xff\xff").into(),
                duration: None,
            },
            terms: Terms {
                connect_timeout: Duration::from_secs(1),
                idle_timeout: Duration::from_secs(1),
                trace: None,
            },
            slot: Hold::default(),
        }
    }

    fn names(prompt: &str, options: &TranscriptionOptions) -> Vec<(&'static str, String)> {
        fields(&request(prompt), options)
    }

    #[actix_rt::test]
    async fn a_form_holds_fields_and_file_and_knows_its_length() {
        let form = form(request("Names:\r\n--hearken"), &PLAIN);
        let boundary = form.content_type.strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
        assert_eq!(boundary.len(), 40);
        let body = PiecedBody::new(form.pieces);
        let BodySize::Sized(length) = body.size() else { panic!("no length") };
        let bytes = to_bytes(body).await.unwrap();
        assert_eq!(bytes.len() as u64, length);
        let field = |name: &str, value: &str| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut expected = field("model", "whisper-1")
            + &field("response_format", "json")
            + &field("prompt", "Names:\r\n--hearken")
            + &field("temperature", "0.5")
            + &field("stream", "true")
            + &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.mp3\"\r\n"
            )
            + "Content-Type: audio/mpeg\r\n\r\n";
        expected += "ID3";
        let expected =
            [expected.as_bytes(), b"\xff\xff", format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        assert!(bytes == expected, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn each_option_has_its_field() {
        let all = TranscriptionOptions { language: Some("de".into()), stream_options: true, ..PLAIN };
        let found = names(DEFAULT_PROMPT, &all);
        assert!(found.iter().all(|(name, _)| *name != "prompt"), "the default is no hint: {found:?}");
        assert!(found.contains(&("language", "de".into())), "{found:?}");
        assert!(found.contains(&("stream_include_usage", "true".into())), "{found:?}");
        let quiet =
            TranscriptionOptions { stream: false, response_format: ResponseFormat::VerboseJson, ..all };
        let found = names("hint", &quiet);
        assert!(found.iter().all(|(name, _)| !name.starts_with("stream")), "{found:?}");
        assert!(found.contains(&("response_format", "verbose_json".into())), "{found:?}");
        let speakers = TranscriptionOptions { response_format: ResponseFormat::DiarizedJson, ..PLAIN };
        let found = names("hint", &speakers);
        assert!(found.iter().all(|(name, _)| *name != "prompt"), "{found:?}");
        assert!(found.contains(&("chunking_strategy", "auto".into())), "{found:?}");
    }
}
