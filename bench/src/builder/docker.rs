//! Docker's BuildKit, over the overlay2 store or over containerd's.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::Daemon;
use super::{Build, Builder, From, Store, clean, first_line, subdirectory};
use crate::base::{Base, NAME};
use crate::measure::Meter;
use crate::peers::Toolbox;

/// Where the daemon keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Snapshots {
    Overlay2,
    Containerd,
}

/// A Docker daemon and its client.
#[derive(Debug, Clone)]
pub(crate) struct Docker {
    pub(crate) toolbox: Toolbox,
    pub(crate) dockerd: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) snapshots: Snapshots,
}

impl Docker {
    /// The one of a toolbox, or this daemon with the client that is beside it.
    pub(crate) fn find(toolbox: &Toolbox, dockerd: Option<&Path>) -> io::Result<Self> {
        let dockerd = match dockerd {
            Some(path) => std::path::absolute(path)?,
            None => toolbox.need("dockerd")?,
        };
        let beside = ["docker", "../bin/docker"].iter().filter_map(|name| Some(dockerd.parent()?.join(name)));
        let client = beside.into_iter().find(|path| toolbox.host_path(path).is_file());
        let client = match client {
            Some(path) => path,
            None => toolbox.need("docker")?,
        };
        Ok(Self { toolbox: toolbox.clone(), dockerd, client, snapshots: Snapshots::Overlay2 })
    }

    /// The same with another store, where the version knows it.
    pub(crate) fn with(&self, snapshots: Snapshots) -> io::Result<Option<Self>> {
        let version = self.version()?;
        let major = version.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<u32>().ok());
        let known = snapshots == Snapshots::Overlay2 || major.is_some_and(|major| major >= 24);
        Ok(known.then(|| Self { snapshots, ..self.clone() }))
    }
}

impl Builder for Docker {
    fn name(&self) -> &'static str {
        match self.snapshots {
            Snapshots::Overlay2 => "overlay2",
            Snapshots::Containerd => "containerd",
        }
    }

    fn title(&self) -> &'static str {
        match self.snapshots {
            Snapshots::Overlay2 => "BuildKit, overlay2",
            Snapshots::Containerd => "BuildKit, containerd",
        }
    }

    fn version(&self) -> io::Result<String> {
        let mut command = self.toolbox.run(&self.dockerd);
        command.arg("--version");
        let line = first_line(command)?;
        Ok(line.split(',').next().unwrap_or(&line).replace(" version", ""))
    }

    fn open(&self, dir: &Path, meter: &Meter) -> io::Result<Box<dyn Store>> {
        let home = subdirectory(dir, "client")?;
        let containerd = self.snapshots == Snapshots::Containerd;
        let daemon = Daemon::start(&self.toolbox, &self.dockerd, dir, containerd, meter)?;
        Ok(Box::new(DockerStore { docker: self.clone(), daemon, home }))
    }
}

struct DockerStore {
    docker: Docker,
    daemon: Daemon,
    home: PathBuf,
}

impl DockerStore {
    fn command(&self, name: &str) -> Command {
        let command = clean(self.docker.toolbox.run(&self.docker.client), &self.home);
        let mut command = self.daemon.client(command);
        command.arg(name);
        command
    }
}

impl Store for DockerStore {
    fn load(&self, base: &Base) -> Vec<Command> {
        let mut load = self.command("load");
        load.arg("-q").arg("-i").arg(&base.archive);
        vec![load]
    }

    fn build(&self, build: &Build<'_>) -> Vec<Command> {
        let mut command = self.command("build");
        command.args(["-q", "--network=host", "-t", build.name, "--build-arg"]);
        command.arg(match build.from {
            From::Base(_) => format!("BASE={NAME}"),
            From::Image(name) => format!("BASE={name}"),
        });
        command.arg(build.context);
        let mut commands = vec![command];
        if build.push {
            let mut push = self.command("push");
            push.args(["-q", build.name]);
            commands.push(push);
        }
        commands
    }

    fn pull(&self, name: &str) -> Vec<Command> {
        let mut pull = self.command("pull");
        pull.args(["-q", name]);
        vec![pull]
    }
}
