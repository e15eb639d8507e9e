//! What is built.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// One kind of build. See [`Workload::prepare`] for what each is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Many small RUN steps: what one step costs.
    Steps,
    /// Many files in many layers: what reading, hashing and storing costs.
    Layers,
    /// A large context of which the ignore list leaves one file.
    Ignored,
}

impl Workload {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Steps, Self::Layers, Self::Ignored];

    /// The workload of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|w| w.name() == name)
            .ok_or_else(|| format!("no workload `{name}`, only {names}"))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Layers => "layers",
            Self::Ignored => "ignored",
        }
    }

    /// Makes the context, with its Dockerfile in it, and gives its path.
    pub(crate) fn prepare(self, work: &Path) -> PathBuf {
        let context = work.join("context");
        let mut dockerfile = "ARG BASE\nFROM ${BASE}\n".to_owned();
        match self {
            Self::Steps => {
                for n in 0..20 {
                    let _ = writeln!(dockerfile, "RUN echo {n} > /step-{n}");
                }
            }
            Self::Layers => {
                for n in 0..10 {
                    tree(&context.join(format!("part-{n}")), 500, 4096);
                    let _ = writeln!(dockerfile, "COPY part-{n} /srv/part-{n}");
                }
            }
            Self::Ignored => {
                tree(&context.join("node_modules"), 20_000, 100);
                put(&context.join("wanted"), b"wanted");
                put(&context.join(".dockerignore"), b"node_modules\n");
                dockerfile.push_str("COPY . /srv\n");
            }
        }
        put(&context.join("Dockerfile"), dockerfile.as_bytes());
        context
    }
}

/// A hundred files to a directory, each of other content.
fn tree(dir: &Path, files: usize, size: usize) {
    for n in 0..files {
        let line = format!("{} {n}\n", dir.display());
        let content = line.repeat(size / line.len() + 1);
        put(&dir.join(format!("{:03}", n / 100)).join(format!("{n:05}")), content.as_bytes());
    }
}

fn put(path: &Path, bytes: &[u8]) {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap_or_else(|e| panic!("cannot make `{}`: {e}", parent.display()));
    }
    fs::write(path, bytes).unwrap_or_else(|e| panic!("cannot write `{}`: {e}", path.display()));
}
