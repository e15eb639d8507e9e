//! `RUN --mount`.

use super::instruction::Word;
use crate::source::Span;

/// A `--mount` as written: known fields with values that may hold variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// The whole flag.
    pub span: Span,
    /// What follows `--mount=`.
    pub raw: String,
    /// `from`: a stage, its number, an image or a named context. Never holds variables.
    pub from: Option<Word>,
}

/// A `--mount` after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The type.
    pub kind: MountKind,
    /// `from`, where the source is found: a stage, an image, a named context.
    pub from: Option<String>,
    /// `source`, a path in `from` or in the context.
    pub source: Option<String>,
    /// `target`, where it is mounted.
    pub target: Option<String>,
    /// `readonly` or not `readwrite`; a bind is read-only unless asked.
    pub readonly: bool,
    /// `id` of a cache, a secret or an agent; defaults are filled in.
    pub id: Option<String>,
    /// `sharing` of a cache.
    pub sharing: Sharing,
    /// `mode`, permission bits.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u64>,
    /// `gid`.
    pub gid: Option<u64>,
    /// `size` of a tmpfs in bytes; 0 is no limit.
    pub size: u64,
    /// `required` of a secret or an agent.
    pub required: bool,
    /// `env` of a secret: the variable that is to hold it.
    pub env: Option<String>,
}

/// The type of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MountKind {
    /// `bind`: files from the context, a stage or an image.
    Bind,
    /// `cache`: a directory kept between builds.
    Cache,
    /// `tmpfs`: memory.
    Tmpfs,
    /// `secret`: a file or variable that is not kept.
    Secret,
    /// `ssh`: an agent's socket.
    Ssh,
}

/// Who may use a cache mount at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Anybody.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}
