//! Trees: found, taken over, cloned, made of layers, and kept.

use std::path::{Path, PathBuf};

use super::table::{Notes, Table};
use super::{CloneDriver, apply, copy, walk};
use super::{Committed, Durability, Form, LayerFacts, LayerKey, Layers, SnapshotError, io_error};
use crate::digest::Digest;
use crate::layer::tar::Reader;
use crate::layer::{Hold, LayerError, chain_id};
use crate::nt::{self, Dir};
use crate::work::WorkDir;

/// The directory of the files of a tree.
pub(super) const ROOT: &str = "root";
/// Its file table.
pub(super) const TABLE: &str = "table";

/// The files of the tree in a work directory.
pub(super) fn root(work: &Path) -> PathBuf {
    work.join(Form::Tree.name()).join(ROOT)
}

/// A tree of one's own.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) work: WorkDir,
    pub(super) table: Table,
}

impl CloneDriver {
    /// A tree of `snapshot` in `work/`. With `take` that of the chain itself may be taken for it.
    pub(super) fn tree(
        &self,
        layers: &Layers,
        snapshot: &Committed,
        take: bool,
    ) -> Result<Made, SnapshotError> {
        let all = snapshot.layers();
        let work = layers.work().create("step")?;
        let mut done = 0;
        let mut table = None;
        for n in (1..=all.len()).rev() {
            if let Some(found) = self.have(layers, &all[..n], &work, take || n < all.len())? {
                (done, table) = (n, Some(found));
                break;
            }
        }
        let root_path = root(work.path());
        if table.is_none() {
            std::fs::create_dir_all(&root_path).map_err(io_error("make", &root_path))?;
        }
        let is_taken = done == all.len() && table.is_some();
        let root = Dir::open(&root_path).map_err(io_error("open", &root_path))?;
        let mut notes = table.as_ref().map(Notes::of).unwrap_or_default();
        for i in done..all.len() {
            self.unpack(layers, &all[..i], &all[i], &root, &mut notes)?;
        }
        if let Some(table) = table.filter(|_| is_taken) {
            return Ok(Made { work, table });
        }
        let table = walk::take(&root, notes, &self.session, false)?;
        drop(root);
        if take && !all.is_empty() && self.cloner.works() {
            // Unpacked once; everybody gets a clone.
            self.keep(layers, work, table, snapshot)?;
            let work = layers.work().create("step")?;
            if let Some(table) = self.copy(layers, all, &work)? {
                return Ok(Made { work, table });
            }
            // What stands there instead cannot be believed, and cannot be removed either.
            return self.tree(layers, snapshot, false);
        }
        Ok(Made { work, table })
    }

    fn unpack(
        &self,
        layers: &Layers,
        below: &[Digest],
        diff_id: &Digest,
        root: &Dir,
        notes: &mut Notes,
    ) -> Result<(), SnapshotError> {
        let failed =
            |source| SnapshotError::Layer(LayerError::Unpack { layer: format!("layer {diff_id}"), source });
        let mut reader = Reader::new(layers.tar(below, diff_id)?);
        apply::apply(&mut reader, root, notes, layers.ownership).map_err(failed)?;
        reader.drain().map_err(|e| failed(e.into()))
    }

    /// Gets the tree of the chain `all` into `work`, if there is one: takes it over, or where somebody else uses it,
    /// or everybody is to have a clone, copies it.
    fn have(
        &self,
        layers: &Layers,
        all: &[Digest],
        work: &WorkDir,
        take: bool,
    ) -> Result<Option<Table>, SnapshotError> {
        let Some((hold, table)) = self.sound(layers, all)? else {
            return Ok(None);
        };
        let at = hold.used();
        let to = work.path().join(Form::Tree.name());
        if take && (table.stepped || !self.cloner.works()) {
            drop(hold);
            let key = LayerKey::Chain(chain_id(all));
            if layers.take(&key, work)? {
                let moved = work.path().join("taken").join(Form::Tree.name());
                std::fs::rename(&moved, &to).map_err(io_error("move", &moved))?;
                return Ok(Some(table));
            }
            // Somebody has come in between, or gone with it.
            return self.copy(layers, all, work);
        }
        self.copy_from(&at, &table, work)
    }

