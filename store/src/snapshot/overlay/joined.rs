//! Many small layers as one.
//!
//! An overlay costs what it has layers: each is one more directory to mount, to look into for every name, and to
//! compare with. A build of very many steps would so take time by the square of their number. Small layers that have
//! been stacked again and again are therefore copied into one directory in overlay form, in `work/` and for as long as
//! the process lives. The copy stands for exactly these layers over exactly what was below them: were it not made, the
//! overlay would show the same, but for size, order and number of links of directories, which are the file system's own.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directory;
use crate::digest::Digest;
use crate::layer::copy::{self, Over};
use crate::layer::diff::Root;
use crate::layer::{Hold, Layers, Ownership, node};
use crate::snapshot::{Committed, LayerOs, SnapshotError, io_error};
use crate::work::WorkDir;

/// Layers joined by one driver.
#[derive(Debug)]
pub(super) struct Joins {
    /// After how many layers that steps have stacked a joint has paid for itself, however little there is to copy. With
    /// none of it, whoever looks joins.
    patience: u64,
    /// How many layers in a row are worth it.
    shortest: usize,
    /// How many times a layer can be stacked for what it costs to copy an entry.
    price: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    joined: Vec<Arc<Joined>>,
    /// What somebody is joining, and what cannot be joined.
    barred: Vec<Span>,
    /// Directories that steps have stacked since the last look.
    stacked: u64,
}

/// Consecutive layers: the highest of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// Down to the bottom: what a layer means can depend on what is below it.
    chain: Arc<[Digest]>,
    /// Index of the first.
    first: usize,
}

/// Layers in one directory.
#[derive(Debug)]
pub(in crate::snapshot) struct Joined {
    span: Span,
    work: WorkDir,
}

/// What an overlay is stacked from.
#[derive(Debug)]
pub(in crate::snapshot) struct Lower {
    /// Directories in overlay form, top first; none comes twice, which overlayfs refuses.
    pub(in crate::snapshot) dirs: Vec<PathBuf>,
    /// What keeps those that are in `work/`.
    pub(in crate::snapshot) joined: Vec<Arc<Joined>>,
}

/// A part of a stack.
enum Piece {
    /// The layer with this index.
    Layer(usize),
    Joined(Arc<Joined>),
}

/// What a layer may weigh to be joined, in entries. Content counts as an entry for each 16 KiB.
const SMALL: u64 = 64;

impl Default for Joins {
    fn default() -> Self {
        // 32 steps over each other stack that many.
        Self::new(512, 8, 2)
    }
}

impl Joins {
    pub(super) fn new(patience: u64, shortest: usize, price: u64) -> Self {
        Self { patience, shortest, price, state: Mutex::default() }
    }

    /// The directories that show `snapshot`, whose layers `holds` keeps, bottom first. `step` says that a step works over
    /// them: who only looks a few names up has no use for fewer.
    pub(super) fn stack(
        &self,
        layers: &Layers,
        snapshot: &Committed,
        holds: &[Arc<Hold>],
        step: bool,
    ) -> Result<Lower, SnapshotError> {
        let chain = snapshot.layers();
        // A whole tree can stand for the lowest layers; what belongs to Windows follows rules of its own.
        if snapshot.os() != LayerOs::Linux || holds.len() != chain.len() {
            return Ok(lower(&(0..holds.len()).map(Piece::Layer).collect::<Vec<_>>(), holds));
        }
        let mut state = self.lock();
        let pieces = state.pieces(chain);
        if step {
            state.stacked = (state.stacked + pieces.len() as u64).min(8 * self.patience);
        }
        if state.stacked < self.patience || !(step || self.patience == 0) {
            return Ok(lower(&pieces, holds));
        }
        let mut runs = self.runs(&state, chain, &pieces, holds);
        runs.retain(|run| self.price * run.weight <= state.stacked);
        if runs.is_empty() {
            return Ok(lower(&pieces, holds));
        }
        state.stacked = 0;
        let span = |run: &Run| Span { chain: chain[..run.end].into(), first: run.first };
        state.barred.extend(runs.iter().map(span));
        // Others need not wait.
        drop(state);
        for run in &runs {
            // One that cannot be made is not missed: the layers are there. It is not tried again.
            let below = lower(&pieces[..run.at], holds);
            if let Ok(Some(work)) = join(layers, &holds[run.first..run.end], &below) {
                let (mut state, span) = (self.lock(), span(run));
                state.barred.retain(|barred| *barred != span);
                state.joined.push(Arc::new(Joined { span, work }));
            }
        }
        let pieces = self.lock().pieces(chain);
        Ok(lower(&pieces, holds))
    }

