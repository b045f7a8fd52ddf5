//! What a fake upstream answers: each answer is a list of steps, in the dialect of a kind of upstream.

use serde_json::{Value, json};

use crate::kit::gemini::{finish_event, text_event};
use crate::kit::openai::{chunk, transcript_delta, transcript_done, usage_chunk};
use crate::kit::server::reply_head;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Say(Vec<u8>),
    Hold,
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    Length,
    /// The HTTP version in the response.
    Close(&'static str),
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    /// The body is sent in pieces of this size.
    pub(super) piece: usize,
    pub(super) steps: Vec<Step>,
    /// True if the script itself says how it ends.
    pub(super) ended: bool,
    pub(super) never: bool,
    pub(super) slam: bool,
}

/// The dialect that a fake speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Gemini,
    Chat,
    Transcription,
}

impl Dialect {
    /// Returns an event with text in it.
    fn text(self, text: &str) -> Value {
        match self {
            Self::Gemini => text_event(text),
            Self::Chat => chunk(&json!({"content": text}), None),
            Self::Transcription => transcript_delta(text),
        }
    }

    /// Returns an event with a thought in it.
    fn thought(self, text: &str) -> Value {
        match self {
            Self::Gemini => {
                let mut event = text_event(text);
                event["candidates"][0]["content"]["parts"][0]["thought"] = json!(true);
                event
            }
            Self::Chat => chunk(&json!({"reasoning_content": text}), None),
            Self::Transcription => panic!("a transcription has no thoughts"),
        }
    }

    fn event(self, event: &Value) -> String {
        let end = if self == Self::Chat { "\n\n" } else { "\r\n\r\n" };
        format!("data: {event}{end}")
    }

    /// Returns the end of an answer, with this reason.
    pub(super) fn finish(self, reason: &str) -> String {
        match self {
            Self::Gemini => self.event(&finish_event(reason)),
            Self::Chat => {
                self.event(&chunk(&json!({}), Some(reason)))
                    + &self.event(&usage_chunk())
                    + "data: [DONE]\n\n"
            }
            Self::Transcription => self.event(&transcript_done()) + "data: [DONE]\r\n\r\n",
        }
    }

    pub(super) fn ordinary_reason(self) -> &'static str {
        if self == Self::Gemini { "STOP" } else { "stop" }
    }

    pub(super) fn base_path(self) -> &'static str {
        if self == Self::Gemini { "/v1beta" } else { "/v1" }
    }

    /// Returns the kind of a channel that speaks this dialect.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Chat => "openai",
            Self::Transcription => "transcription",
        }
    }
}

/// A script: one answer per request; the last one serves all further requests.
#[derive(Debug)]
pub(crate) struct Script {
    pub(super) dialect: Dialect,
    pub(super) answers: Vec<Answer>,
}

impl Script {
    fn answer(&mut self) -> &mut Answer {
        self.answers.last_mut().unwrap()
    }

    fn step(mut self, step: Step) -> Self {
        self.answer().steps.push(step);
        self
    }

    /// Makes the following steps answer the next request.
    pub(crate) fn then(mut self) -> Self {
        self.answers.push(Answer {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/event-stream".to_owned())],
            framing: Framing::Chunked,
            piece: usize::MAX,
            steps: Vec::new(),
            ended: false,
            never: false,
            slam: false,
        });
        self
    }

    /// Sends an event with text.
    pub(crate) fn say(self, text: &str) -> Self {
        let event = self.dialect.text(text);
        self.event(&event)
    }

    /// Sends this many events with the same text.
    pub(crate) fn say_often(self, times: usize, text: &str) -> Self {
        (0..times).fold(self, |script, _| script.say(text))
    }

    /// Sends an event with a thought.
    pub(crate) fn think(self, text: &str) -> Self {
        let event = self.dialect.thought(text);
        self.event(&event)
    }

    /// Sends any event.
    pub(crate) fn event(self, event: &Value) -> Self {
        let event = self.dialect.event(event);
        self.raw(event)
    }

    /// Answers with an error.
    pub(crate) fn refuses(self, status: u16, body: &Value) -> Self {
        self.status(status).content_type("application/json; charset=UTF-8").raw(body.to_string()).ends()
    }

    /// Sends any bytes as a part of the body.
    pub(crate) fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Say(bytes.into()))
    }

    /// Sends the event that ends the answer, with this reason.
    pub(crate) fn finish(self, reason: &str) -> Self {
        let finish = self.dialect.finish(reason);
        self.raw(finish).ends()
    }

    /// Ends the body here; the fake adds nothing.
    pub(crate) fn ends(mut self) -> Self {
        self.answer().ended = true;
        self
    }

    /// Waits until the test releases it.
    pub(crate) fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Closes the socket in the middle of the body.
    pub(crate) fn cut(self) -> Self {
        self.step(Step::Cut).ends()
    }

    /// Takes the request and never answers.
    pub(crate) fn never(mut self) -> Self {
        self.answer().never = true;
        self
    }

    /// Reads the request and closes the connection.
    pub(crate) fn slam(mut self) -> Self {
        self.answer().slam = true;
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.answer().status = status;
        self
    }

    pub(crate) fn content_type(mut self, value: &str) -> Self {
        self.answer().headers.retain(|(name, _)| name != "content-type");
        self.header("content-type", value)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.answer().headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the bytes in pieces of this size, each a write and a chunk of its own.
    pub(crate) fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.answer().piece = bytes;
        self
    }

    /// Gives the body a `Content-Length`.
    pub(crate) fn with_length(mut self) -> Self {
        self.answer().framing = Framing::Length;
        self
    }

    /// Ends the body with the connection.
    pub(crate) fn until_close(mut self) -> Self {
        self.answer().framing = Framing::Close("1.1");
        self
    }

    /// Ends the body with the connection, as HTTP/1.0 does.
    pub(crate) fn until_close_in_http_1_0(mut self) -> Self {
        self.answer().framing = Framing::Close("1.0");
        self
    }
}

impl Answer {
    pub(super) fn head(&self) -> String {
        let framing = match self.framing {
            Framing::Chunked => ("transfer-encoding", "chunked".to_owned()),
            Framing::Close(_) => ("connection", "close".to_owned()),
            Framing::Length => {
                let said = |step: &Step| if let Step::Say(bytes) = step { bytes.len() } else { 0 };
                // The length of a body that is cut is larger than what is sent.
                let unsaid = if self.steps.iter().any(|step| matches!(step, Step::Cut)) { 100 } else { 0 };
                ("content-length", (self.steps.iter().map(said).sum::<usize>() + unsaid).to_string())
            }
        };
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = headers.chain([(framing.0, framing.1.as_str())]).collect();
        let head = reply_head(self.status, &headers);
        if let Framing::Close(version) = self.framing { head.replacen("1.1", version, 1) } else { head }
    }
}
