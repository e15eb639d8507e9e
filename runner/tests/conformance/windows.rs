//! The portable checks against Job Objects, and what only they have: handles, ways out, events, and the death of
//! the builder.
//!
//! Under Wine much cannot be had. What the jobs do without is named here, and so is each check that does not say
//! anything there; on Windows itself neither list is used.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use orlop_runner::conformance::{self, Actor, Bench, Suite};
use orlop_runner::windows::WindowsRunner;
use orlop_runner::{CancelToken, Isolation, RunSpec, Stream};

mod own;
mod system;

type Error = Box<dyn std::error::Error>;

/// What Wine 8 does not give, by the names of the report.
const WITHOUT_UNDER_WINE: &[&str] = &[
    "app-container",
    "cpu-time-limit",
    "file-access",
    "low-integrity",
    "memory-limit",
    "named-objects",
    "parent-process",
    "process-limit",
    "registry",
    "services",
    "step-sid",
    "ui-limits",
];

/// Checks that run under Wine and say nothing of real Windows there, and why.
const SAYS_NOTHING_UNDER_WINE: &[(&str, &str)] = &[
    (
        "portable: memory is limited or the limit refused",
        "Wine takes the limit and forgets it: only that it is allowed to be missing is seen",
    ),
    ("portable: processor time is limited or the limit refused", "Wine counts no processor time"),
    (
        "portable: processes are limited or the limit refused",
        "Wine does not refuse processes: that orlop ends the job itself is seen",
    ),
];

pub(super) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["actor", "signal", handle] => system::signal(handle),
        ["actor", "breakaway"] => system::breakaway(),
        ["actor", "code", code] => system::exit(code),
        ["actor", words @ ..] => super::actor::act(words).map_err(Into::into),
        ["role", "victim", mark] => victim(mark),
        ["--list", ..] => say("conformance: test"),
        arguments => drive(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn say(line: &str) -> Result<(), Error> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn drive(arguments: &[&str]) -> Result<(), Error> {
    let filter = arguments.iter().copied().find(|argument| !argument.starts_with('-')).unwrap_or("");
    let wine = system::is_wine();
    if wine {
        say(&format!("under Wine, without {}", WITHOUT_UNDER_WINE.join(", ")))?;
        for (name, why) in SAYS_NOTHING_UNDER_WINE {
            if !conformance::names(Suite::Portable).any(|known| known == *name) {
                return Err(format!("no check is called `{name}`").into());
            }
            say(&format!("not tested by `{name}`: {why}"))?;
        }
    }
    let started = Instant::now();
    let count = conformance::run("windows", Suite::Portable, filter, &|| bench(wine).expect("a bench"));
    let own = own::run(filter, &|| bench(wine).expect("a bench"))?;
    let mut deaths = 0;
    if "death".contains(filter) {
        deaths = 3;
        (0..deaths).try_for_each(death)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(
        "conformance windows ... ok: {count} portable checks, {own} of Windows, {deaths} deaths in {seconds:.1} s"
    ))
}

fn isolation(wine: bool) -> Isolation {
    let without = if wine { WITHOUT_UNDER_WINE } else { &[] };
    Isolation { allow: without.iter().map(|name| (*name).to_owned()).collect(), ..Isolation::default() }
}

fn bench(wine: bool) -> io::Result<Bench> {
    let directory = tempfile::tempdir()?;
    let (root, scratch) = (directory.path().join("root"), directory.path().join("scratch"));
    std::fs::create_dir(&root)?;
    std::fs::create_dir(&scratch)?;
    let temporary = directory.path().join("temporary");
    std::fs::create_dir(&temporary)?;
    let own = std::env::current_exe()?;
    // Two names are one file with one access list: where there are such lists, each root has a program of its own.
    match wine {
        true => std::fs::hard_link(&own, root.join("actor.exe"))?,
        false => drop(std::fs::copy(&own, root.join("actor.exe"))?),
    }
    Ok(Bench {
        runner: Box::new(WindowsRunner::with_scratch(temporary)),
        root,
        scratch,
        many_ids: false,
        actor: Actor { command: vec![r"C:\actor.exe".into(), "actor".into()], mounts: Vec::new() },
        isolation: isolation(wine),
        keep: Box::new(directory),
    })
}

fn spec(bench: &Bench, words: &[&str]) -> RunSpec {
    let args = bench.actor.command.iter().cloned().chain(words.iter().map(Into::into));
    let mut spec = RunSpec::new(&bench.root, args);
    spec.env = Vec::new();
    spec.isolation = bench.isolation.clone();
    spec
}

/// Runs a job that would go on for ever, and passes on what it says.
fn victim(root: &str) -> Result<(), Error> {
    let mut bench = bench(system::is_wine())?;
    // Where its parent looks.
    bench.root = PathBuf::from(root);
    std::fs::copy(std::env::current_exe()?, bench.root.join("actor.exe"))?;
    let mut sink = |stream, bytes: &[u8]| {
        if stream == Stream::Stdout {
            let _ = io::stdout().write_all(bytes);
            let _ = io::stdout().flush();
        }
    };
    bench.runner.run(&spec(&bench, &["hold", "2", "/beat"]), &mut sink, &CancelToken::new())?;
    Ok(())
}

/// The builder is killed in the middle of a job: nothing of it goes on.
#[expect(clippy::disallowed_methods, reason = "starts this program in another role")]
fn death(number: u32) -> Result<(), Error> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join("root");
    std::fs::create_dir(&root)?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["role", "victim"]).arg(&root).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
    let ready = lines.next();
    // SIGKILL's equal: nothing of the builder runs after it.
    child.kill()?;
    child.wait()?;
    let ready = ready.ok_or("the builder ended by itself")??;
    assert_eq!(ready, "ready");
    let sizes = || {
        [0, 1]
            .map(|number| std::fs::metadata(root.join(format!("beat-{number}"))).map_or(0, |meta| meta.len()))
    };
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let before = sizes();
        std::thread::sleep(Duration::from_millis(300));
        if sizes() == before {
            return say(&format!("death {number} ... ok"));
        }
        if Instant::now() > until {
            return Err(format!("a job outlived its builder: {:?}", sizes()).into());
        }
    }
}
