//! What every runner does on every system: the job is a program of the suite's own, not a shell's script.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Bench, Check};
use crate::{CancelToken, Exit, LimitHit, Mount, RunError, RunSpec, Stdin};

pub(super) const CHECKS: &[Check] = &[
    ("portable: exit codes are kept", exit_codes),
    ("portable: arguments arrive as they are given", arguments),
    ("portable: streams are kept apart", streams),
    ("portable: large output arrives whole", large_output),
    ("portable: a slow reader loses nothing", slow_reader),
    ("portable: a missing command is 127", missing_command),
    ("portable: the working directory is as given", working_directory),
    ("portable: a missing working directory is an error", missing_directory),
    ("portable: the environment is as given", environment),
    ("portable: stdin is empty by default", no_stdin),
    ("portable: stdin can be a file", stdin_file),
    ("portable: what the command leaves ends with it", left_behind),
    ("portable: the time limit ends the whole tree", wall_limit),
    ("portable: killing ends the whole tree at once", kill),
    ("portable: cancelling ends the whole tree", cancel),
    ("portable: a job that is cancelled already does not start", cancelled_before),
    ("portable: jobs run side by side", side_by_side),
    ("portable: processes are limited or the limit refused", pids),
    ("portable: memory is limited or the limit refused", memory),
    ("portable: processor time is limited or the limit refused", cpu_time),
    ("portable: usage is counted", usage),
    ("portable: a secret is there and gone", secret),
    ("portable: nothing stays in the root", no_trace),
    ("portable: what the job writes stays", own_changes),
    ("portable: nonsense is refused before anything runs", nonsense),
];

fn exit_codes(bench: &Bench) {
    for code in [0, 1, 42, 127, 255] {
        let spec = bench.actor(&["exit", &code.to_string()]);
        assert_eq!(bench.run(&spec).report.exit, Exit::Code(code));
    }
}

fn arguments(bench: &Bench) {
    let given = [
        "args",
        "",
        " ",
        "a b",
        "\"",
        "a\"b",
        r"\",
        r"a\\b",
        r#"a\"b"#,
        r"trailing\",
        r"with space\",
        r#"\\\" x"#,
        "%PATH%",
        "$HOME",
        "&|<>^",
        "*",
        "tab\there",
        "line\nbreak",
        "'single'",
        "ünïcödé \u{1f600}",
        "--",
        "/C",
    ];
    let expected: String = given[1..].iter().map(|arg| format!("{arg:?}\n")).collect();
    assert_eq!(bench.output(&bench.actor(&given)), expected);
}

fn streams(bench: &Bench) {
    let outcome = bench.run(&bench.actor(&["say", "to out", "to err"]));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("to out\n", "to err\n"));
}

fn large_output(bench: &Bench) {
    let outcome = bench.run(&bench.actor(&["flood", "524288", "6250"]));
    assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (8 << 20, 100_000));
    assert!(outcome.stdout.as_bytes().chunks(16).all(|line| line == b"0123456789abcde\n"));
}

