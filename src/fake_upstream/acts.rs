//! Makes an answer as a sequence of acts, which are steps of sending it: a dialect's frames, changed by a script. This
//! module uses no clock and no network.
//!
//! A frame is created when it is sent, so an endless answer costs no more than a short one.

use bytes::Bytes;

use super::script::{ErrorForm, Fault, Mishap, Script, Shape};
use super::text;

/// Writes each part of an answer in the format of a dialect. Parts that the dialect does not have are empty.
pub(super) trait DialectWriter {
    /// Returns the content type of the response.
    fn content_type(&self) -> &'static str;
    /// Returns true for a stream. Otherwise all parts together are one JSON value, or one text.
    fn is_stream(&self) -> bool;
    /// Returns the start of the body.
    fn opening(&mut self) -> String {
        String::new()
    }
    /// Returns a thought. Called only for dialects that have thoughts.
    fn thought(&mut self, thought: &str) -> String {
        let _ = thought;
        String::new()
    }
    /// Returns the text with this number, from 1.
    fn text(&mut self, number: u64, text: &str) -> String;
    /// Returns bytes that are invalid in the dialect, in place of a text.
    fn nonsense(&mut self) -> String;
    /// Returns the end of the answer, with its reason.
    fn finish(&mut self, reason: Finish) -> String;
    /// Returns an error. Called only with forms that the dialect has.
    fn error(&mut self, form: ErrorForm) -> String;
    /// Returns the end of the body; `error` is the form of an error that came just before.
    fn closing(&mut self, error: Option<ErrorForm>) -> String;
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// The answer is complete.
    Stop,
    /// The token limit ended the answer.
    Length,
    /// The content filter ended the answer.
    Filtered,
}

/// A step of sending an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Send these bytes of the body.
    Send(Bytes),
    /// Wait for the pause between two texts.
    Pause,
    /// From here on, close the connection after this many bytes of the body.
    Limit(u64),
    /// Send nothing more, and keep the connection open.
    Hang,
    /// Close the connection.
    Break,
    /// End the body.
    End,
}

/// The acts of one answer.
pub(super) struct Acts {
    writer: Box<dyn DialectWriter>,
    shape: Shape,
    mishap: Option<(u64, Mishap)>,
    next: Part,
}

/// The next part of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Opening,
    Thought(u64),
    /// The pause before this text.
    Pause(u64),
    /// The point before this text, where a mishap may happen.
    BeforeText(u64),
    Text(u64),
    Finish(Finish),
    Error(ErrorForm),
    Closing(Option<ErrorForm>),
    Hang,
    Break,
    End,
}

impl Acts {
    /// Creates the acts of the script's answer. `faulty` is true if this call has the script's fault.
    pub(super) fn new(writer: Box<dyn DialectWriter>, script: &Script, faulty: bool) -> Self {
        let fault = script.fault_rule.as_ref().filter(|_| faulty).map(|fault_rule| &fault_rule.fault);
        let mishap = match fault {
            Some(Fault::Within { after, mishap }) => Some((*after, *mishap)),
            Some(Fault::Instead(_)) | None => None,
        };
        Self { writer, shape: script.shape.clone(), mishap, next: Part::Start }
    }

    /// Returns the next act. After [`Act::Hang`], [`Act::Break`] and [`Act::End`] it is the same again.
    pub(super) fn act(&mut self) -> Act {
        loop {
            if let Some(act) = self.step() {
                return act;
            }
        }
    }

    /// Takes the next part; returns `None` if it sends nothing.
    fn step(&mut self) -> Option<Act> {
        let (said, next) = match self.next {
            Part::Start => {
                self.next = Part::Opening;
                // If no text comes first, the limit counts from the start of the body.
                return match self.mishap.take_if(|mishap| matches!(mishap, (0, Mishap::Cut(_)))) {
                    Some((_, Mishap::Cut(bytes))) => Some(Act::Limit(bytes)),
                    _ => None,
                };
            }
            Part::Opening => (self.writer.opening(), Part::Thought(1)),
            Part::Thought(number) if number <= self.shape.thoughts => {
                (self.writer.thought(&text::thought(number)), Part::Thought(number + 1))
            }
            Part::Thought(_) => (String::new(), Part::BeforeText(1)),
            Part::BeforeText(number) => return self.before_text(number),
            Part::Pause(number) => {
                self.next = Part::BeforeText(number);
                return (number > 1 && !self.shape.pause.is_zero()).then_some(Act::Pause);
            }
            Part::Text(number) => (self.text_act(number), Part::Pause(number + 1)),
            Part::Finish(reason) => {
                let late = match self.mishap {
                    Some((_, Mishap::LateError(form))) => Part::Error(form),
                    _ => Part::Closing(None),
                };
                (self.writer.finish(reason), late)
            }
            Part::Error(form) => (self.writer.error(form), Part::Closing(Some(form))),
            Part::Closing(error) => (self.writer.closing(error), Part::End),
            Part::Hang => return Some(Act::Hang),
            Part::Break => return Some(Act::Break),
            Part::End => return Some(Act::End),
        };
        self.next = next;
        let mut said = if self.shape.odd { with_odd_fields(&said) } else { said };
        if self.shape.odd && self.writer.content_type().starts_with("text/event-stream") && !said.is_empty() {
            said += ODD_EVENTS;
        }
        (!said.is_empty()).then(|| Act::Send(said.into()))
    }

    fn text_act(&mut self, number: u64) -> String {
        self.writer.text(number, &text::text(number, self.shape.size))
    }

