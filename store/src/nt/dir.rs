//! A directory by its handle, and what can be done with a name in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::{Component, Path, Prefix};

use super::call::{self, Open};
use super::stat::class;
use super::{Kind, Stat, Times, attribute, is_unsupported, name, privilege, tag};

/// Access rights and options, by the names of the documentation.
pub(super) mod access {
    pub(in crate::nt) const LIST: u32 = 0x1;
    pub(in crate::nt) const READ_ATTRIBUTES: u32 = 0x80;
    pub(in crate::nt) const WRITE_ATTRIBUTES: u32 = 0x100;
    pub(in crate::nt) const DELETE: u32 = 0x1_0000;
    pub(in crate::nt) const READ_CONTROL: u32 = 0x2_0000;
    pub(in crate::nt) const WRITE_DAC: u32 = 0x4_0000;
    pub(in crate::nt) const WRITE_OWNER: u32 = 0x8_0000;
    pub(in crate::nt) const FILE_READ: u32 = 0x12_0089;
    pub(in crate::nt) const FILE_WRITE: u32 = 0x12_0116;
    /// List, add files and directories, traverse, read and write attributes.
    pub(in crate::nt) const DIRECTORY: u32 = 0x2_0000 | 0x1 | 0x2 | 0x4 | 0x20 | 0x80 | 0x100;
}
const FILE_OPEN: u32 = 1;
const FILE_CREATE: u32 = 2;
pub(super) const FILE_DIRECTORY_FILE: u32 = 0x1;
pub(super) const FILE_NON_DIRECTORY_FILE: u32 = 0x40;
/// Everybody may do everything meanwhile.
pub(super) const SHARE_ALL: u32 = 7;

/// What others may do with a file while we have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Anything.
    All,
    /// Read it: whoever has it open for more makes opening fail, see [`is_held`](super::is_held).
    Read,
}

