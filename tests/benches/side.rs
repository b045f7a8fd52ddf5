//! Sides, by name.

use crate::support::fan::side::Side;
use crate::support::fan::workload::Workload;

#[test]
fn a_name_may_mean_several_sides() {
    assert_eq!(Side::named("hearken"), [Side::HandOver, Side::StreamedBody]);
    assert_eq!(Side::named("floor"), [Side::Floor, Side::FloorTogether]);
    assert_eq!(Side::named("body"), [Side::StreamedBody]);
    assert_eq!(Side::named("nginx"), []);
}

#[test]
fn only_many_events_are_written_together() {
    let workload = |rate| Workload::new("any", 1, 1, rate, 1);
    assert!(!Side::FloorTogether.suits(&workload(20)) && Side::FloorTogether.suits(&workload(1_000)));
    assert!(Side::Floor.suits(&workload(0)) && !Side::FloorTogether.suits(&workload(0)));
}