    fn copy(&self, layers: &Layers, all: &[Digest], work: &WorkDir) -> Result<Option<Table>, SnapshotError> {
        match self.sound(layers, all)? {
            Some((hold, table)) => self.copy_from(&hold.used(), &table, work),
            None => Ok(None),
        }
    }

    fn copy_from(&self, at: &Path, table: &Table, work: &WorkDir) -> Result<Option<Table>, SnapshotError> {
        let (from_path, to_path) = (at.join(ROOT), root(work.path()));
        std::fs::create_dir_all(&to_path).map_err(io_error("make", &to_path))?;
        let from = Dir::open(&from_path).map_err(io_error("open", &from_path))?;
        let to = Dir::open(&to_path).map_err(io_error("open", &to_path))?;
        if copy::tree(&from, table, &to, &self.cloner)? {
            let stepped = table.stepped;
            return walk::take(&to, Notes::of(table), &self.session, stepped).map(Some);
        }
        drop(to);
        let tree = work.path().join(Form::Tree.name());
        let (dir, name) = nt::split(&tree).map_err(io_error("open", &tree))?;
        dir.remove(&name).map_err(|(path, e)| io_error("remove", &work.path().join(path))(e))?;
        Ok(None)
    }

    /// The tree of the chain `all` that can be believed, held; none where there is none. One that is not what its
    /// table says is removed.
    pub(super) fn sound(
        &self,
        layers: &Layers,
        all: &[Digest],
    ) -> Result<Option<(Hold, Table)>, SnapshotError> {
        let Some((top, below)) = all.split_last() else {
            return Ok(None);
        };
        let Some(hold) = layers.hold(below, top, Form::Tree)? else {
            return Ok(None);
        };
        let at = hold.used();
        if let Ok(table) = Table::read(&at.join(TABLE)) {
            let believed = table.session == self.session || {
                let path = at.join(ROOT);
                let root = Dir::open(&path).map_err(io_error("open", &path))?;
                walk::is_sound(&root, &table)?
            };
            if believed {
                return Ok(Some((hold, table)));
            }
        }
        drop(hold);
        match layers.remove(&LayerKey::Chain(chain_id(all))) {
            // Somebody still looks at it; it is not believed all the same.
            Ok(()) | Err(LayerError::InUse { .. } | LayerError::Missing { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Keeps the tree in `work` as that of `snapshot`.
    pub(super) fn keep(
        &self,
        layers: &Layers,
        work: WorkDir,
        table: Table,
        snapshot: &Committed,
    ) -> Result<(), SnapshotError> {
        let Some((top, below)) = snapshot.layers().split_last() else {
            return Ok(());
        };
        let Some(facts) = layers.facts(below, top)? else {
            return Err(LayerError::Missing { diff_id: *top }.into());
        };
        let tree = work.path().join(Form::Tree.name());
        let path = tree.join(TABLE);
        let sync = layers.durability == Durability::Power;
        table.write(&path, sync).map_err(io_error("write", &path))?;
        let making = work.path().join("layer");
        // What an earlier publication did not need, because somebody had been faster.
        let (dir, name) = nt::split(&making).map_err(io_error("open", &making))?;
        dir.remove(&name).map_err(|(path, e)| io_error("remove", &work.path().join(path))(e))?;
        std::fs::create_dir(&making).map_err(io_error("make", &making))?;
        let into = making.join(Form::Tree.name());
        std::fs::rename(&tree, &into).map_err(io_error("move", &tree))?;
        let facts = LayerFacts { made_here: false, ..facts };
        Ok(layers.publish(&LayerKey::Chain(snapshot.chain_id()), &work, &facts)?)
    }
}
