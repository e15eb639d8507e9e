//! A commit's files in a directory: no more history than the server makes necessary, submodules as well, and
//! nothing about them that depends on the day or the machine.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::program::Ended;
use super::reference::Mtime;
use super::refs::Resolved;
use super::{GitRepository, failure};
use crate::context::{Dir, Kind, Time, archive};
use crate::dialect::Dialect;
use crate::error::BuildError;

/// What was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    /// The directory that was asked for.
    pub(crate) dir: PathBuf,
    /// The commit's whole id.
    pub(crate) commit: String,
}

/// Deeper trees are refused, as by COPY.
const MAX_DEPTH: usize = 500;

impl GitRepository<'_> {
    /// Fetches a commit and checks it out.
    ///
    /// # Errors
    /// When the server does not give it, it has no such directory, or the build is to stop.
    pub(crate) fn fetch(&self, resolved: &Resolved) -> Result<Checkout, BuildError> {
        let tree = self.dir.join("tree");
        let dir = Dir::open(&self.dir).map_err(cannot("open", &self.dir))?;
        let name = OsStr::new("tree");
        // A step that is not root may look into it.
        dir.make_dir(name).and_then(|()| dir.set_mode(name, 0o755)).map_err(cannot("make", &tree))?;
        let format = if resolved.object.len() == 64 { "sha256" } else { "sha1" };
        self.must(&tree, &["init", "--quiet", &format!("--object-format={format}")])?;
        // Submodules with relative URLs are looked for beside it.
        self.must(&tree, &["config", "remote.origin.url", self.reference.remote()])?;
        self.get(&tree, resolved)?;
        let commit = self.commit(&tree, &resolved.object)?;
        if let Some(checksum) = self.reference.checksum()
            && !commit.starts_with(checksum)
            && !resolved.object.starts_with(checksum)
        {
            return Err(BuildError::user(format!("`{}` is commit {commit}, not {checksum}", self.reference)));
        }
        self.bounded(&tree, &commit, archive::CONTEXT)?;
        let when =
            self.ask(&tree, &["show", "--no-patch", "--no-show-signature", "--format=%ct", &commit])?;
        self.must(&tree, &["checkout", "--progress", "--force", "--detach", &commit])?;
        if self.reference.submodules {
            self.submodules(&tree)?;
        }
        let time = match self.reference.mtime {
            Mtime::Commit => Time { seconds: when.trim().parse().unwrap_or(0), nanoseconds: 0 },
            Mtime::Checkout => now(),
        };
        let root = Dir::open(&tree).map_err(cannot("open", &tree))?;
        if self.reference.keeps_git_dir() {
            self.tidy(&tree, &root, &commit)?;
        }
        even(&root, self.reference.keeps_git_dir(), time).map_err(|e| match e.kind() {
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => cannot("look through", &tree)(e),
            _ => BuildError::user(format!("cannot use what is in `{}`", self.reference)).because(e),
        })?;
        Ok(Checkout { dir: self.subdir(&tree, &root)?, commit })
    }

    /// Fetches the object that was found, and nothing that came before it where the server can do that.
    fn get(&self, tree: &Path, resolved: &Resolved) -> Result<(), BuildError> {
        let object = &resolved.object;
        // A `.git` that is kept has the name as well. A name that is no branch's or tag's gets none.
        let wanted = match resolved.name.as_deref().filter(|_| self.reference.keeps_git_dir()) {
            Some(name) if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") => {
                format!("+{object}:{name}")
            }
            _ => object.clone(),
        };
        let always = ["fetch", "--progress", "--no-tags", "--update-head-ok", "--no-write-fetch-head"];
        let run = |more: &[&str]| -> Result<Option<String>, BuildError> {
            match self.git.run(tree, always.iter().chain(more))? {
                Ended::Well(_) => Ok(None),
                Ended::Badly(said) => Ok(Some(said)),
            }
        };
        let Some(mut said) = run(&["--depth=1", "--", "origin", &wanted])? else { return Ok(()) };
        // Old servers, and such as serve files alone, know no half of a history.
        if failure::says(self.reference, &said, &["shallow", "--depth"]) {
            let Some(again) = run(&["--", "origin", &wanted])? else { return Ok(()) };
            said = again;
        }
        // Some give nothing but what a name of theirs points to: then all names, and it may be among it.
        let refused =
            ["not our ref", "unadvertised object", "no such remote ref", "couldn't find remote ref"];
        if failure::says(self.reference, &said, &refused) {
            let all = ["--", "origin", "+refs/heads/*:refs/orlop/heads/*", "+refs/tags/*:refs/orlop/tags/*"];
            if let Some(said) = run(&all)? {
                return Err(failure::fetching(self.reference, &said));
            }
            if self.commit(tree, object).is_ok() {
                return Ok(());
            }
            return Err(BuildError::user(format!("`{}` has no commit {object}", self.reference.remote()))
                .because(failure::cause(&said))
                .with_hint("a commit is there as long as a branch or a tag leads to it".to_owned()));
        }
        Err(failure::fetching(self.reference, &said))
    }

    /// The commit that an object leads to.
    fn commit(&self, tree: &Path, object: &str) -> Result<String, BuildError> {
        let peeled = format!("{object}^{{commit}}");
        let id = self.ask(tree, &["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled])?;
        Ok(id.trim().to_owned())
    }

    fn submodules(&self, tree: &Path) -> Result<(), BuildError> {
        if !fs::symlink_metadata(tree.join(".gitmodules")).is_ok_and(|meta| meta.is_file()) {
            return Ok(());
        }
        let always = ["submodule", "update", "--init", "--recursive", "--progress"];
        for depth in [&["--depth=1"][..], &[]] {
            match self.git.run(tree, always.iter().chain(depth))? {
                Ended::Well(_) => return Ok(()),
                Ended::Badly(said) if depth.is_empty() => {
                    return Err(BuildError::user(format!(
                        "cannot fetch a submodule of `{}`",
                        self.reference
                    ))
                    .because(failure::cause(&said))
                    .with_hint("leave submodules out with `?submodules=false`".to_owned()));
                }
                Ended::Badly(_) => {}
            }
        }
        Ok(())
    }

    /// Makes a `.git` that is kept one that has no trace of this machine: no times of files, no logs.
    fn tidy(&self, tree: &Path, root: &Dir, commit: &str) -> Result<(), BuildError> {
        self.must(tree, &["read-tree", commit])?;
        self.must(tree, &["submodule", "--quiet", "foreach", "--recursive", "git read-tree HEAD"])?;
        let git = root.dir(".git".as_ref()).map_err(cannot("open", tree))?;
        forget(&git).map_err(cannot("tidy", tree))
    }

    /// The directory that was asked for, below the root wherever links point.
    fn subdir(&self, tree: &Path, root: &Dir) -> Result<PathBuf, BuildError> {
        let Some(subdir) = self.reference.subdir() else { return Ok(tree.to_owned()) };
        let wrong = |why: &str| {
            BuildError::user(format!("`{}` has {why} `{subdir}`", self.reference.remote()))
                .with_hint("what stands behind `:` is a directory below the repository's root".to_owned())
        };
        let found = root
            .resolve(Path::new(subdir), true, Dialect::host(), &mut |_, _| true)
            .map_err(|e| wrong("no directory").because(e))?;
        match found.meta {
            Some(meta) if meta.is_dir() => Ok(tree.join(found.path)),
            Some(_) => Err(wrong("a file and no directory")),
            None => Err(wrong("no directory")),
        }
    }

    fn must(&self, dir: &Path, args: &[&str]) -> Result<(), BuildError> {
        self.ask(dir, args).map(drop)
    }

    /// Runs a command of git's that needs no server.
    fn ask(&self, dir: &Path, args: &[&str]) -> Result<String, BuildError> {
        match self.git.run(dir, args)? {
            Ended::Well(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Ended::Badly(said) => {
                let verb = args.first().copied().unwrap_or_default();
                Err(BuildError::user(format!("`git {verb}` failed for `{}`", self.reference))
                    .because(failure::cause(&said)))
            }
        }
    }
}

fn cannot<'p>(action: &'p str, path: &'p Path) -> impl Fn(io::Error) -> BuildError + 'p {
    move |e| BuildError::internal(format!("cannot {action} `{}`", path.display())).because(e)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { seconds: i64::try_from(since.as_secs()).unwrap_or(0), nanoseconds: since.subsec_nanos() }
}

/// Removes what is said in a `.git` of the machine and the day, in those of submodules too.
fn forget(git: &Dir) -> io::Result<()> {
    let mut open = vec![git.clone()];
    while let Some(dir) = open.pop() {
        let repository = dir.find("HEAD".as_ref())?.is_some();
        for name in dir.list()? {
            let traces = ["FETCH_HEAD", "ORIG_HEAD", "logs"].iter().any(|trace| name == *trace);
            if repository && traces {
                dir.remove(&name)?;
            } else if (!repository || name == "modules") && dir.stat(&name)?.is_dir() {
                open.push(dir.dir(&name)?);
            }
        }
    }
    Ok(())
}

/// Gives every file the mode that git has for it, whatever the umask, and its time; and takes away `.git`, that of
/// submodules too, unless it is kept.
fn even(root: &Dir, keep: bool, time: Time) -> io::Result<()> {
    let mut open: Vec<(Dir, Vec<OsString>)> = vec![(root.clone(), root.list()?)];
    while let Some((dir, names)) = open.last_mut() {
        let Some(name) = names.pop() else {
            open.pop();
            // Now that nothing in it changes any more.
            if let Some((parent, name)) = open.last_mut().and_then(|(dir, names)| Some((dir, names.pop()?))) {
                parent.set_mtime(&name, time)?;
            }
            continue;
        };
        if name == ".git" && !keep {
            dir.remove(&name)?;
            continue;
        }
        let meta = dir.stat(&name)?;
        if meta.kind == Kind::Directory {
            dir.set_mode(&name, 0o755)?;
            let below = dir.dir(&name)?;
            let list = below.list()?;
            // Once more in the list, for when what is in it is done.
            names.push(name);
            open.push((below, list));
            if open.len() > MAX_DEPTH {
                return Err(io::Error::other(format!("it is more than {MAX_DEPTH} directories deep")));
            }
            continue;
        }
        if meta.kind == Kind::File {
            let mode = match (meta.mode & 0o200, meta.mode & 0o100) {
                // git's own objects.
                (0, _) => 0o444,
                (_, 0) => 0o644,
                _ => 0o755,
            };
            dir.set_mode(&name, mode)?;
        }
        dir.set_mtime(&name, time)?;
    }
    Ok(())
}
