//! What only jobs on Windows have.

use std::os::windows::io::AsRawHandle;
use std::panic::{AssertUnwindSafe, catch_unwind};

use orlop_runner::conformance::Bench;
use orlop_runner::{
    CancelToken, Exit, Isolation, JobEventKind, RunError, RunReport, RunSpec, Stream, Terminal, Ulimit,
    UlimitKind,
};

use super::{Error, spec, system};

/// A check and its name.
type Check = (&'static str, fn(&Bench));

const CHECKS: &[Check] = &[
    ("windows: exit codes have 32 bits", exit_codes),
    ("windows: no handle is inherited but three", handles),
    ("windows: no process leaves by breakaway", breakaway),
    ("windows: every process of a job is told and gone", events),
    ("windows: the shell form's text is not quoted", raw_tail),
    ("windows: a batch file gets its arguments and no commands", batch),
    ("windows: the report says how the root is seen", view),
    ("windows: base variables point to the job's own places", variables),
    ("windows: temporary files go with the job", temporary),
    ("windows: what is missing is refused with the flag that accepts it", refused),
    ("windows: what cannot be had is refused by name", unsupported),
    ("windows: an image with its own Windows is refused", own_system),
];

/// Runs those whose name contains `filter`. Returns how many.
pub(super) fn run(filter: &str, bench: &dyn Fn() -> Bench) -> Result<usize, Error> {
    let mut failures = Vec::new();
    let chosen: Vec<_> = CHECKS.iter().filter(|(name, _)| name.contains(filter)).collect();
    for (name, check) in &chosen {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&bench()))) {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            failures.push(format!("{name}: {}", why.unwrap_or("panicked")));
        }
    }
    match failures.is_empty() {
        true => Ok(chosen.len()),
        false => {
            Err(format!("{} of {} failed\n{}", failures.len(), chosen.len(), failures.join("\n")).into())
        }
    }
}

struct Outcome {
    report: RunReport,
    stdout: String,
    stderr: String,
}

fn try_job(bench: &Bench, spec: &RunSpec) -> Result<Outcome, RunError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut sink = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let report = bench.runner.run(spec, &mut sink, &CancelToken::new())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Outcome { report, stdout: text(stdout), stderr: text(stderr) })
}

fn job(bench: &Bench, spec: &RunSpec) -> Outcome {
    try_job(bench, spec).unwrap_or_else(|error| panic!("the job did not run: {error} ({:?})", error.hint()))
}

fn exit_codes(bench: &Bench) {
    for code in [256, 3_221_225_477, u32::MAX] {
        let outcome = job(bench, &spec(bench, &["code", &code.to_string()]));
        assert_eq!(outcome.report.exit, Exit::Code(code as i32), "{}", outcome.stderr);
    }
}

fn handles(bench: &Bench) {
    let event = system::inheritable_event();
    let number = event.as_raw_handle() as usize;
    let outcome = job(bench, &spec(bench, &["signal", &number.to_string()]));
    assert_eq!(outcome.report.exit, Exit::Code(0), "{}", outcome.stderr);
    assert!(!system::is_set(&event), "the job has a handle of its builder's");
}

fn breakaway(bench: &Bench) {
    let outcome = job(bench, &spec(bench, &["breakaway"]));
    assert_eq!(outcome.stderr.trim_end(), "error: refused: 5");
    assert!(!bench.root.join("beat-0").exists());
}

fn events(bench: &Bench) {
    let outcome = job(bench, &spec(bench, &["leave", "3", "/beat", "0"]));
    let started = |event: &orlop_runner::JobEvent| match event.kind {
        JobEventKind::ProcessStarted { pid } => Some(pid),
        _ => None,
    };
    let pids: Vec<u32> = outcome.report.events.iter().filter_map(started).collect();
    assert!(pids.len() >= 4, "{:?}", outcome.report.events);
    assert!(outcome.report.events.iter().any(|event| event.kind == JobEventKind::Empty));
    assert!(pids.iter().all(|pid| system::ended(*pid)), "{pids:?}");
    assert_eq!(outcome.report.usage.processes_left, Some(3));
    assert!(outcome.report.usage.processes_total.is_some_and(|total| total as usize >= pids.len()));
    assert_eq!(outcome.report.notes, Vec::<String>::new());
}

fn raw_tail(bench: &Bench) {
    let mut spec = spec(bench, &[]);
    spec.args = ["cmd", "/S", "/C"].map(Into::into).to_vec();
    spec.raw_tail = Some(r#"echo "a  b" c& cd& exit 9"#.into());
    std::fs::create_dir(bench.root.join("app")).expect("mkdir");
    spec.cwd = r"C:\app".into();
    let outcome = job(bench, &spec);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0].trim_end()), (2, r#""a  b" c"#), "{}", outcome.stdout);
    assert!(lines[1].ends_with(r"\root\app"), "{}", lines[1]);
    assert_eq!(outcome.report.exit, Exit::Code(9));
}

