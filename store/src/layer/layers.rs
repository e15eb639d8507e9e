//! The directory `layers/`: finding, holding, listing and removing.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(unix)]
use std::sync::{MutexGuard, OnceLock};
use std::time::SystemTime;

#[cfg(unix)]
use super::diff::{self, Against, Remade, Root, Upper};
#[cfg(unix)]
use super::mounts::{Mounted, Mounts};
#[cfg(unix)]
use super::node;
#[cfg(unix)]
use super::stack::Stack;
#[cfg(unix)]
use super::unsynced::{self, Mark, Unsynced};
use super::{
    Durability, Form, LayerError, LayerFacts, LayerKey, Ownership, StoredLayer, XattrForm, chain_over,
};
use crate::digest::{Digest, VerifiedReader};
use crate::snapshot::LayerOs;
use crate::work::Work;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;
#[cfg(windows)]
pub(crate) use windows::rename;

/// The layers of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Layers {
    pub(super) dir: PathBuf,
    pub(super) work: Work,
    #[cfg_attr(windows, expect(dead_code, reason = "overlays are of Linux"))]
    pub(crate) form: XattrForm,
    pub(crate) ownership: Ownership,
    pub(crate) durability: Durability,
    pub(crate) os: LayerOs,
    /// Layers that are mounted as they are; none where they are all unpacked.
    #[cfg(unix)]
    pub(super) mounts: Option<Arc<Mounts>>,
    #[cfg(unix)]
    pub(super) unsynced: Arc<Unsynced>,
    /// Directories of layers that this process wrote, and whose bytes it has hashed on the way.
    pub(super) written: Arc<Mutex<HashSet<PathBuf>>>,
    chains: Arc<Mutex<Chains>>,
    /// Set once the layers are found to be marked in this process's form.
    #[cfg(unix)]
    claimed: Arc<OnceLock<()>>,
    /// What was stacked last: the next step stands on most of it.
    #[cfg(unix)]
    recent: Arc<Mutex<Recent>>,
}

/// Keeps a stored layer from being removed for as long as it lives.
#[derive(Debug)]
pub struct Hold {
    dir: PathBuf,
    used: Form,
    #[cfg(unix)]
    mounted: Option<Arc<Mounted>>,
    /// What is known of it, once somebody asked.
    #[cfg(unix)]
    facts: OnceLock<Option<LayerFacts>>,
    /// Locked, shared.
    _lock: File,
}

/// The chain that was asked for last, and the chain ID up to each of its layers: they are asked for again and again,
/// and the next one goes on from there.
#[derive(Debug, Default)]
struct Chains {
    layers: Vec<Digest>,
    ids: Vec<Digest>,
}

impl Chains {
    fn of(&mut self, below: &[Digest], diff_id: &Digest) -> Digest {
        let same = self.layers.iter().zip(below).take_while(|(one, other)| one == other).count();
        self.layers.truncate(same);
        self.ids.truncate(same);
        for layer in below.iter().skip(same) {
            self.ids.push(self.over_last(layer));
            self.layers.push(*layer);
        }
        self.over_last(diff_id)
    }

    fn over_last(&self, diff_id: &Digest) -> Digest {
        self.ids.last().map_or(*diff_id, |below| chain_over(below, diff_id))
    }
}

/// Layers, bottom first, and what keeps each.
#[cfg(unix)]
#[derive(Debug, Default)]
struct Recent {
    os: LayerOs,
    layers: Vec<Digest>,
    holds: Vec<Arc<Hold>>,
}

impl Hold {
    /// The layer's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory or file that it is held for.
    pub(crate) fn used(&self) -> PathBuf {
        #[cfg(unix)]
        if let Some(mounted) = &self.mounted {
            return mounted.path();
        }
        self.dir.join(self.used.name())
    }

    /// Whether it is looked at where it lies, on a file system of its own.
    #[cfg(unix)]
    pub(crate) fn is_mounted(&self) -> bool {
        self.mounted.is_some()
    }

    /// What is known of the layer, which is read once; none where nothing is.
    #[cfg(unix)]
    pub(crate) fn facts(&self) -> Result<Option<&LayerFacts>, LayerError> {
        if self.facts.get().is_none() {
            let facts = read_facts(&self.dir)?;
            return Ok(self.facts.get_or_init(|| facts).as_ref());
        }
        Ok(self.facts.get().and_then(Option::as_ref))
    }

