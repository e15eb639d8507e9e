//! The program as its users meet it, end to end, on a real disk, as root or as nobody in particular.
//!
//! | file | what belongs there |
//! |---|---|
//! | `peers.rs` | what we write against what other builders write and read |
//! | `build.rs`, `cache.rs` | what `orlop build` does with a good Dockerfile, and what it does not do again |
//! | `shared_cache.rs` | what stores give each other through registries and directories |
//! | `checks.rs` | what is said of a Dockerfile: the rules in a build, `--check` and the other `--call`s |
//! | `contexts.rs`, `named_contexts.rs` | where COPY reads from, when it is no directory |
//! | `limits.rs` | what a step may use, and what is said of what it used |
//! | `outputs.rs`, `registry.rs` | where images go and come from |
//! | `hosts.rs` | where they come from by configuration |
//! | `names.rs` | what a name stands for while its image is on the way, and where its layers are looked for |
//! | `copying.rs` | `copy`, `digest`, `tags`, `referrers`, and `inspect` of what is elsewhere |
//! | `logins.rs`, `tokens.rs` | `login` and `logout`, who keeps logins, and what token servers make of them |
//! | `traces.rs` | `--trace`, and where the time went |
//! | `manage.rs` | `images`, `tag`, `rmi`, `inspect`, `history`, `run` |
//! | `git.rs`, `git_contexts.rs` | repositories as sources of ADD and as contexts |
//! | `platforms.rs` | several platforms at once, and steps for processors that this machine has not |
//! | `bad_input.rs`, `hostile.rs` | what users get wrong, and what strangers put into images |
//! | `instructions.rs` | what single instructions and flags do, where buildah has no say |
//! | `slips.rs` | what is told by what was meant, and the limits of what variables may grow to |
//! | `faults.rs` | registries and networks that do harm, behind a proxy of the tests |
//! | `killed.rs`, `killed_transfers.rs` | the end of the program in the middle of its work |
//! | `windows_images.rs` | images for Windows, built here from stages without RUN |
//! | `windows_language.rs` | what is written in a Dockerfile for Windows, understood, warned of or refused |
//! | `rootless.rs` | all of it without privileges |
//! | `messages/` | every message with its exit code; `ORLOP_UPDATE=1` writes them anew |
//!
//! The Windows program's own are in `wine_end_to_end/`.

#![cfg(target_os = "linux")]

mod bad_input;
mod build;
mod cache;
mod checks;
mod contexts;
mod copying;
mod faults;
mod git;
mod git_contexts;
mod hostile;
mod hosts;
mod instructions;
mod killed;
mod killed_transfers;
mod limits;
mod logins;
mod manage;
mod named_contexts;
mod names;
mod opened;
mod outputs;
mod peers;
mod platforms;
mod registry;
mod rootless;
mod shared_cache;
mod slips;
mod snapshot;
mod tokens;
mod traces;
mod ways;
mod windows_images;
mod windows_language;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use orlop_fixtures::test_env::{Invocation, TestEnv};

pub(crate) use opened::Opened;

pub(crate) const ORLOP: &str = env!("CARGO_BIN_EXE_orlop");

/// A clean place to run in.
pub(crate) fn env() -> TestEnv {
    TestEnv::new(ORLOP)
}

/// The layout of the busybox base.
pub(crate) fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(orlop_fixtures::base::busybox)
}

/// The busybox base as a name for `FROM`.
pub(crate) fn base_name() -> String {
    layout_name(base())
}

/// A layout's image `latest` as a name for `FROM`.
pub(crate) fn layout_name(dir: &Path) -> String {
    format!("oci-layout://{}:latest", dir.display())
}

/// Runs it, and says how many kilobytes of memory it had at most.
pub(crate) fn peak_memory(invocation: Invocation<'_>) -> u64 {
    let mut running = invocation.start();
    let peak = std::cell::Cell::new(0u64);
    let status = format!("/proc/{}/status", running.pid());
    running.until(|_| {
        // Before it is orlop it is, for a moment, the test.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let text = if text.starts_with("Name:\torlop\n") { text } else { String::new() };
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(str::trim);
        let kilobytes = line.and_then(|line| line.strip_suffix(" kB")).and_then(|n| n.trim().parse().ok());
        peak.set(peak.get().max(kilobytes.unwrap_or(0)));
        false
    });
    running.wait().success();
    peak.get()
}

/// `orlop build -t built` of this text over the busybox base, with the directory `context` of the
/// test as its context.
pub(crate) fn build<'a>(env: &'a TestEnv, dockerfile: &str) -> Invocation<'a> {
    build_over(env, dockerfile, &base_name())
}

/// The same over another base.
pub(crate) fn build_over<'a>(env: &'a TestEnv, dockerfile: &str, base: &str) -> Invocation<'a> {
    build_as(env, dockerfile, base, "built")
}

/// The same under another name.
pub(crate) fn build_as<'a>(env: &'a TestEnv, dockerfile: &str, base: &str, name: &str) -> Invocation<'a> {
    let file = env.file("Dockerfile", dockerfile);
    let context = env.dir("context");
    env.orlop(["build", "--progress=plain", "-t", name, "--build-arg"])
        .arg(format!("BASE={base}"))
        .arg("-f")
        .arg(file)
        .arg(context)
}

/// Builds this text and opens the image that comes out.
pub(crate) fn image(env: &TestEnv, dockerfile: &str) -> Opened {
    image_of(env, build(env, dockerfile))
}

/// Finishes a build and opens the image that comes out.
pub(crate) fn image_of(env: &TestEnv, build: Invocation<'_>) -> Opened {
    let archive = env.path("image.tar");
    let _ = std::fs::remove_file(&archive);
    build.arg("-o").arg(format!("type=oci,dest={}", archive.display())).run().success();
    Opened::archive(&archive)
}

/// The lines that a Dockerfile of a test begins with.
pub(crate) const FROM: &str = "ARG BASE\nFROM ${BASE}\n";
