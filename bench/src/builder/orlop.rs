//! orlop.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Build, Builder, From, Store, clean, first_line, subdirectory};
use crate::measure::Meter;

/// The binary at this path.
#[derive(Debug)]
pub(crate) struct Orlop(pub(crate) PathBuf);

impl Builder for Orlop {
    fn name(&self) -> &'static str {
        "orlop"
    }

    fn title(&self) -> &'static str {
        "orlop"
    }

    fn version(&self) -> io::Result<String> {
        let mut command = Command::new(&self.0);
        command.arg("--version");
        first_line(command)
    }

    fn open(&self, dir: &Path, _: &Meter) -> io::Result<Box<dyn Store>> {
        Ok(Box::new(self.store(dir)?))
    }
}

impl Orlop {
    /// What [`Builder::open`] gives.
    pub(crate) fn store(&self, dir: &Path) -> io::Result<OrlopStore> {
        let home = subdirectory(dir, "home")?;
        Ok(OrlopStore { program: self.0.clone(), root: dir.join("root"), home })
    }
}

/// A store of orlop's.
#[derive(Debug)]
pub(crate) struct OrlopStore {
    program: PathBuf,
    root: PathBuf,
    home: PathBuf,
}

impl OrlopStore {
    fn command(&self, name: &str) -> Command {
        let mut command = clean(Command::new(&self.program), &self.home);
        command.arg("--root").arg(&self.root).arg(name);
        command
    }

    /// What takes in the images of an archive.
    pub(crate) fn load(&self, archive: &Path) -> Command {
        let mut command = self.command("load");
        command.arg("--quiet").arg("-i").arg(archive);
        command
    }
}

impl Store for OrlopStore {
    fn build(&self, build: &Build<'_>) -> Vec<Command> {
        let mut command = self.command("build");
        command.args(["--quiet", "-t", build.name, "--build-arg"]);
        command.arg(match build.from {
            From::Base(base) => format!("BASE=oci-layout://{}:latest", base.layout.display()),
            From::Image(name) => format!("BASE={name}"),
        });
        if build.push {
            command.arg("--push");
        }
        command.arg(build.context);
        vec![command]
    }

    fn pull(&self, name: &str) -> Vec<Command> {
        let mut command = self.command("pull");
        command.arg(name);
        vec![command]
    }
}
