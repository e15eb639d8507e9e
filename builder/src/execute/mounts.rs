//! `RUN --mount`: what a step sees besides its snapshot, and what of it counts for its key.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use orlop_runner::{Mount as RunMount, MountKind as RunMountKind};
use orlop_store::steps::KeyPart;
use orlop_store::{Digest, Work};

use super::copy::{CopyRequest, Selection, Source as CopySource, apply, select};
use super::from::Source;
use super::part::list_error;
use super::stage::{Files, StageRun};
use crate::context::pattern::clean;
use crate::context::{NoCache, SourceTree};
use crate::dialect::Dialect;
use crate::dockerfile::variables::expand;
use crate::dockerfile::{Mount, MountKind, Run, Sharing, last_part};
use crate::error::BuildError;
use crate::source::Span;

/// A mount with its sources found.
pub(crate) struct JobMount {
    mount: Mount,
    /// The flag's value in the Dockerfile.
    span: Span,
    target: String,
    origin: Origin,
}

/// Where the files of a mount come from.
enum Origin {
    /// Nowhere: it is empty or a secret.
    None,
    /// The build context; what a bind would show.
    Context(Box<(SourceTree, Selection, Digest)>),
    /// Another stage or image. Of a stage the path of the files that are shown, where they are not all of it, and once
    /// they have been looked at their digest: another file of the stage has no part in the step.
    Image { source: Box<Source>, part: Option<String>, shown: Option<String>, dialect: Dialect },
}

impl JobMount {
    /// Whether it keeps what steps write there.
    pub(crate) fn is_cache(&self) -> bool {
        self.mount.kind == MountKind::Cache
    }

    /// What of it the step's result depends on: never a secret's value, never a cache's content.
    pub(crate) fn key_parts(&self) -> Vec<KeyPart> {
        let m = &self.mount;
        let spec = format!(
            "{:?} source={:?} ro={} id={:?} sharing={:?} mode={:?} uid={:?} gid={:?} size={} env={:?}",
            m.kind, m.source, m.readonly, m.id, m.sharing, m.mode, m.uid, m.gid, m.size, m.env
        );
        let mut parts = vec![KeyPart::new("mount", &self.target, spec)];
        match &self.origin {
            Origin::None => {}
            Origin::Context(context) => {
                let (_, _, digest) = context.as_ref();
                parts.push(KeyPart::new("mount files", &self.target, digest.to_string()));
            }
            Origin::Image { source, shown, .. } => {
                let files = shown.clone().unwrap_or_else(|| source.snapshot.chain_id().to_string());
                parts.push(KeyPart::new("mount files", &self.target, files));
            }
        }
        parts
    }
}

/// What a bind of `path` shows, and a digest of it.
fn shown(
    path: &str,
    tree: &SourceTree,
    dialect: Dialect,
    work: &Work,
) -> Result<(Selection, Digest), BuildError> {
    let request = CopyRequest {
        dialect,
        sources: vec![CopySource::Path(path.to_owned())],
        dest: "/mount".to_owned(),
        ..CopyRequest::default()
    };
    let selection = select(&request, tree, &NoCache, Some(work))
        .map_err(|e| BuildError::user(e.to_string()).with_hint(e.hint()))?;
    let digest = selection.digest().map_err(|e| list_error(&e))?;
    Ok((selection, digest))
}

/// A socket that passes on to an agent what it is asked, and what keeps it there.
#[cfg(unix)]
fn forwarded(agent: &Path, mode: u32, owner: (u32, u32)) -> io::Result<(PathBuf, Box<dyn Any>)> {
    let forwarded = super::agent::Forwarded::new(agent, mode, owner)?;
    Ok((forwarded.path(), Box::new(forwarded)))
}

/// Windows stages are refused such a mount where it stands, and no Linux stage runs there.
#[cfg(not(unix))]
fn forwarded(_: &Path, _: u32, _: (u32, u32)) -> io::Result<(PathBuf, Box<dyn Any>)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What of a mount has no meaning on Windows. What the runner cannot place there it says itself.
fn windows_has(mount: &Mount) -> Result<(), (&'static str, &'static str)> {
    if mount.kind == MountKind::Ssh {
        return Err((
            "`--mount=type=ssh` has no meaning on Windows: its agent has no socket that could be mounted",
            "give a key with `--mount=type=secret` and `--secret id=…,src=FILE`",
        ));
    }
    if mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some() {
        return Err((
            "`mode`, `uid` and `gid` have no meaning for a mount on Windows",
            "remove them: only the step itself can read and write its mounts",
        ));
    }
    Ok(())
}

