//! What processes use, each looked at: memory always, CPU where there is no control group.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What takes no part where there is no control group: the registry that images come from and go to.
const OTHERS: [&str; 1] = ["docker-registry"];

/// Of a second, in `/proc`, whatever the kernel's own.
const TICKS: f64 = 100.0;

/// Bytes of a page, as everywhere that the peers run.
const PAGE: u64 = 4096;

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

/// The ids of all that take part.
pub(crate) fn all() -> Vec<u32> {
    let own = std::process::id();
    let takes_part = |dir: &PathBuf| {
        fs::read_to_string(dir.join("comm")).is_ok_and(|name| !OTHERS.contains(&name.trim_end()))
    };
    let ids = processes().filter(takes_part).filter_map(|dir| dir.file_name()?.to_str()?.parse().ok());
    ids.filter(|id| *id != own).collect()
}

/// Bytes of anonymous memory that these processes have together, now.
///
/// A control group's own counter would be simpler, and is up to two seconds late. A process that another has forked
/// and that runs no program of its own yet shares its memory: of such a family only the largest counts.
pub(crate) fn memory(ids: &[u32]) -> u64 {
    let mut families = BTreeMap::<(u64, u64, u64), u64>::new();
    for id in ids {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
        // It may have ended by now.
        let (Some(family), Some(pages)) = (family(&read("stat")), anonymous(&read("statm"))) else {
            continue;
        };
        let most = families.entry(family).or_default();
        *most = pages.max(*most);
    }
    families.into_values().sum::<u64>() * PAGE
}

/// Where program, stack and arguments are: the same after a fork, others after an exec.
fn family(stat: &str) -> Option<(u64, u64, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let words: Vec<_> = rest.trim_end().split(' ').collect();
    let word = |n: usize| words.get(n)?.parse().ok();
    Some((word(23)?, word(25)?, word(45)?))
}

/// Resident pages without those of files.
fn anonymous(statm: &str) -> Option<u64> {
    let mut words = statm.split(' ').skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, of_files) = (words.next()??, words.next()??);
    Some(resident.saturating_sub(of_files))
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
    fn a_fork_is_of_its_parents_family() {
        let stat = |id: u32, arguments: u64| {
            let zeros = "0 ".repeat(19);
            format!("{id} (x) S {zeros}1 2 3 4000 5 6000 {zeros}{arguments} 0 0 0 0")
        };
        assert!(family(&stat(1, 7)).is_some());
        assert_eq!(family(&stat(1, 7)), family(&stat(2, 7)));
        assert_ne!(family(&stat(1, 7)), family(&stat(1, 8)));
        assert_eq!(anonymous("900 500 120 3 0 100 0"), Some(380));
    }

    #[test]
    fn what_a_process_takes_is_seen() {
        let own = [std::process::id()];
        let before = memory(&own);
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = memory(&own);
        assert!(after >= before + (32 << 20), "{before} {after} {}", taken.len());
    }
}
