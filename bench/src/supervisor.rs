//! The first process: it gets everything ready, lets the bench run in namespaces of its own, and cleans up.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::Duration;

use orlop_fixtures::tool::{need_root, tool};
use orlop_fixtures::workspace;
use rustix::process::{Pid, Signal, kill_process};

use crate::arguments::{Arguments, HELP};
use crate::comparison;
use crate::disk::delete;
use crate::growth;
use crate::interrupt;
use crate::measure::Hierarchies;
use crate::place::Place;

/// The word that says to a second process that it is one; work directory, group and program follow.
const INSIDE: &str = "--inside-namespaces";

/// What work directories and control groups are called, before the process's id.
const NAME: &str = "orlop-bench-";

/// Either of the two.
pub(crate) fn run() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.first() {
        Some(word) if word == INSIDE => inside(&words[1..]),
        _ => outside(words),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            comparison::say(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn outside(words: Vec<String>) -> io::Result<ExitCode> {
    let arguments =
        Arguments::parse(words.clone()).map_err(|e| io::Error::other(format!("{e}; see --help")))?;
    if arguments.help {
        write!(io::stdout(), "{HELP}")?;
        return Ok(ExitCode::SUCCESS);
    }
    need_root();
    if arguments.install {
        comparison::install(&arguments)?;
    }
    let orlop = match &arguments.orlop {
        Some(path) => std::path::absolute(path)?,
        None => release_build()?,
    };
    if !orlop.is_file() {
        return Err(io::Error::other(format!("there is no `{}`", orlop.display())));
    }
    interrupt::listen()?;
    let above = std::path::absolute(&arguments.work)?;
    sweep(&above)?;
    let name = format!("{NAME}{}", std::process::id());
    let work = above.join(&name);
    fs::create_dir(&work)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot make `{}`: {e}", work.display())))?;
    let groups = if arguments.cgroup { Hierarchies::find() } else { None };
    let made = groups.as_ref().map(|groups| groups.make(&name));
    if let Some(Err(error)) = &made {
        comparison::say(&format!("no control group, memory and CPU are sampled: {error}"));
    }
    let group = if matches!(made, Some(Ok(()))) { name.as_str() } else { "" };
    let outcome = namespaces(&words, &work, group, &orlop);
    if let Some(groups) = &groups {
        groups.remove(&name);
    }
    comparison::say("deleting what was set aside");
    delete(&work)?;
    outcome
}

/// Removes what runs have left that were killed before they could.
fn sweep(above: &Path) -> io::Result<()> {
    let entries = fs::read_dir(above)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot list `{}`: {e}", above.display())))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(NAME).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            if let Some(groups) = Hierarchies::find() {
                groups.remove(&name);
            }
            delete(&entry.path())?;
        }
    }
    Ok(())
}

/// Builds the product as it is given to people, and gives its path.
fn release_build() -> io::Result<PathBuf> {
    let built = tool("cargo")
        .args(["build", "--release", "--locked", "--quiet", "-p", "orlop"])
        .current_dir(workspace())
        .status()?;
    if !built.success() {
        return Err(io::Error::other(format!("cargo build ended with {built}")));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(workspace().join(target).join("release/orlop"))
}

/// Runs the same program with the same words as the first process of namespaces for mounts and processes. Whatever
/// ends this process or that one ends all that is in there.
fn namespaces(words: &[String], work: &Path, group: &str, orlop: &Path) -> io::Result<ExitCode> {
    let mut command = tool("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave"]);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(std::env::current_exe()?);
    command.arg(INSIDE).arg(work).arg(group).arg(orlop).args(words);
    let mut child = command.spawn()?;
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Ok(if interrupt::asked() {
                ExitCode::from(130)
            } else {
                ExitCode::from(code.unwrap_or(2))
            });
        }
        if interrupt::asked() && !told {
            told = true;
            if let Some(process) = only_child(&child) {
                // It may be ending already.
                let _ = kill_process(process, Signal::TERM);
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `unshare` takes no signals while it waits for what it started.
fn only_child(of: &Child) -> Option<Pid> {
    let id = of.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().and_then(Pid::from_raw)
}

fn inside(words: &[String]) -> io::Result<ExitCode> {
    let [work, group, orlop, words @ ..] = words else { return Err(io::Error::other("words are missing")) };
    let arguments = Arguments::parse(words.to_vec()).map_err(io::Error::other)?;
    interrupt::listen()?;
    // In the background of some shells everything is nice, and figures are those of what else runs.
    let _ = rustix::process::setpriority_process(None, 0);
    let group = Hierarchies::find().filter(|_| !group.is_empty()).map(|all| (all, group.clone()));
    let place = Place { work: work.into(), group, orlop: orlop.into() };
    let run = if arguments.growth { growth::run } else { comparison::run };
    let good = run(&arguments, &place)?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
