//! How jobs end: by themselves, by a limit, by somebody's wish; and that nothing of them is left.

use std::time::{Duration, Instant};

use super::{Bench, Check};
use crate::{CancelToken, Exit, LimitHit, RunError};

pub(super) const CHECKS: &[Check] = &[
    ("daemons end with the command", daemons),
    ("the time limit ends the whole tree", wall_limit),
    ("cancelling asks first", cancel_politely),
    ("cancelling insists", cancel_insists),
    ("killing does not wait", kill),
    ("a job that is cancelled already does not start", cancelled_before),
    ("jobs run side by side", side_by_side),
    ("usage is counted", usage),
];

/// Whether any process of the machine has `mark` among its arguments.
fn is_running(mark: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let Ok(command) = std::fs::read(process.path().join("cmdline")) else { return false };
        command.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
    })
}

/// A number that no other check sleeps for.
fn mark(bench: &Bench, salt: u32) -> String {
    let id = bench
        .root
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(salt, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    format!("{}", 100_000 + id % 1_000_000)
}

fn daemons(bench: &Bench) {
    let mark = mark(bench, 1);
    let script =
        format!("(setsid sh -c 'sleep {mark} & sleep {mark}' &); sleep 0.3; echo ready; sleep 0.3; exit 3");
    let mut ran = false;
    let watch = |_: &str| ran |= is_running(&mark);
    let outcome = bench.run_until(&bench.sh(&script), &CancelToken::new(), watch).expect("it starts");
    assert_eq!(outcome.report.exit, Exit::Code(3));
    assert!(ran, "the daemon was not to be seen");
    assert!(!is_running(&mark));
}

fn wall_limit(bench: &Bench) {
    let mark = mark(bench, 2);
    let mut spec = bench.sh(&format!(
        "trap '' TERM INT HUP; (setsid sh -c \"trap '' TERM; sleep {mark}\" &); echo started; sleep {mark}"
    ));
    spec.limits.wall = Some(Duration::from_millis(400));
    let started = Instant::now();
    let outcome = bench.run(&spec);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(outcome.report.limit_hit, Some(LimitHit::Wall));
    assert_eq!((outcome.report.exit, outcome.stdout.as_str()), (Exit::Signal(9), "started\n"));
    assert!(!outcome.report.cancelled);
    assert!(outcome.report.usage.wall >= Duration::from_millis(400));
    assert!(!is_running(&mark));
}

fn cancel_politely(bench: &Bench) {
    let cancel = CancelToken::new();
    let spec = bench.sh("trap 'echo tidy; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    let outcome = bench.run_until(&spec, &cancel, |stdout| {
        if stdout.contains("ready") {
            cancel.cancel();
        }
    });
    let outcome = outcome.expect("it started");
    assert_eq!((outcome.report.exit, outcome.report.cancelled), (Exit::Code(7), true));
    assert_eq!(outcome.stdout, "ready\ntidy\n");
    assert_eq!(outcome.report.limit_hit, None);
}

fn cancel_insists(bench: &Bench) {
    let cancel = CancelToken::new();
    let mark = mark(bench, 3);
    let mut spec = bench
        .sh(&format!("trap '' TERM; (trap '' TERM; sleep {mark} &); echo ready; while :; do sleep 1; done"));
    spec.limits.grace = Some(Duration::from_millis(300));
    let started = Instant::now();
    let outcome = bench.run_until(&spec, &cancel, |_| cancel.cancel()).expect("it started");
    assert_eq!((outcome.report.exit, outcome.report.cancelled), (Exit::Signal(9), true));
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(60));
    assert!(!is_running(&mark));
}

fn kill(bench: &Bench) {
    let cancel = CancelToken::new();
    let mut spec = bench.sh("trap '' TERM; echo ready; while :; do sleep 1; done");
    spec.limits.grace = Some(Duration::from_secs(600));
    let started = Instant::now();
    let outcome = bench.run_until(&spec, &cancel, |_| cancel.kill()).expect("it started");
    assert_eq!((outcome.report.exit, outcome.report.cancelled), (Exit::Signal(9), true));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

fn cancelled_before(bench: &Bench) {
    let cancel = CancelToken::new();
    cancel.cancel();
    let outcome = bench.run_until(&bench.sh("touch /tmp/ran"), &cancel, |_| {});
    assert!(matches!(outcome, Err(RunError::Cancelled)), "{outcome:?}");
    assert!(!bench.root.join("tmp/ran").exists());
}

fn side_by_side(bench: &Bench) {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let root = bench.scratch.join(format!("{number}"));
                std::fs::create_dir_all(root.join("bin")).expect("mkdir");
                std::fs::copy(bench.root.join("bin/busybox"), root.join("bin/sh")).expect("copy");
                std::fs::hard_link(root.join("bin/sh"), root.join("bin/sleep")).expect("link");
                let mut spec = bench.sh(&format!("sleep 2; echo {number} > /file; echo {number}"));
                spec.root = root.clone();
                assert_eq!(bench.output(&spec), format!("{number}\n"));
                assert_eq!(std::fs::read_dir(&root).expect("readable").count(), 2);
            });
        }
    });
    // One after the other they would take 16.
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

fn usage(bench: &Bench) {
    let usage =
        bench.run(&bench.sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; (sleep 0.1)")).report.usage;
    assert!(usage.wall >= Duration::from_millis(100), "{usage:?}");
    let cpu = usage.cpu().expect("processor time is counted");
    assert!(cpu > Duration::from_millis(10) && cpu < usage.wall * 4, "{usage:?}");
    assert!(usage.peak_memory.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
}