fn slow_reader(bench: &Bench) {
    let mut pieces = 0;
    let outcome = bench.run_until(&bench.actor(&["flood", "65536", "0"]), &CancelToken::new(), |_| {
        pieces += 1;
        if pieces < 10 {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(outcome.expect("it runs").stdout.len(), 1 << 20);
}

fn missing_command(bench: &Bench) {
    let mut spec = bench.actor(&[]);
    for (program, message) in [
        ("nosuch", "orlop: nosuch: command not found\n"),
        ("/no/such/program", "orlop: /no/such/program: not found\n"),
    ] {
        spec.args = super::args([program, "x"]);
        let outcome = bench.run(&spec);
        assert_eq!((outcome.report.exit, outcome.stderr.as_str()), (Exit::Code(127), message));
    }
}

fn working_directory(bench: &Bench) {
    fs::create_dir_all(bench.root.join("some/where deep")).expect("mkdir");
    let mut spec = bench.actor(&["cwd"]);
    spec.cwd = "/some/where deep".into();
    let output = bench.output(&spec);
    let shown = Path::new(output.trim_end());
    assert!(shown.ends_with("some/where deep"), "{output}");
    // A relative path is in it.
    let mut spec = bench.actor(&["write", "here", "text"]);
    spec.cwd = "/some/where deep".into();
    bench.output(&spec);
    assert_eq!(fs::read_to_string(bench.root.join("some/where deep/here")).expect("written"), "text");
}

fn missing_directory(bench: &Bench) {
    let mut spec = bench.actor(&["write", "/ran", "x"]);
    spec.cwd = "/no/such/place".into();
    match bench.try_run(&spec) {
        Err(error @ RunError::Setup { .. }) => {
            assert_eq!(error.to_string(), "cannot enter the working directory `/no/such/place`");
            assert_eq!(error.hint().as_deref(), Some("create it with WORKDIR"));
        }
        other => panic!("{other:?}"),
    }
    assert!(!bench.root.join("no").exists());
}

fn environment(bench: &Bench) {
    // Cargo and rustup set the second and third for this process; none of a job's.
    let names = ["GIVEN", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "EMPTY_IS_SET", "ODD"];
    let mut spec = bench.actor(&[]);
    spec.args.push("env".into());
    spec.args.extend(names.map(Into::into));
    for (name, value) in
        [("GIVEN", "first"), ("GIVEN", "x"), ("ODD", "a=b \"c\" %GIVEN% ü"), ("EMPTY_IS_SET", " ")]
    {
        spec.env.retain(|(known, _)| known != name);
        spec.env.push((name.into(), value.into()));
    }
    let expected =
        "GIVEN=x\nCARGO_MANIFEST_DIR unset\nCARGO_PKG_NAME unset\nEMPTY_IS_SET= \nODD=a=b \"c\" %GIVEN% ü\n";
    assert_eq!(bench.output(&spec), expected);
}

fn no_stdin(bench: &Bench) {
    assert_eq!(bench.output(&bench.actor(&["cat"])), "");
}

fn stdin_file(bench: &Bench) {
    let path = bench.scratch.join("input");
    fs::write(&path, "from a file").expect("write");
    let mut spec = bench.actor(&["cat"]);
    spec.stdin = Stdin::File(fs::File::open(&path).expect("open"));
    assert_eq!(bench.output(&spec), "from a file");
}

/// Whether any of `count` processes that write to `beat-…` in the root still does.
fn beats(bench: &Bench, count: usize) -> bool {
    let sizes = || -> Vec<Option<u64>> {
        let size =
            |number| fs::metadata(bench.root.join(format!("beat-{number}"))).ok().map(|meta| meta.len());
        (0..count).map(size).collect()
    };
    let before = sizes();
    assert!(before.iter().all(Option::is_some), "they never lived: {before:?}");
    std::thread::sleep(Duration::from_millis(300));
    sizes() != before
}

fn left_behind(bench: &Bench) {
    let outcome = bench.run(&bench.actor(&["leave", "3", "/beat", "7"]));
    assert_eq!((outcome.report.exit, outcome.stdout.as_str()), (Exit::Code(7), "ready\n"));
    assert!(!beats(bench, 3));
    if let Some(left) = outcome.report.usage.processes_left {
        assert_eq!(left, 3);
    }
}

fn wall_limit(bench: &Bench) {
    let mut spec = bench.actor(&["hold", "2", "/beat"]);
    spec.limits.wall = Some(Duration::from_secs(4));
    let started = Instant::now();
    let outcome = bench.run(&spec);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(outcome.report.limit_hit, Some(LimitHit::Wall));
    assert_eq!((outcome.report.exit.shell_code(), outcome.report.cancelled), (137, false));
    assert!(outcome.report.usage.wall >= Duration::from_secs(4));
    assert!(!beats(bench, 2));
}

fn kill(bench: &Bench) {
    let cancel = CancelToken::new();
    let mut spec = bench.actor(&["hold", "2", "/beat"]);
    spec.limits.grace = Some(Duration::from_secs(600));
    let started = Instant::now();
    let outcome = bench.run_until(&spec, &cancel, |_| cancel.kill()).expect("it started");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!((outcome.report.exit.shell_code(), outcome.report.cancelled), (137, true));
    assert_eq!(outcome.report.limit_hit, None);
    assert!(!beats(bench, 2));
}

fn cancel(bench: &Bench) {
    let cancel = CancelToken::new();
    let mut spec = bench.actor(&["hold", "2", "/beat"]);
    spec.limits.grace = Some(Duration::from_millis(300));
    let outcome = bench.run_until(&spec, &cancel, |_| cancel.cancel()).expect("it started");
    assert!(outcome.report.cancelled && !outcome.report.exit.is_success());
    assert!(!beats(bench, 2));
}

fn cancelled_before(bench: &Bench) {
    let cancel = CancelToken::new();
    cancel.cancel();
    let outcome = bench.run_until(&bench.actor(&["write", "/ran", "x"]), &cancel, |_| {});
    assert!(matches!(outcome, Err(RunError::Cancelled)), "{outcome:?}");
    assert!(!bench.root.join("ran").exists());
}

fn side_by_side(bench: &Bench) {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let root = bench.scratch.join(format!("{number}"));
                fs::create_dir_all(&root).expect("mkdir");
                for entry in fs::read_dir(&bench.root).expect("readable").flatten() {
                    if entry.path().is_file() {
                        fs::copy(entry.path(), root.join(entry.file_name())).expect("copy");
                    }
                }
                let mut spec = bench.actor(&["delayed", "3000", "/file", &format!("{number}")]);
                spec.root = root.clone();
                bench.output(&spec);
                assert_eq!(fs::read_to_string(root.join("file")).expect("written"), number.to_string());
            });
        }
    });
    // One after the other they would take 12.
    assert!(started.elapsed() < Duration::from_secs(11), "{:?}", started.elapsed());
}

