//! COPY, ADD and WORKDIR: from the instruction to files in a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orlop_runner::{Account, User};
use orlop_store::FileDigest;
use orlop_store::files::FileScan;
use orlop_store::files::FileStat as StoredStat;
use orlop_store::steps::{KeyPart, StepKey};

use super::change::Change;
use super::copy::{
    AddOptions, Chmod, CopyError, CopyErrorKind, CopyRequest, Selection, Source, apply, select,
};
#[cfg(unix)]
use super::copy::{ComposeError, compose};
use super::part::Part;
use super::repository::Repository;
use super::stage::{Files, StageRun};
use super::step::StepSpec;
use crate::context::{DigestCache, FileStat, SourceTree, Time};
use crate::dialect::{Dialect, account};
use crate::dockerfile::{Add, Copy, Heredoc, Instruction, Word};
use crate::error::BuildError;
use crate::redact::redact;
use crate::request::ContextSource;
use crate::source::SourceFile;

/// What an owner of files in a Windows image may be.
const CHOWN_HINT: &str =
    "write `--chown=ContainerUser` for what that account may write; without the flag it is read and executed";

/// Of files that are to be an account's.
const NOT_GIVEN: &str =
    "could not be kept here: files belong to Administrators, and Users read and execute them";

/// The words of a COPY or an ADD that the copy rules know by number, to point errors at.
#[derive(Default)]
pub(crate) struct Words<'i> {
    pub(crate) sources: Vec<&'i Word>,
    pub(crate) heredocs: &'i [Heredoc],
    pub(crate) chown: Option<&'i Word>,
    exclude: &'i [Word],
    /// They are paths of the build context.
    of_context: bool,
    /// What the step is known as where they are paths of an image.
    alias: Option<StepKey>,
}

impl Words<'_> {
    /// The error at the source of that number.
    pub(crate) fn at(&self, index: usize, file: &Arc<SourceFile>, error: BuildError) -> BuildError {
        match self.sources.get(index) {
            Some(word) => error.at(file, word.span),
            None => error,
        }
    }
}

/// Of a path in a context that there is not.
const ALONE: &str = "the Dockerfile came alone, so there is nothing to copy from: \
    name a directory with it, `orlop build -f - DIR`, or pipe an archive that has both";

impl StageRun<'_, '_> {
    pub(crate) fn copy(&mut self, instruction: &Instruction, copy: &Copy) -> Result<(), BuildError> {
        let mut words = Words {
            sources: copy.sources.iter().collect(),
            heredocs: &copy.heredocs,
            chown: copy.chown.as_ref(),
            exclude: &copy.exclude,
            of_context: copy.from.is_none(),
            alias: None,
        };
        let mut request = self.copy_request(&words, &copy.dest, copy.chmod.as_ref())?;
        self.refuse_remote(&words, &request)?;
        request.link = copy.link;
        request.parents = copy.parents;
        let shown = self.copy_history("COPY", copy.parents, &words, (&copy.dest, copy.chmod.as_ref()))?;
        let Some(from) = &copy.from else {
            let tree = self.exec.context();
            return self.copy_from(instruction, ("COPY", shown), &words, request, tree, &[]);
        };
        let file = &self.exec.dockerfile().source;
        let (source, dialect) = match self.source_named(&from.value).map_err(|e| e.at(file, from.span))? {
            Files::Tree(tree) => {
                return self.copy_from(instruction, ("COPY", shown), &words, request, Ok(tree), &[]);
            }
            Files::Snapshot { source, dialect, .. } => (source, dialect),
        };
        let alias = self.alias(
            vec![
                KeyPart::new("instruction", "", "COPY"),
                KeyPart::new("files of", format!("{dialect:?}"), source.snapshot.chain_id().to_string()),
                KeyPart::new("request", "", format!("{request:?}")),
            ],
            false,
        );
        if !source.is_here(self.exec)?
            && self.known_as(alias, &redact(&instruction.original), &redact(&shown))?
        {
            return Ok(());
        }
        words.alias = Some(alias);
        let view = source.view(self.exec, &from.value)?;
        let tree = SourceTree::root(view.path(), dialect).map_err(|e| BuildError::internal(e.to_string()))?;
        self.copy_from(instruction, ("COPY", shown), &words, request, Ok(&tree), &[])
    }

