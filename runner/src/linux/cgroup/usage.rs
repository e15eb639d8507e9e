//! What a group has counted.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// Counters of a group; `None` where it has no such counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::linux) struct GroupUsage {
    pub(in crate::linux) user: Option<Duration>,
    pub(in crate::linux) system: Option<Duration>,
    pub(in crate::linux) peak_memory: Option<u64>,
    pub(in crate::linux) io_read: Option<u64>,
    pub(in crate::linux) io_written: Option<u64>,
    pub(in crate::linux) peak_processes: Option<u64>,
    /// Processes killed because memory was short.
    pub(in crate::linux) oom_kills: u64,
    /// Processes that could not be made because of the limit.
    pub(in crate::linux) refused_processes: u64,
}

pub(super) fn read_v2(directory: &Path) -> GroupUsage {
    let read = |file: &str| fs::read_to_string(directory.join(file)).ok();
    let cpu = read("cpu.stat");
    let micros = |name| cpu.as_deref().and_then(|text| keyed(text, name)).map(Duration::from_micros);
    let io = read("io.stat");
    let io = |name| io.as_deref().map(|text| sum_assigned(text, name));
    GroupUsage {
        user: micros("user_usec"),
        system: micros("system_usec"),
        peak_memory: read("memory.peak").as_deref().and_then(number),
        io_read: io("rbytes"),
        io_written: io("wbytes"),
        peak_processes: read("pids.peak").as_deref().and_then(number),
        oom_kills: read("memory.events").and_then(|text| keyed(&text, "oom_kill")).unwrap_or(0),
        refused_processes: read("pids.events").and_then(|text| keyed(&text, "max")).unwrap_or(0),
    }
}

pub(super) fn read_v1<'a>(directory: impl Fn(&str) -> Option<&'a Path>) -> GroupUsage {
    let read = |controller, file: &str| fs::read_to_string(directory(controller)?.join(file)).ok();
    let nanos = |file| read("cpuacct", file).as_deref().and_then(number).map(Duration::from_nanos);
    let io = read("blkio", "blkio.throttle.io_service_bytes");
    let io = |name| io.as_deref().map(|text| sum_by_device(text, name));
    GroupUsage {
        user: nanos("cpuacct.usage_user"),
        system: nanos("cpuacct.usage_sys"),
        peak_memory: read("memory", "memory.max_usage_in_bytes").as_deref().and_then(number),
        io_read: io("Read"),
        io_written: io("Write"),
        peak_processes: read("pids", "pids.peak").as_deref().and_then(number),
        oom_kills: read("memory", "memory.oom_control")
            .and_then(|text| keyed(&text, "oom_kill"))
            .unwrap_or(0),
        refused_processes: read("pids", "pids.events").and_then(|text| keyed(&text, "max")).unwrap_or(0),
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `oom_kill 3` in lines of key and value.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(key)?.strip_prefix(' ')?))
}

/// `rbytes=3` of all devices, in version 2's form.
fn sum_assigned(text: &str, key: &str) -> u64 {
    let value = |word: &str| number(word.strip_prefix(key)?.strip_prefix('=')?);
    text.split_whitespace().filter_map(value).sum()
}

/// `8:0 Read 3` of all devices, in version 1's form.
fn sum_by_device(text: &str, key: &str) -> u64 {
    let value = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == key).then(|| number(words.next()?))?
    };
    text.lines().filter_map(value).sum()
}
