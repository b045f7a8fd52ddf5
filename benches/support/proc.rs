//! Reads what Linux reports about processes, threads and mounts.

use std::fs::{read_to_string, write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Outcome;

/// The kernel reports CPU time in ticks of 1/100 s, whatever its internal tick is.
const TICK_MS: u64 = 10;

/// Returns the CPU time that a process has used, including its threads that have ended.
pub(crate) fn cpu_time(pid: u32) -> Outcome<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses, which may contain any character; the CPU times are fields 14 and 15.
    let ticks = stat.rsplit_once(')').and_then(|(_, fields)| {
        let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
        Some(times.next()?? + times.next()??)
    });
    Ok(Duration::from_millis(TICK_MS * ticks.ok_or("/proc/PID/stat is not as expected")?))
}

/// Returns the process and those processes that it has started and that still run.
pub(crate) fn family(pid: u32) -> Outcome<Vec<u32>> {
    let mut family = vec![pid];
    let mut asked = 0;
    while let Some(pid) = family.get(asked).copied() {
        let children = read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        asked += 1;
    }
    Ok(family)
}

/// Returns the memory that a process would give back, in bytes: pages that several processes share count in parts.
pub(crate) fn proportional(pid: u32) -> Outcome<u64> {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.ok_or("/proc/PID/smaps_rollup is not as expected")? * 1024)
}

/// The memory of a process. A file's pages count if they are mapped, such as the program itself; the page cache of
/// files that are read and written does not count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    /// The present bytes.
    pub(crate) now: u64,
    /// The most bytes since the process began, or since [`forget_peak`]. The kernel keeps the account, so that no peak
    /// between two measurements is missed.
    pub(crate) peak: u64,
}

/// Returns the memory of a process.
pub(crate) fn resident(pid: u32) -> Outcome<Resident> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or("/proc/PID/status is not as expected")
    };
    Ok(Resident { now: bytes("VmRSS")?, peak: bytes("VmHWM")? })
}

/// Resets the peak of a process.
pub(crate) fn forget_peak(pid: u32) -> Outcome<()> {
    Ok(write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Returns the CPU time that the whole machine has used so far, including the time that a host took from it.
pub(crate) fn machine_cpu_time() -> Outcome<Duration> {
    let stat = read_to_string("/proc/stat")?;
    // `cpu user nice system idle iowait irq softirq steal ...`
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = all.map(str::parse).collect::<Result<_, _>>()?;
    let busy = ticks.iter().enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, ticks)| ticks);
    Ok(Duration::from_millis(TICK_MS * busy.sum::<u64>()))
}

/// How much of a period a thread was busy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attention {
    /// The time in which it ran.
    pub(crate) ran: Duration,
    /// The time in which it was ready to run but had no core.
    pub(crate) queued: Duration,
    /// The whole period; in the rest of it, the thread waited for others.
    pub(crate) whole: Duration,
}

impl Attention {
    /// Returns the sum over all threads.
    pub(crate) fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            ran: sum.ran + one.ran,
            queued: sum.queued + one.queued,
            whole: sum.whole + one.whole,
        })
    }

    /// Returns the share of time in which others waited for the thread, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        (self.ran + self.queued).as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The beginning of a period of this thread's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    began: Instant,
    ran: Duration,
    queued: Duration,
}

impl Stretch {
    pub(crate) fn begin() -> Outcome<Self> {
        let schedstat = read_to_string("/proc/thread-self/schedstat")?;
        let mut times = schedstat.split_whitespace().map(|field| field.parse().map(Duration::from_nanos));
        let mut time = || times.next().ok_or("/proc/thread-self/schedstat is not as expected");
        Ok(Self { began: Instant::now(), ran: time()??, queued: time()?? })
    }

    /// Returns the account from the beginning until now.
    pub(crate) fn end(self) -> Outcome<Attention> {
        let now = Self::begin()?;
        Ok(Attention {
            ran: now.ran - self.ran,
            queued: now.queued - self.queued,
            whole: now.began - self.began,
        })
    }
}

/// Returns the kind of file system that a directory is on; a file system in memory is an error.
pub(crate) fn disk(directory: &Path) -> Outcome<String> {
    let directory = directory.canonicalize()?;
    let mounts = read_to_string("/proc/self/mountinfo")?;
    // `36 35 98:0 /root /where options... - ext4 /dev/sda1 ...`; of several mounts the innermost and last counts.
    let innermost = mounts
        .lines()
        .filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let place = mount.split(' ').nth(4)?.replace("\\040", " ");
            directory.starts_with(&place).then_some((place.len(), source.split(' ').next()?))
        })
        .max_by_key(|(length, _)| *length);
    match innermost.ok_or("/proc/self/mountinfo is not as expected")?.1 {
        memory @ ("tmpfs" | "ramfs") => {
            Err(format!("{} is {memory}, which is not a disk", directory.display()).into())
        }
        disk => Ok(disk.to_owned()),
    }
}
