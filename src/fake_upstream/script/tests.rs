//! Tests of the script language.

use proptest::prelude::*;

use super::*;

fn script(text: &str) -> Script {
    text.parse().unwrap_or_else(|err| panic!("{err}"))
}

fn fault(text: &str) -> Fault {
    script(text).fault_rule.unwrap().fault
}

fn within(after: u64, mishap: Mishap) -> Fault {
    Fault::Within { after, mishap }
}

#[test]
fn the_script_follows_the_first_plus_of_a_model_name() {
    assert_eq!(Script::of_model("gemini-x"), Ok(("gemini-x", None)));
    let (name, script) = Script::of_model("gemini-x+429=7+first=2").unwrap();
    let fault_rule = script.unwrap().fault_rule.unwrap();
    assert_eq!(name, "gemini-x");
    assert_eq!(fault_rule.fault, Fault::Instead(Instead::Status(429, Some(Duration::from_secs(7)))));
    assert_eq!((fault_rule.first, fault_rule.rate), (Some(2), None));
    assert!(Script::of_model("gemini-x+").is_err());
}

#[test]
fn steps_set_the_shape_of_the_answer() {
    let shape =
        script("chunks=3+pause=10+delay=20+think+split+size=32+usage=beside+style=vllm+odd+gzip+plain").shape;
    let expected = Shape {
        chunks: 3,
        pause: Duration::from_millis(10),
        delay: Duration::from_millis(20),
        thoughts: 2,
        split: Some(1),
        size: Some(32),
        usage: Some(UsagePlace::Beside),
        style: Some(Style::Vllm),
        odd: true,
        gzip: true,
        plain: true,
    };
    assert_eq!(shape, expected);
    assert_eq!(script("split=7+think=4").shape, Shape { split: Some(7), thoughts: 4, ..Shape::default() });
}

