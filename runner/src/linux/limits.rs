//! Resource limits of single processes: what a job starts with, never more than this host allows. And what
//! there is no limit for.

use rustix::process::{Resource, Rlimit};

use crate::{Confinement, Limits, Network, RunError, Ulimit, UlimitKind};

/// Open files for a job that does not say: enough for any build, and few enough for the programs that close every
/// possible descriptor one by one.
const FILES: u64 = 65_536;
const MOST_FILES: u64 = 1_048_576;

/// The limits to set, in the order of asking. `memory` is the most that a process may have: of private memory
/// that it can write to, touched or not, which is what Windows counts as well. (The limit of the address space
/// would refuse what Go and Java reserve and never use.)
///
/// # Errors
/// [`RunError::LimitUnavailable`] for one above what this process may hand on.
pub(super) fn resource_limits(
    asked: &[Ulimit],
    memory: Option<u64>,
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
    if let Some(bytes) = memory {
        let named = asked.iter().rev().find(|ulimit| ulimit.kind == UlimitKind::Data);
        let most = rustix::process::getrlimit(Resource::Data).maximum;
        let least = |others: [Option<u64>; 2]| others.into_iter().flatten().fold(bytes, u64::min);
        let maximum = least([named.and_then(|ulimit| ulimit.hard), most]);
        let current = least([named.and_then(|ulimit| ulimit.soft), Some(maximum)]);
        limits.retain(|(resource, _)| *resource != Resource::Data);
        limits.push((Resource::Data, Rlimit { current: Some(current), maximum: Some(maximum) }));
    }
    Ok(limits)
}

/// What the limits of single processes and of the network come to.
///
/// # Errors
/// [`RunError::LimitUnavailable`] for a network rate, unless there is no network.
pub(super) fn confinement(limits: &Limits, network: Network) -> Result<Vec<Confinement>, RunError> {
    let mut lines = Vec::new();
    if let Some(bytes) = limits.process_memory {
        lines.push(Confinement::full("process memory", format!("{bytes} bytes that it can write to")));
    }
    match (limits.net_rate, network) {
        (None, _) => {}
        (Some(rate), Network::None) => {
            lines.push(Confinement::full(
                "network rate",
                format!("{rate} bytes a second: there is no network"),
            ));
        }
        (Some(_), Network::Host) => {
            return Err(RunError::LimitUnavailable {
                what: "network rate".to_owned(),
                why: "the job sends through the host's own interfaces, where Linux counts it together with \
                      everybody else"
                    .to_owned(),
                hint: Some("leave the limit out, or give the step no network (`--network none`)".to_owned()),
            });
        }
    }
    Ok(lines)
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
        for (resource, limit) in resource_limits(&[], None, false).expect("defaults always fit") {
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
        let error = resource_limits(&[asked], None, false).expect_err("above the hard limit");
        let expected = format!("cannot limit `nofile` to {}: this host allows at most {most} here", most + 1);
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint(), Some(format!("write `--ulimit nofile={most}`")));
        let asked = Ulimit { hard: Some(most), ..asked };
        assert!(resource_limits(&[asked], None, false).is_ok());
    }

    #[test]
    fn memory_of_a_process_is_the_least_of_what_is_asked() {
        let data = |asked: &[Ulimit], memory| {
            let limits = resource_limits(asked, Some(memory), true).expect("fits");
            let found: Vec<_> =
                limits.into_iter().filter(|(resource, _)| *resource == Resource::Data).collect();
            assert_eq!(found.len(), 1, "set once");
            (found[0].1.current, found[0].1.maximum)
        };
        assert_eq!(data(&[], 1 << 20), (Some(1 << 20), Some(1 << 20)));
        let ulimit = Ulimit { kind: UlimitKind::Data, soft: Some(1 << 10), hard: None };
        assert_eq!(data(&[ulimit], 1 << 20), (Some(1 << 10), Some(1 << 20)));
        let ulimit = Ulimit { soft: None, hard: Some(1 << 12), ..ulimit };
        assert_eq!(data(&[ulimit], 1 << 20), (Some(1 << 12), Some(1 << 12)));
    }

    #[test]
    fn a_network_rate_is_refused_where_there_is_a_network() {
        let limits = Limits { net_rate: Some(1), ..Limits::default() };
        let error = confinement(&limits, Network::Host).expect_err("shared interfaces");
        assert!(error.to_string().starts_with("cannot limit network rate: the job sends"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--network none")));
        assert_eq!(confinement(&limits, Network::None).expect("nothing is sent").len(), 1);
    }
}