    /// Where the layer has a form; none where it has not.
    pub(crate) fn form(&self, form: Form) -> Option<PathBuf> {
        Some(self.dir.join(form.name())).filter(|path| path.symlink_metadata().is_ok())
    }
}

impl LayerKey {
    fn dir_name(&self) -> String {
        match self {
            Self::Diff(digest) => digest.hex(),
            Self::Chain(digest) => format!("chain-{}", digest.hex()),
            Self::Windows(digest) => format!("windows-{}", digest.hex()),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (make, hex): (fn(Digest) -> Self, _) = match name.split_once('-') {
            Some(("chain", hex)) => (Self::Chain, hex),
            Some(("windows", hex)) => (Self::Windows, hex),
            _ => (Self::Diff, name),
        };
        Digest::from_hex(hex).ok().map(make)
    }
}

impl Layers {
    /// Opens (and makes, where missing) the directory of layers. `opaque` must be the form that layers are
    /// mounted with: [`XattrForm::User`] in a user namespace and wherever root has no `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    /// When the directory can be neither made nor found.
    pub fn open(dir: &Path, work: &Work, opaque: XattrForm) -> Result<Self, LayerError> {
        crate::work::make_private(dir).map_err(io_error("make", dir))?;
        Ok(Self {
            dir: std::path::absolute(dir).map_err(io_error("find", dir))?,
            work: work.clone(),
            form: opaque,
            ownership: Ownership::default(),
            durability: Durability::default(),
            os: LayerOs::Linux,
            #[cfg(unix)]
            mounts: None,
            #[cfg(unix)]
            unsynced: Arc::new(Unsynced::new(dir)),
            written: Arc::default(),
            chains: Arc::default(),
            #[cfg(unix)]
            claimed: Arc::default(),
            #[cfg(unix)]
            recent: Arc::default(),
        })
    }

    /// Sets what becomes of owners.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// Has layers stay in their tars and be mounted from there, as far as that works here and they can be. For
    /// the overlay driver, as root of the machine.
    #[cfg(unix)]
    #[must_use]
    pub fn with_mounts(self) -> Self {
        let mounts = Arc::new(Mounts::new(&self.work));
        Self { mounts: Some(mounts), ..self }
    }

    /// Why layers are not mounted from their tars; none where they are.
    #[cfg(unix)]
    pub fn unpacked_because(&self) -> Option<String> {
        match &self.mounts {
            None => Some("only root of the machine can mount them, with the overlay driver".to_owned()),
            Some(mounts) => mounts.refusal().map(str::to_owned),
        }
    }

    /// Where layers are mounted, if they are.
    #[cfg(unix)]
    pub(super) fn mounts(&self) -> Option<&Mounts> {
        let fit =
            self.os == LayerOs::Linux && self.form == XattrForm::Trusted && self.ownership == Ownership::Keep;
        self.mounts.as_deref().filter(|mounts| fit && mounts.refusal().is_none())
    }

    /// Sets what a layer survives.
    #[must_use]
    pub fn with_durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// The same layers, read and made as those of an image for `os`.
    #[must_use]
    pub fn for_os(&self, os: LayerOs) -> Self {
        Self { os, ..self.clone() }
    }

    /// Where things in the making are.
    pub(crate) fn work(&self) -> &Work {
        &self.work
    }

    /// The directory of a layer.
    pub fn path(&self, key: &LayerKey) -> PathBuf {
        self.dir.join(key.dir_name())
    }

    /// The keys that the layer `diff_id` over the chain `below` may be stored under, the more special first.
    fn keys(&self, below: &[Digest], diff_id: &Digest) -> Vec<LayerKey> {
        match self.key(below, diff_id, false) {
            key @ LayerKey::Windows(_) => vec![key],
            key => vec![LayerKey::Chain(self.chain_id(below, diff_id)), key],
        }
    }