#[test]
fn each_fault_has_a_step() {
    use Instead::{BadKey, Blocked, Daily, Empty, Page, Silent, Slam, Status};
    for (text, instead) in [
        ("429", Status(429, None)),
        ("503=0.25", Status(503, Some(Duration::from_millis(250)))),
        ("401", Status(401, None)),
        ("daily", Daily),
        ("badkey", BadKey),
        ("blocked", Blocked),
        ("slam", Slam),
        ("silent", Silent),
        ("garbage", Page),
        ("garbage+after=0", Page),
        ("empty", Empty),
    ] {
        assert_eq!(fault(text), Fault::Instead(instead), "{text}");
    }
    for (text, expected) in [
        ("stall+after=2", within(2, Mishap::Stall)),
        ("endless", within(0, Mishap::Endless)),
        ("cut=120", within(0, Mishap::Cut(120))),
        ("after=5+cut=0", within(5, Mishap::Cut(0))),
        ("half", within(0, Mishap::Half)),
        ("torn", within(0, Mishap::Torn)),
        ("garbage+after=1", within(1, Mishap::Garbage)),
        ("unfinished", within(5, Mishap::Unfinished)),
        ("error", within(0, Mishap::Error(ErrorForm::Data))),
        ("error=bare+after=1", within(1, Mishap::Error(ErrorForm::Bare))),
        ("late-error=event", within(5, Mishap::LateError(ErrorForm::Event))),
        ("filtered+after=3", within(3, Mishap::Filtered)),
        ("length+chunks=9", within(9, Mishap::Length)),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn an_invalid_script_is_refused_with_its_step() {
    for (text, step) in [
        ("", ""),
        ("429++first=1", ""),
        ("fast", "fast"),
        ("Stall", "Stall"),
        ("chunks", "chunks"),
        ("chunks=x", "chunks=x"),
        ("chunks=-1", "chunks=-1"),
        ("chunks=+1", "chunks="),
        ("chunks=1000001", "chunks=1000001"),
        ("size=15", "size=15"),
        ("size=1048576+chunks=65", "size=1048576"),
        ("split=0", "split=0"),
        ("plain=1", "plain=1"),
        ("style=azure", "style=azure"),
        ("399", "399"),
        ("600", "600"),
        ("99999999999999999999", "99999999999999999999"),
        ("500=3", "500=3"),
        ("429=x", "429=x"),
        ("429=inf", "429=inf"),
        ("429=1e3", "429=1e3"),
        ("429=.", "429=."),
        ("429=99999999999999999999999999", "429=99999999999999999999999999"),
        ("cut", "cut"),
        ("cut=1+cut=2", "cut=2"),
        ("429+slam", "slam"),
        ("stall=1", "stall=1"),
        ("error=loud", "error=loud"),
        ("after=1", "after=1"),
        ("first=1", "first=1"),
        ("rate=0.5", "rate=0.5"),
        ("429+first=0", "first=0"),
        ("429+rate=-0.5", "rate=-0.5"),
        ("429+rate=", "rate="),
        ("429+rate=1.1", "rate=1.1"),
        ("429+rate=NaN", "rate=NaN"),
        ("429+after=1", "after=1"),
        ("endless+after=1", "after=1"),
        ("stall+after=6", "after=6"),
    ] {
        let err = text.parse::<Script>().expect_err(text);
        assert_eq!(err.step, step, "{text}: {err}");
        assert!(err.to_string().contains(&format!("`{step}`")), "{err}");
    }
}

#[test]
fn a_rate_is_given_once_and_needs_a_fault() {
    let script = |text: &str| text.parse::<Script>().unwrap();
    let rated = script("429").with_rate("0.25").unwrap();
    assert_eq!(rated.fault_rule.unwrap().rate, Some(0.25));
    assert!(script("429+rate=0.5").with_rate("0.25").is_err());
    assert!(script("chunks=3").with_rate("0.25").is_err());
    assert!(script("429").with_rate("2").is_err());
}

#[test]
fn a_dialect_refuses_steps_that_it_does_not_have() {
    use Dialect::{Chat, Gemini, Transcription};
    for (text, fitting) in [
        ("think", &[Gemini, Chat][..]),
        ("usage=none", &[Chat]),
        ("style=mistral", &[Transcription]),
        ("plain", &[Transcription]),
        ("filtered", &[Gemini, Chat]),
        ("length+style=vllm", &[Transcription]),
        ("error", &Dialect::ALL),
        ("error=bare", &[Gemini]),
        ("error=event", &[Chat, Transcription]),
        ("late-error=field", &[Chat, Transcription]),
        ("error=beside", &[Chat]),
        ("429", &Dialect::ALL),
        ("stall+after=1", &Dialect::ALL),
    ] {
        for dialect in Dialect::ALL {
            assert_eq!(script(text).fits(dialect).is_ok(), fitting.contains(&dialect), "{text}: {dialect:?}");
        }
    }
}

/// Returns steps that can be combined, in any order.
fn steps() -> impl Strategy<Value = Vec<String>> {
    let shape = prop_oneof![
        (5..2000_u64).prop_map(|n| format!("chunks={n}")),
        (0..90_u64).prop_map(|n| format!("pause={n}")),
        (0..90_u64).prop_map(|n| format!("delay={n}")),
        (16..5000_usize).prop_map(|n| format!("size={n}")),
        (1..9_usize).prop_map(|n| format!("split={n}")),
        Just("think".to_owned()),
    ];
    let fault = prop_oneof![
        (400..600_u16).prop_map(|status| vec![status.to_string()]),
        (0..900_u32).prop_map(|seconds| vec![format!("429={seconds}")]),
        (0..999_u64, 0..6_u64)
            .prop_map(|(bytes, texts)| vec![format!("cut={bytes}"), format!("after={texts}")]),
        (0..6_u64).prop_map(|texts| vec!["stall".to_owned(), format!("after={texts}")]),
        Just(vec!["late-error".to_owned()]),
    ];
    let calls = prop_oneof![
        (1..9_u64).prop_map(|calls| format!("first={calls}")),
        (1..100_u32).prop_map(|percent| format!("rate=0.{percent:02}")),
    ];
    (proptest::collection::vec(shape, 0..6), fault, proptest::option::of(calls)).prop_map(
        |(mut all, fault, calls)| {
            let name = |step: &String| step.split('=').next().unwrap_or_default().to_owned();
            all.sort_by_key(name);
            all.dedup_by_key(|step| name(step));
            all.extend(fault);
            all.extend(calls);
            all
        },
    )
}

proptest! {
    #[test]
    fn no_text_crashes_the_parser(text in "(\\PC{0,12}|[a-z0-9=+.-]{0,40})") {
        if let Err(err) = text.parse::<Script>() {
            prop_assert!(text.contains(&err.step), "{err}");
        }
        let _ = Script::of_model(&text);
    }

    #[test]
    fn the_order_of_steps_has_no_effect(
        (ordered, shuffled) in steps().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle()))
    ) {
        let ordered: Script = ordered.join("+").parse().unwrap();
        prop_assert!(ordered.fault_rule.is_some());
        prop_assert_eq!(shuffled.join("+").parse::<Script>().unwrap(), ordered);
    }
}
