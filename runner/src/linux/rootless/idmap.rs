//! Which ids a user namespace has, and how they get there.

#![expect(clippy::disallowed_methods, reason = "only `newuidmap` and `newgidmap` may map subordinate ids")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{RootlessError, RootlessOptions, RootlessReport, find};
use crate::linux::syscall;

/// A range of ids on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// Ids inside a user namespace and on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// The first inside.
    pub inside: u32,
    /// The first on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Mappings with a range of ids, and the programs that can set them.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) uids: Vec<IdMapping>,
    pub(super) gids: Vec<IdMapping>,
    newuidmap: PathBuf,
    newgidmap: PathBuf,
}

impl Plan {
    /// The plan, or why only a single id can be had.
    pub(super) fn new(options: &RootlessOptions, uid: u32, gid: u32) -> Result<Self, String> {
        let program = |name| {
            find(&options.path, name)
                .ok_or_else(|| format!("`{name}` is not installed (Debian and Ubuntu: `apt install uidmap`)"))
        };
        let (newuidmap, newgidmap) = (program("newuidmap")?, program("newgidmap")?);
        let ranges = |given: &Option<Vec<IdRange>>, file: &str| -> Result<Vec<IdRange>, String> {
            let ranges = match given {
                Some(ranges) => ranges.clone(),
                None => {
                    let text = fs::read_to_string(file).unwrap_or_default();
                    parse_ranges(&text, options.user.as_deref(), uid)
                }
            };
            if ranges.iter().all(|range| range.count == 0) {
                let who = options.user.clone().unwrap_or_else(|| uid.to_string());
                return Err(format!("`{file}` has no ids for `{who}`"));
            }
            Ok(ranges)
        };
        Ok(Self {
            uids: mappings(uid, &ranges(&options.uids, "/etc/subuid")?),
            gids: mappings(gid, &ranges(&options.gids, "/etc/subgid")?),
            newuidmap,
            newgidmap,
        })
    }

    /// Runs the two programs for process `pid`.
    fn apply(&self, pid: u32) -> Result<(), String> {
        for (program, mappings) in [(&self.newuidmap, &self.uids), (&self.newgidmap, &self.gids)] {
            let mut command = Command::new(program);
            command.arg(pid.to_string()).env_clear().stdin(Stdio::null());
            for IdMapping { inside, outside, count } in mappings {
                command.args([inside, outside, count].map(u32::to_string));
            }
            let failed = |why: &str| format!("`{}` failed: {}", program.display(), why.trim());
            let output = command.output().map_err(|error| failed(&error.to_string()))?;
            if !output.status.success() {
                return Err(failed(&String::from_utf8_lossy(&output.stderr)));
            }
        }
        Ok(())
    }
}

/// The caller as 0, then its ranges one after the other.
fn mappings(own: u32, ranges: &[IdRange]) -> Vec<IdMapping> {
    let mut mappings = vec![IdMapping { inside: 0, outside: own, count: 1 }];
    let mut next: u32 = 1;
    for range in ranges.iter().filter(|range| range.count > 0) {
        let count = range.count.min(u32::MAX - next);
        mappings.push(IdMapping { inside: next, outside: range.start, count });
        next = next.saturating_add(count);
    }
    mappings
}

/// Lines `NAME:START:COUNT` of /etc/subuid; the name may be a number.
fn parse_ranges(text: &str, name: Option<&str>, uid: u32) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let (who, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = Some(who) == name || who.parse() == Ok(uid);
        ours.then_some(())?;
        Some(IdRange { start: start.parse().ok()?, count: count.parse().ok()? })
    };
    text.lines().filter_map(range).collect()
}

/// A process outside of the new namespace that waits for it to exist and then maps its ids.
#[derive(Debug)]
pub(super) struct Helper {
    pid: i32,
    go: File,
    reply: File,
}

impl Helper {
    pub(super) fn start(plan: Plan) -> io::Result<Self> {
        let (go_read, go) = pipe()?;
        let (reply, mut reply_write) = pipe()?;
        let caller = std::process::id();
        let pid = syscall::fork().map_err(io::Error::from_raw_os_error)?;
        if pid == 0 {
            // The caller has a single thread, so this copy of it is a whole program and may allocate.
            drop(go);
            let mut byte = [0];
            let mut go_read = go_read;
            if matches!(go_read.read(&mut byte), Ok(1)) {
                let reply = plan.apply(caller).err().unwrap_or_default();
                let _ = reply_write.write_all(reply.as_bytes());
            }
            syscall::exit(0);
        }
        Ok(Self { pid, go, reply })
    }

    /// Lets it map the ids; an error is its reason.
    pub(super) fn map(mut self) -> Result<(), String> {
        let mut reply = String::new();
        let talk = self.go.write_all(b"g").and_then(|()| self.reply.read_to_string(&mut reply));
        while matches!(syscall::wait(self.pid, true), Err(libc::EINTR)) {}
        talk.map_err(|error| error.to_string())?;
        if reply.is_empty() { Ok(()) } else { Err(reply) }
    }
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write): (OwnedFd, OwnedFd) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// Maps the caller's own ids, as 0; this needs nobody's help.
pub(super) fn map_single(uid: u32, gid: u32, why: String) -> Result<RootlessReport, RootlessError> {
    let write = |path: &str, text: String| {
        fs::write(path, &text)
            .map_err(|source| RootlessError::Map { step: format!("write `{text}` to `{path}`"), source })
    };
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    let one = |outside| vec![IdMapping { inside: 0, outside, count: 1 }];
    Ok(RootlessReport { uids: one(uid), gids: one(gid), single: Some(why) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "alice:100000:65536\n1000:200000:10\nbob:1:2\nalice:x:1\nalice:5\n";
        let range = |start, count| IdRange { start, count };
        assert_eq!(parse_ranges(text, Some("alice"), 1000), [range(100_000, 65536), range(200_000, 10)]);
        assert_eq!(parse_ranges(text, None, 7), []);
    }

    #[test]
    fn ranges_follow_each_other_after_the_caller() {
        let ranges = [
            IdRange { start: 100, count: 10 },
            IdRange { start: 9, count: 0 },
            IdRange { start: 500, count: 5 },
        ];
        let flat: Vec<_> = mappings(1000, &ranges).iter().map(|m| (m.inside, m.outside, m.count)).collect();
        assert_eq!(flat, [(0, 1000, 1), (1, 100, 10), (11, 500, 5)]);
        let flat: Vec<_> =
            mappings(1, &[IdRange { start: 2, count: u32::MAX }; 2]).iter().map(|m| m.count).collect();
        assert_eq!(flat[..2], [1, u32::MAX - 1]);
    }
}
