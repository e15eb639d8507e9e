//! What grows.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::noise::Noise;
use crate::workload::files::{self, TIME, put, put_blob, put_tree};

/// What grows while all else stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Files that a COPY takes.
    Files,
    /// MiB of a file that a COPY takes.
    Bytes,
    /// RUN steps.
    Steps,
    /// COPY steps before a RUN.
    Layers,
    /// Images that are in the store already, each with a layer of its own.
    Images,
    /// Builds at the same time in one store.
    Builds,
}

/// The one thing that is another before the last build of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The content of one file among many.
    File,
    /// Every file's time and no content.
    Times,
    /// The last step's text.
    LastStep,
    /// A file of the last COPY.
    LastCopy,
}

impl Axis {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Files, Self::Bytes, Self::Steps, Self::Layers, Self::Images, Self::Builds];

    /// The axis of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or(format!("no axis `{name}`, only {all}"))
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Bytes => "bytes",
            Self::Steps => "steps",
            Self::Layers => "layers",
            Self::Images => "images",
            Self::Builds => "builds",
        }
    }

    /// What its numbers count.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Files => "files of a COPY",
            Self::Bytes => "MiB of a COPY",
            Self::Steps => "RUN steps",
            Self::Layers => "COPY steps and a RUN",
            Self::Images => "images in the store",
            Self::Builds => "builds at once",
        }
    }

    /// The numbers.
    pub(crate) fn sizes(self, quick: bool) -> &'static [u64] {
        match (self, quick) {
            (Self::Files, false) => &[1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
            (Self::Files, true) => &[1_000, 3_000, 10_000],
            (Self::Bytes, false) => &[1, 8, 64, 512, 2048, 8192],
            (Self::Bytes, true) => &[1, 8, 64],
            (Self::Steps, false) => &[1, 5, 20, 100, 400],
            (Self::Steps, true) => &[1, 5, 20],
            (Self::Layers, false) => &[1, 5, 20, 60, 120],
            (Self::Layers, true) => &[1, 5, 20],
            (Self::Images, false) => &[10, 100, 1_000, 10_000],
            (Self::Images, true) => &[10, 100],
            (Self::Builds, false) => &[1, 2, 4, 8],
            (Self::Builds, true) => &[1, 2, 4],
        }
    }

    /// About how much of the disk a size takes: context, store and whatever is made on the way.
    pub(crate) fn bytes(self, size: u64) -> u64 {
        (1 << 30)
            + match self {
                Self::Files => size * 8192,
                Self::Bytes => size * (2 << 20),
                Self::Images => size * 65_536,
                _ => 0,
            }
    }

    /// What changes before the last build, if something does.
    pub(crate) fn change(self) -> Option<Change> {
        match self {
            Self::Files => Some(Change::File),
            Self::Bytes => Some(Change::Times),
            Self::Steps => Some(Change::LastStep),
            Self::Layers => Some(Change::LastCopy),
            Self::Images | Self::Builds => None,
        }
    }

    /// Makes the context of a size; `builds` has one in a directory for each.
    pub(crate) fn prepare(self, size: u64, context: &Path) -> io::Result<()> {
        let mut noise = Noise::new(size);
        let mut dockerfile = "ARG BASE\nFROM ${BASE}\n".to_owned();
        match self {
            Self::Files => {
                let files = usize::try_from(size).map_err(io::Error::other)?;
                put_tree(&context.join("tree"), files, 100..400, &mut noise)?;
                dockerfile.push_str("COPY tree /srv/tree\nRUN ls /srv > /list\n");
            }
            Self::Bytes => {
                put_blob(
                    &context.join("blob"),
                    usize::try_from(size).map_err(io::Error::other)?,
                    &mut noise,
                )?;
                dockerfile.push_str("COPY blob /srv/blob\nRUN ls /srv > /list\n");
            }
            Self::Steps => {
                for n in 0..size {
                    let _ = writeln!(dockerfile, "RUN echo {n} > /step-{n}");
                }
            }
            Self::Layers => {
                for n in 0..size {
                    put_tree(&context.join(format!("part-{n:03}")), 10, 1000..4000, &mut noise)?;
                    let _ = writeln!(dockerfile, "COPY part-{n:03} /srv/part-{n}");
                }
                dockerfile.push_str("RUN ls /srv > /list\n");
            }
            Self::Images => {
                put_tree(&context.join("tree"), 100, 1000..4000, &mut noise)?;
                dockerfile.push_str("COPY tree /srv/tree\nRUN ls /srv > /list\n");
            }
            Self::Builds => {
                for n in 0..size {
                    let one = context.join(n.to_string());
                    put_tree(&one.join("tree"), 2000, 1000..4000, &mut noise)?;
                    dockerfile =
                        format!("ARG BASE\nFROM ${{BASE}}\nCOPY tree /srv/tree\nRUN ls /srv > /list-{n}\n");
                    put(&one.join("Dockerfile"), dockerfile.as_bytes())?;
                }
            }
        }
        if self != Self::Builds {
            put(&context.join("Dockerfile"), dockerfile.as_bytes())?;
        }
        files::touch(context, TIME)
    }
}

impl Change {
    /// What a table calls a build after it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "one file changed",
            Self::Times => "touched",
            Self::LastStep => "last step changed",
            Self::LastCopy => "last COPY changed",
        }
    }

    /// Makes it.
    pub(crate) fn make(self, context: &Path) -> io::Result<()> {
        match self {
            Self::File => files::change(&files::middle(context)?),
            Self::Times => files::touch(context, TIME + 1000),
            Self::LastStep => {
                let path = context.join("Dockerfile");
                let text = fs::read_to_string(&path)?;
                fs::write(path, text.trim_end().to_owned() + "-changed\n")
            }
            Self::LastCopy => files::change(&last_part(context)?),
        }
    }

    /// Makes everything as it was.
    pub(crate) fn undo(self, context: &Path) -> io::Result<()> {
        match self {
            Self::LastStep => {
                let path = context.join("Dockerfile");
                let text = fs::read_to_string(&path)?;
                fs::write(path, text.replace("-changed\n", "\n"))?;
            }
            Self::File | Self::LastCopy => self.make(context)?,
            Self::Times => {}
        }
        files::touch(context, TIME)
    }
}

/// A file of the last COPY.
fn last_part(context: &Path) -> io::Result<PathBuf> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(context)? {
        let path = entry?.path();
        if path.is_dir() {
            parts.push(path);
        }
    }
    files::middle(parts.iter().max().ok_or_else(|| io::Error::other("there is no part"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_fixtures::tree::{differences, read};

    #[test]
    fn axes_have_names_of_their_own() {
        for axis in Axis::ALL {
            assert_eq!(Axis::named(axis.name()), Ok(axis));
        }
        assert!(Axis::named("time").is_err());
    }

    #[test]
    fn a_change_is_one_and_can_be_undone() {
        for axis in Axis::ALL {
            let Some(change) = axis.change() else { continue };
            let work = orlop_fixtures::test_env::work_dir();
            let dir = work.path().join("context");
            axis.prepare(3, &dir).unwrap();
            let before = read(&dir);
            change.make(&dir).unwrap();
            let after = read(&dir);
            let changed = before.iter().filter(|(path, e)| after[*path].digest != e.digest).count();
            assert_eq!(changed, usize::from(change != Change::Times), "{change:?}");
            assert!(!differences(&before, &after).is_empty(), "{change:?}");
            change.undo(&dir).unwrap();
            assert_eq!(differences(&before, &read(&dir)), Vec::<String>::new(), "{change:?}");
        }
    }
}
