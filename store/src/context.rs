//! What is the same for all file systems that are made by `fsopen`: how files are named to the kernel, and what it
//! says of them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The longest value of an option that the kernel takes as text.
const LONGEST: usize = 255;

/// Names for files that are too long for the kernel as they are: by handles, open for as long as this lives.
#[derive(Debug, Default)]
pub(crate) struct Names {
    handles: Vec<OwnedFd>,
}

impl Names {
    /// A name of `path` that is short enough.
    pub(crate) fn short(&mut self, path: &Path) -> Result<PathBuf, Errno> {
        match path.as_os_str().len() {
            ..=LONGEST => Ok(path.to_owned()),
            _ => self.handle(path),
        }
    }

    /// A name of `path` that is short, and without characters that mean something.
    pub(crate) fn handle(&mut self, path: &Path) -> Result<PathBuf, Errno> {
        let handle = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let name = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        self.handles.push(handle);
        Ok(name)
    }
}

/// What the kernel said so far; nothing where it is silent.
pub(crate) fn log(context: &OwnedFd) -> String {
    let mut log = String::new();
    let mut line = [0; 512];
    while let Ok(n @ 1..) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..n]);
        let text = text.trim_start_matches(['e', 'w', 'i', ' ']).trim();
        if !log.is_empty() {
            log += "; ";
        }
        log += text;
    }
    log
}
