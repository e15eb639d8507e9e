//! `RUN --mount=type=ssh`: a socket of the step's own, behind which the user's agent answers.
//!
//! The agent's own socket is not mounted: it belongs to whoever started it, and the step's user may be another.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags};

/// What is answered at one time; a step that asks for more finds the socket closed.
const MOST_CONNECTIONS: usize = 64;

/// A socket that passes on what it is asked, until dropped.
#[derive(Debug)]
pub(super) struct Forwarded {
    dir: tempfile::TempDir,
    handle: OwnedFd,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarded {
    /// A socket with this mode and owner for the agent at `agent`.
    ///
    /// # Errors
    /// When there is no room for it, or it cannot be given to the owner.
    pub(super) fn new(agent: &Path, mode: u32, owner: (u32, u32)) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("orlop-ssh-").tempdir()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(dir.path(), flags, Mode::empty())?;
        let listener = UnixListener::bind(short(&handle))?;
        let path = dir.path().join(NAME);
        if owner != (0, 0) {
            chown(&path, Some(owner.0), Some(owner.1))?;
        }
        set_mode(&path, mode)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (agent, stopped) = (agent.to_owned(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("ssh agent".to_owned())
            .spawn(move || serve(&listener, &agent, &stopped))?;
        Ok(Self { dir, handle, stop, thread: Some(thread) })
    }

    /// Where the socket is.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        if UnixStream::connect(short(&self.handle)).is_ok()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

const NAME: &str = "agent";

/// The socket's path by way of its directory's handle: a path of a socket has at most 107 bytes.
fn short(dir: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()).into()
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o777))
}

fn serve(listener: &UnixListener, agent: &Path, stop: &AtomicBool) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(theirs) = stream else { continue };
        if open.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (agent, count) = (agent.to_owned(), Arc::clone(&open));
        // It ends when the step's side does, which is with the step at the latest.
        let started = std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || {
            drop(UnixStream::connect(agent).and_then(|ours| join(theirs, ours)));
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Passes bytes on in both directions until both sides have ended.
fn join(theirs: UnixStream, ours: UnixStream) -> io::Result<()> {
    let pass = |mut from: UnixStream, mut to: UnixStream| {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(std::net::Shutdown::Write));
    };
    let (from, to) = (theirs.try_clone()?, ours.try_clone()?);
    let asks = std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || pass(from, to))?;
    pass(ours, theirs);
    drop(asks.join());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_asked_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        let agent = dir.path().join("s");
        let listener = UnixListener::bind(&agent).unwrap();
        let answers = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut asked = String::new();
                stream.read_to_string(&mut asked).unwrap();
                stream.write_all(asked.to_uppercase().as_bytes()).unwrap();
            }
        });
        let forwarded = Forwarded::new(&agent, 0o640, (0, 0)).unwrap();
        let path = forwarded.path();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        for asked in ["first", "second"] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(asked.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, asked.to_uppercase());
        }
        answers.join().unwrap();
        // An agent that has gone answers nobody, and the socket goes with its owner.
        let mut nothing = Vec::new();
        std::fs::remove_file(&agent).unwrap();
        UnixStream::connect(&path).unwrap().read_to_end(&mut nothing).unwrap();
        assert_eq!(nothing, b"");
        drop(forwarded);
        assert!(!path.exists());
    }
}
