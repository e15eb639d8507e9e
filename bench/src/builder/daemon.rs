//! A Docker daemon of our own: data, sockets and mounts apart from any other on the machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orlop_fixtures::tool::tool;
use rustix::process::{Pid, Signal, kill_process};

use crate::measure::{Meter, tail};
use crate::peers::Toolbox;

/// A running dockerd; it and its containerd end with the value.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Daemon {
    /// Starts it with everything below `dir`, and waits until it answers.
    pub(crate) fn start(
        toolbox: &Toolbox,
        program: &Path,
        dir: &Path,
        containerd: bool,
        meter: &Meter,
    ) -> io::Result<Self> {
        let config = dir.join("daemon.json");
        let features = if containerd { r#"{"features":{"containerd-snapshotter":true}}"# } else { "{}" };
        fs::write(&config, features)?;
        let log = dir.join("dockerd.log");
        // A mount namespace of its own, and a /run in which nobody else's containerd has a socket.
        let mut command = tool("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-c"]);
        command.arg("mount -t tmpfs tmpfs \"$0/run\" && exec \"$@\"");
        command.arg(toolbox.root().unwrap_or(Path::new("/")));
        let daemon = toolbox.run(program);
        command.arg(daemon.get_program()).args(daemon.get_args());
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(dir.join(name));
        }
        command.arg("--config-file").arg(&config).arg("-H").arg(format!("unix://{}", socket(dir).display()));
        command.args(["--iptables=false", "--ip-forward=false", "--ip-masq=false", "--bridge=none"]);
        command.args(["--log-level=warn", "--exec-opt=native.cgroupdriver=cgroupfs"]);
        if !containerd {
            command.arg("--storage-driver=overlay2");
        }
        if let Meter::Group(group) = meter {
            command.arg("--cgroup-parent").arg(&group.steps);
        }
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file).env("HOME", dir).env("TMPDIR", dir);
        let mut daemon = Self { child: meter.spawn(&mut command)?, dir: dir.to_owned() };
        let start = Instant::now();
        while !daemon.answers() {
            if daemon.child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other(format!("dockerd does not answer:\n{}", tail(&log))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    fn answers(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket(&self.dir)) else { return false };
        let mut answer = [0; 12];
        let asked = stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: d\r\n\r\n");
        asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b" 200")
    }

    /// The client, told where the daemon is.
    pub(crate) fn client(&self, mut command: Command) -> Command {
        command.env("DOCKER_HOST", format!("unix://{}", socket(&self.dir).display()));
        command.env("DOCKER_CONFIG", self.dir.join("client")).env("DOCKER_BUILDKIT", "1");
        command.stdin(Stdio::null());
        command
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("sock")
}

impl Drop for Daemon {
    /// At once: its store is not looked at again, and its mounts are in a namespace that ends with it.
    fn drop(&mut self) {
        let containerd =
            fs::read_to_string(self.dir.join("exec/containerd/containerd.pid")).unwrap_or_default();
        let ids = [i32::try_from(self.child.id()).ok(), containerd.trim().parse().ok()];
        for process in ids.into_iter().flatten().filter_map(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::KILL);
        }
        // One that cannot be waited for was waited for.
        let _ = self.child.wait();
    }
}
