//! What the program says on Windows, with its exit codes.

use crate::wine;

#[test]
fn less_isolation_is_refused_with_the_flag_that_accepts_it() {
    let wine = wine();
    wine.fill();
    wine.context("Dockerfile", "ARG BASE=scratch\nFROM ${BASE}\nRUN echo x\n");
    let base = format!("BASE={}", wine.registry().name("base:1"));
    let run = wine.orlop(&["build", "--progress=plain", "--build-arg", &base, r"C:\context"]).run().code(1);
    assert!(run.stderr.contains("error: this host cannot confine the job as asked for\n"), "{run}");
    assert!(run.stderr.contains("\n   3 | >>> RUN echo x\n"), "the line that is refused: {run}");
    let causes = run.stderr.lines().filter_map(|line| line.strip_prefix("Caused by: "));
    let mut lacking: Vec<&str> = causes
        .filter(|cause| cause.contains(", because "))
        .filter_map(|cause| cause.split(": ").next())
        .collect();
    lacking.sort_unstable();
    let allowed: Vec<&str> = crate::wine::ISOLATION.split(",allow=").skip(1).collect();
    assert_eq!(lacking, allowed, "one cause each, with its reason: {run}");
    let hint = run.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
    assert_eq!(hint, format!("hint: accept less with `--isolation={}`", crate::wine::ISOLATION), "{run}");
    wine.assert_quiet();
}

#[test]
fn an_identity_is_taken_by_its_name_or_refused() {
    let wine = wine();
    wine.fill();
    let base = format!("BASE={}", wine.registry().name("base:1"));
    wine.context("Dockerfile", "ARG BASE=scratch\nFROM ${BASE}\nRUN echo x\n");
    let build = |isolation: &str| {
        let isolation = format!("--isolation={isolation}");
        wine.orlop(&["build", "--progress=plain", "--build-arg", &base, &isolation, r"C:\context"]).run()
    };
    let run = build(&format!("{},identity=app-container", crate::wine::ISOLATION)).code(1);
    let said = "`identity=app-container` of the isolation is not possible for a job here: Wine 8.0 has no";
    let run = run.says(said).says("hint: leave it out");
    assert!(!run.stderr.contains("allow="), "it is not a confinement that could be missing: {run}");
    build(&format!("{},identity=restricted-token", crate::wine::ISOLATION)).success();
    build("job,identity=root").code(2).says("identity=app-container|restricted-token");
    wine.assert_quiet();
}

#[test]
fn the_self_test_says_what_it_saw_and_leaves_nothing() {
    let wine = wine();
    let before = wine.processes();
    let run = wine.orlop(&["info", "--self-test", "--format", "json"]).run().success();
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(document["about"].as_str().is_some_and(|about| about.contains("as Wine 8.0")), "{run}");
    let checks = document["checks"].as_array().expect("a list");
    let outcome = |name: &str| {
        let check = checks.iter().find(|check| check["name"] == name);
        check.unwrap_or_else(|| panic!("no check `{name}`: {run}"))["outcome"].clone()
    };
    for name in ["step", "breakaway", "left-behind", "builder-killed", "hidden-stream", "strange-names"] {
        assert_eq!(outcome(name), "held", "{name}: {run}");
    }
    // What Wine has nothing of is not called held.
    for name in ["planted-links", "wmi", "task-scheduler"] {
        assert_eq!(outcome(name), "not_tried", "{name}: {run}");
    }
    for name in ["own-letter", "letters", "services", "registry", "process-limit", "write-outside"] {
        assert_eq!(outcome(name), "unavailable", "{name}: {run}");
    }
    for check in checks {
        let said = check.to_string();
        assert!(["asked", "seen"].iter().all(|key| check[key].as_str().is_some_and(|text| text.len() > 4)));
        assert!(!said.contains("store\\\\") && !said.contains("S-1-5-21"), "it is made to be sent: {said}");
    }
    assert_eq!(wine.processes(), before);
    assert_eq!(wine.half_made(), Vec::<String>::new());
    let registry = std::fs::read_to_string(wine.on_c("../system.reg")).unwrap_or_default();
    assert!(!registry.contains("orlop-self-test"), "a service or a key is left");
    wine.orlop(&["store", "check"]).run().success();
}

#[test]
fn paths_with_drive_letters_are_taken_everywhere() {
    let wine = wine();
    wine.context("Dockerfile", "FROM scratch\nCOPY a.txt C:/here/\n");
    wine.context("a.txt", "a");
    let args = ["build", "--platform", "windows/amd64", "--progress=plain", "-f", r"C:\context\Dockerfile"];
    wine.orlop(&[&args[..], &["-o", r"type=local,dest=C:\outside\files", r"C:\context"]].concat())
        .run()
        .success();
    assert_eq!(std::fs::read_to_string(wine.on_c("outside/files/here/a.txt")).expect("a file"), "a");
    let run = wine.orlop(&["run", "scratch"]).run().code(1).says("images are built on Windows, not run");
    assert!(run.stderr.contains("hint: "), "{run}");
    wine.orlop(&["build", r"C:\no\such"]).run().code(1).says(r"`C:\no\such`");
    wine.orlop(&["build", "--ssh", "default", r"C:\context"]).run().code(2).says("--secret");
}

#[test]
fn info_says_what_wine_is() {
    let wine = wine();
    let run = wine.orlop(&["info"]).run().success();
    for text in
        ["orlop ", "system ", "as Wine 8.0", "step's root ", "store ", "volume ", "snapshots ", "hint: "]
    {
        assert!(run.stdout.contains(text), "{text}: {run}");
    }
    let json = wine.orlop(&["info", "--format", "json"]).run().success().stdout;
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(document["findings"].as_array().is_some_and(|list| list.len() > 5), "{json}");
    wine.assert_quiet();
}
