//! A cache in a directory: an OCI layout.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use orlop_store::Descriptor;
use orlop_store::layout::{LayoutReader, LayoutWriter, REF_NAME};

use super::LocalName;
use crate::error::BuildError;

/// The directory.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    writer: OnceLock<LayoutWriter>,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), writer: OnceLock::new() }
    }

    /// None where nothing is named yet: no directory, an empty one, or one that a writer has just begun.
    fn reader(&self) -> Result<Option<LayoutReader>, BuildError> {
        let begun = !self.dir.join("index.json").exists() && self.dir.join("oci-layout").is_file();
        let empty = || std::fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        match begun || !self.dir.exists() || empty() {
            true => Ok(None),
            false => Ok(Some(LayoutReader::open(&self.dir, &self.dir)?)),
        }
    }

    fn writer(&self) -> Result<&LayoutWriter, BuildError> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let writer = LayoutWriter::open(&self.dir)?;
        Ok(self.writer.get_or_init(|| writer))
    }

    fn needed(&self) -> Result<LayoutReader, BuildError> {
        let missing = || BuildError::user(format!("there is no OCI layout in `{}`", self.dir.display()));
        self.reader()?.ok_or_else(missing)
    }

    /// The descriptor of a manifest; where `any` will do and no tag is said, the only one, as with buildx.
    pub(super) fn find(&self, which: &LocalName, any: bool) -> Result<Option<Descriptor>, BuildError> {
        let Some(reader) = self.reader()? else { return Ok(None) };
        let all = reader.entries()?;
        let found = all.iter().find(|entry| match which {
            LocalName::Tag(tag) => entry.annotations.get(REF_NAME) == Some(tag),
            LocalName::Digest(digest) => entry.digest == *digest,
        });
        let only = match (which, all.as_slice()) {
            (LocalName::Tag(tag), [only]) if any && tag == super::DEFAULT_TAG => Some(only),
            _ => None,
        };
        Ok(found.or(only).cloned())
    }

    /// Opens a blob, which is verified as it is read.
    pub(super) fn open(&self, blob: &Descriptor) -> Result<impl Read + Send + use<>, BuildError> {
        Ok(self.needed()?.blob(blob)?)
    }

    /// All of a small blob.
    pub(super) fn small(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, BuildError> {
        Ok(self.needed()?.small(blob, limit)?)
    }

    /// Whether the blob is there, whole as far as its size tells. The directory is a layout then.
    pub(super) fn has(&self, blob: &Descriptor) -> Result<bool, BuildError> {
        Ok(self.writer()?.has(blob))
    }

    /// Puts a blob in its place, whole or not at all.
    pub(super) fn put(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), BuildError> {
        Ok(self.writer()?.put(blob, &mut BufReader::new(content), &mut |_| ())?)
    }

    /// Makes `manifest` what `tag` stands for. Other tags stay.
    pub(super) fn name(&self, manifest: &Descriptor, tag: &str) -> Result<(), BuildError> {
        let mut entry = manifest.clone();
        entry.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
        Ok(self.writer()?.finish(vec![entry])?)
    }
}

#[cfg(test)]
mod tests {
    use orlop_store::media_type;

    use super::*;

    #[test]
    fn a_tag_is_one_manifest_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("new/cache"));
        let tag = |name: &str| LocalName::Tag(name.to_owned());
        assert_eq!(layout.find(&tag("a"), true).unwrap(), None, "there is no directory");
        let put = |text: &str, tag: &str| {
            let descriptor = Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes());
            layout.put(&descriptor, &mut text.as_bytes()).unwrap();
            layout.name(&descriptor, tag).unwrap();
            descriptor.digest
        };
        let digest_of = |which: &LocalName| layout.find(which, true).unwrap().map(|found| found.digest);
        let first = put("one", "a");
        assert_eq!(digest_of(&tag("latest")), Some(first), "the only one");
        assert_eq!(layout.find(&tag("latest"), false).unwrap(), None, "to be written");
        assert_eq!(digest_of(&tag("b")), None);
        let (second, third) = (put("two", "b"), put("three", "a"));
        assert_eq!([digest_of(&tag("a")), digest_of(&tag("b"))], [Some(third), Some(second)]);
        assert_eq!(digest_of(&tag("latest")), None, "which?");
        assert_eq!(digest_of(&LocalName::Digest(second)), Some(second));
        assert_eq!(digest_of(&LocalName::Digest(first)), None, "nothing names it any more");
    }

    #[test]
    fn what_is_no_blob_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let blob = Descriptor::of(media_type::OCI_LAYER, b"content");
        layout.has(&blob).unwrap();
        layout.name(&Descriptor::of(media_type::OCI_MANIFEST, b"m"), "m").unwrap();
        let path = dir.path().join("blobs/sha256").join(blob.digest.hex());
        let read = |limit| layout.small(&blob, limit).map_err(|error| error.in_one_line());
        assert!(!layout.has(&blob).unwrap() && read(100).is_err());
        std::fs::create_dir_all(&path).unwrap();
        assert!(!layout.has(&blob).unwrap() && read(100).is_err(), "a directory");
        std::fs::remove_dir(&path).unwrap();
        for (content, right) in
            [("content", true), ("conten", false), ("contents", false), ("another", false)]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(100).is_ok(), right, "{content}");
            assert_eq!(layout.has(&blob).unwrap(), content.len() == 7, "{content}");
        }
        std::fs::write(&path, "content").unwrap();
        assert!(read(6).is_err_and(|why| why.contains("7 bytes, more than the 6 allowed")));
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(dir.path().join("index.json")).unwrap();
        std::fs::create_dir(dir.path().join("index.json")).unwrap();
        assert_eq!(layout.find(&LocalName::Digest(blob.digest), true).map_err(drop), Err(()));
        // One that would be cut off is not put.
        assert!(layout.put(&blob, &mut &b"conten"[..]).is_err() && !path.exists());
    }
}
