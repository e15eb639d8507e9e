//! Where a copy comes from.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::path::Path;

use orlop_registry_client::{Client, Error, Repository, TagOrDigest};
use orlop_store::image::MAX_MANIFEST;
use orlop_store::layout::LayoutReader;
use orlop_store::{ArchiveFormat, Descriptor, Digest, Reference, media_type};
use serde_json::json;

use super::Place;
use super::copy::{DOCUMENTS, Work};
use super::document::Document;
use crate::error::BuildError;
use crate::transfer::{manifest_request, registry_error, repository};

/// A place that is read from. Several threads may do so at once.
#[derive(Debug)]
pub struct Source<'a> {
    /// As it was written, for messages.
    label: String,
    kind: Kind<'a>,
    /// It is looked at, and nothing is copied.
    looked_at: bool,
}

#[derive(Debug)]
enum Kind<'a> {
    Registry { client: &'a Client, repository: Repository, name: Reference },
    Layout { reader: LayoutReader, name: Option<String> },
    Saved(Saved),
}

/// An archive of `docker save`, with the manifest that its image has as it lies there.
#[derive(Debug)]
struct Saved {
    reader: LayoutReader,
    config: (Descriptor, Vec<u8>),
    entries: BTreeMap<Digest, String>,
    manifest: Vec<u8>,
    media_type: &'static str,
}

impl<'a> Source<'a> {
    /// Opens a place; no registry is asked yet. `for_layout`: the image of a `docker save` archive, which has no
    /// manifest, gets one of OCI's types and not of Docker's.
    ///
    /// # Errors
    /// When a file is not there, or is something else.
    pub fn open(client: &'a Client, place: &Place, for_layout: bool) -> Result<Self, BuildError> {
        let label = place.to_string();
        let kind = match place {
            Place::Registry(name) => {
                Kind::Registry { client, repository: repository(name)?, name: name.clone() }
            }
            Place::Layout { path, name } | Place::OciArchive { path, name } => {
                let reader = open_files(path)?;
                if reader.format() == ArchiveFormat::Docker {
                    let hint = format!("write `docker-archive:{}`", path.display());
                    return Err(BuildError::user(format!("{} is no OCI layout", reader.name()))
                        .because("it is an archive of `docker save`")
                        .with_hint(hint));
                }
                Kind::Layout { reader, name: name.clone() }
            }
            Place::DockerArchive { path, name } => {
                let reader = open_files(path)?;
                match reader.format() {
                    // Those of today are layouts as well, which say more.
                    ArchiveFormat::Oci => {
                        Kind::Layout { reader, name: name.as_ref().map(Reference::to_string) }
                    }
                    ArchiveFormat::Docker => Kind::Saved(Saved::read(reader, name.as_ref(), for_layout)?),
                }
            }
        };
        Ok(Self { label, kind, looked_at: false })
    }

    /// The same to look at, and not to copy from: for messages.
    #[must_use]
    pub fn to_look_at(self) -> Self {
        Self { looked_at: true, ..self }
    }

    /// What the place means.
    ///
    /// # Errors
    /// When there is no such thing, or it is not what it should be.
    pub fn root(&self) -> Result<Document, BuildError> {
        match &self.kind {
            Kind::Registry { name, .. } => {
                self.fetch(TagOrDigest::of(name), &Descriptor::new("", Digest::of(b""), 0))
            }
            Kind::Layout { reader, name } => self.document(&reader.find(name.as_deref())?),
            Kind::Saved(saved) => {
                let descriptor = Descriptor::of(saved.media_type, &saved.manifest);
                self.read(&descriptor, saved.manifest.clone())
            }
        }
    }