fn batch(bench: &Bench) {
    std::fs::write(bench.root.join("script.cmd"), "@echo off\r\necho [%~1] [%2]\r\nexit 5\r\n")
        .expect("write");
    let mut spec = spec(bench, &[]);
    spec.args = [r"C:\script.cmd", "plain", "a&echo injected"].map(Into::into).to_vec();
    let outcome = job(bench, &spec);
    assert_eq!(outcome.stdout.trim_end(), r#"[plain] ["a&echo injected"]"#, "{}", outcome.stderr);
    assert_eq!(outcome.report.exit, Exit::Code(5));
    spec.args.push("line\nbreak".into());
    let outcome = job(bench, &spec);
    assert_eq!(outcome.report.exit, Exit::Code(126));
    assert!(outcome.stderr.contains("line break"), "{}", outcome.stderr);
}

fn view(bench: &Bench) {
    let mut spec = spec(bench, &["exit", "0"]);
    let view = job(bench, &spec).report.view.expect("always told on Windows");
    assert!(!view.contains("drive letter"), "nobody asked for one: {view}");
    spec.windows.drive_letter = true;
    let report = job(bench, &spec).report;
    assert!(!report.confinement.iter().any(|line| line.what.contains("letter")), "{:?}", report.confinement);
    let view = report.view.expect("always told on Windows");
    assert!(view.contains("drive letter"), "which letter, or why none: {view}");
    assert!(view.contains("%ORLOP_ROOT%") && view.contains(r"`C:\` is the host's"), "{view}");
    let job = report.confinement.iter().find(|line| line.what == "job").expect("always told");
    assert!(job.is_full());
    for name in ["kill-on-close", "no-breakaway", "ui-limits"] {
        assert!(report.confinement.iter().any(|line| line.what == name), "{name}: {:?}", report.confinement);
    }
    let allowed = |line: &&orlop_runner::Confinement| !bench.isolation.allows(&line.what) && !line.is_full();
    assert_eq!(report.confinement.iter().find(allowed), None);
}

fn variables(bench: &Bench) {
    let mut spec = spec(bench, &["env", "ORLOP_ROOT", "USERPROFILE", "SystemRoot", "TEMP", "path"]);
    spec.env = vec![("pAtH".into(), r"C:\only".into())];
    let outcome = job(bench, &spec);
    let line = |name: &str| {
        let found = outcome.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("{name}: {}", outcome.stdout)).to_owned()
    };
    let root = line("ORLOP_ROOT");
    assert!(root.ends_with(r"\root") && !root.starts_with(r"\\?\"), "{root}");
    assert_eq!(line("USERPROFILE"), format!(r"{root}\Users\ContainerAdministrator"));
    assert!(line("TEMP").contains("orlop-step-") && !line("TEMP").starts_with(&root));
    assert!(line("SystemRoot").to_lowercase().ends_with("windows"));
    assert_eq!(line("path"), r"C:\only");
}

fn temporary(bench: &Bench) {
    let mut spec = spec(bench, &[]);
    spec.args = ["cmd", "/S", "/C"].map(Into::into).to_vec();
    spec.raw_tail = Some(r"echo x> %TEMP%\file& attrib +r %TEMP%\file& type %TEMP%\file& echo %TEMP%".into());
    let outcome = job(bench, &spec);
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim_end).collect();
    assert_eq!((lines.first(), lines.len()), (Some(&"x"), 2), "{}", outcome.stdout);
    assert!(!std::path::Path::new(lines[1]).exists());
    assert_eq!(outcome.report.notes, Vec::<String>::new());
}

fn refused(bench: &Bench) {
    let mut spec = spec(bench, &["write", "/ran", "x"]);
    spec.windows.drive_letter = true;
    spec.isolation = Isolation::default();
    let ran = || bench.root.join("ran").exists();
    let error = match try_job(bench, &spec) {
        // A system that gives everything has nothing to refuse.
        Ok(outcome) => {
            assert!(!system::is_wine(), "Wine does not give everything");
            assert!(outcome.report.confinement.iter().all(|line| line.is_full()));
            return assert!(ran());
        }
        Err(error) => error,
    };
    let RunError::Unconfined { missing, .. } = &error else { panic!("{error}") };
    assert!(
        !missing.0.iter().any(|line| line.what.contains("letter")),
        "no letter is no confinement: {error}"
    );
    assert!(!system::is_wine() || missing.0.iter().any(|line| line.what == "file-access"), "{error}");
    let hint = error.hint().expect("the flag");
    let flag = hint.split('`').nth(1).and_then(|flag| flag.strip_prefix("--isolation=")).expect("a flag");
    assert!(!ran(), "nothing was started");
    // What the hint says works.
    spec.isolation = flag.parse().expect("a flag that can be read");
    let outcome = job(bench, &spec);
    assert_eq!(outcome.report.exit, Exit::Code(0), "{}", outcome.stderr);
    assert!(ran());
}

fn unsupported(bench: &Bench) {
    let refused = |change: fn(&mut RunSpec), what: &str| {
        let mut spec = spec(bench, &["write", "/ran", "x"]);
        change(&mut spec);
        let error = try_job(bench, &spec).map(|_| ()).expect_err("it cannot be had");
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(|spec| spec.terminal = Some(Terminal::default()), "terminal");
    refused(|spec| spec.hostname = "other".parse().expect("a name"), "host name");
    refused(|spec| spec.add_hosts = vec!["a:192.0.2.1".parse().expect("a host")], "--add-host");
    refused(|spec| spec.security.readonly_root = true, "read-only root");
    let ulimit = Ulimit { kind: UlimitKind::Nofile, soft: Some(1), hard: Some(1) };
    let mut spec = spec(bench, &["write", "/ran", "x"]);
    spec.ulimits = vec![ulimit];
    assert!(matches!(try_job(bench, &spec), Err(RunError::LimitUnavailable { .. })));
    assert!(!bench.root.join("ran").exists());
}

fn own_system(bench: &Bench) {
    let system = bench.root.join(r"Windows\System32");
    std::fs::create_dir_all(&system)
        .and_then(|()| std::fs::write(system.join("ntdll.dll"), ""))
        .expect("write");
    let mut spec = spec(bench, &["exit", "0"]);
    let error = try_job(bench, &spec).map(|_| ()).expect_err("it has its own");
    assert!(error.hint().is_some_and(|hint| hint.contains("--host-system-files")), "{error}");
    spec.windows.host_system_files = true;
    assert_eq!(job(bench, &spec).report.exit, Exit::Code(0));
}