    /// Handles the point before a text or the finish: continues, or causes the script's mishap.
    fn before_text(&mut self, number: u64) -> Option<Act> {
        let over = number > self.shape.chunks;
        let usual = if over { Part::Finish(Finish::Stop) } else { Part::Text(number) };
        let mishap = self.mishap.filter(|(after, _)| number == after + 1).map(|(_, mishap)| mishap);
        let (act, next) = match mishap {
            None if self.is_endless() => (None, Part::Text(number)),
            None => (None, usual),
            Some(Mishap::Endless) => (None, Part::Text(number)),
            Some(Mishap::LateError(_)) => (None, Part::Finish(Finish::Stop)),
            Some(Mishap::Cut(bytes)) => (Some(Act::Limit(bytes)), usual),
            Some(Mishap::Stall) => (None, Part::Hang),
            Some(Mishap::Half) => (Some(self.half(number, over)), Part::Break),
            Some(Mishap::Torn) => (Some(self.half(number, over)), Part::End),
            Some(Mishap::Garbage) => {
                (Some(Act::Send(self.writer.nonsense().into())), Part::Pause(number + 1))
            }
            Some(Mishap::Unfinished) => (None, Part::End),
            Some(Mishap::Error(form)) => (None, Part::Error(form)),
            Some(Mishap::Filtered) => (None, Part::Finish(Finish::Filtered)),
            Some(Mishap::Length) => (None, Part::Finish(Finish::Length)),
        };
        self.next = next;
        act
    }

    fn is_endless(&self) -> bool {
        matches!(self.mishap, Some((_, Mishap::Endless)))
    }

    /// Returns the first half of the next frame.
    fn half(&mut self, number: u64, over: bool) -> Act {
        let frame = if over { self.writer.finish(Finish::Stop) } else { self.text_act(number) };
        let bytes = Bytes::from(frame);
        Act::Send(bytes.slice(..bytes.len() / 2))
    }
}

/// Events that are not part of an answer.
const ODD_EVENTS: &str = "data: \"odd\"\n\ndata: 7\n\ndata: true\n\ndata: busy\n\n";

/// Returns a part whose first object has extra fields, as some servers add them.
fn with_odd_fields(part: &str) -> String {
    part.replacen("{\"", r#"{"odd":[NaN,-Infinity,1e999,"\ud83d",{"index":"1"}],""#, 1)
}

/// Returns a text as it is between the quotes of a JSON string.
pub(super) fn inside_a_string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

impl std::fmt::Debug for Acts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acts").field("mishap", &self.mishap).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes each part as one word.
    struct Plain;

    impl DialectWriter for Plain {
        fn content_type(&self) -> &'static str {
            "text/plain"
        }
        fn is_stream(&self) -> bool {
            true
        }
        fn opening(&mut self) -> String {
            "open ".to_owned()
        }
        fn thought(&mut self, _: &str) -> String {
            "think ".to_owned()
        }
        fn text(&mut self, number: u64, _: &str) -> String {
            format!("<{number}> ")
        }
        fn nonsense(&mut self) -> String {
            "?! ".to_owned()
        }
        fn finish(&mut self, reason: Finish) -> String {
            format!("{reason:?} ")
        }
        fn error(&mut self, form: ErrorForm) -> String {
            format!("error-{form:?} ")
        }
        fn closing(&mut self, error: Option<ErrorForm>) -> String {
            format!("close{} ", if error.is_some() { "-after-error" } else { "" })
        }
    }

    fn played(script: &str, faulty: bool) -> String {
        let script: Script = script.parse().unwrap();
        let mut acts = Acts::new(Box::new(Plain), &script, faulty);
        let mut all = String::new();
        for _ in 0..20 {
            match acts.act() {
                Act::Send(bytes) => all += std::str::from_utf8(&bytes).unwrap(),
                Act::Pause => all += "... ",
                Act::Limit(bytes) => all += &format!("limit-{bytes} "),
                Act::Hang => return all + "hang",
                Act::Break => return all + "break",
                Act::End => return all + "end",
            }
        }
        all + "endless"
    }

    #[test]
    fn a_good_answer_has_its_parts_in_order() {
        assert_eq!(played("chunks=2", true), "open <1> <2> Stop close end");
        assert_eq!(played("chunks=0", true), "open Stop close end");
        assert_eq!(played("chunks=2+think+pause=5", true), "open think think <1> ... <2> ... Stop close end");
        assert_eq!(played("chunks=2+stall", false), "open <1> <2> Stop close end");
        assert_eq!(played("chunks=2+slam", true), "open <1> <2> Stop close end");
    }

    #[test]
    fn each_mishap_happens_at_its_place() {
        for (script, expected) in [
            ("stall", "open hang"),
            ("stall+after=1", "open <1> hang"),
            ("stall+after=3", "open <1> <2> <3> hang"),
            ("cut=9", "limit-9 open <1> <2> <3> Stop close end"),
            ("cut=9+after=1", "open <1> limit-9 <2> <3> Stop close end"),
            ("half+after=1", "open <1> <2break"),
            ("half+after=3", "open <1> <2> <3> Stbreak"),
            ("torn", "open <1end"),
            ("garbage+after=1", "open <1> ?! <3> Stop close end"),
            ("unfinished", "open <1> <2> <3> end"),
            ("unfinished+after=1", "open <1> end"),
            ("error+after=1", "open <1> error-Data close-after-error end"),
            ("late-error=event", "open <1> <2> <3> Stop error-Event close-after-error end"),
            ("late-error+after=1", "open <1> Stop error-Data close-after-error end"),
            ("filtered+after=1", "open <1> Filtered close end"),
            ("length", "open <1> <2> <3> Length close end"),
        ] {
            assert_eq!(played(&format!("chunks=3+{script}"), true), expected, "{script}");
        }
        assert!(played("endless+chunks=1", true).ends_with("<18> <19> endless"));
    }
}