    /// The key that the layer `diff_id` over the chain `below` is put under; `needs_below` says that it means
    /// something over that chain only.
    pub(crate) fn key(&self, below: &[Digest], diff_id: &Digest, needs_below: bool) -> LayerKey {
        match self.os {
            LayerOs::Windows if cfg!(unix) => LayerKey::Windows(self.chain_id(below, diff_id)),
            _ if needs_below => LayerKey::Chain(self.chain_id(below, diff_id)),
            _ => LayerKey::Diff(*diff_id),
        }
    }

    /// The chain ID of the layer `diff_id` over the chain `below`.
    fn chain_id(&self, below: &[Digest], diff_id: &Digest) -> Digest {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner).of(below, diff_id)
    }

    /// Whether the layer `diff_id` over the chain `below` is stored in a form that it is imported in: `fs` or `tar`.
    pub fn contains(&self, below: &[Digest], diff_id: &Digest) -> bool {
        Form::IMPORTED.iter().any(|form| self.form_path(below, diff_id, *form).is_some())
    }

    /// Where the layer has a form; none where it has not.
    pub(crate) fn form_path(&self, below: &[Digest], diff_id: &Digest, form: Form) -> Option<PathBuf> {
        self.keys(below, diff_id)
            .iter()
            .map(|key| self.path(key))
            .filter(|dir| !is_doubtful(dir))
            .map(|dir| dir.join(form.name()))
            .find(|path| path.symlink_metadata().is_ok())
    }

    /// The file that is locked shared by whoever uses a layer, exclusively by whoever removes it. On Windows it is
    /// beside the layer's directory: one that somebody has a file open in cannot be renamed there.
    pub(crate) fn lock_path(&self, key: &LayerKey) -> PathBuf {
        if cfg!(windows) {
            self.dir.join(format!("{}.lock", key.dir_name()))
        } else {
            self.path(key).join("lock")
        }
    }

    /// The layer's directory in overlay form; none where the layer is not stored in that form.
    #[cfg(unix)]
    pub fn fs(&self, below: &[Digest], diff_id: &Digest) -> Option<PathBuf> {
        self.form_path(below, diff_id, Form::Fs)
    }

    /// What is known of the layer; none where it is not stored in any form.
    ///
    /// # Errors
    /// When that can not be read.
    pub fn facts(&self, below: &[Digest], diff_id: &Digest) -> Result<Option<LayerFacts>, LayerError> {
        // That of an imported form goes before that of a tree, which is kept under the chain as well.
        let imported = Form::IMPORTED.iter().filter_map(|form| self.form_path(below, diff_id, *form));
        let imported = imported.filter_map(|path| path.parent().map(Path::to_owned));
        let keys =
            self.keys(below, diff_id).into_iter().map(|key| self.path(&key)).filter(|dir| !is_doubtful(dir));
        for dir in imported.chain(keys) {
            if let Some(facts) = read_facts(&dir)? {
                return Ok(Some(facts));
            }
        }
        Ok(None)
    }

    /// Keeps a layer that has the form from being removed; none where there is no such layer.
    ///
    /// # Errors
    /// When its lock can not be taken.
    pub(crate) fn hold(
        &self,
        below: &[Digest],
        diff_id: &Digest,
        form: Form,
    ) -> Result<Option<Hold>, LayerError> {
        for key in self.keys(below, diff_id) {
            if let Some(hold) = self.hold_key(&key)?
                && hold.form(form).is_some()
            {
                return Ok(Some(Hold { used: form, ..hold }));
            }
        }
        Ok(None)
    }

    pub(crate) fn hold_key(&self, key: &LayerKey) -> Result<Option<Hold>, LayerError> {
        let dir = self.path(key);
        let path = self.lock_path(key);
        let Some(lock) = platform::open_lock(&dir, &path).map_err(io_error("open", &path))? else {
            return Ok(None);
        };
        lock.lock_shared().map_err(io_error("lock", &path))?;
        // Whoever removes a layer moves it away while the lock is held.
        if !platform::is_in_place(&lock, &dir, &path).map_err(io_error("look at", &path))? {
            return Ok(None);
        }
        #[cfg(unix)]
        match unsynced::look(&dir) {
            Mark::None => {}
            Mark::Whole => self.unsynced.add(&dir),
            Mark::Doubtful => return Ok(None),
        }
        // Says to garbage collection when it was last used; where it can not be said, it looks older.
        let _ = lock.set_modified(SystemTime::now());
        Ok(Some(Hold {
            dir,
            used: Form::IMPORTED[0],
            #[cfg(unix)]
            mounted: None,
            #[cfg(unix)]
            facts: OnceLock::new(),
            _lock: lock,
        }))
    }

