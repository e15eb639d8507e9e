//! What a Windows layer says of a file beyond its content, as a value and as PAX records.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{FormatError, SecurityDescriptor};
use crate::layer::tar::{Time, shown, time_from_text, time_to_text};

/// PAX records by name: those of [`Entry::windows`](crate::layer::tar::Entry::windows).
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

const ATTRIBUTES: &str = "MSWINDOWS.fileattr";
const SECURITY: &str = "MSWINDOWS.rawsd";
const SDDL: &str = "MSWINDOWS.sd";
const MOUNT_POINT: &str = "MSWINDOWS.mountpoint";
const EXTENDED: &[u8] = b"MSWINDOWS.xattr.";
const CREATED: &str = "LIBARCHIVE.creationtime";

/// As long as an NTFS extended attribute can be, in bytes.
const LONGEST_EXTENDED: usize = 64 * 1024;

/// Whether a PAX record is one that this module reads.
pub(in crate::layer) fn is_ours(record: &[u8]) -> bool {
    record.starts_with(b"MSWINDOWS.") || record == CREATED.as_bytes()
}

/// Takes out what says when something happened.
pub(crate) fn forget_times(records: &mut Records) {
    records.remove(CREATED.as_bytes());
}

/// `FILE_ATTRIBUTE_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub u32);

impl Attributes {
    /// `FILE_ATTRIBUTE_READONLY`.
    pub const READ_ONLY: Self = Self(0x1);
    /// `FILE_ATTRIBUTE_HIDDEN`.
    pub const HIDDEN: Self = Self(0x2);
    /// `FILE_ATTRIBUTE_SYSTEM`.
    pub const SYSTEM: Self = Self(0x4);
    /// `FILE_ATTRIBUTE_DIRECTORY`.
    pub const DIRECTORY: Self = Self(0x10);
    /// `FILE_ATTRIBUTE_ARCHIVE`.
    pub const ARCHIVE: Self = Self(0x20);
    /// `FILE_ATTRIBUTE_REPARSE_POINT`.
    pub const REPARSE_POINT: Self = Self(0x400);

    /// Those that can be set on a file by whoever writes it: read-only, hidden, system, archive, normal,
    /// temporary, offline, not indexed. The rest says what the file is, and follows from that.
    pub const SETTABLE: Self = Self(0x1 | 0x2 | 0x4 | 0x20 | 0x80 | 0x100 | 0x1000 | 0x2000);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What a Windows layer says of a file or directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Attributes; none where it says nothing.
    pub attributes: Option<Attributes>,
    /// The security descriptor; none where it says nothing, so that Windows lets it inherit one.
    pub security: Option<SecurityDescriptor>,
    /// The descriptor as SDDL text, by old writers. Only kept.
    pub sddl: Option<String>,
    /// When the file was made; none where it says nothing, and the time of its last change is taken.
    pub created: Option<Time>,
    /// The link is a mount point (junction) and no symbolic link.
    pub mount_point: bool,
    /// NTFS extended attributes by name.
    pub extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Reads the records of an entry. Those of other names are nothing to it.
    ///
    /// # Errors
    /// When one of them has a value that makes no sense. Nothing panics, whatever the values are.
    pub fn parse(records: &Records) -> Result<Self, FormatError> {
        let mut out = Self::default();
        for (name, value) in records {
            let fail = |why: &str| FormatError::Record { record: shown(name), why: why.to_owned() };
            if let Some(name) = name.strip_prefix(EXTENDED) {
                let value = STANDARD.decode(value).map_err(|e| fail(&e.to_string()))?;
                if name.is_empty() || name.len() > 254 || value.len() > LONGEST_EXTENDED {
                    return Err(fail("no file has such an attribute"));
                }
                out.extended.insert(name.to_vec(), value);
            } else if name == ATTRIBUTES.as_bytes() {
                let digits = value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
                out.attributes = Some(Attributes(number.ok_or_else(|| fail("no number of 32 bits"))?));
            } else if name == SECURITY.as_bytes() {
                let value = STANDARD.decode(value).map_err(|e| fail(&e.to_string()))?;
                out.security = Some(SecurityDescriptor::parse(&value)?);
            } else if name == SDDL.as_bytes() {
                let text = std::str::from_utf8(value).map_err(|_| fail("no text"))?;
                out.sddl = Some(text.to_owned());
            } else if name == MOUNT_POINT.as_bytes() {
                out.mount_point = true;
            } else if name == CREATED.as_bytes() {
                out.created = Some(time_from_text(value).ok_or_else(|| fail("no time"))?);
            }
        }
        Ok(out)
    }

    /// The records that say this.
    pub fn records(&self) -> Records {
        let mut out = Records::new();
        let mut add = |name: &str, value: String| out.insert(name.into(), value.into_bytes());
        if let Some(Attributes(bits)) = self.attributes {
            add(ATTRIBUTES, bits.to_string());
        }
        if let Some(security) = &self.security {
            add(SECURITY, STANDARD.encode(security.as_bytes()));
        }
        if let Some(sddl) = &self.sddl {
            add(SDDL, sddl.clone());
        }
        if self.mount_point {
            add(MOUNT_POINT, "1".to_owned());
        }
        if let Some(created) = self.created {
            add(CREATED, time_to_text(created));
        }
        for (name, value) in &self.extended {
            out.insert([EXTENDED, name].concat(), STANDARD.encode(value).into_bytes());
        }
        out
    }

    /// This for a directory that we write: with a descriptor and attributes where it has none.
    #[must_use]
    pub fn for_directory(self) -> Self {
        let attributes = self.attributes.unwrap_or_default().with(Attributes::DIRECTORY);
        let security = self.security.unwrap_or_else(SecurityDescriptor::directory);
        Self { attributes: Some(attributes), security: Some(security), ..self }
    }

    /// The same for a file.
    #[must_use]
    pub fn for_file(self) -> Self {
        let attributes = self.attributes.unwrap_or(Attributes::ARCHIVE);
        let security = self.security.unwrap_or_else(SecurityDescriptor::file);
        Self { attributes: Some(attributes), security: Some(security), ..self }
    }

    /// The same for a symbolic link or mount point, that leads to a directory or to something else.
    #[must_use]
    pub fn for_link(self, to_directory: bool) -> Self {
        let mut attributes = self.attributes.unwrap_or_default().with(Attributes::REPARSE_POINT);
        let mut security = SecurityDescriptor::file();
        if to_directory {
            attributes = attributes.with(Attributes::DIRECTORY);
            security = SecurityDescriptor::directory();
        }
        Self { attributes: Some(attributes), security: Some(self.security.unwrap_or(security)), ..self }
    }
}
