//! ADD of URLs: downloaded first, because their content is what the step's key is made of.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use orlop_store::work::WorkDir;
use orlop_store::{Digest, Digester};

use super::copy::{CopyRequest, RemoteFile, Source};
use super::files::Words;
use super::repository::is_git;
use super::stage::StageRun;
use crate::context::git::redact::redact;
use crate::dockerfile::Add;
use crate::error::BuildError;
use crate::event::{Action, Outcome};

/// Whether a source of ADD is fetched rather than read from the context.
fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

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

/// What to do about a file that does not come. The server is none of registries.
fn download_hint(error: &orlop_registry_client::Error) -> Option<String> {
    use orlop_registry_client::Error;
    match error {
        Error::Status(e) => match e.status {
            404 | 410 => Some("look at the URL: the server has nothing there".to_owned()),
            401 | 403 => Some(
                "the server wants a login, and ADD has none: download it in a RUN with `--mount=type=secret`"
                    .to_owned(),
            ),
            _ => None,
        },
        Error::Transport { kind, .. } => match kind {
            orlop_registry_client::TransportKind::Refused => {
                Some("nothing listens there: look at the URL's host and port".to_owned())
            }
            orlop_registry_client::TransportKind::Resolve => error.hint(),
            _ => None,
        },
        _ => error.hint(),
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

    /// Puts files in the place of the URLs among the sources. The files are gone when what is returned is.
    pub(crate) fn download(
        &self,
        words: &Words<'_>,
        request: &mut CopyRequest,
        checksum: Option<&str>,
    ) -> Result<Option<WorkDir>, BuildError> {
        let file = &self.exec.dockerfile().source;
        let urls = request.sources.iter().filter(|s| matches!(s, Source::Path(p) if is_url(p))).count();
        let expected = checksum
            .filter(|_| urls == 1)
            .map(|text| text.parse::<Digest>().map_err(|e| checksum_error(text, &e)))
            .transpose()?;
        let mut held = None;
        for (index, source) in request.sources.iter_mut().enumerate() {
            let Source::Path(url) = source else { continue };
            let place = |error: BuildError| match words.sources.get(index) {
                Some(word) => error.at(file, word.span),
                None => error,
            };
            if !is_url(url) {
                continue;
            }
            let dir = match held.take() {
                Some(dir) => dir,
                None => self.exec.engine.store.work().create("download").map_err(orlop_store::Error::from)?,
            };
            let remote = self.fetch(url, &dir.path().join(index.to_string()), expected).map_err(place)?;
            held = Some(dir);
            *source = Source::Remote(remote);
        }
        Ok(held)
    }

    fn fetch(&self, url: &str, path: &Path, expected: Option<Digest>) -> Result<RemoteFile, BuildError> {
        let shown = redact(url);
        let task = self.exec.progress.start(format!("[{}] ADD {shown}", self.name()));
        let mut download = self.exec.engine.registry.download(url, None).map_err(|e| {
            let hint = download_hint(&e);
            BuildError::user(format!("cannot download `{shown}`")).with_hint(hint).because(e)
        })?;
        let failed = |e: io::Error| BuildError::user(format!("cannot download `{shown}`")).because(e);
        let mut out = File::create(path).map_err(failed)?;
        let mut digester = Digester::new();
        let label = Digest::of(url.as_bytes());
        let mut buffer = vec![0; 64 << 10];
        loop {
            self.exec.check_canceled()?;
            let n = download.read(&mut buffer).map_err(failed)?;
            if n == 0 {
                break;
            }
            digester.update(&buffer[..n]);
            out.write_all(&buffer[..n]).map_err(failed)?;
            task.transfer(label, Action::Pull, digester.size(), download.head().size);
        }
        let found = digester.finish();
        if let Some(expected) = expected
            && expected != found
        {
            return Err(BuildError::user(format!("`{shown}` has digest {found}, not {expected}"))
                .with_hint("if the file may have changed, look at it and correct `--checksum`".to_owned()));
        }
        task.finish(Outcome::Done, None, None);
        let asked = url::Url::parse(url).map(|u| u.path().to_owned()).unwrap_or_default();
        let asked = percent_encoding::percent_decode_str(&asked).decode_utf8_lossy().into_owned();
        let mtime = download.head().last_modified.map(|s| UNIX_EPOCH + Duration::from_secs(s));
        Ok(RemoteFile { name: RemoteFile::name_of(&asked), path: path.to_owned(), mtime })
    }
}
