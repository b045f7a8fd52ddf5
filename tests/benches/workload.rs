//! Workloads: what they require of a server.

use crate::support::fan::workload::Workload;

#[test]
fn the_configured_number_of_subscribers_is_stuck() {
    for (subscribers, stuck) in [(10, 0), (10, 1), (10, 10), (15_000, 200), (7, 3)] {
        let workload = Workload { stuck, ..Workload::new("any", 1, subscribers, 1, 1) };
        let found = (0..subscribers).filter(|subscriber| workload.is_stuck(*subscriber)).count();
        assert_eq!(found as u64, stuck, "of {subscribers}");
    }
}
