//! Security identifiers ([MS-DTYP] 2.4.2).

use std::fmt;

/// A security identifier: who somebody is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid {
    authority: u64,
    parts: Vec<u32>,
}

impl Sid {
    /// The identifier `S-1-AUTHORITY-PART-…` of at most 15 parts, else cut off there.
    pub fn new(authority: u32, parts: &[u32]) -> Self {
        Self { authority: authority.into(), parts: parts.iter().copied().take(15).collect() }
    }

    /// `NT AUTHORITY\SYSTEM`.
    pub fn system() -> Self {
        Self::new(5, &[18])
    }

    /// `BUILTIN\Administrators`.
    pub fn administrators() -> Self {
        Self::new(5, &[32, 544])
    }

    /// `BUILTIN\Users`.
    pub fn users() -> Self {
        Self::new(5, &[32, 545])
    }

    /// `User Manager\ContainerAdministrator`, the user of a container unless its image says otherwise.
    pub fn container_administrator() -> Self {
        Self::new(5, &[93, 2, 1])
    }

    /// `User Manager\ContainerUser`, the user of a container without rights.
    pub fn container_user() -> Self {
        Self::new(5, &[93, 2, 2])
    }

    /// The one at the head of `bytes`; none where there is none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&revision, &count) = (bytes.first()?, bytes.get(1)?);
        if revision != 1 || count > 15 {
            return None;
        }
        let authority = bytes.get(2..8)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let parts = bytes.get(8..8 + usize::from(count) * 4)?;
        let parts =
            parts.chunks_exact(4).map(|part| u32::from_le_bytes([part[0], part[1], part[2], part[3]]));
        Some(Self { authority, parts: parts.collect() })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![1, self.parts.len() as u8];
        out.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        out.extend(self.parts.iter().flat_map(|part| part.to_le_bytes()));
        out
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S-1-{}", self.authority)?;
        self.parts.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
