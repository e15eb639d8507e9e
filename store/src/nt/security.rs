//! Security descriptors and reparse data, as bytes.

use std::ffi::OsStr;
use std::io;
use std::os::windows::io::AsHandle;

use super::call::{self, Fields};
use super::dir::access;
use super::{Dir, Kind};

/// Owner, group and list of access rights.
const PARTS: u32 = 0x7;
/// Owner and group of it.
const OWNERS: u32 = 0x3;
/// All of it, and the list does not inherit from its new parent.
const PROTECTED: u32 = 0x8000_0000;
/// A descriptor with everything in it is smaller than this: a list has at most 64 KiB.
const MAX: usize = 256 << 10;
/// `MAXIMUM_REPARSE_DATA_BUFFER_SIZE`.
const MAX_REPARSE: usize = 16 << 10;

impl Dir {
    /// Owner, group and access list of `name` as a self-relative security descriptor.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn security(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        call::security(self.any(name, access::READ_CONTROL)?.as_handle(), PARTS)
    }

    /// The same of the directory itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn security_self(&self) -> io::Result<Vec<u8>> {
        call::security(self.handle(), PARTS)
    }

    /// Gives `name` owner, group and access list of a self-relative security descriptor.
    ///
    /// # Errors
    /// `InvalidInput` for bytes that are none; when the system says no: another owner takes the privilege to
    /// restore.
    pub fn set_security(&self, name: &OsStr, descriptor: &[u8]) -> io::Result<()> {
        let which = parts(descriptor)?;
        // Whoever made a file may always change its list, and has not always the right to give it away.
        let rights = access::WRITE_DAC | if which & OWNERS != 0 { access::WRITE_OWNER } else { 0 };
        call::set_security(self.any(name, rights)?.as_handle(), which, &keeping(descriptor))
    }

    /// The reparse data of `name`, header included.
    ///
    /// # Errors
    /// When it is no reparse point.
    pub fn reparse(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let file = self.any(name, access::READ_ATTRIBUTES)?;
        let mut buffer = vec![0; MAX_REPARSE];
        let length = call::control(file.as_handle(), 0x9_00A8, &[], &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Makes the empty file or directory `name` a reparse point with `data`, header included. What it leads to
    /// is not looked at.
    ///
    /// # Errors
    /// When it is not empty, the data is malformed, or the file system has no such thing.
    pub fn set_reparse(&self, name: &OsStr, data: &[u8]) -> io::Result<()> {
        let file = self.any(name, access::WRITE_ATTRIBUTES | 0x2)?;
        call::control(file.as_handle(), 0x9_00A4, data, &mut []).map(drop)
    }

    /// Whether `name` is a reparse point.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_reparse(&self, name: &OsStr) -> io::Result<bool> {
        Ok(self.stat(name)?.is_some_and(|stat| matches!(stat.kind, Kind::Reparse { .. })))
    }
}

/// The same, so that its list is kept as one that hands its entries down as inherited ones: the system only takes
/// that flag (DI) together with another one (DC), which no descriptor that was read has.
fn keeping(descriptor: &[u8]) -> Vec<u8> {
    const DI: u8 = 0x04;
    const DC: u8 = 0x01;
    let mut out = descriptor.to_vec();
    if let Some(control) = out.get_mut(3).filter(|control| **control & DI != 0) {
        *control |= DC;
    }
    out
}

/// Which parts a self-relative descriptor has, once everything in it was found to lie within its bytes.
fn parts(descriptor: &[u8]) -> io::Result<u32> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "malformed security descriptor");
    let control = u16::from_le_bytes(descriptor.at(2));
    if descriptor.len() < 20 || descriptor.len() > MAX || descriptor[0] != 1 || control & 0x8000 == 0 {
        return Err(wrong());
    }
    let mut which = 0;
    for (field, bit) in [(4, 1u32), (8, 2)] {
        let offset = descriptor.u32_at(field) as usize;
        if offset == 0 {
            continue;
        }
        let sid = descriptor.get(offset..).filter(|sid| sid.len() >= 8 && offset >= 20).ok_or_else(wrong)?;
        if sid[0] != 1 || sid[1] > 15 || sid.len() < 8 + 4 * usize::from(sid[1]) {
            return Err(wrong());
        }
        which |= bit;
    }
    if control & 0x4 != 0 {
        let offset = descriptor.u32_at(16) as usize;
        if offset != 0 {
            let list = descriptor.get(offset..).filter(|l| l.len() >= 8 && offset >= 20).ok_or_else(wrong)?;
            let size = usize::from(u16::from_le_bytes(list.at(2)));
            let list = list.get(..size).filter(|list| list.len() >= 8).ok_or_else(wrong)?;
            let mut rest = &list[8..];
            for _ in 0..u16::from_le_bytes(list.at(4)) {
                let size = usize::from(u16::from_le_bytes(rest.at(2)));
                // A header and a mask at least; an entry without end is none.
                rest = rest.get(size..).filter(|_| size >= 8).ok_or_else(wrong)?;
            }
        }
        which |= 4 | if control & 0x1000 != 0 { PROTECTED } else { 0 };
    }
    if which == 0 { Err(wrong()) } else { Ok(which) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `O:SYG:SYD:P(A;;FA;;;SY)`.
    fn descriptor() -> Vec<u8> {
        let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        let mut out = vec![1, 0, 0x04, 0x90, 20, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0];
        out.extend(system);
        out.extend(system);
        out.extend([2, 0, 28, 0, 1, 0, 0, 0, 0, 0, 20, 0, 0xFF, 0x01, 0x1F, 0x00]);
        out.extend(system);
        out
    }

    #[test]
    fn a_list_that_was_inherited_stays_one() {
        let mut given = descriptor();
        assert_eq!(keeping(&given), given);
        given[3] |= 0x04;
        let kept = keeping(&given);
        assert_eq!((kept[3], parts(&kept).unwrap()), (given[3] | 0x01, parts(&given).unwrap()));
        assert!(keeping(&[]).is_empty());
    }

    #[test]
    fn a_descriptor_is_checked_before_the_system_reads_it() {
        assert_eq!(parts(&descriptor()).unwrap(), 7 | PROTECTED);
        for cut in 0..descriptor().len() {
            assert!(parts(&descriptor()[..cut]).is_err(), "{cut} bytes");
        }
        for (at, value) in
            [(0, 2), (3, 0x10), (4, 200), (8, 4), (16, 255), (21, 16), (46, 200), (48, 9), (54, 0)]
        {
            let mut wrong = descriptor();
            wrong[at] = value;
            assert!(parts(&wrong).is_err(), "byte {at} = {value}");
        }
    }
}
