//! What is in a layer but for times: an archive that has in the place of content its size and digest. Two runs of a step
//! that did the same have the same.

use super::tar::{Entry, TarError, Time, Writer};
use super::windows;
use crate::digest::{Digest, Digester, FileDigest};

/// Bytes of what stands for a file's content.
const STAND_IN: u64 = 8 + 32;

/// Its digest in the making.
#[derive(Debug)]
pub(crate) struct Timeless(Writer<Digester>);

impl Timeless {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(Writer::new(Digester::new()))
    }

    /// The next entry; what is known of content that is not empty must follow.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), TarError> {
        let size = if entry.size > 0 { STAND_IN } else { 0 };
        let mut entry = Entry { mtime: Time::default(), size, ..entry.clone() };
        windows::forget_times(&mut entry.windows);
        self.0.entry(&entry)
    }

    /// The content of the entry: its bytes and their digest.
    pub(crate) fn content(&mut self, size: u64, digest: &FileDigest) -> Result<(), TarError> {
        if size == 0 {
            return Ok(());
        }
        self.0.content(&size.to_le_bytes())?;
        self.0.content(digest.as_bytes())
    }

    /// The digest of all of it.
    pub(crate) fn finish(self) -> Result<Digest, TarError> {
        Ok(self.0.finish()?.finish())
    }
}