    /// The exact bytes of the layer's uncompressed tar. End of file is only reported once size and digest were
    /// found right, unless this process hashed the same bytes when it wrote them.
    ///
    /// # Errors
    /// [`LayerError::NotReproducible`] where only a blob may have them, [`LayerError::Missing`] where the layer
    /// is not stored.
    pub fn tar(&self, below: &[Digest], diff_id: &Digest) -> Result<Box<dyn Read + Send>, LayerError> {
        if let Some(hold) = self.hold(below, diff_id, Form::Tar)?
            && let (Some(path), Some(facts)) = (hold.form(Form::Tar), read_facts(hold.dir())?)
        {
            let file = File::open(&path).map_err(io_error("open", &path))?;
            if self.written.lock().unwrap_or_else(PoisonError::into_inner).contains(hold.dir()) {
                return Ok(Box::new(Held { inner: file, _hold: hold }));
            }
            return Ok(Box::new(Held {
                inner: VerifiedReader::new(file, *diff_id, facts.size),
                _hold: hold,
            }));
        }
        self.remade_tar(below, diff_id)
    }

    /// Whether a layer that is here was made elsewhere, and is only unpacked: its exact bytes are a blob's alone.
    pub(crate) fn needs_blob(&self, below: &[Digest], diff_id: &Digest) -> Result<bool, LayerError> {
        if self.hold(below, diff_id, Form::Tar)?.is_some() {
            return Ok(false);
        }
        let Some(hold) = self.hold(below, diff_id, Form::Fs)? else { return Ok(false) };
        Ok(read_facts(hold.dir())?.is_some_and(|facts| !facts.made_here))
    }

    /// The same from the directory that a layer was left in.
    #[cfg(unix)]
    fn remade_tar(&self, below: &[Digest], diff_id: &Digest) -> Result<Box<dyn Read + Send>, LayerError> {
        let Some(hold) = self.hold(below, diff_id, Form::Fs)? else {
            return Err(LayerError::Missing { diff_id: *diff_id });
        };
        let (Some(path), Some(facts)) = (hold.form(Form::Fs), read_facts(hold.dir())?) else {
            return Err(LayerError::Missing { diff_id: *diff_id });
        };
        if !facts.made_here {
            return Err(LayerError::NotReproducible { diff_id: *diff_id });
        }
        let root = node::open_root(&path).map_err(io_error("open", &path))?;
        let against = Against::Nothing { root_entry: facts.root_entry };
        let remade = diff::find(root.as_fd(), Upper::Overlay(self.form), against, self.os)
            .map_err(|source| LayerError::Remake { diff_id: *diff_id, source })
            .and_then(|all| Remade::start(root, all).map_err(io_error("read", &path)))?;
        Ok(Box::new(Held { inner: VerifiedReader::new(remade, *diff_id, facts.size), _hold: hold }))
    }

    /// The layer as a directory to stack: its form `fs`, or its tar, mounted; none where it has neither.
    #[cfg(unix)]
    pub(super) fn hold_directory(
        &self,
        below: &[Digest],
        diff_id: &Digest,
    ) -> Result<Option<Hold>, LayerError> {
        if let Some(hold) = self.hold(below, diff_id, Form::Fs)? {
            return Ok(Some(hold));
        }
        let Some(mounts) = self.mounts() else { return Ok(None) };
        let Some(hold) = self.hold(below, diff_id, Form::Index)? else { return Ok(None) };
        // An index that can not be mounted is as good as none: the tar is unpacked.
        Ok(mounts.mount(hold.dir()).ok().map(|mounted| Hold { mounted: Some(mounted), ..hold }))
    }

