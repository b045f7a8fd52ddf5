//! Figures, and the rounds that are refused.

use std::time::Duration;

use crate::support::fan::figures::{Figures, Refusal, refusal};
use crate::support::fan::round::{Round, Run};
use crate::support::fan::schedule::Published;
use crate::support::fan::side::Side;
use crate::support::fan::subscribers::{Ended, Received};
use crate::support::statistics::Spread;

fn good() -> Run {
    let latency = Spread { p50: 1.0, p99: 2.0, max: 3.0 };
    Run {
        received: Received {
            delivered: 1_000,
            missing: 0,
            repeated: 0,
            latency,
            beginning: latency,
            seconds: 2.0,
            frame: 280.0,
            generator: 0.5,
        },
        ended: Ended { missing: 0, repeated: 0, open: 0 },
        published: Published { events: 10, late: latency, held: 0.0 },
        server_cpu: Duration::from_millis(5),
        publisher: 0.1,
        others: 0.0,
        resident: vec![3, 7, 5],
    }
}

fn refused(side: Side, change: impl FnOnce(&mut Run)) -> Option<Refusal> {
    let mut run = good();
    change(&mut run);
    refusal(side, &Round { memory_each: 1.0, run: Some(run) })
}

#[test]
fn figures_are_for_one_event_of_one_subscriber() {
    let figures = Figures::of(&Round { memory_each: 1.0, run: Some(good()) });
    assert!((figures.cpu_us - 5.0).abs() < 1e-9 && (figures.delivered_per_second - 500.0).abs() < 1e-9);
    let memory = figures.memory;
    assert_eq!([memory.begin, memory.half, memory.end, memory.most].map(|bytes| bytes as u64), [3, 7, 5, 7]);
    assert!(Figures::of(&Round { memory_each: 1.0, run: None }).cpu_us.is_nan());
}

#[test]
fn a_good_round_is_accepted() {
    assert_eq!(refused(Side::StreamedBody, |_| ()), None);
    assert_eq!(refusal(Side::StreamedBody, &Round { memory_each: 1.0, run: None }), None);
}

#[test]
fn missing_or_repeated_events_refuse_a_round() {
    for why in [
        refused(Side::StreamedBody, |run| run.received.missing = 1),
        refused(Side::Floor, |run| run.ended.missing = 1),
        refused(Side::Nchan, |run| run.ended.repeated = 1),
        refused(Side::HandOver, |run| run.ended.open = 1),
    ] {
        assert!(matches!(why, Some(Refusal::Wrong(_))), "{why:?}");
    }
}

#[test]
fn a_bottleneck_other_than_the_server_refuses_a_round() {
    let is_bottleneck =
        |why: Option<Refusal>, whose| matches!(why, Some(Refusal::Bottleneck(why)) if why.contains(whose));
    assert!(is_bottleneck(refused(Side::Floor, |run| run.received.generator = 0.96), "generator"));
    let late = |run: &mut Run| run.published.late.p99 = 60.0;
    assert!(is_bottleneck(refused(Side::Nchan, late), "publisher"));
    assert_eq!(refused(Side::Floor, late), None);
}
