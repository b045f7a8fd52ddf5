//! Our request as a form (RFC 7578) with a file in it.
//!
//! The file comes last, so a server that reads the form as it arrives has all fields when the file begins.

use bytes::Bytes;

use super::{ResponseFormat, TranscriptionOptions};
use crate::random::random_text;
use crate::task::{DEFAULT_PROMPT, Part, Question, Role};
use crate::upstream::body::BodyPiece;
use crate::upstream::{UpstreamError, UpstreamRequest};

/// Random characters of the boundary: no prompt contains it by chance or by intent.
const BOUNDARY_CHARACTERS: usize = 32;

/// A form, ready to be sent.
#[derive(Debug)]
pub(super) struct MultipartForm {
    /// The content type, which names the boundary.
    pub(super) content_type: String,
    /// The body.
    pub(super) pieces: [BodyPiece; 3],
}

/// Returns the form of a request.
///
/// # Errors
/// If there is not exactly one audio.
pub(super) fn form(
    request: UpstreamRequest,
    options: &TranscriptionOptions,
) -> Result<MultipartForm, UpstreamError> {
    let UpstreamRequest { question, audio, .. } = request;
    let audio = UpstreamRequest::only_audio(audio)?;
    let boundary = format!("hearken-{}", random_text(BOUNDARY_CHARACTERS));
    let mut before = String::new();
    for (name, value) in fields(&question, options) {
        // A value may hold anything except the boundary, also line breaks: it is not in a header.
        before +=
            &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    let container = audio.container;
    before += &format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"audio.{}\"\r\n\
         Content-Type: {}\r\n\r\n",
        container.name(),
        container.media_type()
    );
    let behind = format!("\r\n--{boundary}--\r\n");
    Ok(MultipartForm {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        pieces: [Bytes::from(before).into(), BodyPiece::plain(audio.bytes), Bytes::from(behind).into()],
    })
}

/// Returns the fields beside the file. There is no field for a system prompt, a token limit or reasoning.
fn fields(question: &Question, options: &TranscriptionOptions) -> Vec<(&'static str, String)> {
    let diarized = options.response_format == ResponseFormat::DiarizedJson;
    // The prompt of a transcription is a hint of style and names, not an instruction, so hearken's default prompt is
    // not sent: the model would take it for speech. Models that distinguish speakers refuse the field.
    let hint = Some(hint(question)).filter(|hint| !(hint.is_empty() || hint == DEFAULT_PROMPT || diarized));
    let yes = |is: bool| is.then(|| "true".to_owned());
    let fields = [
        ("model", Some(question.model.clone())),
        ("response_format", Some(options.response_format.as_str().to_owned())),
        ("prompt", hint),
        ("language", options.language.clone()),
        ("temperature", question.temperature.map(|temperature| temperature.to_string())),
        ("stream", yes(options.stream)),
        ("stream_include_usage", yes(options.stream && options.stream_options)),
        // OpenAI requires this field if speakers are to be distinguished in more than 30 s of audio.
        ("chunking_strategy", diarized.then(|| "auto".to_owned())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Returns all texts of a conversation except the system messages.
fn hint(question: &Question) -> String {
    let said = question.messages.iter().filter(|message| message.role != Role::System);
    said.flat_map(|message| &message.content).filter_map(Part::text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use actix_web::body::{BodySize, MessageBody, to_bytes};

    use super::*;
    use crate::audio::Container;
    use crate::task::Message;
    use crate::upstream::body::PiecedBody;
    use crate::upstream::testing::request;

    const PLAIN: TranscriptionOptions = TranscriptionOptions {
        language: None,
        response_format: ResponseFormat::Json,
        stream: true,
        stream_options: false,
    };

    fn question(prompt: &str) -> Question {
        Question {
            max_tokens: Some(7),
            temperature: Some(0.5),
            reasoning: true,
            ..Question::short("whisper-1".into(), prompt.into(), Some("be brief".into()))
        }
    }

    fn names(prompt: &str, options: &TranscriptionOptions) -> Vec<(&'static str, String)> {
        fields(&question(prompt), options)
    }

    #[actix_rt::test]
    async fn a_form_holds_fields_and_file_and_knows_its_length() {
        let request = request(question("Names:\r\n--hearken"), &[(Container::Mp3, b"ID3\xff\xff")]);
        let form = form(request, &PLAIN).unwrap();
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
        assert!(
            found.iter().all(|(name, _)| *name != "prompt"),
            "the default prompt must not be sent as a hint: {found:?}"
        );
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

    #[test]
    fn the_texts_of_a_conversation_are_its_hint() {
        let mut question = question("Names: Ada");
        question.messages.push(Message::text(Role::Assistant, "Ada who?".into()));
        question.messages.push(Message::text(Role::User, "Ada Lovelace".into()));
        assert!(fields(&question, &PLAIN).contains(&("prompt", "Names: Ada\nAda who?\nAda Lovelace".into())));
        question.messages = vec![Message { role: Role::User, content: vec![Part::Audio] }];
        assert!(fields(&question, &PLAIN).iter().all(|(name, _)| *name != "prompt"));
    }

    #[test]
    fn a_form_holds_exactly_one_audio() {
        for audio in [&[][..], &[(Container::Mp3, &b"ID3"[..]), (Container::Mp3, b"ID3")]] {
            let refused = form(request(question("x"), audio), &PLAIN);
            assert!(matches!(refused, Err(UpstreamError::AudioLost)), "{refused:?}");
        }
    }
}
