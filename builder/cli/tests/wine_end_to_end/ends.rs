//! Steps that fail, hang, or leave somebody behind; and the end of the program itself.

use std::time::{Duration, Instant};

use crate::wine;

/// The lines that these Dockerfiles begin with.
const FROM: &str = "ARG BASE\nFROM ${BASE}\n";

#[test]
fn a_step_that_fails_ends_the_build_with_its_code() {
    let wine = wine();
    wine.fill();
    let dockerfile =
        format!("{FROM}RUN echo kept> kept.txt\nRUN [\"load.exe\", \"exit\", \"7\"]\nRUN echo never\n");
    let run = wine.build(&dockerfile, "x:1").run().code(1).says("exit code: 7").never_says("echo never> ");
    assert!(run.stderr.contains("Dockerfile:4"), "{run}");
    wine.assert_quiet();
    // What came before the failure is kept.
    let again = wine.build(&dockerfile, "x:1").run().code(1);
    assert!(again.stderr.contains("CACHED"), "{again}");
}

#[test]
fn a_step_that_hangs_is_ended_with_its_whole_tree() {
    let wine = wine();
    wine.fill();
    let start = Instant::now();
    let dockerfile = format!("{FROM}RUN load.exe tree 2 600 && load.exe hang\n");
    wine.build(&dockerfile, "x:1").args(["--timeout", "6s"]).run().code(1).says("time limit");
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    wine.assert_quiet();
}

#[test]
fn the_root_process_ends_the_step() {
    let wine = wine();
    wine.fill();
    let start = Instant::now();
    // Fifteen processes that hold the output's pipe for ten minutes.
    let dockerfile = format!("{FROM}RUN [\"load.exe\", \"tree\", \"3\", \"600\"]\nRUN echo next\n");
    wine.build(&dockerfile, "x:1").run().success();
    assert!(start.elapsed() < Duration::from_secs(180), "{:?}", start.elapsed());
    wine.assert_quiet();
}

#[test]
fn the_program_killed_in_the_middle_leaves_nothing_behind() {
    let wine = wine();
    wine.fill();
    let dockerfile = format!("{FROM}RUN echo before> before.txt\nRUN load.exe tree 2 600 && load.exe hang\n");
    for round in 0..3 {
        let mut running = wine.build(&dockerfile, "x:1").start();
        assert!(running.until(|r| r.stderr().contains("of depth 0")), "{}", running.stderr());
        let during = wine.processes();
        assert!(during.len() > 2, "the step runs: {during:?}");
        let _ = running.kill();
        // The job's last handle is closed by the end of the program that held it.
        wine.assert_quiet();
        assert!(!wine.half_made().is_empty(), "round {round}: the step's snapshot was not there");
    }
    // The next command clears away what they left, and the steps before are known.
    let fixed = dockerfile.replace("load.exe tree 2 600 && load.exe hang", "echo after");
    let run = wine.build(&fixed, "x:1").run().success();
    assert!(run.stderr.contains("CACHED"), "{run}");
    wine.orlop(&["store", "check"]).run().success();
    assert_eq!(wine.half_made(), Vec::<String>::new());
    wine.assert_quiet();
}
