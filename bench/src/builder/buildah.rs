//! buildah, with runc, the overlay driver and a cache of layers.
//!
//! Without `--cgroup-parent`, whose group all steps would share, so that two at a time fail: runc puts a step's
//! group below that of whoever starts it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Build, Builder, From, Store, clean, first_line, subdirectory};
use crate::measure::Meter;
use crate::peers::Toolbox;

/// The one of this machine, or of a root directory.
#[derive(Debug)]
pub(crate) struct Buildah(pub(crate) Toolbox);

impl Builder for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn title(&self) -> &'static str {
        "buildah"
    }

    fn version(&self) -> io::Result<String> {
        let mut command = self.0.command("buildah")?;
        command.arg("--version");
        let line = first_line(command)?;
        Ok(line.split(" (").next().unwrap_or(&line).replace(" version", ""))
    }

    fn open(&self, dir: &Path, _: &Meter) -> io::Result<Box<dyn Store>> {
        let home = subdirectory(dir, "home")?;
        let policy = home.join("policy.json");
        fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
        let runtime = ["runc", "crun"].iter().find_map(|name| self.0.path(name));
        Ok(Box::new(BuildahStore {
            toolbox: self.0.clone(),
            program: self.0.need("buildah")?,
            runtime: runtime.ok_or_else(|| io::Error::other("buildah needs runc or crun"))?,
            root: dir.join("root"),
            run: dir.join("run"),
            home,
            policy,
        }))
    }
}

struct BuildahStore {
    toolbox: Toolbox,
    program: PathBuf,
    runtime: PathBuf,
    root: PathBuf,
    run: PathBuf,
    home: PathBuf,
    policy: PathBuf,
}

impl BuildahStore {
    fn command(&self, name: &str) -> Command {
        let mut command = clean(self.toolbox.run(&self.program), &self.home);
        command.env("BUILDAH_RUNTIME", &self.runtime);
        command.arg("--root").arg(&self.root).arg("--runroot").arg(&self.run);
        command.args(["--storage-driver", "overlay", name, "--signature-policy"]).arg(&self.policy);
        command
    }

    fn bud(&self, context: &Path, from: &str, name: &str, jobs: usize) -> Command {
        let mut command = self.command("bud");
        command.args(["--quiet", "--layers", "--isolation", "oci", "--network", "host"]);
        // By default it asks for limits that a confined root cannot have.
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(1 << 20);
        let processes =
            rustix::process::getrlimit(rustix::process::Resource::Nproc).maximum.unwrap_or(1 << 20);
        command
            .arg(format!("--ulimit=nofile={files}:{files}"))
            .arg(format!("--ulimit=nproc={processes}:{processes}"));
        if jobs > 1 {
            command.arg(format!("--jobs={jobs}"));
        }
        command.args(["-t", name]).arg(format!("--build-arg=BASE={from}"));
        command.arg("-f").arg(context.join("Dockerfile")).arg(context);
        command
    }
}

impl Store for BuildahStore {
    fn build(&self, build: &Build<'_>) -> Vec<Command> {
        let from = match build.from {
            From::Base(base) => format!("oci:{}:latest", base.layout.display()),
            From::Image(name) => name.to_owned(),
        };
        let mut commands = vec![self.bud(build.context, &from, build.name, build.jobs)];
        if build.push {
            let mut push = self.command("push");
            push.args(["--quiet", "--tls-verify=false", build.name]).arg(format!("docker://{}", build.name));
            commands.push(push);
        }
        commands
    }

    fn pull(&self, name: &str) -> Vec<Command> {
        let mut pull = self.command("pull");
        pull.args(["--quiet", "--tls-verify=false"]).arg(format!("docker://{name}"));
        vec![pull]
    }
}
