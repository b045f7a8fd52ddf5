//! Metrics of the process as the system reports it, under the names that all Prometheus clients use.
//!
//! The values are read from Linux' `/proc`. On other systems, missing values are left out. The library has a collector
//! for this, but it adds five crates, among them an older version of a crate that is already used.

use std::path::Path;

/// The values that the system reports about this process. A value that it does not report is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) most_files: Option<u64>,
}

impl Process {
    /// Reads the values from the system. This blocks the thread, because the system may have to count a hundred
    /// thousand open files.
    #[must_use]
    pub fn read() -> Self {
        let stat = Self::of_stat(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default());
        let limit = rlimit::Resource::NOFILE.get_soft().ok();
        Self { open_files: open_files(Path::new("/proc/self/fd")), most_files: limit, ..stat }
    }

    /// Parses the content of `/proc/self/stat`.
    fn of_stat(stat: &str) -> Self {
        // The second field is the program's name, which may contain any characters.
        let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |field| number(field).map(|count| count as f64 / ticks);
        Self {
            cpu_seconds: seconds(14).zip(seconds(15)).map(|(user, system)| user + system),
            threads: number(20),
            virtual_bytes: number(23),
            resident_bytes: number(24).map(|pages| pages * rustix::param::page_size() as u64),
            ..Self::default()
        }
    }
}

/// Returns how many files are open.
fn open_files(directory: &Path) -> Option<u64> {
    // From Linux 6.2 on, the size of the directory is the number of open files.
    let size = std::fs::metadata(directory).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    // One of the entries is the open directory itself.
    Some((std::fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_contain_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 9 0 1000 4096 3 0";
        let process = Process::of_stat(stat);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(process.cpu_seconds, Some(400.0 / ticks));
        assert_eq!((process.threads, process.virtual_bytes), (Some(9), Some(4096)));
        assert_eq!(process.resident_bytes, Some(3 * rustix::param::page_size() as u64));
    }

    #[test]
    fn a_value_that_is_not_reported_is_not_shown() {
        assert_eq!(Process::of_stat(""), Process::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_values_of_this_process_are_plausible() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(process.open_files.is_some_and(|files| files >= 3), "{process:?}");
        assert!(process.threads.is_some() && process.cpu_seconds.is_some());
    }
}