/// The outcome, unless the host cannot enforce the limit and says so.
fn enforced(bench: &Bench, spec: &RunSpec) -> Option<super::Outcome> {
    match bench.try_run(spec) {
        Ok(outcome) => Some(outcome),
        Err(error @ RunError::LimitUnavailable { .. }) => {
            assert!(error.hint().is_some() && error.to_string().contains("limit"), "{error}");
            None
        }
        Err(error @ RunError::Unconfined { .. }) => {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            assert!(error.hint().is_some() && why.contains("limit"), "{error}: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether the report says that the limit `name` is in force.
fn is_full(outcome: &super::Outcome, name: &str) -> bool {
    let line = outcome.report.confinement.iter().find(|line| line.what == name);
    line.is_none_or(crate::Confinement::is_full)
}

fn pids(bench: &Bench) {
    let mut spec = bench.actor(&["spawn", "12"]);
    spec.limits.pids = Some(5);
    if let Some(outcome) = enforced(bench, &spec) {
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::Pids), "{outcome:?}");
        assert!(!outcome.report.exit.is_success());
        let mut spec = bench.actor(&["spawn", "2"]);
        spec.limits.pids = Some(5);
        let outcome = bench.run(&spec);
        assert_eq!((outcome.report.limit_hit, outcome.report.exit), (None, Exit::Code(0)), "{outcome:?}");
    }
}

fn memory(bench: &Bench) {
    let mut spec = bench.actor(&["allocate", "400"]);
    spec.limits.memory = Some(128 << 20);
    if let Some(outcome) = enforced(bench, &spec)
        && is_full(&outcome, "memory-limit")
    {
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::Memory), "{outcome:?}");
        assert!(!outcome.report.exit.is_success());
    }
}

fn cpu_time(bench: &Bench) {
    let mut spec = bench.actor(&["burn", "20000"]);
    spec.limits.cpu_time = Some(Duration::from_secs(1));
    spec.limits.wall = Some(Duration::from_secs(60));
    if let Some(outcome) = enforced(bench, &spec)
        && is_full(&outcome, "cpu-time-limit")
    {
        assert_eq!(outcome.report.limit_hit, Some(LimitHit::CpuTime), "{outcome:?}");
        assert!(outcome.report.usage.cpu().is_some_and(|used| used < Duration::from_secs(15)), "{outcome:?}");
    }
}

