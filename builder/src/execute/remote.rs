//! ADD of URLs: downloaded first, because their content is what the step's key is made of.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use orlop_store::Digest;
use orlop_store::work::WorkDir;

use super::copy::{CopyRequest, RemoteFile, Source};
use super::files::Words;
use super::once::Once;
use super::repository::is_git;
use super::stage::StageRun;
use crate::context::fetch::{download_into, is_url, shown};
use crate::dockerfile::Add;
use crate::error::BuildError;
use crate::event::Outcome;

/// The files that a build has fetched, by URL.
pub(super) type Downloads = Once<Downloaded>;

/// A file that was fetched.
#[derive(Clone)]
pub(super) struct Downloaded {
    file: RemoteFile,
    digest: Digest,
    /// Removes the file at the end.
    _dir: Arc<WorkDir>,
}

/// Of a server that lets nobody in without a login.
const LOGIN: &str = "the server wants a login, and one in the URL would stand in the Dockerfile: download it in a RUN with `--mount=type=secret`";

/// Whether a source is no path at all.
pub(crate) fn is_remote(source: &str) -> bool {
    is_url(source) || is_git(source)
}

/// What is wrong with a `--checksum`.
fn checksum_error(text: &str, error: &orlop_store::digest::DigestParseError) -> BuildError {
    let other = text.split_once(':').map(|(algorithm, _)| algorithm).filter(|name| *name != "sha256");
    match other {
        Some(name) => BuildError::user(format!("`ADD --checksum` takes SHA-256 alone, and not `{name}`"))
            .with_hint("write `--checksum=sha256:` and what `sha256sum FILE` prints".to_owned()),
        None => BuildError::user(format!("`ADD --checksum`: {error}")),
    }
}

impl StageRun<'_, '_> {
    /// COPY takes files that are there; only ADD gets them from elsewhere.
    pub(crate) fn refuse_remote(&self, words: &Words<'_>, request: &CopyRequest) -> Result<(), BuildError> {
        for (word, source) in words.sources.iter().zip(&request.sources) {
            if matches!(source, Source::Path(source) if is_remote(source)) {
                return Err(BuildError::user("COPY cannot take anything from a URL or a git repository")
                    .with_hint("write ADD".to_owned())
                    .at(&self.exec.dockerfile().source, word.span));
            }
        }
        Ok(())
    }

    /// `--checksum` is for what comes from elsewhere, and for one thing.
    pub(crate) fn check_checksum(&self, add: &Add, request: &CopyRequest) -> Result<(), BuildError> {
        let Some(word) = &add.checksum else { return Ok(()) };
        match request.sources.as_slice() {
            [Source::Path(source)] if is_remote(source) => Ok(()),
            _ => Err(BuildError::user(
                "`ADD --checksum` is for one source, an http or https URL or a git repository",
            )
            .at(&self.exec.dockerfile().source, word.span)),
        }
    }

    /// Puts files in the place of the URLs among the sources. The files are there as long as the build.
    pub(crate) fn download(
        &self,
        words: &Words<'_>,
        request: &mut CopyRequest,
        checksum: Option<&str>,
    ) -> Result<(), BuildError> {
        let file = &self.exec.dockerfile().source;
        let urls = request.sources.iter().filter(|s| matches!(s, Source::Path(p) if is_url(p))).count();
        let expected = checksum
            .filter(|_| urls == 1)
            .map(|text| text.parse::<Digest>().map_err(|e| checksum_error(text, &e)))
            .transpose()?;
        for (index, source) in request.sources.iter_mut().enumerate() {
            let Source::Path(url) = source else { continue };
            if !is_url(url) {
                continue;
            }
            let got = self.downloaded(url, expected).map_err(|error| words.at(index, file, error))?;
            *source = Source::Remote(got);
        }
        Ok(())
    }

    /// The file of a URL, fetched once in a build: whoever else asks, perhaps for another platform, gets the same.
    fn downloaded(&self, url: &str, expected: Option<Digest>) -> Result<RemoteFile, BuildError> {
        let known = self.exec.common.downloads.get(url, || {
            self.exec.check_canceled()?;
            let dir = self.exec.engine.store.work().create("download").map_err(orlop_store::Error::from)?;
            let (file, digest) = self.fetch(url, &dir.path().join("content"), expected)?;
            Ok(Downloaded { file, digest, _dir: Arc::new(dir) })
        })?;
        is_expected(url, known.digest, expected)?;
        Ok(known.file)
    }

    fn fetch(
        &self,
        url: &str,
        path: &Path,
        expected: Option<Digest>,
    ) -> Result<(RemoteFile, Digest), BuildError> {
        let task = self.exec.progress.start(format!("[{}] ADD {}", self.name(), shown(url)));
        let unwritten = |e: io::Error| BuildError::internal("cannot write to the store").because(e);
        let mut out = File::create(path).map_err(unwritten)?;
        let (found, modified) = download_into(&self.exec.engine, &task, url, LOGIN, &mut out)?;
        is_expected(url, found, expected)?;
        task.finish(Outcome::Done, None, None);
        let asked = url::Url::parse(url).map(|u| u.path().to_owned()).unwrap_or_default();
        let asked = percent_encoding::percent_decode_str(&asked).decode_utf8_lossy().into_owned();
        let mtime = modified.map(|s| UNIX_EPOCH + Duration::from_secs(s));
        Ok((RemoteFile { name: RemoteFile::name_of(&asked), path: path.to_owned(), mtime }, found))
    }
}

/// Fails where `--checksum` says that the file is another one.
fn is_expected(url: &str, found: Digest, expected: Option<Digest>) -> Result<(), BuildError> {
    match expected.filter(|expected| *expected != found) {
        None => Ok(()),
        Some(expected) => {
            Err(BuildError::user(format!("`{}` has digest {found}, not {expected}", shown(url)))
                .with_hint("if the file may have changed, look at it and correct `--checksum`".to_owned()))
        }
    }
}