impl Share {
    fn bits(self) -> u32 {
        match self {
            Self::All => SHARE_ALL,
            Self::Read => 1,
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    handle: OwnedHandle,
}

impl AsHandle for Dir {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

impl Dir {
    /// Opens the directory at `path`, of any length. Its parents may be links, itself it may not.
    ///
    /// # Errors
    /// When there is none, or it is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        privilege::enable();
        Self::checked(open_dir(None, &object_path(path)?)?)
    }

    /// The directory `name` in this one.
    ///
    /// # Errors
    /// When there is none, or it is something else, a junction too.
    pub fn dir(&self, name: &OsStr) -> io::Result<Self> {
        Self::checked(open_dir(Some(self.handle()), &name::units(name)?)?)
    }

    /// The same directory by another handle.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { handle: self.handle.try_clone()? })
    }

    fn checked(handle: OwnedHandle) -> io::Result<Self> {
        match Stat::of(handle.as_handle())?.kind {
            Kind::Directory => Ok(Self { handle }),
            Kind::File => Err(io::ErrorKind::NotADirectory.into()),
            Kind::Reparse { tag } => Err(is_link(tag)),
        }
    }

    /// The file `name`, to read.
    ///
    /// # Errors
    /// When there is none, it is something else, or somebody holds it, see [`is_held`](super::is_held).
    pub fn file(&self, name: &OsStr, share: Share) -> io::Result<File> {
        let units = name::units(name)?;
        let file = self.raw(&units, access::FILE_READ, FILE_OPEN, FILE_NON_DIRECTORY_FILE, share.bits())?;
        self.content_of(file, &units, access::FILE_READ, share.bits())
    }

    /// The file `name`, to read and write what is in it.
    ///
    /// # Errors
    /// As [`Dir::file`].
    pub fn file_to_write(&self, name: &OsStr, share: Share) -> io::Result<File> {
        let units = name::units(name)?;
        let rights = access::FILE_READ | access::FILE_WRITE;
        let file = self.raw(&units, rights, FILE_OPEN, FILE_NON_DIRECTORY_FILE, share.bits())?;
        self.content_of(file, &units, rights, share.bits())
    }

    /// A file that is a link is none. One whose content is kept in another way (deduplicated, compressed) is
    /// opened again through what keeps it, if that leads to the same file.
    fn content_of(&self, file: OwnedHandle, name: &[u16], rights: u32, share: u32) -> io::Result<File> {
        let stat = Stat::of(file.as_handle())?;
        let Kind::Reparse { tag } = stat.kind else {
            return Ok(file.into());
        };
        if tag::is_surrogate(tag) {
            return Err(is_link(tag));
        }
        let how = Open {
            access: rights,
            share,
            disposition: FILE_OPEN,
            options: FILE_NON_DIRECTORY_FILE,
            attributes: 0,
        };
        let through = call::open_through(self.handle(), name, how)?;
        if Stat::of(through.as_handle())?.id != stat.id {
            return Err(is_link(tag));
        }
        Ok(through.into())
    }

    /// Makes the directory `name`.
    ///
    /// # Errors
    /// When something is there by that name.
    pub fn make_dir(&self, name: &OsStr) -> io::Result<Self> {
        let units = name::units(name)?;
        let handle = self.raw(&units, access::DIRECTORY, FILE_CREATE, FILE_DIRECTORY_FILE, SHARE_ALL)?;
        Ok(Self { handle })
    }

    /// Makes the file `name`, to read and write.
    ///
    /// # Errors
    /// When something is there by that name.
    pub fn make_file(&self, name: &OsStr) -> io::Result<File> {
        let rights = access::FILE_READ | access::FILE_WRITE | access::DELETE;
        let units = name::units(name)?;
        Ok(self.raw(&units, rights, FILE_CREATE, FILE_NON_DIRECTORY_FILE, SHARE_ALL)?.into())
    }

    /// What `name` is, itself; none where there is nothing.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match self.raw(&name::units(name)?, access::READ_ATTRIBUTES, FILE_OPEN, 0, SHARE_ALL) {
            Ok(file) => Stat::of(file.as_handle()).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What the directory itself is.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn stat_self(&self) -> io::Result<Stat> {
        Stat::of(self.handle())
    }

    /// Gives `name` times and attributes. Times of 0 and attributes of 0 stay as they are; the time of change
    /// is set like the others, where it is not 0.
    ///
    /// # Errors
    /// When the system says no.
    pub fn set_basic(&self, name: &OsStr, times: Times, attributes: u32) -> io::Result<()> {
        let file = self.raw(&name::units(name)?, access::WRITE_ATTRIBUTES, FILE_OPEN, 0, SHARE_ALL)?;
        set_basic(file.as_handle(), times, attributes)
    }

    /// The same of the directory itself.
    ///
    /// # Errors
    /// When the system says no.
    pub fn set_basic_self(&self, times: Times, attributes: u32) -> io::Result<()> {
        let file = self.reopen(access::WRITE_ATTRIBUTES)?;
        set_basic(file.as_handle(), times, attributes)
    }

    /// Renames `name` to `to_name` in the directory `to` of the same volume. `replace` says whether what is
    /// there goes; with `replace` a file that somebody has open is replaced where the system can (Windows 10
    /// 1709 on).
    ///
    /// # Errors
    /// `AlreadyExists` without `replace`; when the system says no.
    pub fn rename(&self, name: &OsStr, to: &Self, to_name: &OsStr, replace: bool) -> io::Result<()> {
        let file =
            self.raw(&name::units(name)?, access::DELETE | access::READ_ATTRIBUTES, FILE_OPEN, 0, SHARE_ALL)?;
        let units = name::units(to_name)?;
        if replace {
            // FILE_RENAME_REPLACE_IF_EXISTS, FILE_RENAME_POSIX_SEMANTICS, FILE_RENAME_IGNORE_READONLY_ATTRIBUTE.
            match call::set(file.as_handle(), class::RENAME_EX, &target(0x43, to.handle(), &units)) {
                Err(e) if is_unsupported(&e) => {}
                other => return other,
            }
        }
        call::set(file.as_handle(), class::RENAME, &target(replace.into(), to.handle(), &units))
    }

    /// Gives the file `name` a further name in the directory `to` of the same volume.
    ///
    /// # Errors
    /// `AlreadyExists` where something has that name; when the file system has no such names, or no more.
    pub fn link(&self, name: &OsStr, to: &Self, to_name: &OsStr) -> io::Result<()> {
        let file = self.raw(
            &name::units(name)?,
            access::WRITE_ATTRIBUTES,
            FILE_OPEN,
            FILE_NON_DIRECTORY_FILE,
            SHARE_ALL,
        )?;
        call::set(file.as_handle(), class::LINK, &target(0, to.handle(), &name::units(to_name)?))
    }

    /// Whether names in it that differ in case alone are different names.
    ///
    /// # Errors
    /// When the system does not say. One that has no such directories says no.
    pub fn is_case_sensitive(&self) -> io::Result<bool> {
        match call::query(self.handle(), class::CASE_SENSITIVE, 4) {
            Ok(flags) => Ok(call::Fields::u32_at(flags.bytes(), 0) & 1 != 0),
            Err(e) if is_unsupported(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }

    /// The directory itself by a new handle.
    pub(super) fn reopen(&self, access: u32) -> io::Result<OwnedHandle> {
        self.raw(&[], access, FILE_OPEN, 0, SHARE_ALL)
    }

    pub(super) fn raw(
        &self,
        name: &[u16],
        access: u32,
        disposition: u32,
        options: u32,
        share: u32,
    ) -> io::Result<OwnedHandle> {
        let how = Open { access, share, disposition, options, attributes: attribute::NORMAL };
        call::open(Some(self.handle()), name, how)
    }

    /// What `name` is, opened with the rights `access`.
    pub(super) fn any(&self, name: &OsStr, access: u32) -> io::Result<OwnedHandle> {
        self.raw(&name::units(name)?, access, FILE_OPEN, 0, SHARE_ALL)
    }
}

/// Opens a directory with as many rights as there are: one that may only be read is still read.
fn open_dir(root: Option<BorrowedHandle<'_>>, name: &[u16]) -> io::Result<OwnedHandle> {
    let how = |access| Open {
        access,
        share: SHARE_ALL,
        disposition: FILE_OPEN,
        options: FILE_DIRECTORY_FILE,
        attributes: 0,
    };
    match call::open(root, name, how(access::DIRECTORY)) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            call::open(root, name, how(access::LIST | access::READ_ATTRIBUTES | 0x20))
        }
        // STATUS_NOT_A_DIRECTORY has no code of its own.
        Err(e) if e.raw_os_error() == Some(267) => Err(io::ErrorKind::NotADirectory.into()),
        other => other,
    }
}

pub(super) fn set_basic(file: BorrowedHandle<'_>, times: Times, attributes: u32) -> io::Result<()> {
    let mut bytes = [0; 40];
    for (i, time) in [times.created, times.accessed, times.written, times.changed].iter().enumerate() {
        bytes[8 * i..8 * i + 8].copy_from_slice(&time.0.to_le_bytes());
    }
    bytes[32..36].copy_from_slice(&attributes.to_le_bytes());
    call::set(file, class::BASIC, &bytes)
}

/// `FILE_RENAME_INFORMATION`, and `FILE_LINK_INFORMATION`, which is the same.
fn target(flags: u32, dir: BorrowedHandle<'_>, name: &[u16]) -> Vec<u8> {
    use std::os::windows::io::AsRawHandle;
    let pointer = size_of::<usize>();
    let mut out = vec![0; 2 * pointer];
    out[..4].copy_from_slice(&flags.to_le_bytes());
    out[pointer..].copy_from_slice(&dir.as_raw_handle().addr().to_le_bytes());
    out.extend(u32::try_from(name.len() * 2).unwrap_or(0).to_le_bytes());
    out.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    // The structure has one unit of the name in it and is padded; shorter buffers are refused.
    out.resize(out.len().max(3 * pointer), 0);
    out
}

fn is_link(tag: u32) -> io::Error {
    let what = match tag {
        tag::MOUNT_POINT => "it is a junction".to_owned(),
        tag::SYMLINK => "it is a symbolic link".to_owned(),
        tag => format!("it is a reparse point of the kind {tag:#x}"),
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}, which is not followed"))
}

/// A path as the object manager has it.
fn object_path(path: &Path) -> io::Result<Vec<u16>> {
    let path = match path.components().next() {
        Some(Component::Prefix(prefix)) if prefix.kind().is_verbatim() => path.to_owned(),
        _ => std::path::absolute(path)?,
    };
    let mut out: Vec<u16> = r"\??\".encode_utf16().collect();
    let text: Vec<u16> = path.as_os_str().encode_wide().collect();
    let rest = match path.components().next() {
        Some(Component::Prefix(prefix)) => match prefix.kind() {
            Prefix::Verbatim(_) | Prefix::VerbatimDisk(_) | Prefix::VerbatimUNC(..) => &text[4..],
            Prefix::DeviceNS(_) => &text[4..],
            Prefix::UNC(..) => {
                out.extend("UNC\\".encode_utf16());
                &text[2..]
            }
            Prefix::Disk(_) => &text[..],
        },
        _ => return Err(io::ErrorKind::InvalidFilename.into()),
    };
    out.extend(rest);
    Ok(out)
}
