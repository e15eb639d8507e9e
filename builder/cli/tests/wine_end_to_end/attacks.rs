//! Attacking programs as steps: every one of `fixtures/`, and what each tries is closed, or the step's report says by
//! name what is missing that would close it, and a build that does not say that it accepts this is refused.

use std::collections::BTreeSet;

use crate::wine::ISOLATION;
use crate::{Wine, wine};

const FROM: &str = "ARG BASE=scratch\nFROM ${BASE}\n";

/// What is tried in a build of many steps, by the words for `attack.exe`, each with what must be closed.
const ATTACKS: [(&str, &[&str]); 9] = [
    ("breakaway", &["asked:", "asked-without-window:", "silent:", "silent-detached:"]),
    ("console", &["new:", "no-window:"]),
    ("handles", &["inherited:"]),
    ("parent", &["orlop.exe:"]),
    (
        "processes",
        &[
            "open-for-terminate orlop.exe:",
            "open-for-write orlop.exe:",
            "open-for-read orlop.exe:",
            "open-for-handles orlop.exe:",
            "open-for-thread orlop.exe:",
            "thread-for-terminate orlop.exe:",
            "thread-for-suspend orlop.exe:",
            "thread-for-context orlop.exe:",
            "thread-for-impersonate orlop.exe:",
            "thread-for-access-list orlop.exe:",
        ],
    ),
    ("services", &["wmi:", "task-scheduler:", "task-scheduler-run:", "at:"]),
    ("syscalls", &["privilege-debug:", "privilege-tcb:", "privilege-backup:", "privilege-load-driver:"]),
    ("network", &[]),
    (r"drives read C:\outside\secret.txt write C:\outside\written", &[]),
];

/// What would close an attack that is open under Wine, by the name that `--isolation=job,allow=NAME` takes. `None` is
/// what nothing closes that was asked for, as the table of holes says too.
fn closer(attack: &str, what: &str) -> Option<&'static str> {
    match (attack, what) {
        ("drives", "letters:") | ("processes", "see:") => None,
        ("drives", _) => Some("file-access"),
        ("parent" | "processes", _) => Some("parent-process"),
        ("services", _) => Some("services"),
        ("objects", _) => Some("named-objects"),
        // It has the host's, unless it is asked for none.
        ("network", _) => None,
        ("syscalls", what) if what.starts_with("raw-") || what == "mount-manager:" => Some("file-access"),
        ("syscalls", "global-section:") => Some("named-objects"),
        // Nothing but mitigations, which were not asked for.
        ("syscalls", "handles-of-all:" | "win32k:") => None,
        _ => panic!("nobody knows what closes `{attack} {what}`"),
    }
}

/// The lines of the attacks in a build's output.
fn lines(stderr: &str) -> Vec<String> {
    let line = |line: &str| line.find(" attack ").map(|at| line[at + 1..].trim().to_owned());
    let verdict = |line: &String| {
        [": open: ", ": closed: ", ": untried: "].iter().any(|verdict| line.contains(verdict))
    };
    stderr.lines().filter_map(line).filter(verdict).collect()
}

#[track_caller]
fn assert_closed(lines: &[String], attack: &str, what: &str) {
    let found: Vec<_> =
        lines.iter().filter(|line| line.starts_with(&format!("attack {attack} {what}"))).collect();
    assert!(!found.is_empty(), "`{what}` was not tried: {lines:#?}");
    for line in found {
        assert!(line.contains(": closed: "), "{line}");
    }
}

/// Whatever is open is named in the report by what would close it.
#[track_caller]
fn assert_reported(stderr: &str) {
    for line in lines(stderr).iter().filter(|line| line.contains(": open: ")) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let what = words[2].split_inclusive(':').next().unwrap_or_default();
        if let Some(name) = closer(words[1], what) {
            assert!(
                ISOLATION.contains(&format!("allow={name}")),
                "`{name}` is not said to be missing: {line}"
            );
            assert!(
                stderr.contains(&format!("note: {name}: ")),
                "`{name}` is not in the report: {line}\n{stderr}"
            );
        }
    }
}

/// A file outside, and the name that it still has to have afterwards.
fn secret(wine: &Wine) -> std::path::PathBuf {
    let secret = wine.on_c("outside/secret.txt");
    std::fs::write(&secret, "the builder's own").expect("a file outside");
    secret
}

#[test]
fn every_attack_is_closed_or_reported() {
    let wine = wine();
    wine.fill();
    secret(&wine);
    // The exit code says how bad it was; the lines say more, and the build has to go on for them.
    let steps: String =
        ATTACKS.iter().map(|(words, _)| format!("RUN attack.exe {words} & exit 0\n")).collect();
    let run = wine.build(&format!("{FROM}{steps}"), "x:1").run().success();
    let all = lines(&run.stderr);
    for (words, closed) in ATTACKS {
        let attack = words.split(' ').next().unwrap_or_default();
        assert!(all.iter().any(|line| line.starts_with(&format!("attack {attack} "))), "{attack}: {run}");
        closed.iter().for_each(|what| assert_closed(&all, attack, what));
    }
    assert_reported(&run.stderr);
    // What left under another parent, or was started by a service, was found.
    assert!(run.stderr.contains("`attack.exe` (process "), "{run}");
    assert!(run.stderr.contains(" was found outside the job and "), "{run}");
    wine.assert_quiet();
}

#[test]
fn objects_between_two_steps_at_the_same_time_are_reported() {
    let wine = wine();
    wine.fill();
    let stages = "ARG BASE=scratch\nFROM ${BASE} AS holds\nRUN attack.exe objects hold between 20 & echo x> held.txt & exit 0\n\
         FROM ${BASE} AS finds\nRUN attack.exe objects find between 15 & echo x> found.txt & exit 0\n\
         FROM ${BASE}\nCOPY --from=holds held.txt .\nCOPY --from=finds found.txt .\n";
    let run = wine.build(stages, "x:1").run().success();
    let found: Vec<String> =
        lines(&run.stderr).into_iter().filter(|line| line.contains("attack objects ")).collect();
    assert!(found.iter().any(|line| line.contains(": open: ")), "they were not there together: {run}");
    assert_reported(&run.stderr);
    wine.assert_quiet();
}

#[test]
fn what_is_missing_is_accepted_by_name_or_the_build_is_refused() {
    let wine = wine();
    wine.fill();
    let names: BTreeSet<&str> =
        ISOLATION.split(',').filter_map(|part| part.trim().strip_prefix("allow=")).collect();
    // Limits of windows are asked for only where this program is not in a job itself.
    let asked = names.iter().filter(|name| **name != "ui-limits");
    for name in asked {
        let parts = ISOLATION.split(',').filter(|part| part.trim() != format!("allow={name}"));
        let isolation = parts.collect::<Vec<_>>().join(",");
        let run =
            wine.build_with(&isolation, &format!("{FROM}RUN load.exe say it-ran\n"), "x:1").run().code(1);
        assert!(run.stderr.contains(&format!("{name}: ")), "{run}");
        let hint = run.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains(&format!("allow={name}")), "{run}");
        assert!(!run.stderr.contains("[it-ran]"), "{run}");
    }
    let none = wine.build(&format!("{FROM}RUN attack.exe network\n"), "x:1").args(["--network", "none"]);
    none.run().code(1).says("network: ").never_says("attack network send");
    wine.assert_quiet();
}

#[test]
fn what_is_planted_is_kept_as_it_is_or_refused() {
    let wine = wine();
    wine.fill();
    let secret = secret(&wine);
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
