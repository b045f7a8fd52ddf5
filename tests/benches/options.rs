//! The command line of `fan_out` and `tasks`.

use crate::support::Outcome;
use crate::support::arguments::Arguments;
use crate::support::fan::options::Options;
use crate::support::fan::workload::Workload;

fn arguments(line: &str) -> Arguments {
    Arguments::of(line.split_whitespace().map(str::to_owned))
}

fn read(line: &str) -> Outcome<Options> {
    Options::read(&arguments(line))
}

fn rows() -> [Workload; 2] {
    [Workload::new("slow", 1, 1_000, 20, 10), Workload::new("fast", 1, 1_000, 2_000, 2)]
}

fn chosen(line: &str) -> Vec<Workload> {
    read(line).unwrap().workloads(&rows()).unwrap()
}

#[test]
fn nothing_is_measured_without_cargo_bench() {
    assert!(!arguments("--rounds 1").is_bench() && arguments("--rounds 1 --bench").is_bench());
}

#[test]
fn rows_are_chosen_by_name() {
    assert_eq!(chosen("--bench").len(), 2);
    let fast = chosen("--bench --row fast --seconds 1 --stuck 7");
    assert_eq!(
        fast.iter().map(|row| (row.rate, row.seconds, row.stuck)).collect::<Vec<_>>(),
        [(2_000, 1, 7)]
    );
}

#[test]
fn a_custom_row_has_the_values_of_the_first_row_by_default() {
    let own = chosen("--bench --subscribers 15000 --stuck 200 --seconds 600");
    let own: Vec<_> = own.iter().map(|row| (row.subscribers, row.rate, row.seconds, row.stuck)).collect();
    assert_eq!(own, [(15_000, 20, 600, 200)]);
}

#[test]
fn an_impossible_command_line_is_refused() {
    for line in ["--rounds", "--rounds 0", "--rate -1", "--server unknown", "--seconds 1e3"] {
        assert!(read(line).is_err(), "{line}");
    }
    for line in ["--bench --row none", "--bench --subscribers 5 --stuck 5"] {
        assert!(read(line).unwrap().workloads(&rows()).is_err(), "{line}");
    }
}