    /// What the chain `layers` (bottom first) can be stacked from: each as a directory, or from some layer
    /// down its `tree`. Indices of the layers that are in no such form, bottom first, where there are any; one
    /// whose `tar` is here is unpacked from that.
    #[cfg(unix)]
    pub(crate) fn holds(
        &self,
        layers: &[Digest],
        prefer_tree: bool,
    ) -> Result<Result<Vec<Arc<Hold>>, Vec<usize>>, LayerError> {
        self.claim_marks()?;
        let mut shared = if prefer_tree { Vec::new() } else { self.recent(layers) };
        let (mut holds, mut missing, mut whole) = (Vec::new(), Vec::new(), !prefer_tree);
        for (i, diff_id) in layers.iter().enumerate().skip(shared.len()).rev() {
            let below = &layers[..i];
            let tree = || self.hold(below, diff_id, Form::Tree);
            if let Some(hold) = if prefer_tree { tree()? } else { None } {
                holds.push(Arc::new(hold));
                break;
            }
            if let Some(hold) = self.hold_directory(below, diff_id)? {
                holds.push(Arc::new(hold));
                continue;
            }
            if let Some(hold) = tree()? {
                holds.push(Arc::new(hold));
                (shared, whole) = (Vec::new(), false);
                break;
            }
            missing.push(i);
        }
        if missing.is_empty() {
            holds.reverse();
            shared.append(&mut holds);
            if whole {
                *self.lock_recent() = Recent { os: self.os, layers: layers.to_vec(), holds: shared.clone() };
            }
            return Ok(Ok(shared));
        }
        drop(holds);
        missing.reverse();
        let mut unpacked = false;
        for &i in &missing {
            if self.form_path(&layers[..i], &layers[i], Form::Tar).is_some() {
                self.spread(&layers[..i], &layers[i])?;
                unpacked = true;
            }
        }
        if unpacked { self.holds(layers, prefer_tree) } else { Ok(Err(missing)) }
    }

