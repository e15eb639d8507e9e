//! Identities, access lists and security descriptors as plain values.
//!
//! They are built and read here byte by byte, without any system call, so that what is asked for, what is set and
//! what reads back are compared as values and not as text.

use std::fmt;
use std::io;
use std::str::FromStr;

/// Access to everything that an object of any kind has.
pub(crate) const GENERIC_ALL: u32 = 0x1000_0000;
/// An entry that files and directories below inherit.
pub(crate) const INHERIT: u8 = 0x01 | 0x02;
/// An entry that is not for the object itself.
const INHERIT_ONLY: u8 = 0x08;
/// An entry that came from the directory above.
pub(crate) const INHERITED: u8 = 0x10;
/// Integrity levels, as the last part of their SIDs.
pub(crate) const LOW_INTEGRITY: u32 = 0x1000;

/// A security identifier, such as `S-1-5-32-544`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sid {
    authority: u64,
    parts: Vec<u32>,
}

impl Sid {
    /// An identity by its authority and at most 15 parts.
    pub(crate) fn new(authority: u64, parts: impl Into<Vec<u32>>) -> Self {
        let mut parts = parts.into();
        parts.truncate(15);
        Self { authority: authority & 0xffff_ffff_ffff, parts }
    }

    /// `SYSTEM`.
    pub(crate) fn system() -> Self {
        Self::new(5, [18])
    }

    /// The local Administrators group.
    pub(crate) fn administrators() -> Self {
        Self::new(5, [32, 544])
    }

    /// The local Users group.
    pub(crate) fn users() -> Self {
        Self::new(5, [32, 545])
    }

    /// Everyone.
    pub(crate) fn everyone() -> Self {
        Self::new(1, [0])
    }

    /// What restricted tokens are known by.
    pub(crate) fn restricted() -> Self {
        Self::new(5, [12])
    }

    /// The rights of whoever owns the object: without an entry for it an owner may change the access list.
    pub(crate) fn owner_rights() -> Self {
        Self::new(3, [4])
    }

    /// An integrity level.
    pub(crate) fn integrity(level: u32) -> Self {
        Self::new(16, [level])
    }

    /// An AppContainer capability of the well-known ones.
    pub(crate) fn capability(number: u32) -> Self {
        Self::new(15, [3, number])
    }

    /// Whether it names a logon session.
    pub(crate) fn is_logon(&self) -> bool {
        self.authority == 5 && self.parts.first() == Some(&5) && self.parts.len() == 3
    }

    /// Its parts after the authority.
    pub(crate) fn parts(&self) -> &[u32] {
        &self.parts
    }

    /// Its authority.
    pub(crate) fn authority(&self) -> u64 {
        self.authority
    }

