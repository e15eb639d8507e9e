//! Where the peers' programs come from: this machine, or a root directory with another Debian in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop_fixtures::tool::{run, tool};
use orlop_fixtures::{cached, workspace};

use crate::base::succeed;

/// Where programs are, in this order: what Debian installs goes before what somebody put beside it.
const DIRS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// The programs of one system.
#[derive(Debug, Clone)]
pub(crate) struct Toolbox {
    root: Option<PathBuf>,
}

impl Toolbox {
    /// This machine's.
    pub(crate) fn host() -> Self {
        Self { root: None }
    }

    /// Those of a root directory, which is not changed: they run on a copy-on-write view of it, in which all of
    /// `shared` is where it is outside. The mounts end with this process's mount namespace.
    pub(crate) fn mount(lower: &Path, work: &Path, shared: &[&Path]) -> io::Result<Self> {
        let place = work.join("peers");
        let root = place.join("root");
        for dir in ["root", "upper", "work"] {
            fs::create_dir_all(place.join(dir))?;
        }
        let mut script = String::from(
            "set -e; mount -t overlay overlay -o \"lowerdir=$LOWER,upperdir=$PLACE/upper,workdir=$PLACE/work\" $PLACE/root\n\
             mount -t proc proc $PLACE/root/proc\n\
             mount --rbind /sys $PLACE/root/sys; mount --rbind /dev $PLACE/root/dev; mount -t tmpfs tmpfs $PLACE/root/run\n",
        );
        for dir in shared {
            let inside = root.join(dir.strip_prefix("/").unwrap_or(dir));
            script += &format!("mkdir -p {0}; mount --bind {1} {0}\n", inside.display(), dir.display());
        }
        let output = tool("sh").arg("-c").arg(script).env("LOWER", lower).env("PLACE", &place).output()?;
        succeed(output, "cannot mount the peers' root directory")?;
        Ok(Self { root: Some(root) })
    }

    /// The directory that the programs see as `/`, where that is another one.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Where a path of this system is for us.
    pub(crate) fn host_path(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// The program of this name.
    pub(crate) fn path(&self, program: &str) -> Option<PathBuf> {
        DIRS.iter().map(|dir| Path::new(dir).join(program)).find(|path| self.host_path(path).is_file())
    }

    /// The program of this name, or an error.
    pub(crate) fn need(&self, program: &str) -> io::Result<PathBuf> {
        let place = self.root.as_deref().unwrap_or(Path::new("this machine"));
        self.path(program)
            .ok_or_else(|| io::Error::other(format!("there is no `{program}` in {}", place.display())))
    }

    /// A command for the program at this path.
    pub(crate) fn run(&self, path: &Path) -> Command {
        match &self.root {
            None => Command::new(path),
            Some(root) => {
                let mut command = tool("chroot");
                command.arg(root).arg(path);
                command
            }
        }
    }

    /// A command for the program of this name.
    pub(crate) fn command(&self, program: &str) -> io::Result<Command> {
        Ok(self.run(&self.need(program)?))
    }
}

/// The codename of this machine's Debian.
pub(crate) fn codename() -> io::Result<String> {
    let text = fs::read_to_string("/etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(str::to_owned).ok_or_else(|| io::Error::other("/etc/os-release names no release"))
}

/// A root directory of this Debian with the peers in it; made once and kept.
///
/// # Panics
/// When mmdebstrap cannot make it.
pub(crate) fn root_of(suite: &str) -> PathBuf {
    let dir = cached(&place(suite), |dir| {
        let script = workspace().join("bench/peers-root");
        let mut packages = vec!["docker.io", "buildah", "skopeo", "runc", "ca-certificates"];
        // Up to Debian 12 the client was in the daemon's package, and buildah did without netavark.
        if suite != "bookworm" && suite != "bullseye" {
            packages.extend(["docker-cli", "docker-buildx", "netavark"]);
        }
        run(tool("sh").arg(script).arg(suite).arg(dir.join("root")).args(packages));
    });
    dir.join("root")
}

/// The same, if it is there.
pub(crate) fn root_there(suite: &str) -> Option<PathBuf> {
    let dir = orlop_fixtures::cache_dir().join(place(suite)).join("root");
    dir.is_dir().then_some(dir)
}

fn place(suite: &str) -> String {
    format!("bench-peers-{suite}-1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_root_are_below_it() {
        let host = Toolbox::host();
        assert_eq!(host.host_path(Path::new("/usr/bin/x")), Path::new("/usr/bin/x"));
        assert!(host.need("no-such-program").unwrap_err().to_string().contains("this machine"));
        assert_eq!(host.command("true").unwrap().get_program(), "/usr/bin/true");
        let other = Toolbox { root: Some("/r".into()) };
        assert_eq!(other.host_path(Path::new("/usr/bin/x")), Path::new("/r/usr/bin/x"));
        let command = other.run(Path::new("/usr/bin/x"));
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["/r", "/usr/bin/x"]);
    }
}