    /// Everything in a directory, as one step.
    pub(crate) fn copy_whole(
        &mut self,
        tree: &SourceTree,
        text: String,
        created_by: String,
    ) -> Result<(), BuildError> {
        let request = CopyRequest {
            dialect: self.dialect(),
            sources: vec![Source::Path("/".to_owned())],
            dest: "/".to_owned(),
            ..CopyRequest::default()
        };
        self.copy_step((text, "FROM", created_by), &Words::default(), request, tree, &[])
    }

    pub(crate) fn add(&mut self, instruction: &Instruction, add: &Add) -> Result<(), BuildError> {
        let words = Words {
            sources: add.sources.iter().collect(),
            heredocs: &add.heredocs,
            chown: add.chown.as_ref(),
            exclude: &add.exclude,
            of_context: true,
            alias: None,
        };
        let mut request = self.copy_request(&words, &add.dest, add.chmod.as_ref())?;
        if let (Some(Account::User), Some(word)) = (request.account, &add.chown) {
            let hint =
                "unpack it in a stage before, and take the files with `COPY --from=… --chown=ContainerUser`";
            return Err(self.meaningless(
                "`ADD --chown` of an account is not possible here",
                hint,
                word.span,
            ));
        }
        request.link = add.link;
        request.add = Some(AddOptions { unpack: add.unpack });
        let checksum = add.checksum.as_ref().map(|word| self.expand(word)).transpose()?;
        self.check_checksum(add, &request)?;
        let repositories = self.find_repositories(add, &words, &mut request, checksum.as_deref())?;
        self.download(&words, &mut request, checksum.as_deref()).map_err(|e| match &add.checksum {
            Some(word) => e.at(&self.exec.dockerfile().source, word.span),
            None => e,
        })?;
        let tree = self.exec.context();
        let shown = self.copy_history("ADD", false, &words, (&add.dest, add.chmod.as_ref()))?;
        self.copy_from(instruction, ("ADD", shown), &words, request, tree, &repositories)
    }

    fn copy_request(
        &self,
        words: &Words<'_>,
        dest: &Word,
        chmod: Option<&Word>,
    ) -> Result<CopyRequest, BuildError> {
        let dialect = self.dialect();
        let mut request = CopyRequest { dialect, ..CopyRequest::default() };
        for word in &words.sources {
            let mut source = self.expand(word)?;
            if !super::remote::is_remote(&source) {
                let path = dialect.source(&source).map_err(|e| self.bad_path(&e, word.span))?;
                self.warn_of_escapes(&source, word);
                source = path;
            }
            request.sources.push(Source::Path(source));
        }
        for heredoc in words.heredocs {
            let text = match heredoc.expand {
                true => self.expand_text(&heredoc.text(), heredoc.content_span)?,
                false => heredoc.text(),
            };
            request.sources.push(Source::Inline { name: heredoc.name.clone(), content: text.into_bytes() });
        }
        request.dest = self.expand(dest)?;
        match dialect {
            Dialect::Linux => {
                request.workdir = self.image.config().working_dir().unwrap_or_default().to_owned();
            }
            Dialect::Windows => {
                request.dest = self.path(&request.dest, dest)?.with_slashes();
                self.refuse_modes(chmod)?;
            }
        }
        let owner = words.chown.map(|word| self.expand(word)).transpose()?.filter(|text| !text.is_empty());
        match (dialect, words.chown) {
            (Dialect::Windows, Some(word)) => {
                let account = owner.as_deref().map(account).transpose();
                request.account =
                    account.map_err(|e| self.meaningless(&e.to_string(), CHOWN_HINT, word.span))?;
            }
            _ => request.chown = owner,
        }
        if let Some(word) = chmod {
            let text = self.expand(word)?;
            if !text.is_empty() {
                let chmod: Chmod = text.parse().map_err(|e: super::copy::ChmodError| {
                    BuildError::user(e.to_string()).at(&self.exec.dockerfile().source, word.span)
                })?;
                request.chmod = Some(chmod);
            }
        }
        for word in words.exclude {
            let pattern = self.expand(word)?;
            request.excludes.push(match dialect {
                Dialect::Linux => pattern,
                Dialect::Windows => pattern.replace('\\', "/"),
            });
        }
        Ok(request)
    }