    /// Small layers in a row, none of which is joined yet.
    fn runs(&self, state: &State, chain: &[Digest], pieces: &[Piece], holds: &[Arc<Hold>]) -> Vec<Run> {
        let barred: Vec<_> = state.barred.iter().filter(|span| chain.starts_with(&span.chain)).collect();
        let mut runs: Vec<Run> = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let Piece::Layer(index) = *piece else { continue };
            if barred.iter().any(|span| (span.first..span.chain.len()).contains(&index)) {
                continue;
            }
            let facts = holds[index].facts().ok().flatten();
            let weight = facts.map_or(u64::MAX, |facts| facts.entries.saturating_add(facts.size >> 14));
            if weight > SMALL {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == index => {
                    run.end += 1;
                    run.weight += weight;
                }
                _ => runs.push(Run { at, first: index, end: index + 1, weight }),
            }
        }
        runs.retain(|run| run.end - run.first >= self.shortest);
        runs
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `chain` in as few pieces as there are, bottom first.
    fn pieces(&self, chain: &[Digest]) -> Vec<Piece> {
        let fitting: Vec<_> =
            self.joined.iter().filter(|joined| chain.starts_with(&joined.span.chain)).collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < chain.len() {
            let here = fitting.iter().filter(|joined| joined.span.first == at);
            match here.max_by_key(|joined| joined.span.chain.len()) {
                Some(joined) => {
                    at = joined.span.chain.len();
                    pieces.push(Piece::Joined(Arc::clone(joined)));
                }
                None => {
                    pieces.push(Piece::Layer(at));
                    at += 1;
                }
            }
        }
        pieces
    }
}

/// Layers in a row: the first, and the one after the last.
#[derive(Debug)]
struct Run {
    /// Which piece of the stack is the first.
    at: usize,
    first: usize,
    end: usize,
    weight: u64,
}

impl Joined {
    fn dir(&self) -> PathBuf {
        self.work.path().join("fs")
    }
}

fn lower(pieces: &[Piece], holds: &[Arc<Hold>]) -> Lower {
    let mut lower = Lower { dirs: Vec::new(), joined: Vec::new() };
    let mut seen = HashSet::new();
    for piece in pieces.iter().rev() {
        let dir = match piece {
            Piece::Layer(index) => holds[*index].used(),
            Piece::Joined(joined) => joined.dir(),
        };
        // Of two equal layers the lower one shows nothing that the upper does not.
        if seen.insert(dir.clone()) {
            lower.dirs.push(dir);
        }
        if let Piece::Joined(joined) = piece {
            lower.joined.push(Arc::clone(joined));
        }
    }
    lower
}

/// Copies the layers that `holds` keeps, which stand on `below`, into one directory; none where one of them hides all
/// that is below it.
fn join(layers: &Layers, holds: &[Arc<Hold>], below: &Lower) -> Result<Option<WorkDir>, SnapshotError> {
    let _span = layers.work().trace().span("join", &[]);
    let stack = layers.stack(holds)?;
    if stack.hides_all().map_err(io_error("read", &holds[0].used()))? {
        return Ok(None);
    }
    let work = layers.work().create("join")?;
    // What a root directory is like is said above all layers.
    let path = directory(&work, "fs", &Root::scratch(), Ownership::Ignore)?;
    let dir = node::open_root(&path).map_err(io_error("open", &path))?;
    let over = Over { form: layers.form, below: &layers.stack_of(&below.dirs)? };
    copy::stack(&stack, &dir, layers.ownership, Some(over))
        .map_err(|(at, e)| io_error("copy", &path.join(at))(e))?;
    Ok(Some(work))
}