    /// Finds the layers to be marked as this process reads and marks them, or says that they are from now on.
    ///
    /// # Errors
    /// [`LayerError::OtherMarks`] when they are marked in the other form.
    #[cfg(unix)]
    pub(super) fn claim_marks(&self) -> Result<(), LayerError> {
        if self.claimed.get().is_some() {
            return Ok(());
        }
        let path = self.dir.join("marks");
        let own = match self.form {
            XattrForm::Trusted => "trusted\n",
            XattrForm::User => "user\n",
        };
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io_error("read", &path)(e)),
        };
        match found.as_str() {
            found if found == own => {}
            "trusted\n" | "user\n" => {
                return Err(LayerError::OtherMarks {
                    path: self.dir.clone(),
                    trusted: self.form == XattrForm::User,
                });
            }
            // Made by an earlier version, or not on the disk when the system went down.
            _ => std::fs::write(&path, own).map_err(io_error("write", &path))?,
        }
        self.claimed.get_or_init(|| ());
        Ok(())
    }

    /// What is kept already of the lowest of `layers`.
    #[cfg(unix)]
    fn recent(&self, layers: &[Digest]) -> Vec<Arc<Hold>> {
        let recent = self.lock_recent();
        let same = recent.layers.iter().zip(layers).take_while(|(one, other)| one == other).count();
        recent.holds.iter().take(if recent.os == self.os { same } else { 0 }).cloned().collect()
    }

    #[cfg(unix)]
    fn lock_recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is kept only because it may be needed again.
    pub(crate) fn let_go(&self) {
        #[cfg(unix)]
        drop(std::mem::take(&mut *self.lock_recent()));
    }

    /// The merged view of what is held, bottom first.
    #[cfg(unix)]
    pub(crate) fn stack(&self, holds: &[Arc<Hold>]) -> Result<Stack, LayerError> {
        let roots: Vec<PathBuf> = holds.iter().rev().map(|hold| hold.used()).collect();
        self.stack_of(&roots)
    }

    /// The merged view of directories in overlay form, top first.
    #[cfg(unix)]
    pub(crate) fn stack_of(&self, roots: &[PathBuf]) -> Result<Stack, LayerError> {
        Stack::open(roots, self.form).map_err(|(path, e)| io_error("open", &path)(e))
    }

    /// What the root directory of a file system with the layers `holds` (bottom first) is like.
    #[cfg(unix)]
    pub(crate) fn root(&self, holds: &[Arc<Hold>]) -> Result<Root, LayerError> {
        for hold in holds.iter().rev() {
            let path = hold.used();
            let says = hold.used == Form::Tree || hold.facts()?.is_some_and(|facts| facts.root_entry);
            if says {
                return node::open_root(&path)
                    .and_then(|root| Root::of(root.as_fd(), self.os))
                    .map_err(io_error("read", &path));
            }
        }
        Ok(Root::scratch())
    }

    /// Makes everything that was put there, or used, survive a loss of power, as far as that was asked for.
    ///
    /// # Errors
    /// When the system can not write.
    pub fn settle(&self) -> Result<(), LayerError> {
        #[cfg(unix)]
        if !self.unsynced.is_empty() {
            let _span = self.work.trace().span("sync", &[]);
            self.unsynced.settle()?;
        }
        Ok(())
    }

    /// Everything stored, in no order.
    ///
    /// # Errors
    /// When the directory can not be read.
    pub fn list(&self) -> Result<Vec<StoredLayer>, LayerError> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let entry = entry.map_err(io_error("list", &self.dir))?;
            let Some(key) = entry.file_name().to_str().and_then(LayerKey::parse) else {
                continue;
            };
            let dir = entry.path();
            let forms =
                Form::ALL.into_iter().filter(|f| dir.join(f.name()).symlink_metadata().is_ok()).collect();
            let time = |path: PathBuf| path.metadata().and_then(|m| m.modified()).ok();
            // A lock that is not made yet belongs to a layer that came just now.
            let times = [time(self.lock_path(&key)), time(dir.join("layer.json"))];
            let used = times.into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH);
            out.push(StoredLayer { key, forms, facts: read_facts(&dir).ok().flatten(), used });
        }
        Ok(out)
    }

    /// Removes a layer in all its forms. One that is not there is fine.
    ///
    /// # Errors
    /// [`LayerError::InUse`] where somebody holds it.
    pub fn remove(&self, key: &LayerKey) -> Result<(), LayerError> {
        self.let_go();
        let dir = self.path(key);
        let path = self.lock_path(key);
        let lock = platform::open_lock(&dir, &path).map_err(io_error("open", &path))?;
        if let Some(lock) = &lock {
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LayerError::InUse { path: dir }),
                Err(TryLockError::Error(e)) => return Err(io_error("lock", &path)(e)),
            }
        }
        // Away by one rename; nobody ever sees half of it.
        let work = self.work.create("remove")?;
        match platform::rename(&dir, &work.path().join("layer")) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error("remove", &dir)(e)),
        }
        if let Some(lock) = lock {
            platform::let_go(lock, &path);
        }
        work.remove()?;
        Ok(())
    }
}

/// Whether a layer may be incomplete since the system went down.
pub(super) fn is_doubtful(dir: &Path) -> bool {
    #[cfg(unix)]
    let doubtful = unsynced::look(dir) == Mark::Doubtful;
    // There every layer is synced before it gets its name.
    #[cfg(windows)]
    let doubtful = {
        let _ = dir;
        false
    };
    doubtful
}

/// A reader that keeps its layer.
struct Held<R> {
    inner: R,
    _hold: Hold,
}

impl<R: Read> Read for Held<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf)
    }
}

/// What the directory of a layer says of it; none where there is none.
pub(crate) fn read_facts(dir: &Path) -> Result<Option<LayerFacts>, LayerError> {
    let path = dir.join("layer.json");
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| LayerError::Facts { path, source })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", &path)(e)),
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> LayerError + use<> {
    let path = path.to_owned();
    move |source| LayerError::Io { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::chain_id;

    #[test]
    fn chains_are_those_made_from_the_bottom() {
        let digest = |n: u8| Digest::of(&[n]);
        let long: Vec<_> = (0..9).map(digest).collect();
        let other: Vec<_> = [0, 1, 7, 3, 4].map(digest).to_vec();
        let mut chains = Chains::default();
        for (chain, of) in [(&long, 4), (&long, 9), (&other, 5), (&long, 1), (&other, 3), (&long, 9)] {
            let (top, below) = chain[..of].split_last().unwrap();
            assert_eq!(chains.of(below, top), chain_id(&chain[..of]));
        }
    }
}