    /// Permission bits of Linux, which files of a Windows image do not have.
    fn refuse_modes(&self, chmod: Option<&Word>) -> Result<(), BuildError> {
        let Some(word) = chmod else { return Ok(()) };
        Err(self.meaningless(
            "`--chmod` has no meaning in a Windows image: its files have no permission bits",
            "remove the flag: Users read and execute what is copied, and `--chown=ContainerUser` lets that account write",
            word.span,
        ))
    }

    fn copy_from(
        &mut self,
        instruction: &Instruction,
        (keyword, created_by): (&str, String),
        words: &Words<'_>,
        request: CopyRequest,
        tree: Result<&SourceTree, &BuildError>,
        repositories: &[Repository],
    ) -> Result<(), BuildError> {
        let empty;
        let tree = match tree {
            Ok(tree) => tree,
            // Heredocs and downloads need no context.
            Err(_) if !request.sources.iter().any(|s| matches!(s, Source::Path(_))) => {
                empty = tempfile::tempdir()
                    .map_err(|e| BuildError::internal("cannot make a directory").because(e))?;
                &SourceTree::root(empty.path(), self.dialect())
                    .map_err(|e| BuildError::internal(e.to_string()))?
            }
            Err(error) => return Err(error.again()),
        };
        let text = instruction.original.clone();
        self.copy_step((text, keyword, created_by), words, request, tree, repositories)
    }

    /// Copies in one step. `text` is what the user reads of it.
    fn copy_step(
        &mut self,
        (text, keyword, created_by): (String, &str, String),
        words: &Words<'_>,
        mut request: CopyRequest,
        tree: &SourceTree,
        repositories: &[Repository],
    ) -> Result<(), BuildError> {
        let cache = StoreDigests { files: self.exec.engine.store.files().scan(), hashed: AtomicU64::new(0) };
        let trace = self.exec.engine.trace();
        let mut span = trace.span("scan", &[]);
        let selection = select(&request, tree, &cache, Some(self.exec.engine.store.work()))
            .map_err(|e| self.copy_error(e, words))?;
        cache.files.flush();
        let (files, bytes) = selection.size();
        span.add("files", files);
        span.add("bytes", bytes);
        span.add("hashed", cache.hashed.load(Ordering::Relaxed));
        drop(span);
        for word in selection.unmatched().iter().filter_map(|&n| words.sources.get(n)) {
            let text = format!("`{}` matches nothing", word.value);
            self.exec.progress.warn_at(&self.exec.dockerfile().source, word.span, &text, None);
        }
        let span = trace.span("key", &[]);
        let parts = vec![
            KeyPart::new("instruction", "", keyword).into(),
            Part::Files(&selection),
            KeyPart::new("workdir", "", &request.workdir).into(),
        ];
        let dialect = self.dialect();
        // What is written there may have a password in a URL, and history is for everybody.
        let (text, created_by) = (redact(&text), redact(&created_by));
        let spec = StepSpec { text, created_by, parts, runs: false, times_count: false, alias: words.alias };
        drop(span);
        self.step(spec, |stage, task| {
            let held = stage.fetch_repositories(repositories, words, &mut request, task)?;
            let fetched;
            let selection = match held.is_empty() {
                true => &selection,
                false => {
                    let work = stage.exec.engine.store.work();
                    fetched =
                        select(&request, tree, &cache, Some(work)).map_err(|e| stage.copy_error(e, words))?;
                    cache.files.flush();
                    &fetched
                }
            };
            if let Some(change) = stage.compose(selection, words)? {
                return Ok((change, None));
            }
            stage.in_snapshot(|active| {
                let owner = |text: &str| resolve_owner(active.path(), text);
                let mut span = trace.span("copy", &[]);
                let stats =
                    apply(selection, active.path(), &owner).map_err(|e| stage.copy_error(e, words))?;
                span.add("files", stats.files);
                span.add("bytes", stats.bytes);
                drop(span);
                match (stats.attributes_lost, dialect) {
                    (0, _) => {}
                    (lost, Dialect::Linux) => {
                        task.note(format!("{lost} extended attributes could not be kept here"))
                    }
                    (lost, Dialect::Windows) => {
                        task.note(format!("the owner or attributes of {lost} files {NOT_GIVEN}"))
                    }
                }
                Ok(None)
            })
        })
    }

