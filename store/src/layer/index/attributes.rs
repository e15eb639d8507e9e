//! Extended attributes as the image has them, and which of a tar's there can be at all: the same that Linux's
//! file systems would take from root when the layer is unpacked.

use super::Refused;
use super::tree::{BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, KIND, LINK};
use crate::layer::node::{self, Xattrs};
use crate::snapshot::LayerOs;

/// Bytes before the attributes of a node.
pub(super) const HEADER: usize = 12;

/// The mark of an opaque directory, `trusted.overlay.opaque=y`, as the image has it.
pub(super) const OPAQUE: &[u8] = b"\x0e\x04\x01\0overlay.opaquey\0";

/// The mark of a directory with whiteouts, `trusted.overlay.origin` with nothing in it.
pub(super) const HIDES: &[u8] = b"\x0e\x04\0\0overlay.origin\0\0";

/// The most bytes of attributes of one node: their number of four bytes each has 16 bits.
const MOST: usize = 4 * (u16::MAX as usize - 1) - OPAQUE.len() - HIDES.len();

/// Namespaces by what stands for them in the image.
const NAMESPACES: [(&[u8], u8); 3] = [(b"user.", 1), (b"trusted.", 4), (b"security.", 6)];
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// What is strange enough that the system shall judge it.
const STRANGE: Refused = Refused::NotHere("it has an extended attribute of unusual form");

/// The attributes of a node of mode `mode` as the image has them, without the header; and how many there
/// cannot be.
pub(super) fn encode(xattrs: &Xattrs, mode: u16) -> Result<(Vec<u8>, u64), Refused> {
    let (mut out, mut missing) = (Vec::new(), 0);
    for (name, value) in xattrs.iter().filter(|(name, _)| node::is_of(name, LayerOs::Linux)) {
        if name.len() > 255 || value.len() > usize::from(u16::MAX) {
            return Err(STRANGE);
        }
        let Some((prefix, rest)) = split(name) else {
            missing += 1;
            continue;
        };
        if rest.is_empty() && !matches!(prefix, 2 | 3) {
            return Err(STRANGE);
        }
        let kept = match prefix {
            1 => matches!(mode & KIND, FILE | DIRECTORY),
            2 => mode & KIND != LINK && !is_plain_acl(value, mode)?,
            3 if mode & KIND == LINK => false,
            3 if mode & KIND == DIRECTORY && Acl::read(value).is_some() => true,
            3 => return Err(STRANGE),
            6 if rest == b"capability" && !is_capability(value) => return Err(STRANGE),
            _ => true,
        };
        if kept {
            out.extend_from_slice(&[rest.len() as u8, prefix]);
            out.extend_from_slice(&(value.len() as u16).to_le_bytes());
            out.extend_from_slice(rest);
            out.extend_from_slice(value);
            out.resize(out.len().next_multiple_of(4), 0);
        } else if prefix != 2 || mode & KIND == LINK {
            missing += 1;
        }
        if out.len() > MOST {
            return Err(STRANGE);
        }
    }
    Ok((out, missing))
}

/// The number of an attribute's namespace and the rest of its name; none where no file system has such.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    match name {
        ACL_ACCESS => return Some((2, b"")),
        ACL_DEFAULT => return Some((3, b"")),
        _ => {}
    }
    NAMESPACES.iter().find_map(|(prefix, number)| Some((*number, name.strip_prefix(*prefix)?)))
}

/// Whether an access ACL says no more than the mode. The system makes the two agree; where they do not, it
/// has to be asked.
fn is_plain_acl(value: &[u8], mode: u16) -> Result<bool, Refused> {
    debug_assert!(matches!(mode & KIND, FILE | DIRECTORY | FIFO | BLOCK | CHARACTER));
    let acl = Acl::read(value).ok_or(STRANGE)?;
    if acl.mode != mode & 0o777 {
        return Err(STRANGE);
    }
    Ok(acl.plain)
}

/// A POSIX ACL that is as it should be.
struct Acl {
    /// The permissions that a mode with it has.
    mode: u16,
    /// It has no more than a mode has.
    plain: bool,
}

impl Acl {
    /// Reads version 2 of the form that attributes have it in: entries of tag, permissions and id.
    fn read(value: &[u8]) -> Option<Self> {
        let (rest, []) = value.strip_prefix(&[2, 0, 0, 0])?.as_chunks::<8>() else {
            return None;
        };
        let mut state = 0;
        let (mut user, mut group, mut mask, mut other) = (None, None, None, None);
        for entry in rest {
            let &[tag, 0, permissions, 0, ref id @ ..] = entry else {
                return None;
            };
            if tag < state || permissions > 7 || (tag == state && !matches!(tag, 2 | 8)) {
                return None;
            }
            state = tag;
            let permissions = Some(u16::from(permissions));
            match tag {
                1 => user = permissions,
                4 => group = permissions,
                16 => mask = permissions,
                32 => other = permissions,
                2 | 8 if *id != [0xff; 4] => {}
                _ => return None,
            }
        }
        let named = rest.iter().any(|entry| matches!(entry[0], 2 | 8));
        if named && mask.is_none() {
            return None;
        }
        Some(Self { mode: user? << 6 | mask.or(Some(group?))? << 3 | other?, plain: rest.len() == 3 })
    }
}

/// Whether these are file capabilities of version 2 or 3, which is all that the kernel takes.
fn is_capability(value: &[u8]) -> bool {
    matches!((value.len(), value), (20, [_, 0, 0, 2, ..]) | (24, [_, 0, 0, 3, ..]))
}
