//! Where a cache is: a name in a registry, or a directory.

use std::io::Read;

use orlop_registry_client::{Error, Repository, TagOrDigest};
use orlop_store::image::MAX_MANIFEST;
use orlop_store::{BlobSource, Descriptor, Digest, Reference};

use super::layout::Layout;
use super::{CachePlace, CacheSource, LocalName};
use crate::error::{BuildError, ErrorKind};
use crate::event::{Action, Task};
use crate::request::Engine;
use crate::transfer::{mountable, push_blob, repository};

/// A place for a cache.
#[derive(Debug)]
pub(super) enum Place {
    Registry { reference: Reference, repository: Repository },
    Local { layout: Layout, which: LocalName, shown: String, any: bool },
}

/// A manifest, or an index, as it is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl Place {
    /// Where a `--cache-from` reads.
    pub(super) fn of_source(source: &CacheSource) -> Result<Self, BuildError> {
        match source {
            CacheSource::Registry(reference) => Self::of_reference(reference),
            CacheSource::Local { dir, which } => Ok(Self::Local {
                layout: Layout::new(dir),
                which: which.clone(),
                shown: dir.display().to_string(),
                any: true,
            }),
        }
    }

    /// Where a `--cache-to` writes; none for the image's own config.
    pub(super) fn of_target(place: &CachePlace) -> Result<Option<Self>, BuildError> {
        match place {
            CachePlace::Registry(reference) => Self::of_reference(reference).map(Some),
            CachePlace::Local { dir, tag } => Ok(Some(Self::Local {
                layout: Layout::new(dir),
                which: LocalName::Tag(tag.clone()),
                shown: dir.display().to_string(),
                any: false,
            })),
            CachePlace::Inline => Ok(None),
        }
    }

    fn of_reference(reference: &Reference) -> Result<Self, BuildError> {
        Ok(Self::Registry { reference: reference.clone(), repository: repository(reference)? })
    }

    /// How it is called in a message.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Registry { reference, .. } => reference.familiar(),
            Self::Local { shown, .. } => shown.clone(),
        }
    }

    /// The repository, as the store remembers where blobs are.
    pub(super) fn repository(&self) -> Option<String> {
        match self {
            Self::Registry { reference, .. } => Some(reference.repository()),
            Self::Local { .. } => None,
        }
    }

    /// What is there under the name; none where nothing is.
    pub(super) fn find(&self, engine: &Engine<'_>) -> Result<Option<Found>, BuildError> {
        match self {
            Self::Registry { reference, repository } => {
                match engine.registry.manifest(repository, &TagOrDigest::of(reference)) {
                    Ok(answer) => Ok(Some(Found { media_type: answer.media_type, bytes: answer.bytes })),
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Local { layout, which, any, .. } => {
                let Some(descriptor) = layout.find(which, *any)? else { return Ok(None) };
                let bytes = layout.small(&descriptor, MAX_MANIFEST)?;
                Ok(Some(Found { media_type: descriptor.media_type, bytes }))
            }
        }
    }

    /// A manifest that an index names.
    pub(super) fn member(&self, engine: &Engine<'_>, member: &Descriptor) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Registry { repository, .. } => {
                Ok(engine.registry.manifest(repository, &TagOrDigest::Digest(member.digest))?.bytes)
            }
            Self::Local { layout, .. } => layout.small(member, MAX_MANIFEST),
        }
    }

    /// All of a small blob.
    pub(super) fn small(
        &self,
        engine: &Engine<'_>,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, BuildError> {
        if blob.size > limit {
            let (digest, size) = (blob.digest.short(), blob.size);
            return Err(BuildError::user(format!(
                "`{digest}` has {size} bytes, more than the {limit} that are read"
            )));
        }
        match self {
            Self::Registry { repository, .. } => {
                let mut bytes = Vec::new();
                let reader = engine.registry.blob(repository, blob)?;
                reader.take(limit).read_to_end(&mut bytes).map_err(|error| {
                    crate::transfer::stream_error(format!("cannot fetch {}", blob.digest.short()), error)
                })?;
                match Digest::of(&bytes) == blob.digest {
                    true => Ok(bytes),
                    false => Err(BuildError::user(format!("{} is damaged", blob.digest.short()))),
                }
            }
            Self::Local { layout, .. } => layout.small(blob, limit),
        }
    }

    /// Puts a small blob there.
    pub(super) fn put_small(
        &self,
        engine: &Engine<'_>,
        blob: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), BuildError> {
        match self {
            Self::Registry { repository, .. } => {
                let bytes: std::sync::Arc<[u8]> = bytes.into();
                let open = || -> std::io::Result<Box<dyn Read + Send>> {
                    Ok(Box::new(std::io::Cursor::new(std::sync::Arc::clone(&bytes))))
                };
                engine.registry.push_blob(repository, blob, &open, &[], &|_| ())?;
                Ok(())
            }
            Self::Local { layout, .. } => match layout.has(blob)? {
                true => Ok(()),
                false => layout.put(blob, &mut &*bytes),
            },
        }
    }

    /// Puts a manifest or an index under the name.
    pub(super) fn name(&self, engine: &Engine<'_>, media_type: &str, bytes: &[u8]) -> Result<(), BuildError> {
        match self {
            Self::Registry { reference, repository } => {
                engine.registry.push_manifest(repository, &TagOrDigest::of(reference), media_type, bytes)?;
                Ok(())
            }
            Self::Local { layout, which, .. } => {
                let descriptor = Descriptor::of(media_type, bytes);
                layout.put(&descriptor, &mut &*bytes)?;
                match which {
                    LocalName::Tag(tag) => layout.name(&descriptor, tag),
                    LocalName::Digest(_) => Ok(()),
                }
            }
        }
    }

    /// Whether the layer's blob is there, or comes there without being sent.
    pub(super) fn has_layer(&self, engine: &Engine<'_>, blob: &Descriptor) -> Result<bool, BuildError> {
        match self {
            Self::Registry { reference, repository } => {
                let here = mountable(engine, repository, blob)?;
                if here {
                    engine.store.note_source(&blob.digest, &reference.repository())?;
                }
                Ok(here)
            }
            Self::Local { layout, .. } => layout.has(blob),
        }
    }

    /// Sends a layer's blob, which the store has. Gives the bytes that were sent.
    pub(super) fn put_layer(
        &self,
        engine: &Engine<'_>,
        blob: &Descriptor,
        task: &Task<'_>,
    ) -> Result<u64, BuildError> {
        match self {
            Self::Registry { reference, .. } => push_blob(engine, reference, blob, task),
            Self::Local { layout, .. } => {
                if layout.has(blob)? {
                    task.transfer(blob.digest, Action::Exists, blob.size, Some(blob.size));
                    return Ok(0);
                }
                let mut content = engine.store.blobs().open_blob(blob).map_err(|error| {
                    crate::transfer::stream_error(format!("cannot read layer {}", blob.digest.short()), error)
                })?;
                layout.put(blob, &mut content)?;
                task.transfer(blob.digest, Action::Export, blob.size, Some(blob.size));
                Ok(blob.size)
            }
        }
    }

    /// Whether what went wrong in reading may be gone the next time.
    pub(super) fn may_pass(&self, error: &BuildError) -> bool {
        if error.kind == ErrorKind::Interrupted {
            return true;
        }
        let cause = error.source.as_ref().and_then(|cause| cause.downcast_ref::<Error>());
        cause.is_some_and(|cause| {
            !cause.is_not_found() && !matches!(cause, Error::Digest { .. } | Error::Size { .. })
        })
    }

    /// The directory, where it is one.
    pub(super) fn local(&self) -> Option<&Layout> {
        match self {
            Self::Registry { .. } => None,
            Self::Local { layout, .. } => Some(layout),
        }
    }
}
