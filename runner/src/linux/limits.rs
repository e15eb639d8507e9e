//! Resource limits of single processes: what a job starts with, never more than this host allows.

use rustix::process::{Resource, Rlimit};

use crate::{RunError, Ulimit, UlimitKind};

/// Open files for a job that does not say: enough for any build, and few enough for the programs that close every
/// possible descriptor one by one.
const FILES: u64 = 65_536;
const MOST_FILES: u64 = 1_048_576;

/// The limits to set, in the order of asking.
///
/// # Errors
/// [`RunError::LimitUnavailable`] for one above what this process may hand on.
pub(super) fn resource_limits(
    asked: &[Ulimit],
    may_raise: bool,
) -> Result<Vec<(Resource, Rlimit)>, RunError> {
    let mut limits = Vec::new();
    let given = |kind| asked.iter().any(|ulimit: &Ulimit| ulimit.kind == kind);
    if !given(UlimitKind::Nofile) {
        let most = rustix::process::getrlimit(Resource::Nofile).maximum;
        let at_most = |value: u64| Some(most.map_or(value, |most| most.min(value)));
        limits.push((Resource::Nofile, Rlimit { current: at_most(FILES), maximum: at_most(MOST_FILES) }));
    }
    if !given(UlimitKind::Nproc) {
        let most = rustix::process::getrlimit(Resource::Nproc).maximum;
        limits.push((Resource::Nproc, Rlimit { current: most, maximum: most }));
    }
    for ulimit in asked {
        let resource = resource(ulimit.kind);
        let most = rustix::process::getrlimit(resource).maximum;
        let above = match (ulimit.hard, most) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(hard), Some(most)) => hard > most,
        };
        if above && !may_raise {
            let name = ulimit.kind.name();
            let show = |value: Option<u64>| value.map_or("unlimited".into(), |value| value.to_string());
            return Err(RunError::LimitUnavailable {
                what: format!("`{name}` to {}", show(ulimit.hard)),
                why: format!("this host allows at most {} here", show(most)),
                hint: Some(format!("write `--ulimit {name}={}`", show(most))),
            });
        }
        limits.push((resource, Rlimit { current: ulimit.soft, maximum: ulimit.hard }));
    }
    Ok(limits)
}

fn resource(kind: UlimitKind) -> Resource {
    match kind {
        UlimitKind::Core => Resource::Core,
        UlimitKind::Cpu => Resource::Cpu,
        UlimitKind::Data => Resource::Data,
        UlimitKind::Fsize => Resource::Fsize,
        UlimitKind::Locks => Resource::Locks,
        UlimitKind::Memlock => Resource::Memlock,
        UlimitKind::Msgqueue => Resource::Msgqueue,
        UlimitKind::Nice => Resource::Nice,
        UlimitKind::Nofile => Resource::Nofile,
        UlimitKind::Nproc => Resource::Nproc,
        UlimitKind::Rss => Resource::Rss,
        UlimitKind::Rtprio => Resource::Rtprio,
        UlimitKind::Rttime => Resource::Rttime,
        UlimitKind::Sigpending => Resource::Sigpending,
        UlimitKind::Stack => Resource::Stack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_what_the_host_allows() {
        for (resource, limit) in resource_limits(&[], false).expect("defaults always fit") {
            let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
            assert!(limit.maximum.unwrap_or(u64::MAX) <= most, "{resource:?}");
            assert!(limit.current.unwrap_or(u64::MAX) <= limit.maximum.unwrap_or(u64::MAX), "{resource:?}");
        }
    }

    #[test]
    fn more_than_the_host_allows_is_refused_by_name() {
        let most =
            rustix::process::getrlimit(Resource::Nofile).maximum.expect("open files are always limited");
        let asked = Ulimit { kind: UlimitKind::Nofile, soft: Some(1), hard: Some(most + 1) };
        let error = resource_limits(&[asked], false).expect_err("above the hard limit");
        let expected = format!("cannot limit `nofile` to {}: this host allows at most {most} here", most + 1);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint(), Some(format!("write `--ulimit nofile={most}`")));
        let asked = Ulimit { hard: Some(most), ..asked };
        assert!(resource_limits(&[asked], false).is_ok());
    }
}
