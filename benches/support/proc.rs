//! What Linux tells about processes, threads and mounts.

use std::fs::read_to_string;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Outcome;

/// The kernel tells CPU time in ticks of 1/100 s, whatever its own are.
const TICK_MS: u64 = 10;

/// CPU time of a process so far, its threads that have ended included.
pub(crate) fn cpu_time(pid: u32) -> Outcome<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses, which may hold anything; the 14th and 15th are meant.
    let ticks = stat.rsplit_once(')').and_then(|(_, fields)| {
        let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
        Some(times.next()?? + times.next()??)
    });
    Ok(Duration::from_millis(TICK_MS * ticks.ok_or("/proc/PID/stat is not as expected")?))
}

/// CPU time that the whole machine has used so far, and what a host took away from it.
pub(crate) fn machine_cpu_time() -> Outcome<Duration> {
    let stat = read_to_string("/proc/stat")?;
    // `cpu user nice system idle iowait irq softirq steal ...`
    let all = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = all.map(str::parse).collect::<Result<_, _>>()?;
    let busy = ticks.iter().enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, ticks)| ticks);
    Ok(Duration::from_millis(TICK_MS * busy.sum::<u64>()))
}

/// How much of a stretch of time a thread was busy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attention {
    /// It ran.
    pub(crate) ran: Duration,
    /// It could have run, had there been a core.
    pub(crate) queued: Duration,
    /// All the time there was; what is left, it waited for others.
    pub(crate) whole: Duration,
}

impl Attention {
    /// That of all threads together.
    pub(crate) fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            ran: sum.ran + one.ran,
            queued: sum.queued + one.queued,
            whole: sum.whole + one.whole,
        })
    }

    /// The share of time in which others waited for it, 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        (self.ran + self.queued).as_secs_f64() / self.whole.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// The beginning of a stretch of this thread's time.
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

    /// From the beginning until now.
    pub(crate) fn end(self) -> Outcome<Attention> {
        let now = Self::begin()?;
        Ok(Attention {
            ran: now.ran - self.ran,
            queued: now.queued - self.queued,
            whole: now.began - self.began,
        })
    }
}

/// The kind of file system that a directory is on.
pub(crate) fn file_system(directory: &Path) -> Outcome<String> {
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
    Ok(innermost.ok_or("/proc/self/mountinfo is not as expected")?.1.to_owned())
}
