//! A cache in a directory: an OCI layout, as the image layout specification has it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use orlop_store::image::MAX_MANIFEST;
use orlop_store::{Descriptor, Digest, VerifiedReader, media_type};
use serde_json::{Value, json};

use super::LocalName;
use crate::error::BuildError;

/// The annotation of a manifest in `index.json` with its tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join("sha256").join(digest.hex())
    }

    /// `index.json`; none where there is none.
    fn index(&self) -> Result<Option<Value>, BuildError> {
        let path = self.dir.join("index.json");
        let Some((file, _)) = open(&path)? else { return Ok(None) };
        let bytes = read(file, &path, MAX_MANIFEST)?;
        let value = serde_json::from_slice(&bytes).map_err(|error| failed("read", &path, error))?;
        Ok(Some(value))
    }

    /// The descriptor of a manifest. As with buildx, where no tag is said and there is but one that is meant.
    pub(super) fn find(&self, which: &LocalName) -> Result<Option<Descriptor>, BuildError> {
        let Some(index) = self.index()? else { return Ok(None) };
        let entries = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
        let all: Vec<Descriptor> =
            entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect();
        let found = all.iter().find(|entry| match which {
            LocalName::Tag(tag) => entry.annotations.get(TAG) == Some(tag),
            LocalName::Digest(digest) => entry.digest == *digest,
        });
        let only = match (which, all.as_slice()) {
            (LocalName::Tag(tag), [only]) if tag == super::DEFAULT_TAG => Some(only),
            _ => None,
        };
        Ok(found.or(only).cloned())
    }

    /// Whether the blob is there, whole as far as its size tells.
    pub(super) fn has(&self, blob: &Descriptor) -> bool {
        std::fs::metadata(self.blob_path(&blob.digest))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == blob.size)
    }

    /// Opens a blob, which is verified as it is read.
    pub(super) fn open(&self, blob: &Descriptor) -> Result<impl Read + Send + use<>, BuildError> {
        let path = self.blob_path(&blob.digest);
        let Some((file, size)) = open(&path)? else {
            return Err(BuildError::user(format!("`{}` is not there", path.display())));
        };
        if size != blob.size {
            return Err(BuildError::user(format!(
                "`{}` has {size} bytes, not {}",
                path.display(),
                blob.size
            )));
        }
        Ok(VerifiedReader::new(BufReader::with_capacity(1 << 16, file), blob.digest, blob.size))
    }

    /// All of a small blob.
    pub(super) fn small(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, BuildError> {
        let path = self.blob_path(&blob.digest);
        read(self.open(blob)?, &path, limit)
    }

    /// Puts a blob in its place, whole or not at all.
    pub(super) fn put(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), BuildError> {
        let path = self.blob_path(&blob.digest);
        make_parent(&path)?;
        crate::output::write_whole(&path, |mut file| {
            let size = io::copy(content, &mut file).map_err(|error| failed("write", &path, error))?;
            match size == blob.size {
                true => Ok(()),
                false => Err(BuildError::internal(format!("`{}` would have {size} bytes", path.display()))),
            }
        })
    }

    /// Makes `manifest` what `tag` stands for. Other tags stay.
    pub(super) fn name(&self, manifest: &Descriptor, tag: &str) -> Result<(), BuildError> {
        let mark = self.dir.join("oci-layout");
        make_parent(&mark)?;
        let text = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        write(&mark, text.as_bytes())?;
        // An index that cannot be read counts for nothing.
        let earlier = self.index().ok().flatten();
        let mut entries = earlier
            .and_then(|mut index| {
                index.get_mut("manifests").and_then(Value::as_array_mut).map(std::mem::take)
            })
            .unwrap_or_default();
        entries.retain(|entry| entry["annotations"][TAG] != tag);
        let mut entry = manifest.clone();
        entry.annotations.insert(TAG.to_owned(), tag.to_owned());
        entries.push(json!(entry));
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
        write(&self.dir.join("index.json"), index.to_string().as_bytes())
    }
}

fn failed(
    action: &str,
    path: &Path,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> BuildError {
    BuildError::user(format!("cannot {action} `{}`", path.display())).because(error)
}

fn make_parent(path: &Path) -> Result<(), BuildError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(parent).map_err(|error| failed("make", parent, error))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    crate::output::write_whole(path, |mut file| {
        io::copy(&mut &*bytes, &mut file).map(drop).map_err(|error| failed("write", path, error))
    })
}

/// A file and its size; none where there is none, or something that is no file: a FIFO must not hold us up.
fn open(path: &Path) -> Result<Option<(File, u64)>, BuildError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("open", path, error)),
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let file = File::open(path).map_err(|error| failed("open", path, error))?;
    Ok(Some((file, metadata.len())))
}

fn read(reader: impl Read, path: &Path, limit: u64) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", path, error))?;
    if bytes.len() as u64 > limit {
        return Err(BuildError::user(format!(
            "`{}` is larger than the {limit} bytes that are read",
            path.display()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_manifest_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(&dir.path().join("new/cache"));
        let tag = |name: &str| LocalName::Tag(name.to_owned());
        assert_eq!(layout.find(&tag("a")).unwrap(), None, "there is no directory");
        let put = |text: &str, tag: &str| {
            let descriptor = Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes());
            layout.put(&descriptor, &mut text.as_bytes()).unwrap();
            layout.name(&descriptor, tag).unwrap();
            descriptor.digest
        };
        let digest_of = |which: &LocalName| layout.find(which).unwrap().map(|found| found.digest);
        let first = put("one", "a");
        assert_eq!(digest_of(&tag("latest")), Some(first), "the only one");
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
        let path = layout.blob_path(&blob.digest);
        let read = |limit| layout.small(&blob, limit).map_err(|error| error.in_one_line());
        assert!(!layout.has(&blob) && read(100).is_err());
        std::fs::create_dir_all(&path).unwrap();
        assert!(!layout.has(&blob) && read(100).is_err(), "a directory");
        std::fs::remove_dir(&path).unwrap();
        for (content, right) in
            [("content", true), ("conten", false), ("contents", false), ("another", false)]
        {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(100).is_ok(), right, "{content}");
            assert_eq!(layout.has(&blob), content.len() == 7, "{content}");
        }
        std::fs::write(&path, "content").unwrap();
        assert!(read(6).is_err_and(|why| why.contains("larger than the 6 bytes")));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(dir.path().join("index.json")).unwrap();
        assert_eq!(layout.find(&LocalName::Digest(blob.digest)).unwrap(), None);
        // One that would be cut off is not put.
        assert!(layout.put(&blob, &mut &b"conten"[..]).is_err() && !path.exists());
    }
}
