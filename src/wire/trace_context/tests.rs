//! Tests the reading of the standard's examples and of arbitrary bytes.

use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn parse(parent: &str) -> Option<TraceContext> {
    TraceContext::parse([parent.as_bytes()], [])
}

/// Returns the part of these `tracestate` headers that is passed on.
fn state(headers: &[&str]) -> Option<String> {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let headers = headers.iter().map(|header| header.as_bytes());
    let context = TraceContext::parse([parent.as_bytes()], headers).unwrap();
    context.tracestate().map(str::to_owned)
}

#[test]
fn the_standards_example_is_read_and_written_back() {
    let text = format!("00-{TRACE}-{SPAN}-01");
    let context = parse(&text).unwrap();
    assert_eq!((context.trace_id.to_string(), context.span_id.to_string()), (TRACE.into(), SPAN.into()));
    assert!(context.flags.is_sampled());
    assert_eq!(context.traceparent(), text);
    assert!(!parse(&format!("00-{TRACE}-{SPAN}-00")).unwrap().flags.is_sampled());
}

#[test]
fn flags_without_a_meaning_are_not_passed_on() {
    for (flags, passed_on) in [("03", "03"), ("ff", "03"), ("fe", "02"), ("09", "01")] {
        let context = parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
        assert_eq!(context.traceparent(), format!("00-{TRACE}-{SPAN}-{passed_on}"));
    }
}

#[test]
fn the_known_part_of_later_versions_is_read() {
    let known = format!("00-{TRACE}-{SPAN}-01");
    for later in ["01-T-S-01", "cc-T-S-01-what-the-future-will-be-like", "cc-T-S-01-", "fe-T-S-09"] {
        let later = later.replace('T', TRACE).replace('S', SPAN);
        assert_eq!(parse(&later).unwrap().traceparent(), known, "{later}");
    }
    for wrong in ["cc-T-S-01.what", "cc-T-S-0", "ff-T-S-01", "01-T-S", "01-T-S-01x"] {
        let wrong = wrong.replace('T', TRACE).replace('S', SPAN);
        assert_eq!(parse(&wrong), None, "{wrong}");
    }
    let endless = format!("01-{TRACE}-{SPAN}-01-{}", "x".repeat(MAX_TRACEPARENT_BYTES));
    assert_eq!(parse(&endless), None);
}

#[test]
fn a_malformed_traceparent_is_refused() {
    let zeros = ["0".repeat(32), "0".repeat(16)];
    for wrong in [
        String::new(),
        "-".repeat(55),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-0X"),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("0-{TRACE}-{SPAN}-001"),
        format!("00-{}-{SPAN}-01", zeros[0]),
        format!("00-{TRACE}-{}-01", zeros[1]),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{}-{SPAN}-01", TRACE.replace('4', "g")),
        format!("00-{}-{SPAN}-01", TRACE.replace("4b", "é")),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
    ] {
        assert_eq!(parse(&wrong), None, "{wrong}");
    }
}

#[test]
fn several_traceparents_count_as_none() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(TraceContext::parse([parent.as_bytes(), parent.as_bytes()], []), None);
    assert_eq!(TraceContext::parse([], [b"a=1".as_slice()]), None);
}

#[test]
fn a_tracestate_is_passed_on_as_it_was_received() {
    let wanted = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    assert_eq!(state(&[wanted]).as_deref(), Some(wanted));
    assert_eq!(state(&["rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE"]).as_deref(), Some(wanted));
    for good in ["1a-_*/@b=x", "tenant@system=a b", "a=!\"#$%&'()*+-./:;<>?@[]^`{|}~"] {
        assert_eq!(state(&[good]).as_deref(), Some(good));
    }
}

#[test]
fn empty_members_of_a_tracestate_are_not_passed_on() {
    assert_eq!(state(&[" a=1 ,\t, b=2,", ",", "c=3"]).as_deref(), Some("a=1,b=2,c=3"));
    for empty in [&["", " "][..], &[","], &[" , ", ",,"]] {
        assert_eq!(state(empty), None, "{empty:?}");
    }
}

#[test]
fn a_malformed_tracestate_is_dropped_without_the_traceparent() {
    for wrong in ["a", "=1", "A=1", "_a=1", "a=1=2", "a=", "a=\u{1}", "ä=1", "a b=1"] {
        assert_eq!(state(&[wrong]), None, "{wrong}");
    }
    let (most, more) = (format!("a={}", "x".repeat(256)), format!("a={}", "x".repeat(257)));
    assert_eq!(state(&[&most]), Some(most.clone()));
    assert_eq!(state(&[&more]), None);
}

#[test]
fn the_front_of_a_tracestate_that_is_too_long_is_passed_on() {
    let most = format!("a={}", "x".repeat(256));
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    assert_eq!(state(&[&members(33)]), Some(members(32)));
    assert_eq!(state(&[&members(32), "more=v"]), Some(members(32)));
    let rest = format!("b={}", "x".repeat(MAX_TRACESTATE_BYTES - most.len() - 3));
    assert_eq!(state(&[&most, &rest]).unwrap().len(), MAX_TRACESTATE_BYTES);
    // No member is cut, and no later member takes the place of one that is too long.
    assert_eq!(state(&[&most, &format!("{rest}x"), "c=1"]), Some(most.clone()));
    assert_eq!(state(&[&most, &rest, "A=1"]), None, "members that are not passed on are checked, too");
    let spaced = members(32) + "," + &" ".repeat(MAX_TRACESTATE_BYTES) + ",";
    assert_eq!(state(&[&spaced]), Some(members(32)));
}

#[test]
fn a_stored_context_is_read_back() {
    let parent = format!("00-{TRACE}-{SPAN}-03");
    let context = TraceContext::parse([parent.as_bytes()], [b"a=1,b=2".as_slice()]).unwrap();
    let json = serde_json::to_string(&context).unwrap();
    assert_eq!(json, format!(r#"{{"traceparent":"{parent}","tracestate":"a=1,b=2"}}"#));
    assert_eq!(serde_json::from_str::<TraceContext>(&json).unwrap(), context);
    assert!(serde_json::from_str::<TraceContext>(r#"{"traceparent":"x"}"#).is_err());
}

proptest! {
    #[test]
    fn a_written_traceparent_is_read_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
        let (Some(trace_id), Some(span_id)) = (TraceId::from_bytes(trace), SpanId::from_bytes(span)) else {
            return Ok(());
        };
        let context = TraceContext { trace_id, span_id, flags: TraceFlags::new(sampled), state: None };
        prop_assert_eq!(parse(&context.traceparent()), Some(context));
    }

    #[test]
    fn any_headers_are_either_refused_or_can_be_written_again(
        parent in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..80),
            "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,9})?".prop_map(String::into_bytes),
        ],
        states in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let states = states.iter().map(Vec::as_slice);
        if let Some(context) = TraceContext::parse([parent.as_slice()], states) {
            let said = context.traceparent();
            let state = context.tracestate().map(str::as_bytes);
            prop_assert_eq!(said.len(), TRACEPARENT_BYTES);
            prop_assert!(state.is_none_or(|state| state.len() <= MAX_TRACESTATE_BYTES));
            let members = state.map_or(0, |state| state.split(|byte| *byte == b',').count());
            prop_assert!(members <= MAX_TRACESTATE_MEMBERS);
            prop_assert_eq!(TraceContext::parse([said.as_bytes()], state), Some(context));
        }
    }
}