    /// A manifest or index of the place.
    ///
    /// # Errors
    /// When it is not there, or not what `descriptor` says.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, BuildError> {
        let size = descriptor.size;
        if size > MAX_MANIFEST {
            return Err(BuildError::user(self.cannot()).because(format!(
                "manifest {} is said to have {size} bytes, more than the {MAX_MANIFEST} allowed",
                descriptor.digest
            )));
        }
        match &self.kind {
            Kind::Registry { .. } => {
                let document = self.fetch(TagOrDigest::Digest(descriptor.digest), descriptor)?;
                let found = document.descriptor.size;
                if found != size {
                    return Err(BuildError::user(self.cannot()).because(format!(
                        "manifest {} has {found} bytes, and what names it says {size}",
                        descriptor.digest
                    )));
                }
                Ok(document)
            }
            Kind::Layout { reader, .. } => self.read(descriptor, reader.small(descriptor, MAX_MANIFEST)?),
            Kind::Saved(_) => Err(BuildError::internal("an archive of `docker save` has one manifest")),
        }
    }

    /// A document by its tag, where there is such a tag.
    pub(super) fn tagged(&self, tag: &str) -> Result<Option<Document>, BuildError> {
        match &self.kind {
            Kind::Registry { client, repository, .. } => {
                let which = TagOrDigest::Tag(tag.to_owned());
                match client.document(repository, &which) {
                    Ok(answer) => {
                        let said = Descriptor::of(answer.media_type, &answer.bytes);
                        let read = Document::read(&said, answer.bytes);
                        read.map(Some).map_err(|error| self.malformed(repository, &which, error))
                    }
                    Err(error) if error.is_not_found() => Ok(None),
                    Err(error) => Err(registry_error(self.cannot(), error)),
                }
            }
            Kind::Layout { reader, .. } => {
                let named = |d: &&Descriptor| {
                    d.annotations.get(orlop_store::layout::REF_NAME).is_some_and(|name| name == tag)
                };
                let entries = reader.entries()?;
                entries.iter().find(named).map(|entry| self.document(entry)).transpose()
            }
            Kind::Saved(_) => Ok(None),
        }
    }

    /// What refers to `digest` as its subject, counted as part of `work`.
    pub(super) fn referrers(&self, digest: &Digest, work: &Work<'_>) -> Result<Vec<Document>, BuildError> {
        match &self.kind {
            Kind::Registry { client, repository, .. } => {
                let found = client.referrers(repository, *digest, None);
                let found = found.map_err(|error| registry_error(self.cannot(), error))?;
                if found.len() > DOCUMENTS {
                    return Err(work.too_many());
                }
                let fetch = |entry: &Descriptor| {
                    let document = self.document(entry)?;
                    work.count(document.descriptor.size)?;
                    Ok(document)
                };
                found.iter().map(fetch).collect()
            }
            Kind::Layout { reader, .. } => {
                let mut out = Vec::new();
                for entry in reader.entries()? {
                    let document = self.document(&entry)?;
                    if document.subject.as_ref().is_some_and(|subject| subject.digest == *digest) {
                        work.count(document.descriptor.size)?;
                        out.push(document);
                    }
                }
                Ok(out)
            }
            Kind::Saved(_) => Ok(Vec::new()),
        }
    }

    /// The content of a blob, verified: its end is told only after size and digest were found right.
    ///
    /// # Errors
    /// When it is not there; what a registry says comes from reading.
    pub fn open_blob(&self, blob: &Descriptor) -> io::Result<Box<dyn BufRead + Send>> {
        let store = |error: orlop_store::Error| io::Error::other(error);
        match &self.kind {
            Kind::Registry { client, repository, .. } => {
                let reader = client.blob(repository, blob).map_err(io::Error::other)?;
                Ok(Box::new(reader))
            }
            Kind::Layout { reader, .. } => reader.blob(blob).map_err(store),
            Kind::Saved(saved) => match saved.entries.get(&blob.digest) {
                _ if blob.digest == saved.config.0.digest => {
                    Ok(Box::new(io::Cursor::new(saved.config.1.clone())))
                }
                Some(entry) => saved.reader.saved_layer(blob, entry).map_err(store),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// The repository that it reads from.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.kind {
            Kind::Registry { repository, .. } => Some(repository),
            _ => None,
        }
    }

    /// What fails when something cannot be had from here.
    pub(super) fn cannot(&self) -> String {
        let deed = if self.looked_at { "read" } else { "copy from" };
        format!("cannot {deed} `{}`", self.label)
    }

    fn fetch(&self, which: TagOrDigest, said: &Descriptor) -> Result<Document, BuildError> {
        let Kind::Registry { client, repository, .. } = &self.kind else {
            return Err(BuildError::internal("only registries are asked"));
        };
        let answer = client.document(repository, &which).map_err(|error| match error {
            Error::Manifest { what, .. } => self.malformed(repository, &which, BuildError::user(what)),
            error => registry_error(self.cannot(), error),
        })?;
        let said = Descriptor { media_type: answer.media_type, ..said.clone() };
        Document::read(&said, answer.bytes).map_err(|error| self.malformed(repository, &which, error))
    }

    /// Of a document of a registry with something wrong in it.
    fn malformed(&self, repository: &Repository, which: &TagOrDigest, error: BuildError) -> BuildError {
        BuildError::user(self.cannot())
            .because(format!("{}: {}", manifest_request(repository, which), error.in_one_line()))
            .with_hint(error.hint)
    }

    /// Reads a document of a file.
    fn read(&self, said: &Descriptor, bytes: Vec<u8>) -> Result<Document, BuildError> {
        Document::read(said, bytes).map_err(|error| {
            BuildError::user(self.cannot()).because(error.in_one_line()).with_hint(error.hint)
        })
    }
}

fn open_files(path: &Path) -> Result<LayoutReader, BuildError> {
    std::fs::metadata(path)
        .map_err(|e| BuildError::user(format!("cannot open `{}`", path.display())).because(e))?;
    // What is compressed as a whole is inflated beside itself.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(LayoutReader::open(path, parent.unwrap_or(Path::new(".")))?)
}

impl Saved {
    fn read(reader: LayoutReader, name: Option<&Reference>, for_layout: bool) -> Result<Self, BuildError> {
        let familiar = name.map(Reference::familiar);
        let image = reader.saved_image(familiar.as_deref())?;
        let (manifest_type, config_type) = match for_layout {
            true => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
            false => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        };
        let layer_type = |docker: &str| match (for_layout, docker == media_type::DOCKER_LAYER) {
            (false, _) => docker.to_owned(),
            (true, true) => media_type::OCI_LAYER.to_owned(),
            (true, false) => media_type::OCI_LAYER_GZIP.to_owned(),
        };
        let config = Descriptor::of(config_type, &image.config);
        let short =
            |d: &Descriptor, kind: &str| json!({"mediaType": kind, "digest": d.digest, "size": d.size});
        let layers: Vec<_> = image.layers.iter().map(|(d, _)| short(d, &layer_type(&d.media_type))).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": short(&config, config_type),
            "layers": layers,
        });
        Ok(Self {
            reader,
            entries: image.layers.into_iter().map(|(d, entry)| (d.digest, entry)).collect(),
            config: (config, image.config),
            manifest: manifest.to_string().into_bytes(),
            media_type: manifest_type,
        })
    }
}
