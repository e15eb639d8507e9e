//! What `orlop info` says of a Linux machine.

use std::path::Path;

use orlop_store::Store;
use rustix::fs::{Mode, OFlags};

use crate::commands::info::Fact;
use crate::diagnostics::Failure;
use crate::session::App;
use crate::startup::Host;

/// Kernel and architecture.
pub(crate) fn system() -> String {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} {} ({})", text(name.sysname()), text(name.release()), text(name.machine()))
}

/// How steps see their root: as `/`.
pub(crate) fn view() -> Option<Fact> {
    None
}

/// The version of Windows, which this is not.
pub(crate) fn version() -> Option<String> {
    None
}

/// Who we are.
pub(crate) fn user(host: &Host) -> Fact {
    if host.root {
        return Fact::new("user", "root");
    }
    let fact = Fact::new("user", "rootless, in a user namespace");
    match &host.note {
        Some(note) => fact.with_hint(note.clone()),
        None => fact,
    }
}

/// The store's file system, and whether files can share their content there.
pub(crate) fn volume(root: &Path) -> Fact {
    let kind = match rustix::fs::statfs(root) {
        Ok(stat) => file_system(stat.f_type as u64),
        Err(error) => return Fact::new("volume", format!("unknown: {error}")),
    };
    match reflink(root) {
        Ok(()) => Fact::new("volume", format!("{kind}, shares content between files (reflink)")),
        Err(error) => Fact::new("volume", format!("{kind}, no reflink ({error})"))
            .with_hint("only the copy driver needs it: XFS and Btrfs have it"),
    }
}

/// The form that layers are kept and stacked in.
pub(crate) fn layers(store: &Store) -> Option<Fact> {
    Some(match store.layers().unpacked_because() {
        None => Fact::new("layers", "mounted from their tars (EROFS)"),
        Some(why) => Fact::new("layers", "unpacked into directories").with_hint(format!("slower: {why}")),
    })
}

/// By trying: two files without a name.
fn reflink(root: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let (from, to) = (rustix::fs::open(root, flags, Mode::RUSR)?, rustix::fs::open(root, flags, Mode::RUSR)?);
    rustix::io::write(&from, &[1; 4096])?;
    rustix::fs::ioctl_ficlone(&to, &from)
}

/// By the numbers in `linux/magic.h`.
fn file_system(magic: u64) -> String {
    match magic {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "XFS".to_owned(),
        0x9123_683e => "Btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        0x2fc1_2fc1 => "ZFS".to_owned(),
        0x6969 => "NFS".to_owned(),
        0xf2f5_2010 => "F2FS".to_owned(),
        0x6573_5546 => "FUSE".to_owned(),
        other => format!("file system {other:#x}"),
    }
}

/// There is none here.
pub(crate) fn self_test(_app: &App, _json: bool) -> Result<(), Failure> {
    Err(Failure::usage(
        "`--self-test` tries the confinements of jobs on Windows; on Linux the kernel gives or refuses each",
    )
    .with_hint("`orlop info` has tried all that it shows".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let fact = volume(dir.path());
        assert!(fact.value.contains("reflink"), "{fact:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(volume(Path::new("/no/such/place")).value.starts_with("unknown: "));
        assert!(system().starts_with("Linux "), "{}", system());
    }
}
