//! Mounting an index over its tar.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{Indexer, Of};
use crate::context::{self, Names};
use crate::digest::Digest;
use crate::layer::LayerError;
use crate::layer::layers::io_error;
use crate::layer::tar::{Entry, Kind, Time, Writer};
use crate::work::Work;

/// Mounts the index of the file `tar`: the root directory of a file system that is attached nowhere, gone with
/// the handle and what was opened through it.
///
/// # Errors
/// When the system cannot or may not, with what the kernel says about it.
pub(crate) fn mount(index: &Path, tar: &Path) -> Result<OwnedFd, LayerError> {
    let fail = |log| move |e: Errno| LayerError::Mount { path: index.to_owned(), log, source: e.into() };
    let context = mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail(String::new()))?;
    configure(context.as_fd(), index, tar).map_err(|e| fail(context::log(&context))(e))
}

fn configure(context: std::os::fd::BorrowedFd<'_>, index: &Path, tar: &Path) -> Result<OwnedFd, Errno> {
    let mut names = Names::default();
    mount::fsconfig_set_string(context, "source", names.short(index)?)?;
    mount::fsconfig_set_string(context, "device", names.short(tar)?)?;
    mount::fsconfig_create(context)?;
    mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Tries out whether layers can be mounted for a store whose `work/` this is: indexes a small tar, mounts it and
/// reads its file. The root directory of what was mounted.
///
/// # Errors
/// What does not work.
pub(crate) fn probe(work: &Work) -> Result<OwnedFd, LayerError> {
    const TEXT: &[u8] = b"what is in the tar is in the file";
    let work = work.create("probe")?;
    let (index, tar) = (work.path().join("index"), work.path().join("tar"));
    let entry = Entry {
        path: b"file".to_vec(),
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        link: Vec::new(),
        size: TEXT.len() as u64,
        device: (0, 0),
        xattrs: Default::default(),
        windows: Default::default(),
    };
    let mut bytes = Writer::new(Vec::new());
    let bytes = bytes.append(&entry, TEXT).and_then(|()| bytes.finish());
    let bytes = bytes.map_err(|e| io_error("make", &tar)(e.into()))?;
    let mut image = Vec::new();
    let mut indexer = Indexer::new(true);
    // The content comes after the one header.
    indexer
        .entry(&entry, Some(512))
        .and_then(|()| {
            let of = Of { diff_id: Digest::of(&bytes), tar_size: bytes.len() as u64 };
            indexer.finish(&mut image, &of)
        })
        .map_err(|e| io_error("make", &index)(io::Error::other(e)))?;
    for (path, bytes) in [(&tar, bytes), (&index, image)] {
        File::create(path).and_then(|mut file| file.write_all(&bytes)).map_err(io_error("write", path))?;
    }
    let root = mount(&index, &tar)?;
    let file = rustix::fs::openat(&root, "file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut found = Vec::new();
    let read = file.map_err(io::Error::from).and_then(|file| File::from(file).read_to_end(&mut found));
    read.map_err(io_error("read a file of", &index))?;
    match found == TEXT {
        true => Ok(root),
        false => Err(io_error("read a file of", &index)(io::Error::other("it does not have its content"))),
    }
}
