//! Reads and writes the headers of W3C Trace Context, `traceparent` and `tracestate`.
//!
//! A malformed header is never an error. A malformed `traceparent` counts as absent. Then the `tracestate` is dropped,
//! too, because it means nothing alone. A valid context is passed on in version 00.

use std::fmt;

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// The longest `traceparent` that is parsed, in bytes. Additions of later versions are ignored.
const MAX_TRACEPARENT_BYTES: usize = 256;
/// The longest `tracestate` that is passed on, in bytes of all its members together. The standard requires this length.
const MAX_TRACESTATE_BYTES: usize = 512;
/// The most members of a `tracestate` that are passed on.
const MAX_TRACESTATE_MEMBERS: usize = 32;
/// Bytes of a `traceparent` in version 00.
const TRACEPARENT_BYTES: usize = 55;

/// The name of the header with the place in the trace.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the header with the values of other tracing systems.
pub const TRACESTATE: &str = "tracestate";

/// The id of a trace, which consists of all work for one request of a user. It is never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span, which is one piece of work in a trace. It is never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($id:ident, $bytes:literal) => {
        impl $id {
            /// Makes a new id with a cryptographic generator.
            #[must_use]
            pub fn random() -> Self {
                let mut rng = rand::rng();
                loop {
                    if let Some(id) = Self::from_bytes(rng.random()) {
                        return id;
                    }
                }
            }

            /// Makes an id from bytes; `None` if all are zero, which means no id.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Returns the id as OTLP writes it.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// Reads hex digits in lower case, as the standard requires.
            fn from_hex(text: &[u8]) -> Option<Self> {
                let mut bytes = [0; $bytes];
                if text.len() != 2 * bytes.len() {
                    return None;
                }
                for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = hex_byte(digits)?;
                }
                Self::from_bytes(bytes)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// The flags of a `traceparent` that have a meaning in version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceFlags(u8);

impl TraceFlags {
    const SAMPLED: u8 = 1;
    /// Level 2 of the standard: the trace id is random.
    const RANDOM: u8 = 2;

    /// Returns the flags of a trace that hearken begins.
    #[must_use]
    pub fn new(sampled: bool) -> Self {
        Self(if sampled { Self::SAMPLED } else { 0 })
    }

    /// Returns true if the caller records its work. Then the services that it calls record their work, too.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }

    /// Returns the flags as they are sent.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// The place of some work in a trace, with the span of the caller that requested it as the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Headers", into = "Headers")]
pub struct TraceContext {
    /// The id of the trace.
    pub trace_id: TraceId,
    /// The id of the parent span.
    pub span_id: SpanId,
    /// The flags, which state whether the work is recorded.
    pub flags: TraceFlags,
    /// The values of other tracing systems, each as it was received.
    state: Option<Box<str>>,
}

impl TraceContext {
    /// Makes the root of a new trace.
    #[must_use]
    pub fn begin(sampled: bool) -> Self {
        Self {
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
            flags: TraceFlags::new(sampled),
            state: None,
        }
    }

    /// Reads the values of all headers of both names, in their order. Returns `None` if there is no `traceparent`, more
    /// than one, or a malformed one.
    #[must_use]
    pub fn parse<'a>(
        parents: impl IntoIterator<Item = &'a [u8]>,
        states: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let mut parents = parents.into_iter();
        let parent = parents.next().filter(|_| parents.next().is_none())?;
        let (trace_id, span_id, flags) = parse_traceparent(parent.trim_ascii())?;
        Some(Self { trace_id, span_id, flags, state: parse_tracestate(states) })
    }

    /// Returns the same context with this span as the parent.
    #[must_use]
    pub fn below(&self, span_id: SpanId) -> Self {
        Self { span_id, ..self.clone() }
    }

    /// Returns the value of the `traceparent` header for this context.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags.bits())
    }

    /// Returns the value of the `tracestate` header for this context.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

fn parse_traceparent(text: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    if text.len() > MAX_TRACEPARENT_BYTES {
        return None;
    }
    let (known, more) = text.split_at_checked(TRACEPARENT_BYTES)?;
    if [known[2], known[35], known[52]] != [b'-'; 3] {
        return None;
    }
    let is_complete = match hex_byte(&known[..2])? {
        0 => more.is_empty(),
        0xff => false,
        _ => matches!(more.first(), None | Some(b'-')),
    };
    let flags = TraceFlags(hex_byte(&known[53..])? & (TraceFlags::SAMPLED | TraceFlags::RANDOM));
    let ids = (TraceId::from_hex(&known[3..35])?, SpanId::from_hex(&known[36..52])?);
    is_complete.then_some((ids.0, ids.1, flags))
}

/// Joins the members of all headers. If a limit is exceeded, keeps the first members, because they are the newest.
/// Returns `None` if a member is malformed, or if there is none.
fn parse_tracestate<'a>(states: impl IntoIterator<Item = &'a [u8]>) -> Option<Box<str>> {
    let (mut kept, mut count, mut is_full) = (String::new(), 0, false);
    for state in states {
        // Empty members are allowed and have no meaning.
        let members = std::str::from_utf8(state).ok()?.split(',').map(str::trim_ascii);
        for member in members.filter(|member| !member.is_empty()) {
            if !is_member(member) {
                return None;
            }
            let comma = usize::from(!kept.is_empty());
            is_full |=
                count == MAX_TRACESTATE_MEMBERS || kept.len() + comma + member.len() > MAX_TRACESTATE_BYTES;
            if !is_full {
                kept.extend([&","[..comma], member]);
                count += 1;
            }
        }
    }
    (!kept.is_empty()).then(|| kept.into())
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let is_key = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let begins_well = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    begins_well
        && key.len() <= 256
        && key.bytes().all(is_key)
        && (1..=256).contains(&value.len())
        && value.bytes().all(is_value)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let [high, low] = digits else { return None };
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// A context in its stored form: the headers that express it.
#[derive(Serialize, Deserialize)]
struct Headers {
    traceparent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

impl From<TraceContext> for Headers {
    fn from(context: TraceContext) -> Self {
        Self { traceparent: context.traceparent(), tracestate: context.state.map(String::from) }
    }
}

impl TryFrom<Headers> for TraceContext {
    type Error = &'static str;

    fn try_from(headers: Headers) -> Result<Self, Self::Error> {
        let state = headers.tracestate.as_deref().map(str::as_bytes);
        Self::parse([headers.traceparent.as_bytes()], state).ok_or("no traceparent")
    }
}

#[cfg(test)]
mod tests;
