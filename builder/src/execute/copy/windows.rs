//! Files on their way into a Windows image: what such an image can have of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use orlop_runner::Account;
use orlop_store::Work;
use orlop_store::layer::windows::security::Sid;
use orlop_store::layer::windows::{CARRIER, Metadata, SecurityDescriptor};

use super::entries::{Entries, EntriesWriter};
use super::error::{CopyError, CopyErrorKind};
use super::selection::{Entry, EntryKind, Group};
use crate::context::Xattrs;
use crate::dialect::{Dialect, windows};

/// Takes away what has no meaning in a Windows image, owner and permission bits, and refuses what cannot be in
/// one. Attributes are kept where the source is such an image itself.
///
/// Files that nobody is named for belong to Administrators, in which ContainerAdministrator is: see
/// [`SecurityDescriptor::file`]. Those of ContainerUser are that account's own.
pub(super) fn fit(
    groups: &mut [Group],
    entries: &Entries,
    (from, account): (Dialect, Option<Account>),
    work: Option<&Work>,
) -> Result<Entries, CopyError> {
    let mut out = EntriesWriter::new(work);
    // By folded path below the destination: what was there first.
    let mut seen = HashMap::new();
    for group in groups {
        let word = group.word;
        if !group.is_directory() {
            name(group, Path::new(&group.name)).map_err(|kind| kind.of(word))?;
        }
        if let Some(mut entry) = group.one.take() {
            check(group, &entry, &mut seen).map_err(|kind| kind.of(word))?;
            change(&mut entry, from, account);
            group.one = Some(entry);
        }
        for entry in entries.read(&group.list) {
            let mut entry = entry.map_err(CopyErrorKind::List)?;
            check(group, &entry, &mut seen).map_err(|kind| kind.of(word))?;
            change(&mut entry, from, account);
            out.push_entry(&entry).map_err(CopyErrorKind::List)?;
        }
        group.list = out.take_list();
    }
    Ok(out.finish().map_err(CopyErrorKind::List)?)
}

fn change(entry: &mut Entry, from: Dialect, account: Option<Account>) {
    (entry.uid, entry.gid) = (0, 0);
    entry.mode = if entry.kind == EntryKind::Directory { 0o755 } else { 0o644 };
    entry.source_mode = entry.mode;
    if !from.is_windows() {
        entry.xattrs.clear();
    }
    if let (Some(account), false) = (account, matches!(entry.kind, EntryKind::Symlink { .. })) {
        give(&mut entry.xattrs, account, entry.kind == EntryKind::Directory);
    }
}

/// Says beside a file whose it is, in the way in which the store keeps what layers say; other things that are said
/// there stay.
pub(super) fn give(xattrs: &mut Xattrs, account: Account, directory: bool) {
    let user = Sid::container_user();
    let security = match (account, directory) {
        (Account::Administrator, true) => SecurityDescriptor::directory(),
        (Account::Administrator, false) => SecurityDescriptor::file(),
        (Account::User, true) => SecurityDescriptor::directory_of(&user),
        (Account::User, false) => SecurityDescriptor::file_of(&user),
    };
    let before = xattrs.iter().position(|(key, _)| key == CARRIER).map(|at| xattrs.remove(at));
    let said = before.and_then(|(_, value)| Metadata::from_carrier(&value)).unwrap_or_default();
    let said = Metadata { security: Some(security), sddl: None, ..said };
    xattrs.push((CARRIER.into(), said.to_carrier()));
}

/// A file below the destination, and the path that it has in the source tree.
type Seen = HashMap<String, (PathBuf, PathBuf)>;

fn check(group: &Group, entry: &Entry, seen: &mut Seen) -> Result<(), CopyErrorKind> {
    let kind = match entry.kind {
        EntryKind::Fifo => Some("a named pipe"),
        EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => Some("a device"),
        _ => None,
    };
    if let Some(what) = kind {
        let path = group.source_path(entry).display().to_string();
        return Err(CopyErrorKind::NotOnWindows { path, what });
    }
    name(group, &entry.path)?;
    let path = if group.is_directory() { entry.path.clone() } else { PathBuf::from(&group.name) };
    let source = group.source_path(entry);
    let folded = windows::upper(&path.to_string_lossy());
    // The same path again is only written over, as everywhere.
    match seen.insert(folded, (path.clone(), source.clone())) {
        Some((first, other)) if first != path => Err(CopyErrorKind::SameName {
            path: source.display().to_string(),
            other: other.display().to_string(),
        }),
        _ => Ok(()),
    }
}

/// The last name of a path; those before it are entries of their own.
fn name(group: &Group, path: &Path) -> Result<(), CopyErrorKind> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let shown = || match &group.origin {
        super::selection::Origin::Directory(root, _) => root.join(path).display().to_string(),
        _ => path.display().to_string(),
    };
    let fault = match name.to_str() {
        Some(name) => windows::name_fault(name),
        // What is no text on Linux has no name on Windows at all.
        None => Some(crate::dialect::PathFault::Encoding),
    };
    match fault {
        Some(fault) => Err(CopyErrorKind::Name { path: shown(), fault }),
        None => Ok(()),
    }
}
