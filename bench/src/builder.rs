//! Who builds: orlop and its peers, each with stores of its own.

mod buildah;
mod daemon;
mod docker;
mod orlop;

pub(crate) use buildah::Buildah;
pub(crate) use docker::{Docker, Snapshots};
pub(crate) use orlop::{Orlop, OrlopStore};

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::Base;
use crate::measure::Meter;

/// What is built from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    /// The local base image.
    Base(&'a Base),
    /// An image of that name in the store.
    Image(&'a str),
}

/// One build.
#[derive(Debug, Clone)]
pub(crate) struct Build<'a> {
    /// The directory with the Dockerfile in it.
    pub(crate) context: &'a Path,
    pub(crate) from: From<'a>,
    /// What the image is called.
    pub(crate) name: &'a str,
    /// To the registry that the name has, too.
    pub(crate) push: bool,
    /// Stages at a time, where a builder wants to be told.
    pub(crate) jobs: usize,
}

/// A builder.
pub(crate) trait Builder {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;
    /// What a table calls it.
    fn title(&self) -> &'static str;
    /// As it says itself.
    fn version(&self) -> io::Result<String>;
    /// An empty store in the new directory `dir`; what has to run for it is started in the meter's group.
    fn open(&self, dir: &Path, meter: &Meter) -> io::Result<Box<dyn Store>>;
}

/// A store of a builder. Dropped, nothing of it runs or is mounted any more.
pub(crate) trait Store {
    /// What brings the base image in, where a build cannot do that itself.
    fn load(&self, _base: &Base) -> Vec<Command> {
        Vec::new()
    }
    /// What builds.
    fn build(&self, build: &Build<'_>) -> Vec<Command>;
    /// What fetches an image.
    fn pull(&self, name: &str) -> Vec<Command>;
}

/// A command that knows nothing of this machine's configuration.
fn clean(mut command: Command, home: &Path) -> Command {
    command.env_clear().env("HOME", home).env("TMPDIR", home);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// A new directory of a store.
fn subdirectory(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let path = dir.join(name);
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// The first line of what a program prints.
fn first_line(mut command: Command) -> io::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.to_owned()),
        _ => Err(io::Error::other(format!("{command:?} ended with {}", output.status))),
    }
}
