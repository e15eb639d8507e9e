//! Attacking programs as steps. What Wine itself cannot close is not asserted here: the runner's self-test and
//! its table say which that is.

use crate::wine;

const FROM: &str = "ARG BASE\nFROM ${BASE}\n";

/// Runs one attack as a step, and gives its lines.
fn attack(wine: &crate::Wine, words: &str) -> Vec<String> {
    // The exit code says how bad it was; the lines say more, and the build has to go on for them.
    let dockerfile = format!("{FROM}RUN attack.exe {words} & exit 0\n");
    let run = wine.build(&dockerfile, "x:1").arg("--no-cache").run().success();
    let lines: Vec<String> = run
        .stderr
        .lines()
        .filter_map(|line| line.find("attack ").map(|at| line[at..].to_owned()))
        .filter(|line| line.split(' ').count() > 3 && line.contains(": "))
        .collect();
    assert!(!lines.is_empty(), "the attack said nothing: {run}");
    lines
}

#[track_caller]
fn assert_closed(lines: &[String], what: &str) {
    let found: Vec<_> = lines.iter().filter(|line| line.contains(&format!(" {what}"))).collect();
    assert!(!found.is_empty(), "`{what}` was not tried: {lines:#?}");
    for line in found {
        assert!(line.contains(": closed: "), "{line}");
    }
}

#[test]
fn nobody_leaves_the_job() {
    let wine = wine();
    wine.fill();
    let lines = attack(&wine, "breakaway");
    for what in ["asked:", "asked-without-window:", "silent:", "silent-detached:"] {
        assert_closed(&lines, what);
    }
    let lines = attack(&wine, "console");
    for what in ["new:", "no-window:"] {
        assert_closed(&lines, what);
    }
    assert_closed(&attack(&wine, "handles"), "inherited:");
    wine.assert_quiet();
}

#[test]
fn the_builder_cannot_be_opened_killed_or_named_as_parent() {
    let wine = wine();
    wine.fill();
    let lines = attack(&wine, "processes");
    for how in ["terminate", "write", "read", "handles", "thread"] {
        assert_closed(&lines, &format!("open-for-{how} orlop.exe:"));
    }
    assert_closed(&attack(&wine, "parent"), "orlop.exe:");
    wine.assert_quiet();
}

#[test]
fn what_is_planted_is_kept_as_it_is_or_refused() {
    let wine = wine();
    wine.fill();
    let secret = wine.on_c("outside/secret.txt");
    std::fs::write(&secret, "the builder's own").expect("a file outside");
    // Wine makes hard links alone, and those are files like any other: the link's content is the step's to read.
    for (words, named) in [
        (r"links planted C:\outside C:\outside\secret.txt", "planted"),
        (r"streams hidden.txt", "hidden"),
        (r"names strange", "strange"),
    ] {
        let dockerfile = format!("{FROM}RUN attack.exe {words} & exit 0\nRUN echo next\n");
        let run = wine.build(&dockerfile, "x:1").run();
        assert!(run.stderr.contains("attack "), "{run}");
        if !run.status.success() {
            assert!(run.stderr.contains("error: "), "{run}");
            let cause = run.stderr.lines().find(|line| line.starts_with("Caused by: ")).unwrap_or_default();
            assert!(cause.contains(named), "the refusal names what it cannot keep: {run}");
        }
        wine.assert_quiet();
        wine.orlop(&["store", "check"]).run().success();
        assert_eq!(std::fs::read_to_string(&secret).expect("still there"), "the builder's own");
    }
    // Whatever names there were, nothing of them is left half-made.
    wine.build(&format!("{FROM}RUN echo fine\n"), "x:1").run().success();
    assert_eq!(wine.half_made(), Vec::<String>::new());
}