impl StageRun<'_, '_> {
    /// Finds the sources of a RUN's mounts.
    pub(crate) fn job_mounts(&mut self, run: &Run) -> Result<Vec<JobMount>, BuildError> {
        let file = &self.exec.dockerfile().source;
        let (mut out, mut agents) = (Vec::new(), 0);
        for flag in &run.mounts {
            let escape = self.exec.dockerfile().directives.escape;
            let mount = flag
                .resolve(|text| expand(text, escape, &|name| self.variable(name)))
                .map_err(|e| BuildError::from(e).at(file, flag.span))?;
            let mut mount = mount;
            if self.dialect().is_windows() {
                if let Some(source) = mount.source.as_mut().filter(|_| mount.kind != MountKind::Secret) {
                    *source = self.dialect().source(source).map_err(|e| self.bad_path(&e, flag.span))?;
                }
                windows_has(&mount).map_err(|(message, hint)| self.meaningless(message, hint, flag.span))?;
            }
            let default = match mount.kind {
                MountKind::Secret => {
                    let id = mount.id.as_deref().unwrap_or_default();
                    Some(match self.dialect() {
                        Dialect::Linux => format!("/run/secrets/{}", last_part(id)),
                        // Where Docker has the secrets of Windows services; BuildKit wants a target said.
                        Dialect::Windows => format!(r"C:\ProgramData\Docker\secrets\{}", last_part(id)),
                    })
                }
                MountKind::Ssh => {
                    agents += 1;
                    Some(format!("/run/buildkit/ssh_agent.{}", agents - 1))
                }
                _ => None,
            };
            let target = mount.target.clone().or(default).ok_or_else(|| {
                BuildError::user("the mount has no target")
                    .with_hint("add `target=/path`".to_owned())
                    .at(file, flag.span)
            })?;
            let workdir = self.image.config().working_dir().unwrap_or_default();
            let target = self
                .dialect()
                .path(workdir, &target)
                .map(|path| self.dialect().show(&path))
                .map_err(|e| self.bad_path(&e, flag.span))?;
            if target == self.dialect().root() {
                return Err(BuildError::user(format!(
                    "nothing can be mounted on `{target}`, the root itself"
                ))
                .with_hint("name a directory below it: `target=/mnt`".to_owned())
                .at(file, flag.span));
            }
            let origin = self.mount_origin(&mount).map_err(|e| e.at(file, flag.span))?;
            out.push(JobMount { mount, span: flag.span, target, origin });
        }
        Ok(out)
    }

    fn mount_origin(&mut self, mount: &Mount) -> Result<Origin, BuildError> {
        match (mount.kind, &mount.from) {
            (MountKind::Bind | MountKind::Cache, Some(from)) => {
                let (source, dialect, stage) = match self.source_named(from)? {
                    Files::Tree(tree) => return self.tree_origin(mount, tree),
                    Files::Snapshot { source, dialect, stage } => (source, dialect, stage),
                };
                let part = mount.source.as_deref().filter(|path| !path.trim_matches('/').is_empty());
                // The files of an image that is no stage never change: no need to bring them for the key.
                let part = part.filter(|_| stage && mount.kind == MountKind::Bind).map(str::to_owned);
                Ok(Origin::Image { source, part, shown: None, dialect })
            }
            (MountKind::Bind, None) => {
                let tree = self.exec.context().map_err(BuildError::again)?;
                self.tree_origin(mount, tree)
            }
            _ => Ok(Origin::None),
        }
    }