    /// The copy as a layer that is written as its tar; none where it has to be made in a snapshot.
    #[cfg(unix)]
    fn compose(&self, selection: &Selection, words: &Words<'_>) -> Result<Option<Change>, BuildError> {
        let snapshots = self.exec.engine.store.snapshots()?;
        let composer = snapshots.compose(&self.snapshot).map_err(orlop_store::Error::from)?;
        let Some(composer) = composer else { return Ok(None) };
        let view = snapshots.view(&self.snapshot).map_err(orlop_store::Error::from)?;
        let owner = |text: &str| resolve_owner(view.path(), text);
        let _span = self.exec.engine.trace().span("copy", &[]);
        match compose(selection, view.path(), &owner, composer) {
            Ok(composed) => Ok(composed.map(Change::Layer)),
            Err(ComposeError::Copy(error)) => Err(self.copy_error(error, words)),
            Err(ComposeError::Store(error)) => Err(orlop_store::Error::from(error).into()),
        }
    }

    #[cfg(windows)]
    fn compose(&self, _: &Selection, _: &Words<'_>) -> Result<Option<Change>, BuildError> {
        Ok(None)
    }

    /// A fault of the copy rules, at the word that it is about.
    fn copy_error(&self, error: CopyError, words: &Words<'_>) -> BuildError {
        let at_flag = match &error.kind {
            CopyErrorKind::Owner { .. } => words.chown.map(|word| word.span),
            CopyErrorKind::Pattern(e) if error.word.is_none() => {
                let word = words.exclude.iter().find(|word| word.value.contains(&e.pattern));
                word.or(words.exclude.first()).map(|word| word.span)
            }
            _ => None,
        };
        let span = error.word.and_then(|n| {
            let heredoc = n.checked_sub(words.sources.len()).and_then(|n| words.heredocs.get(n));
            words.sources.get(n).map(|w| w.span).or(heredoc.map(|h| h.span))
        });
        let alone = words.of_context
            && matches!(self.exec.request.context, ContextSource::Empty)
            && matches!(error.kind, CopyErrorKind::NotFound { .. });
        let hint = if alone { Some(ALONE.to_owned()) } else { error.hint() };
        let out = BuildError::user(error.to_string()).with_hint(hint);
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(found) = cause {
            causes.push(found.to_string());
            cause = found.source();
        }
        // Some say what their own cause says.
        causes.dedup();
        let out = match causes.is_empty() {
            true => out,
            false => out.because(causes.join(": ")),
        };
        match at_flag.or(span) {
            Some(span) => out.at(&self.exec.dockerfile().source, span),
            None => out,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.exec.label(self.index, &self.scope)
    }

    /// WORKDIR: sets the directory and makes it, owned by the image's USER, where it is missing.
    pub(crate) fn workdir(&mut self, instruction: &Instruction, word: &Word) -> Result<(), BuildError> {
        let text = self.expand(word)?;
        // Empty after expansion is the directory as it is, like in BuildKit.
        let path = self.path(&text, word)?;
        let dialect = self.dialect();
        let dir = dialect.show(&path);
        self.image = self.image.with_config(|config| config.set_working_dir(Some(&dir)));
        let user = self.image.config().user().unwrap_or_default().to_owned();
        let mut parts = vec![KeyPart::new("instruction", "", "WORKDIR"), KeyPart::new("path", "", &dir)];
        // That of a base image may be one of its own, which nobody knows here.
        let account = match dialect {
            Dialect::Linux => None,
            Dialect::Windows => account(&user).ok().filter(|account| *account == Account::User),
        };
        if !dialect.is_windows() || account.is_some() {
            parts.push(KeyPart::new("user", "", &user));
        }
        // As in BuildKit the directory has the time that the image has.
        let epoch = self.exec.request.source_date_epoch;
        parts.extend(epoch.map(|seconds| KeyPart::new("time", "", seconds.to_string())));
        let time = epoch.map(|seconds| Time { seconds, nanoseconds: 0 });
        let spec = StepSpec {
            text: instruction.original.clone(),
            created_by: format!("WORKDIR {dir}"),
            parts: parts.into_iter().map(Part::One).collect(),
            runs: false,
            times_count: epoch.is_some(),
            alias: None,
        };
        let trace = self.exec.engine.trace();
        self.step(spec, |stage, task| {
            stage.in_snapshot(|active| {
                let _span = trace.span("copy", &[]);
                let owner = match dialect {
                    Dialect::Linux => resolve_user(active.path(), &user)?,
                    Dialect::Windows => User::default(),
                };
                let given = super::copy::make_directory(
                    active.path(),
                    &path,
                    (owner.uid, owner.gid),
                    account,
                    dialect,
                    time,
                )
                .map_err(|e| workdir_error(&e, &dir))?;
                if !given {
                    task.note(format!("the owner of `{dir}` {NOT_GIVEN}"));
                }
                Ok(None)
            })
        })
    }
}

/// What is wrong with a WORKDIR.
pub(super) fn workdir_error(error: &CopyError, dir: &str) -> BuildError {
    match error.kind {
        CopyErrorKind::NotADirectory { .. } => BuildError::user(format!(
            "WORKDIR cannot be `{dir}`: it, or something on the way to it, is a file in the image"
        )),
        _ => BuildError::user(error.to_string()).with_hint(error.hint()),
    }
}

/// The user that a USER means inside `root`.
#[cfg(target_os = "linux")]
pub(crate) fn resolve_user(root: &Path, user: &str) -> Result<User, BuildError> {
    orlop_runner::linux::user::resolve(root, user)
        .map_err(|e| BuildError::user(e.to_string()).with_hint(e.hint()))
}

/// The owner that a `--chown` means inside `root`.
#[cfg(target_os = "linux")]
fn resolve_owner(root: &Path, text: &str) -> Result<(u32, u32), Box<dyn std::error::Error + Send + Sync>> {
    orlop_runner::linux::user::resolve_owner(root, text).map_err(Into::into)
}

/// Whose files they are in a Linux image makes no difference where no file has an owner by number: the
/// snapshots of Windows keep none, so that a USER other than root would be lost, and is refused.
#[cfg(not(target_os = "linux"))]
pub(crate) fn resolve_user(_: &Path, user: &str) -> Result<User, BuildError> {
    match user {
        "" | "0" | "root" | "0:0" | "root:root" => Ok(User::default()),
        _ => Err(BuildError::user(format!("WORKDIR as user `{user}` is not possible on this machine"))
            .with_hint("move the WORKDIR before the USER, or build Linux images on Linux".to_owned())),
    }
}

/// As for [`resolve_user`].
#[cfg(not(target_os = "linux"))]
fn resolve_owner(_: &Path, text: &str) -> Result<(u32, u32), Box<dyn std::error::Error + Send + Sync>> {
    match text {
        "0" | "root" | "0:0" | "root:root" => Ok((0, 0)),
        _ => Err("files keep no owner on this machine: build Linux images on Linux".into()),
    }
}

/// The store's memory of contents, as the copy rules ask for it.
struct StoreDigests<'s> {
    files: FileScan<'s>,
    /// Bytes of files whose content was not known.
    hashed: AtomicU64,
}

impl StoreDigests<'_> {
    fn stat(file: &FileStat) -> Option<StoredStat> {
        Some(StoredStat {
            device: file.dev,
            inode: file.ino,
            size: file.size,
            mtime: i64::try_from(file.mtime_ns).ok()?,
            ctime: i64::try_from(file.ctime_ns).ok()?,
        })
    }
}

impl DigestCache for StoreDigests<'_> {
    fn get(&self, file: &FileStat) -> Option<FileDigest> {
        // A memory that cannot be asked costs a read of the file and nothing else.
        self.files.get(&Self::stat(file)?)
    }

    fn put(&self, file: &FileStat, digest: FileDigest) {
        self.hashed.fetch_add(file.size, Ordering::Relaxed);
        if let Some(stat) = Self::stat(file) {
            self.files.put(&stat, digest);
        }
    }
}
