//! Steps that fail, hang, or leave somebody behind; and the end of the program itself.

use std::time::{Duration, Instant};

use crate::wine;

/// The lines that these Dockerfiles begin with.
const FROM: &str = "ARG BASE=scratch\nFROM ${BASE}\n";

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
fn a_step_that_goes_on_multiplying_is_ended() {
    let wine = wine();
    wine.fill();
    let start = Instant::now();
    // Its first process ends; the others start two more each for ever, and hold the output's pipe.
    let dockerfile = format!("{FROM}RUN start /b load.exe bomb & load.exe processor 1\nRUN echo next\n");
    wine.build(&dockerfile, "x:1").run().success();
    wine.assert_quiet_but_for_the_unborn();
    let dockerfile = format!("{FROM}RUN start /b load.exe bomb & load.exe hang\n");
    wine.build(&dockerfile, "x:1").args(["--timeout", "3s"]).run().code(1).says("time limit");
    wine.assert_quiet_but_for_the_unborn();
    let dockerfile = format!("{FROM}RUN load.exe bomb\n");
    let isolation = format!("{},allow=process-limit", crate::wine::ISOLATION);
    let limited = wine.build_with(&isolation, &dockerfile, "x:1").args(["--pids-limit", "20"]);
    limited.run().code(1).says("process limit");
    wine.assert_quiet_but_for_the_unborn();
    wine.orlop(&["store", "check"]).run().success();
    assert_eq!(wine.half_made(), Vec::<String>::new());
    assert!(start.elapsed() < Duration::from_secs(180), "{:?}", start.elapsed());
}

#[test]
fn the_program_killed_in_the_middle_leaves_nothing_behind() {
    let wine = wine();
    wine.fill();
    let dockerfile = format!("{FROM}RUN echo before> before.txt\nRUN load.exe tree 2 600 && load.exe hang\n");
    let mut running = wine.build(&dockerfile, "x:1").start();
    assert!(running.until(|r| r.stderr().contains("of depth 0")), "{}", running.stderr());
    let during = wine.processes();
    assert!(during.len() > 2, "the step runs: {during:?}");
    let _ = running.kill();
    // The job's last handle is closed by the end of the program that held it, or of its keeper.
    wine.assert_quiet();
    assert!(!wine.half_made().is_empty(), "the step's snapshot was not there");
    // The next command clears away what it left, and the steps before are known.
    let fixed = dockerfile.replace("load.exe tree 2 600 && load.exe hang", "echo after");
    let run = wine.build(&fixed, "x:1").run().success();
    assert!(run.stderr.contains("CACHED"), "{run}");
    wine.orlop(&["store", "check"]).run().success();
    assert_eq!(wine.half_made(), Vec::<String>::new());
    wine.assert_quiet();
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_grows() {
    let wine = wine();
    wine.fill();
    let steps = [
        "RUN start /b load.exe tree 1 600 & load.exe processor 1",
        "RUN [\"load.exe\", \"tree\", \"2\", \"600\"]",
        "RUN md d\\e & echo x> d\\e\\f & start /b load.exe hang",
        "RUN load.exe processes 4 0",
    ];
    let dockerfile = format!("{FROM}ARG ROUND\nRUN echo %ROUND%\n{}\n", steps.join("\n"));
    let build = |round: u64| {
        let argument = format!("ROUND={round}");
        wine.build(&dockerfile, "x:1").args(["--build-arg", &argument])
    };
    let whole = Instant::now();
    build(0).run().success();
    let whole = whole.elapsed();
    for round in 1..=12 {
        let running = build(round).start();
        // The moments are spread over the time that it takes, in an order that looks like none.
        std::thread::sleep(whole * (round as u32 * 5 % 13) / 13);
        let _ = running.kill();
        wine.assert_quiet();
        let left = wine.half_made();
        assert!(left.len() <= 8, "what rounds before left is still there: {left:?}");
    }
    build(100).run().success();
    wine.orlop(&["store", "check"]).run().success();
    assert_eq!(wine.half_made(), Vec::<String>::new());
    wine.assert_quiet();
}
