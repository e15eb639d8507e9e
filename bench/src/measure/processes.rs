//! Without a control group: what all processes of this PID namespace use, by sampling them.

use std::fs;
use std::path::PathBuf;

/// What takes no part: the registry that images come from and go to.
const OTHERS: [&str; 1] = ["docker-registry"];

/// Of a second, in `/proc`, whatever the kernel's own.
const TICKS: f64 = 100.0;

/// Seconds that all of them have used, those which ended included: a parent is charged for what it waited for.
pub(crate) fn cpu() -> f64 {
    let own = std::process::id().to_string();
    let of = |dir: PathBuf| {
        let text = fs::read_to_string(dir.join("stat")).ok()?;
        let (name, ticks) = times(&text)?;
        if OTHERS.contains(&name) {
            return None;
        }
        // Our own work is none of the builder's, that of our children is.
        Some(if dir.ends_with(&own) { ticks[2..].iter().sum::<u64>() } else { ticks.iter().sum() })
    };
    let ticks: u64 = processes().filter_map(of).sum();
    ticks as f64 / TICKS
}

/// Bytes that all of them have, what they share counted once (PSS).
pub(crate) fn memory() -> u64 {
    let own = std::process::id().to_string();
    let of = |dir: PathBuf| {
        let name = fs::read_to_string(dir.join("comm")).ok()?;
        if OTHERS.contains(&name.trim_end()) || dir.ends_with(&own) {
            return None;
        }
        let text = fs::read_to_string(dir.join("smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    processes().filter_map(of).sum::<u64>() * 1024
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|e| e.file_name().as_encoded_bytes()[0].is_ascii_digit()).map(|e| e.path())
}

/// The name, and user, system and waited-for user and system ticks, of a line of `/proc/PID/stat`.
fn times(line: &str) -> Option<(&str, [u64; 4])> {
    // A name may have any character in it.
    let (head, rest) = line.rsplit_once(") ")?;
    let name = head.split_once('(')?.1;
    let mut ticks = rest.split(' ').skip(11).map(|word| word.parse().unwrap_or(0));
    Some((name, [ticks.next()?, ticks.next()?, ticks.next()?, ticks.next()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let line = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 0 0 7 8 9 10 20 0 1 0 100";
        assert_eq!(times(line), Some(("a) b", [7, 8, 9, 10])));
    }

    #[test]
    fn somebody_has_memory() {
        assert!(memory() > 0);
    }
}
