//! Who builds.

#![expect(clippy::disallowed_methods, reason = "the bench starts builders")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use orlop_fixtures::base;
use orlop_fixtures::tool::{find, run, tool};

/// A builder with a store of its own.
#[derive(Debug)]
pub(crate) struct Builder {
    kind: Kind,
    program: PathBuf,
    store: PathBuf,
    home: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Orlop,
    Buildah,
}

impl Builder {
    /// The binary at this path.
    pub(crate) fn orlop(program: &Path, work: &Path) -> Self {
        Self {
            kind: Kind::Orlop,
            program: program.to_owned(),
            store: work.join("orlop"),
            home: work.to_owned(),
        }
    }

    /// Debian's buildah.
    pub(crate) fn buildah(work: &Path) -> Self {
        Self {
            kind: Kind::Buildah,
            program: find("buildah").into(),
            store: work.join("buildah"),
            home: work.to_owned(),
        }
    }

    /// Empties the store.
    pub(crate) fn forget(&self) {
        if self.kind == Kind::Buildah && self.store.exists() {
            run(self.command().args(["rmi", "--all", "--force"]));
        }
        // buildah mounts its store on itself.
        let _ = tool("umount").arg("-l").arg(self.store.join("root/overlay")).output();
        run(tool("rm").arg("-rf").arg(&self.store));
    }

    /// Brings the base image into the store, so that fetching it is not measured.
    pub(crate) fn fetch_base(&self) {
        let empty = self.home.join("empty");
        std::fs::create_dir_all(&empty).unwrap_or_else(|e| panic!("cannot make `{}`: {e}", empty.display()));
        let file = empty.join("Dockerfile");
        std::fs::write(&file, "ARG BASE\nFROM ${BASE}\nRUN true\n")
            .unwrap_or_else(|e| panic!("cannot write `{}`: {e}", file.display()));
        self.build(&empty);
    }

    /// Builds the context and gives the seconds that it took.
    ///
    /// # Panics
    /// When the build fails, with its output.
    pub(crate) fn build(&self, context: &Path) -> f64 {
        let layout = base::busybox();
        let mut command = self.command();
        match self.kind {
            Kind::Orlop => {
                command.args(["build", "--quiet", "-t", "bench", "--build-arg"]);
                command.arg(format!("BASE=oci-layout://{}:latest", layout.display()));
            }
            Kind::Buildah => {
                command.args([
                    "bud",
                    "--quiet",
                    "--layers",
                    "--isolation",
                    "oci",
                    "--network",
                    "host",
                    "-t",
                    "bench",
                ]);
                command.arg("--build-arg").arg(format!("BASE=oci:{}:latest", layout.display()));
            }
        }
        command.arg("-f").arg(context.join("Dockerfile")).arg(context);
        let start = Instant::now();
        run(&mut command);
        start.elapsed().as_secs_f64()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Orlop => command.arg("--root").arg(&self.store),
            Kind::Buildah => command
                .arg("--root")
                .arg(self.store.join("root"))
                .arg("--runroot")
                .arg(self.store.join("run")),
        };
        command.env("HOME", &self.home).env("TMPDIR", &self.home).env("BUILDAH_RUNTIME", find("runc"));
        command.stdin(std::process::Stdio::null());
        command
    }
}
