//! Process mitigation policies: what they are as a number at creation, and whether a process has them.
#![expect(unsafe_code, reason = "the function that reads them back is resolved by name")]

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use windows_sys::Win32::Foundation::HANDLE;

use super::identity::System;
use super::library::function;
use crate::{Confinement, Mitigation};

/// A policy's bit in `PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY`, its class when it is read back, its bit there, and
/// the first build that knows it (Microsoft's documentation).
fn facts(mitigation: Mitigation) -> (u64, u32, u32, u32) {
    match mitigation {
        Mitigation::StrictHandles => (1 << 24, 3, 1, 9200),
        Mitigation::Win32kOff => (1 << 28, 4, 1, 9200),
        Mitigation::ExtensionPointsOff => (1 << 32, 6, 1, 9200),
        Mitigation::DynamicCodeOff => (1 << 36, 2, 1, 9600),
        Mitigation::FontsOff => (1 << 48, 9, 1, 10240),
        Mitigation::RemoteImagesOff => (1 << 52, 10, 1, 10586),
        Mitigation::LowLabelImagesOff => (1 << 56, 10, 2, 10586),
    }
}

/// The value of `PROC_THREAD_ATTRIBUTE_MITIGATION_POLICY`; zero is none.
pub(crate) fn value(mitigations: &[Mitigation]) -> u64 {
    mitigations.iter().fold(0, |value, mitigation| value | facts(*mitigation).0)
}

/// Those of a process that orlop knows.
pub(crate) fn read(process: BorrowedHandle<'_>) -> BTreeSet<Mitigation> {
    type Get = unsafe extern "system" fn(HANDLE, u32, *mut c_void, usize) -> i32;
    // SAFETY: the function's published type.
    let Some(get) = (unsafe { function::<Get>("kernel32.dll", c"GetProcessMitigationPolicy") }) else {
        return BTreeSet::new();
    };
    let has = |mitigation: Mitigation| {
        let (_, class, bit, _) = facts(mitigation);
        let mut flags = 0u32;
        // SAFETY: each of these classes is 32 flags.
        let got = unsafe { get(process.as_raw_handle(), class, (&raw mut flags).cast(), size_of::<u32>()) };
        got != 0 && flags & bit != 0
    };
    Mitigation::ALL.iter().map(|(mitigation, _)| *mitigation).filter(|mitigation| has(*mitigation)).collect()
}

/// What was asked for and what the process has; nothing where nothing was asked for.
pub(crate) fn line(asked: &[Mitigation], got: &BTreeSet<Mitigation>, system: &System) -> Option<Confinement> {
    let names = |list: &[Mitigation]| list.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
    let first = asked.first()?;
    let missing: Vec<Mitigation> = asked.iter().filter(|one| !got.contains(one)).copied().collect();
    if missing.is_empty() {
        return Some(Confinement::full("process-mitigation", names(asked)));
    }
    let build = missing.iter().map(|one| facts(*one).3).max().unwrap_or(facts(*first).3);
    let why = match &system.wine {
        Some(version) => format!("Wine {version} accepts them and does nothing"),
        None if system.version.2 < build => {
            format!("{} needs build {build}, this is {system}", names(&missing))
        }
        None => format!("{} does not read back", names(&missing)),
    };
    let has: Vec<Mitigation> = asked.iter().filter(|one| got.contains(one)).copied().collect();
    let has = if has.is_empty() { "none".to_owned() } else { names(&has) };
    Some(Confinement::lesser("process-mitigation", names(asked), has, why))
}

/// Which of them the system has, by its version: for a host report.
pub(crate) fn offer(system: &System) -> Confinement {
    let all: Vec<Mitigation> = Mitigation::ALL.iter().map(|(one, _)| *one).collect();
    let names = |list: &[Mitigation]| list.iter().map(|one| one.name()).collect::<Vec<_>>().join(", ");
    if let Some(version) = &system.wine {
        let why = format!("Wine {version} accepts them and does nothing");
        return Confinement::lesser("process-mitigation", names(&all), "none", why);
    }
    let (has, lacks): (Vec<_>, Vec<_>) = all.iter().partition(|one| facts(**one).3 <= system.version.2);
    match lacks.iter().map(|one| facts(*one).3).max() {
        None => Confinement::full("process-mitigation", names(&all)),
        Some(build) => {
            let why = format!("the others need build {build}");
            Confinement::lesser("process-mitigation", names(&all), names(&has), why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(build: u32, wine: Option<&str>) -> System {
        System { version: (10, 0, build), server: true, wine: wine.map(str::to_owned) }
    }

    #[test]
    fn values_are_the_published_ones() {
        assert_eq!(value(&[]), 0);
        assert_eq!(value(&[Mitigation::Win32kOff, Mitigation::ExtensionPointsOff]), 0x1_1000_0000);
        let all: Vec<Mitigation> = Mitigation::ALL.iter().map(|(one, _)| *one).collect();
        assert_eq!(value(&all).count_ones() as usize, all.len(), "each has a bit of its own");
    }

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let asked = [Mitigation::FontsOff, Mitigation::StrictHandles];
        assert_eq!(line(&[], &BTreeSet::new(), &system(9200, None)), None);
        let all = asked.into_iter().collect();
        assert!(line(&asked, &all, &system(14393, None)).is_some_and(|line| line.is_full()));
        let some = [Mitigation::StrictHandles].into_iter().collect();
        let old = line(&asked, &some, &system(9200, None)).expect("a line");
        assert_eq!(old.got, "strict-handles");
        assert!(old.why.is_some_and(|why| why.starts_with("fonts-off needs build 10240")));
        let wine = line(&asked, &BTreeSet::new(), &system(19043, Some("8.0"))).expect("a line");
        assert_eq!(
            (wine.got.as_str(), wine.why.as_deref()),
            ("none", Some("Wine 8.0 accepts them and does nothing"))
        );
    }
}
