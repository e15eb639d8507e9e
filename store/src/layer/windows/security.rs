//! Security descriptors as layers have them: self-relative, checked byte by byte ([MS-DTYP] 2.4.6).

mod build;
mod sid;

use std::fmt;

pub use sid::Sid;

/// The longest descriptor that is read, in bytes: an ACL has at most 64 KiB, and there are two.
const LONGEST: usize = 192 * 1024;

/// `SE_DACL_PRESENT`, `SE_SACL_PRESENT` and `SE_SELF_RELATIVE` of the control field.
const DACL_PRESENT: u16 = 0x0004;
const SACL_PRESENT: u16 = 0x0010;
const SELF_RELATIVE: u16 = 0x8000;

const HEADER: usize = 20;

/// Why bytes are no security descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// It is shorter than it says, or absurdly long.
    #[error("it has {0} bytes, which cannot be")]
    Length(usize),
    /// Revision, flags or reserved bytes are not those of a self-relative descriptor.
    #[error("its header is not that of a self-relative descriptor")]
    Header,
    /// An offset leads out of it.
    #[error("its {0} is not inside it")]
    Outside(&'static str),
    /// A SID makes no sense.
    #[error("its {0} is no SID")]
    Sid(&'static str),
    /// An access control list makes no sense.
    #[error("its {0} is no access control list")]
    Acl(&'static str),
}

/// A self-relative security descriptor whose parts all lie inside it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecurityDescriptor {
    bytes: Vec<u8>,
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// `ACCESS_ALLOWED_ACE_TYPE` is 0, `ACCESS_DENIED_ACE_TYPE` 1.
    pub kind: u8,
    /// Inheritance: `OBJECT_INHERIT_ACE` 1, `CONTAINER_INHERIT_ACE` 2, `NO_PROPAGATE` 4, `INHERIT_ONLY` 8,
    /// `INHERITED` 16.
    pub flags: u8,
    /// Access mask; none where the entry is of a kind that has it elsewhere.
    pub mask: Option<u32>,
    /// Whom it is about; none likewise.
    pub who: Option<Sid>,
}

impl SecurityDescriptor {
    /// Checks that `bytes` are a self-relative descriptor: revision, offsets, SIDs and lists.
    ///
    /// # Errors
    /// When something of it does not fit. Whatever the bytes are, nothing panics.
    pub fn parse(bytes: &[u8]) -> Result<Self, SecurityError> {
        if !(HEADER..=LONGEST).contains(&bytes.len()) {
            return Err(SecurityError::Length(bytes.len()));
        }
        let out = Self { bytes: bytes.to_vec() };
        if bytes[0] != 1 || out.control() & SELF_RELATIVE == 0 {
            return Err(SecurityError::Header);
        }
        for (field, what) in [(4, "owner"), (8, "group")] {
            if let Some(part) = out.part(field, what)? {
                Sid::read(part).ok_or(SecurityError::Sid(what))?;
            }
        }
        for (field, flag, what) in [(12, SACL_PRESENT, "SACL"), (16, DACL_PRESENT, "DACL")] {
            if out.control() & flag != 0
                && let Some(part) = out.part(field, what)?
            {
                aces(part).ok_or(SecurityError::Acl(what))?;
            }
        }
        Ok(out)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The control field.
    pub fn control(&self) -> u16 {
        u16::from_le_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Who owns it; none where it does not say.
    pub fn owner(&self) -> Option<Sid> {
        self.part(4, "owner").ok().flatten().and_then(Sid::read)
    }

    /// Its primary group; none where it does not say.
    pub fn group(&self) -> Option<Sid> {
        self.part(8, "group").ok().flatten().and_then(Sid::read)
    }

    /// Who may do what; none where there is no such list, so that everybody may do everything.
    pub fn dacl(&self) -> Option<Vec<Ace>> {
        if self.control() & DACL_PRESENT == 0 {
            return None;
        }
        self.part(16, "DACL").ok().flatten().and_then(aces)
    }

    /// What begins at the offset in the field at `field`; none where that is 0.
    fn part(&self, field: usize, what: &'static str) -> Result<Option<&[u8]>, SecurityError> {
        let offset = u32_at(&self.bytes, field).ok_or(SecurityError::Outside(what))? as usize;
        match offset {
            0 => Ok(None),
            offset if offset < HEADER => Err(SecurityError::Outside(what)),
            offset => self.bytes.get(offset..).map(Some).ok_or(SecurityError::Outside(what)),
        }
    }
}

impl fmt::Debug for SecurityDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurityDescriptor")
            .field("control", &format_args!("{:#06x}", self.control()))
            .field("owner", &self.owner())
            .field("group", &self.group())
            .field("dacl", &self.dacl())
            .finish()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The entries of the list at the head of `bytes` ([MS-DTYP] 2.4.5); none where it is no such list.
fn aces(bytes: &[u8]) -> Option<Vec<Ace>> {
    let (revision, size, count) = (*bytes.first()?, u16_at(bytes, 2)?, u16_at(bytes, 4)?);
    if !matches!(revision, 2 | 4) {
        return None;
    }
    let list = bytes.get(..usize::from(size))?;
    let mut at = 8;
    let mut out = Vec::new();
    for _ in 0..count {
        let size = usize::from(u16_at(list, at + 2)?);
        if size < 4 || size % 4 != 0 {
            return None;
        }
        let ace = list.get(at..at.checked_add(size)?)?;
        let (kind, flags) = (ace[0], ace[1]);
        // Those that are a mask and a SID: allowed, denied, audit, alarm, and the mandatory label.
        let plain = matches!(kind, 0..=3 | 17);
        let (mask, who) = match plain {
            true => (Some(u32_at(ace, 4)?), Some(Sid::read(ace.get(8..)?)?)),
            false => (None, None),
        };
        out.push(Ace { kind, flags, mask, who });
        at += size;
    }
    Some(out)
}

#[cfg(test)]
mod tests;
