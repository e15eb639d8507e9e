//! Limits: enforced, or refused by name; never ignored.

use std::time::Duration;

use super::{Bench, Check, Outcome};
use crate::{Exit, LimitHit, RunError, RunSpec, Ulimit, UlimitKind};

pub(super) const CHECKS: &[Check] = &[
    ("memory is limited or the limit refused", memory),
    ("processes are limited or the limit refused", pids),
    ("processor time is limited or the limit refused", cpus),
    ("memory of a process is limited or the limit refused", process_memory),
    ("a processor weight is set or refused", cpu_weight),
    ("used up processor time ends the job, or the limit is refused", cpu_time),
    ("a network rate is held or refused", net_rate),
    ("ulimits are set", ulimits),
    ("an ulimit above the host's is refused", too_much),
    ("default ulimits are within the host's", defaults),
];

/// The outcome, unless the host cannot enforce the limit and says so.
fn enforced(bench: &Bench, spec: &RunSpec, what: &str) -> Option<Outcome> {
    match bench.try_run(spec) {
        Ok(outcome) => Some(outcome),
        Err(RunError::LimitUnavailable { what: refused, why, hint }) => {
            assert_eq!(refused, what);
            assert!(!why.is_empty() && hint.is_some());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn memory(bench: &Bench) {
    let mut spec =
        bench.sh("head -c 200000000 /dev/zero | tail -c 190000000 > /dev/null; echo ${PIPESTATUS}$?");
    spec.limits.memory = Some(64 << 20);
    if let Some(outcome) = enforced(bench, &spec, "memory") {
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::Memory), "{outcome:?}");
        assert!(outcome.report.usage.peak_memory.is_some_and(|peak| peak > 32 << 20 && peak <= 64 << 20));
        let mut spec = bench.sh("echo fine");
        spec.limits.memory = Some(64 << 20);
        assert_eq!(bench.run(&spec).report.limit_hit, None);
    }
}

fn pids(bench: &Bench) {
    let mut spec = bench.sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait");
    spec.limits.pids = Some(5);
    if let Some(outcome) = enforced(bench, &spec, "pids") {
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::Pids), "{outcome:?}");
        assert!(outcome.stderr.contains("fork"), "{}", outcome.stderr);
        let mut spec = bench.sh("sleep 0.1 & sleep 0.1 & sleep 0.1 & sleep 0.1 & wait; echo all");
        spec.limits.pids = Some(5);
        let outcome = bench.run(&spec);
        assert_eq!(
            (outcome.report.limit_hit, outcome.stdout.as_str()),
            (None, "all\n"),
            "as many as asked for"
        );
    }
}

fn cpus(bench: &Bench) {
    let mut spec = bench.sh("i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done");
    spec.limits.cpus = Some(0.2);
    if let Some(outcome) = enforced(bench, &spec, "cpus") {
        let usage = outcome.report.usage;
        assert_eq!(outcome.report.exit, Exit::Code(0));
        let share = usage.cpu().expect("processor time is counted").as_secs_f64() / usage.wall.as_secs_f64();
        assert!(share < 0.5, "{share} processors: {usage:?}");
    }
}

fn process_memory(bench: &Bench) {
    // The shell itself has to hold it.
    let mut spec = bench.sh("x=$(head -c 20000000 /dev/zero | tr '\\0' a); echo ${#x}");
    spec.limits.process_memory = Some(16 << 20);
    if let Some(outcome) = enforced(bench, &spec, "process memory") {
        assert_ne!(outcome.stdout, "20000000\n", "{outcome:?}");
        spec.limits.process_memory = Some(1 << 30);
        assert_eq!(bench.run(&spec).stdout, "20000000\n");
    }
}

fn cpu_weight(bench: &Bench) {
    let mut spec = bench.sh("echo fine");
    spec.limits.cpu_weight = Some(10);
    if let Some(outcome) = enforced(bench, &spec, "cpu weight") {
        assert_eq!(outcome.stdout, "fine\n");
        assert!(
            outcome.report.confinement.iter().any(|line| line.asked.contains("weight 10")),
            "{outcome:?}"
        );
    }
}

fn cpu_time(bench: &Bench) {
    let mut spec = bench.sh("(while :; do :; done) & while :; do :; done");
    spec.limits.cpu_time = Some(Duration::from_millis(600));
    spec.limits.wall = Some(Duration::from_secs(60));
    if let Some(outcome) = enforced(bench, &spec, "cpu time") {
        let used = outcome.report.usage.cpu();
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::CpuTime), "{outcome:?}");
        assert!(!outcome.report.exit.is_success());
        assert!(used.is_some_and(|used| used >= Duration::from_millis(550)), "{used:?}");
        assert!(used.is_some_and(|used| used < Duration::from_secs(3)), "{used:?}");
        let mut spec = bench.sh("sleep 0.2; echo rested");
        spec.limits.cpu_time = Some(Duration::from_secs(30));
        assert_eq!(bench.run(&spec).report.limit_hit, None);
    }
}

fn net_rate(bench: &Bench) {
    let mut spec = bench.sh("echo fine");
    spec.limits.net_rate = Some(1 << 20);
    if let Some(outcome) = enforced(bench, &spec, "network rate") {
        assert_eq!(outcome.stdout, "fine\n");
    }
}

fn ulimits(bench: &Bench) {
    let mut spec = bench.sh("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc");
    spec.ulimits = vec![
        Ulimit { kind: UlimitKind::Nofile, soft: Some(100), hard: Some(200) },
        Ulimit { kind: UlimitKind::Core, soft: Some(0), hard: Some(0) },
    ];
    assert_eq!(bench.output(&spec), "100\n200\n0\n0\n");
}

fn too_much(bench: &Bench) {
    // More than any kernel allows for open files, whatever one's privileges.
    let mut spec = bench.sh("true");
    let most = Some(1 << 40);
    spec.ulimits = vec![Ulimit { kind: UlimitKind::Nofile, soft: most, hard: most }];
    let error = bench.try_run(&spec).expect_err("too much");
    assert!(matches!(error, RunError::LimitUnavailable { .. } | RunError::Setup { .. }), "{error}");
    assert!(error.to_string().contains("limit"), "{error}");
}

fn defaults(bench: &Bench) {
    let files = bench.output(&bench.sh("ulimit -n"));
    assert!(files.trim().parse::<u64>().is_ok_and(|files| (1024..=65_536).contains(&files)), "{files}");
}