    /// As the system wants it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1, self.parts.len() as u8];
        bytes.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        for part in &self.parts {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    /// As the system gives it; bytes after it are ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(8)?;
        let count = usize::from(head[1]);
        if head[0] != 1 || count > 15 {
            return None;
        }
        let authority = head[2..].iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let parts = rest.get(..count * 4)?.chunks_exact(4).map(|part| u32::from_le_bytes(array(part)));
        Some(Self { authority, parts: parts.collect() })
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

impl FromStr for Sid {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let error = || io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` is not a SID"));
        let mut words = text.strip_prefix("S-1-").ok_or_else(error)?.split('-');
        let authority = words.next().and_then(|word| word.parse().ok()).ok_or_else(error)?;
        let parts: Result<Vec<u32>, _> = words.map(str::parse).collect();
        let parts = parts.map_err(|_| error())?;
        if parts.len() > 15 || authority >= 1 << 48 {
            return Err(error());
        }
        Ok(Self { authority, parts })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// One entry of an access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// 0 allows, 1 denies, 17 is an integrity label; others are kept as they are.
    pub(crate) kind: u8,
    /// Inheritance.
    pub(crate) flags: u8,
    /// Rights.
    pub(crate) mask: u32,
    /// For whom. `None` for kinds of entries that hold more than that.
    pub(crate) sid: Option<Sid>,
    raw: Vec<u8>,
}

impl Entry {
    /// Allows `sid` what `mask` names.
    pub(crate) fn allow(sid: &Sid, mask: u32, flags: u8) -> Self {
        Self { kind: 0, flags, mask, sid: Some(sid.clone()), raw: Vec::new() }
    }

    /// An integrity label that keeps lower levels from writing.
    pub(crate) fn label(level: u32, flags: u8) -> Self {
        Self { kind: 17, flags, mask: 1, sid: Some(Sid::integrity(level)), raw: Vec::new() }
    }

    /// The same with other inheritance.
    pub(crate) fn with_flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let body = match &self.sid {
            Some(sid) => [&self.mask.to_le_bytes()[..], &sid.to_bytes()].concat(),
            None => self.raw.clone(),
        };
        let mut bytes = vec![self.kind, self.flags];
        bytes.extend_from_slice(&(body.len() as u16 + 4).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// A list of entries; an empty one admits nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AccessList(pub(crate) Vec<Entry>);

impl AccessList {
    /// As the system wants it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let entries: Vec<u8> = self.0.iter().flat_map(Entry::to_bytes).collect();
        // Entries about kinds of objects are of a later revision, and make a list of the first one invalid.
        let objects = self.0.iter().any(|entry| matches!(entry.kind, 5..=8 | 11 | 12 | 15 | 16));
        let mut bytes = vec![if objects { 4 } else { 2 }, 0];
        bytes.extend_from_slice(&(entries.len() as u16 + 8).to_le_bytes());
        bytes.extend_from_slice(&(self.0.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&entries);
        bytes
    }

    /// As the system gives it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(8)?;
        let count = u16::from_le_bytes([head[4], head[5]]);
        let mut entries = Vec::new();
        for _ in 0..count {
            let size = usize::from(u16::from_le_bytes(array(rest.get(2..4)?)));
            let (entry, after) = rest.split_at_checked(size)?;
            let body = entry.get(4..)?;
            let (kind, flags) = (entry[0], entry[1]);
            let simple = matches!(kind, 0 | 1 | 2 | 17);
            let mask = body.get(..4).map_or(0, |mask| u32::from_le_bytes(array(mask)));
            let sid = body.get(4..).filter(|_| simple).and_then(Sid::parse);
            let raw = if sid.is_some() { Vec::new() } else { body.to_vec() };
            entries.push(Entry { kind, flags, mask, sid, raw });
            rest = after;
        }
        Some(Self(entries))
    }

    /// Whether `sid` is allowed all of `mask` by entries that name it.
    pub(crate) fn allows(&self, sid: &Sid, mask: u32) -> bool {
        self.allowed(sid) & mask == mask
    }

    /// What entries that name `sid` allow it, without those that are only for what is made below.
    pub(crate) fn allowed(&self, sid: &Sid) -> u32 {
        let own = self.0.iter().filter(|entry| entry.kind == 0 && entry.sid.as_ref() == Some(sid));
        let own = own.filter(|entry| entry.flags & INHERIT_ONLY == 0);
        own.fold(0, |sum, entry| sum | entry.mask)
    }

    /// Every identity that an entry allows anything.
    pub(crate) fn admitted(&self) -> Vec<Sid> {
        let allowing = self.0.iter().filter(|entry| entry.kind == 0 && entry.mask != 0);
        let mut sids: Vec<Sid> = allowing.filter_map(|entry| entry.sid.clone()).collect();
        sids.sort();
        sids.dedup();
        sids
    }
}

impl fmt::Display for AccessList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.0 {
            let kind = match entry.kind {
                0 => "A".to_owned(),
                1 => "D".to_owned(),
                17 => "ML".to_owned(),
                other => format!("{other}"),
            };
            let sid = entry.sid.as_ref().map_or("?".to_owned(), Sid::to_string);
            write!(f, "({kind};{:x};{:#x};{sid})", entry.flags, entry.mask)?;
        }
        Ok(())
    }
}

/// Who owns an object and who may do what to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SecurityDescriptor {
    /// The owner, where it is to be set.
    pub(crate) owner: Option<Sid>,
    /// The access list. `None` admits everybody.
    pub(crate) access: Option<AccessList>,
    /// Whether entries of the directory above are kept out.
    pub(crate) protected: bool,
    /// The integrity label.
    pub(crate) label: Option<Entry>,
}

impl SecurityDescriptor {
    /// One that admits `who` to everything and nobody else.
    pub(crate) fn only<'a>(who: impl IntoIterator<Item = &'a Sid>) -> Self {
        let entries = who.into_iter().map(|sid| Entry::allow(sid, GENERIC_ALL, 0)).collect();
        Self { access: Some(AccessList(entries)), protected: true, ..Self::default() }
    }

    /// With another owner.
    pub(crate) fn owned_by(mut self, owner: Option<Sid>) -> Self {
        self.owner = owner;
        self
    }

    /// Self-relative, in words so that it is aligned.
    pub(crate) fn to_words(&self) -> Vec<u32> {
        const SELF_RELATIVE: u16 = 0x8000;
        let mut control = SELF_RELATIVE;
        let mut body = Vec::new();
        let mut offsets = [0u32; 4];
        let mut part = |slot: usize, bytes: Vec<u8>| {
            offsets[slot] = 20 + body.len() as u32;
            body.extend_from_slice(&bytes);
            body.resize(body.len().next_multiple_of(4), 0);
        };
        if let Some(owner) = &self.owner {
            part(0, owner.to_bytes());
        }
        if let Some(label) = &self.label {
            control |= 0x10;
            part(2, AccessList(vec![label.clone()]).to_bytes());
        }
        control |= 0x4 | if self.protected { 0x1000 } else { 0 };
        if let Some(access) = &self.access {
            // SE_DACL_AUTO_INHERIT_REQ and SE_DACL_AUTO_INHERITED: both together are what keeps the second on an
            // object. Where a directory has not got it, what is made in it inherits entries that do not say that
            // they are inherited.
            control |=
                if access.0.iter().any(|entry| entry.flags & (INHERIT | INHERITED) != 0) { 0x500 } else { 0 };
            part(3, access.to_bytes());
        }
        let mut bytes = vec![1, 0];
        bytes.extend_from_slice(&control.to_le_bytes());
        offsets.iter().for_each(|offset| bytes.extend_from_slice(&offset.to_le_bytes()));
        bytes.extend_from_slice(&body);
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(array(word))).collect()
    }

    /// Reads a self-relative one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..20)?;
        let control = u16::from_le_bytes([head[2], head[3]]);
        let part = |slot: usize| {
            let at = u32::from_le_bytes(array(&head[4 + slot * 4..8 + slot * 4])) as usize;
            (at != 0).then(|| bytes.get(at..)).flatten()
        };
        let owner = part(0).and_then(Sid::parse);
        let label = part(2).filter(|_| control & 0x10 != 0).and_then(AccessList::parse);
        let label = label.and_then(|list| list.0.into_iter().find(|entry| entry.kind == 17));
        let access = match part(3).filter(|_| control & 0x4 != 0) {
            Some(bytes) => Some(AccessList::parse(bytes)?),
            None => None,
        };
        Some(Self { owner, access, protected: control & 0x1000 != 0, label })
    }

    /// Whether nobody is admitted who is not among `who`; somebody who is may be missing.
    pub(crate) fn admits_only(&self, who: &[Sid]) -> bool {
        let access = self.access.as_ref();
        access.is_some_and(|access| access.admitted().iter().all(|sid| who.contains(sid)))
    }
}

impl fmt::Display for SecurityDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(owner) = &self.owner {
            write!(f, "O:{owner} ")?;
        }
        match &self.access {
            Some(access) => write!(f, "D:{}{access}", if self.protected { "P" } else { "" })?,
            None => f.write_str("no access list")?,
        }
        match &self.label {
            Some(label) => write!(f, " S:{}", AccessList(vec![label.clone()])),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