fn usage(bench: &Bench) {
    let usage = bench.run(&bench.actor(&["burn", "400"])).report.usage;
    assert!(usage.wall >= Duration::from_millis(400), "{usage:?}");
    // Nothing, or what it can have been.
    if let Some(cpu) = usage.cpu() {
        assert!(cpu > Duration::from_millis(50) && cpu < usage.wall * 4, "{usage:?}");
    }
    assert!(usage.peak_memory.is_none_or(|bytes| bytes > 100_000), "{usage:?}");
    assert!(usage.processes_total.is_none_or(|count| count >= 1), "{usage:?}");
}

fn secret(bench: &Bench) {
    let mut spec = bench.actor(&["read", "/run/secrets/key"]);
    spec.mounts.push(Mount::file("/run/secrets/key", "secret\0bytes", 0o400, 0, 0));
    assert_eq!(bench.output(&spec), "secret\0bytes");
    assert!(!bench.root.join("run").exists());
    // Whatever happens to the job.
    let cancel = CancelToken::new();
    let mut spec = bench.actor(&["hold", "1", "/beat"]);
    spec.mounts.push(Mount::file("/run/secrets/key", "secret", 0o400, 0, 0));
    bench.run_until(&spec, &cancel, |_| cancel.kill()).expect("it started");
    assert!(!bench.root.join("run").exists());
}

fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).expect("just listed");
        lines.push(format!("{} {:?} {:?}", path.display(), meta.file_type(), meta.modified().ok()));
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        }
    }
    lines.sort();
    lines
}

fn no_trace(bench: &Bench) {
    let before = listing(&bench.root);
    let mut spec = bench.actor(&["read", "/made/deep/key"]);
    spec.mounts.push(Mount::file("/made/deep/key", "x", 0o400, 0, 0));
    assert_eq!(bench.output(&spec), "x");
    assert_eq!(listing(&bench.root), before, "after a job that only looked");
    spec.args = super::args(["nosuch"]);
    bench.run(&spec);
    assert_eq!(listing(&bench.root), before, "after a command that is not there");
}

fn own_changes(bench: &Bench) {
    bench.output(&bench.actor(&["write", "/new", "kept"]));
    assert_eq!(fs::read_to_string(bench.root.join("new")).expect("written"), "kept");
    bench.output(&bench.actor(&["write", "/new", "again"]));
    assert_eq!(fs::read_to_string(bench.root.join("new")).expect("written"), "again");
}

fn nonsense(bench: &Bench) {
    let refused = |change: fn(&mut RunSpec)| {
        let mut spec = bench.actor(&["write", "/ran", "x"]);
        change(&mut spec);
        let error = bench.try_run(&spec).map(|_| ()).expect_err("nonsense");
        assert!(matches!(error, RunError::Spec(_)), "{error}");
    };
    refused(|spec| spec.args.clear());
    refused(|spec| spec.args = super::args([""]));
    refused(|spec| spec.args.push("a\0b".into()));
    refused(|spec| spec.env.push(("A=B".into(), "x".into())));
    refused(|spec| spec.env.push(("".into(), "x".into())));
    refused(|spec| spec.env.push(("A".into(), "x\0y".into())));
    refused(|spec| spec.cwd = "relative".into());
    refused(|spec| spec.root = "relative".into());
    refused(|spec| spec.limits.cpus = Some(f64::NAN));
    refused(|spec| spec.limits.pids = Some(0));
    refused(|spec| spec.limits.memory = Some(1));
    refused(|spec| spec.limits.process_memory = Some(1));
    refused(|spec| spec.limits.cpu_weight = Some(0));
    refused(|spec| spec.limits.cpu_weight = Some(10_001));
    refused(|spec| spec.limits.cpu_time = Some(Duration::ZERO));
    refused(|spec| spec.limits.net_rate = Some(0));
    refused(|spec| spec.mounts.push(Mount::file("relative", "x", 0, 0, 0)));
    refused(|spec| spec.mounts.push(Mount::file("/", "x", 0, 0, 0)));
    assert!(!bench.root.join("ran").exists());
}