    /// Whether the key of a step with these mounts waits for files that are not here.
    pub(crate) fn waits_for_files(&self, mounts: &[JobMount]) -> Result<bool, BuildError> {
        for mount in mounts {
            if let Origin::Image { source, part: Some(_), .. } = &mount.origin
                && !source.is_here(self.exec)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks at the files of stages that mounts show, of which the key of the step is made.
    pub(crate) fn look_at_mounts(&self, mounts: &mut [JobMount]) -> Result<(), BuildError> {
        for job in mounts {
            let Origin::Image { source, part: Some(path), shown: digest, dialect } = &mut job.origin else {
                continue;
            };
            let from = job.mount.from.as_deref().unwrap_or_default();
            let look = || {
                let view = source.view(self.exec, from)?;
                let tree = SourceTree::root(view.path(), *dialect)
                    .map_err(|e| BuildError::internal(e.to_string()))?;
                let (_, digest) = shown(path, &tree, self.dialect(), self.exec.engine.store.work())?;
                Ok(digest.to_string())
            };
            let found: Result<String, BuildError> = look();
            *digest = Some(found.map_err(|e| e.at(&self.exec.dockerfile().source, job.span))?);
        }
        Ok(())
    }

    fn tree_origin(&self, mount: &Mount, tree: &SourceTree) -> Result<Origin, BuildError> {
        let _span = self.exec.engine.trace().span("scan", &[]);
        let work = self.exec.engine.store.work();
        let path = mount.source.as_deref().unwrap_or("/");
        let (selection, digest) = shown(path, tree, self.dialect(), work)?;
        Ok(Origin::Context(Box::new((tree.clone(), selection, digest))))
    }

    /// Puts a mount where the job finds it. What is returned must live until the job has ended.
    pub(crate) fn place_mount(
        &self,
        job: JobMount,
        mounts: &mut Vec<RunMount>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Box<dyn Any>, BuildError> {
        let span = job.span;
        let placed = self.find_place(job, mounts, variables);
        placed.map_err(|error| error.at(&self.exec.dockerfile().source, span))
    }

    fn find_place(
        &self,
        job: JobMount,
        mounts: &mut Vec<RunMount>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Box<dyn Any>, BuildError> {
        let JobMount { mount, target, origin, .. } = job;
        let store = self.exec.engine.store;
        let from = mount.from.as_deref().unwrap_or_default();
        let internal =
            |e: orlop_store::snapshot::SnapshotError| BuildError::from(orlop_store::Error::from(e));
        match mount.kind {
            MountKind::Tmpfs => {
                let size = (mount.size > 0).then_some(mount.size);
                let mode = mount.mode.unwrap_or(0o1777);
                mounts.push(RunMount { target: target.into(), kind: RunMountKind::Tmpfs { size, mode } });
                Ok(Box::new(()))
            }
            MountKind::Secret => self.place_secret(&mount, target, mounts, variables),
            MountKind::Ssh => self.place_agent(&mount, target, mounts, variables),
            MountKind::Bind => {
                let source = mount.source.clone().unwrap_or_else(|| "/".to_owned());
                let (root, source, held): (PathBuf, PathBuf, Box<dyn Any>) = match origin {
                    // Read-only and nothing ignored: the directory itself.
                    Origin::Context(context) if mount.readonly && context.0.ignore().is_empty() => {
                        (context.0.path().to_owned(), source.into(), context)
                    }
                    Origin::Context(context) => {
                        let (_, selection, _) = context.as_ref();
                        let scratch = orlop_store::snapshot::Committed::scratch_of(self.snapshot.os());
                        let copy = store.snapshots()?.prepare(&scratch).map_err(internal)?;
                        let numeric = |text: &str| Err(format!("`{text}` has no meaning here").into());
                        apply(selection, copy.path(), &numeric)
                            .map_err(|e| BuildError::internal(e.to_string()))?;
                        (copy.path().to_owned(), "/mount".into(), Box::new(copy))
                    }
                    Origin::Image { source: source_image, .. } if mount.readonly => {
                        let view = source_image.view(self.exec, from)?;
                        (view.path().to_owned(), source.into(), Box::new(view))
                    }
                    Origin::Image { source: source_image, .. } => {
                        // Writes are seen by this step alone and go nowhere.
                        source_image.fetch(self.exec, from)?;
                        let copy = store.snapshots()?.prepare(&source_image.snapshot).map_err(internal)?;
                        (copy.path().to_owned(), source.into(), Box::new(copy))
                    }
                    Origin::None => {
                        let scratch = orlop_store::snapshot::Committed::scratch_of(self.snapshot.os());
                        let copy = store.snapshots()?.prepare(&scratch).map_err(internal)?;
                        (copy.path().to_owned(), "/".into(), Box::new(copy))
                    }
                };
                mounts.push(RunMount {
                    target: target.into(),
                    kind: RunMountKind::Bind { source, within: Some(root), readonly: mount.readonly },
                });
                Ok(held)
            }
            MountKind::Cache => {
                let id = self.cache_id(&mount, &target, &origin);
                let source = match &origin {
                    Origin::Image { source, dialect, .. } => {
                        let view = source.view(self.exec, from)?;
                        let tree = SourceTree::root(view.path(), *dialect)
                            .map_err(|e| BuildError::internal(e.to_string()))?;
                        Some((tree, Some(view)))
                    }
                    Origin::Context(context) => Some((context.0.clone(), None)),
                    Origin::None => None,
                };
                let sharing = match mount.sharing {
                    Sharing::Shared => orlop_store::caches::Sharing::Shared,
                    Sharing::Private => orlop_store::caches::Sharing::Private,
                    Sharing::Locked => orlop_store::caches::Sharing::Locked,
                };
                let cache = store.caches().get(&id, sharing, |dir| {
                    let path = mount.source.as_deref().unwrap_or("/");
                    let from = source.as_ref().map(|(tree, _)| (tree, path));
                    super::copy::fill_directory(dir, from, mount.mode, (mount.uid, mount.gid))
                        .map_err(|e| BuildError::user(e.to_string()).with_hint(e.hint()))
                })?;
                mounts.push(RunMount {
                    target: target.into(),
                    kind: RunMountKind::Bind {
                        source: cache.path().to_owned(),
                        within: None,
                        readonly: mount.readonly,
                    },
                });
                Ok(Box::new(cache))
            }
        }
    }

    /// What tells the directories of cache mounts apart. As in BuildKit, one that is given an owner or a mode is another
    /// than one that is not, and so is one with first content: whoever asks for them would not get what he asks for.
    fn cache_id(&self, mount: &Mount, target: &str, origin: &Origin) -> String {
        let mut id = mount.id.clone().unwrap_or_else(|| target.to_owned());
        // The separator is none that an id could hold, so that no id looks like another's.
        let mut add = |what: String| {
            id.push('\0');
            id.push_str(&what);
        };
        if let Some(namespace) = self.exec.plan.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS")
            && !namespace.is_empty()
        {
            add(format!("namespace {namespace}"));
        }
        if mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some() {
            let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
            add(format!("{uid}:{gid} {:o}", mount.mode.unwrap_or(0o755)));
        }
        let path = clean(mount.source.as_deref().unwrap_or("/"));
        match origin {
            Origin::Image { source, .. } => add(format!("{path} of {}", source.snapshot.chain_id())),
            Origin::Context(context) => add(format!("{path} of {}", context.2)),
            Origin::None => {}
        }
        id
    }

    fn place_secret(
        &self,
        mount: &Mount,
        target: String,
        mounts: &mut Vec<RunMount>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Box<dyn Any>, BuildError> {
        let id = mount.id.clone().unwrap_or_default();
        let Some(secret) = self.exec.request.secrets.iter().find(|s| s.id == id) else {
            if mount.required {
                return Err(BuildError::user(format!("secret `{id}` is required and was not given"))
                    .with_hint(format!(
                        "give it with `--secret id={id},src=FILE` or `--secret id={id},env=NAME`"
                    )));
            }
            return Ok(Box::new(()));
        };
        if let Some(name) = &mount.env {
            let text =
                std::str::from_utf8(&secret.value).ok().filter(|t| !t.contains('\0')).ok_or_else(|| {
                    BuildError::user(format!("secret `{id}` cannot be a variable: it is not text"))
                })?;
            self.dialect().set_variable(variables, name, text);
        }
        if mount.env.is_none() || mount.target.is_some() {
            let uid = mount.uid.unwrap_or(0);
            let gid = mount.gid.unwrap_or(0);
            mounts.push(RunMount::file(target, secret.value.to_vec(), mount.mode.unwrap_or(0o400), uid, gid));
        }
        Ok(Box::new(()))
    }

    fn place_agent(
        &self,
        mount: &Mount,
        target: String,
        mounts: &mut Vec<RunMount>,
        variables: &mut Vec<(String, String)>,
    ) -> Result<Box<dyn Any>, BuildError> {
        let id = mount.id.as_deref().unwrap_or("default");
        let Some(agent) = self.exec.request.ssh.iter().find(|a| a.id == id) else {
            if mount.required {
                return Err(BuildError::user(format!("ssh agent `{id}` is required and was not given"))
                    .with_hint(format!("give it with `--ssh {id}`, or `--ssh {id}=SOCKET`")));
            }
            return Ok(Box::new(()));
        };
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let (socket, held) = forwarded(&agent.socket, mount.mode.unwrap_or(0o600), owner).map_err(|e| {
            BuildError::internal(format!("cannot pass the agent `{id}` on to the step")).because(e)
        })?;
        mounts.push(RunMount::bind(socket, &target, false));
        if !variables.iter().any(|(n, _)| n == "SSH_AUTH_SOCK") {
            variables.push(("SSH_AUTH_SOCK".to_owned(), target));
        }
        Ok(held)
    }
}
