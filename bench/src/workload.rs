//! What is built: the same bytes, modes and times in every run on every machine.

mod debs;
pub(crate) mod files;

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::arguments::Arguments;
use crate::case::{Case, Goal};
use crate::noise::Noise;
use files::{put, put_blob, put_tree};

pub(crate) use debs::fetch as fetch_debs;

/// One kind of build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    /// Many small RUN steps: what one step costs.
    Steps,
    /// Stages that do not need each other.
    Stages,
    /// A package and what it needs from the context: a step that makes thousands of files.
    Debs,
    /// A large context of which the ignore list leaves one file.
    Ignored,
    /// One large file that is copied, and written once more by a step.
    Blob,
    /// Many small COPY steps, then a RUN.
    Layers,
    /// Very many small files.
    Tree,
    /// A directory that somebody has, for which nobody set a goal.
    Own,
}

/// Which base image a workload starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaseKind {
    Busybox,
    Debian,
}

/// How large everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Files that the ignore list keeps out.
    pub(crate) ignored: usize,
    /// Files of the tree.
    pub(crate) tree: usize,
    /// MiB of the blob.
    pub(crate) blob: usize,
    /// RUN steps.
    pub(crate) steps: usize,
    /// COPY steps.
    pub(crate) layers: usize,
    /// What is installed from local packages.
    pub(crate) package: &'static str,
}

impl Sizes {
    /// Those of the issue, or smaller ones.
    pub(crate) fn new(quick: bool) -> Self {
        match quick {
            false => Self { ignored: 50_000, tree: 50_000, blob: 512, steps: 20, layers: 40, package: "gcc" },
            true => {
                Self { ignored: 10_000, tree: 5_000, blob: 32, steps: 10, layers: 20, package: "binutils" }
            }
        }
    }

    /// Those that are asked for.
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let sizes = Self::new(arguments.quick);
        Self { layers: arguments.layers.unwrap_or(sizes.layers), ..sizes }
    }
}

impl Workload {
    /// All that are made here, in the table's order.
    pub(crate) const ALL: [Self; 7] =
        [Self::Steps, Self::Stages, Self::Debs, Self::Ignored, Self::Blob, Self::Layers, Self::Tree];

    /// The workload of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .chain([Self::Own])
            .find(|w| w.name() == name)
            .ok_or_else(|| format!("no workload `{name}`, only {names}"))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Stages => "stages",
            Self::Debs => "debs",
            Self::Ignored => "ignored",
            Self::Blob => "blob",
            Self::Layers => "layers",
            Self::Tree => "tree",
            Self::Own => "own",
        }
    }

    /// What it is, in a table.
    pub(crate) fn about(self, sizes: Sizes) -> String {
        match self {
            Self::Steps => format!("{} RUN `echo`", sizes.steps),
            Self::Stages => "3 independent of 3 s".to_owned(),
            Self::Debs => format!("{} from local packages", sizes.package),
            Self::Ignored => format!("{} files kept out by `.dockerignore`", sizes.ignored),
            Self::Blob => format!("COPY {0} MiB (half noise), RUN `cat` into another {0} MiB", sizes.blob),
            Self::Layers => format!("{} COPY, 1 RUN", sizes.layers),
            Self::Tree => format!("COPY of {} files, RUN", sizes.tree),
            Self::Own => "COPY of a directory of one's own, RUN".to_owned(),
        }
    }

    /// What is measured of it, in order.
    pub(crate) fn cases(self) -> &'static [Case] {
        match self {
            Self::Steps => &[Case::Cold, Case::Same],
            Self::Stages | Self::Debs | Self::Ignored => &[Case::Cold],
            Self::Blob => &[Case::Cold, Case::Push, Case::Pull, Case::PullRun],
            Self::Layers => &[Case::Cold, Case::Pull, Case::PullRun],
            Self::Tree | Self::Own => &Case::ALL,
        }
    }

    /// How good orlop has to be: the goals of the project's issue on speed.
    pub(crate) fn goal(self, case: Case) -> Goal {
        match (self, case) {
            (Self::Steps, Case::Cold) => Goal::peer(0.2).and_floor("mounts", 2.0),
            (Self::Steps, Case::Same) => Goal::peer(0.1),
            (Self::Stages, Case::Cold) => Goal::floor("sleep", 1.05),
            (Self::Debs, Case::Cold) => Goal::peer(0.75),
            (Self::Ignored, Case::Cold) => Goal::peer(0.2),
            (Self::Blob, Case::Cold | Case::Push) => Goal::peer(0.35),
            (Self::Blob, Case::Pull | Case::PullRun) => Goal::peer(0.3),
            (Self::Layers, Case::Cold) => Goal::peer(0.25),
            (Self::Layers, Case::Pull | Case::PullRun) => Goal::peer(0.35),
            (Self::Tree, Case::Cold) => Goal::peer(0.1).and_floor("cp -a", 1.0),
            (Self::Tree, Case::Same) => Goal::peer(0.25),
            (Self::Tree, Case::Touched) => Goal::peer(0.1),
            (Self::Tree, Case::Changed) => Goal::peer(0.12),
            (Self::Tree, Case::Push | Case::Pull | Case::PullRun) => Goal::peer(0.15),
            _ => Goal::default(),
        }
    }

    /// What it starts from.
    pub(crate) fn base(self) -> BaseKind {
        if self == Self::Debs { BaseKind::Debian } else { BaseKind::Busybox }
    }

    /// Makes the context, with its Dockerfile in it; of the directory `own` where it is one's own.
    pub(crate) fn prepare(self, sizes: Sizes, own: Option<&Path>, context: &Path) -> io::Result<()> {
        let mut dockerfile = "ARG BASE\nFROM ${BASE}\n".to_owned();
        let mut noise = Noise::new(self as u64);
        match self {
            Self::Steps => {
                for n in 0..sizes.steps {
                    let _ = writeln!(dockerfile, "RUN echo {n} > /step-{n}");
                }
            }
            Self::Stages => {
                dockerfile = "ARG BASE\n".to_owned();
                for name in ["a", "b", "c"] {
                    let _ =
                        writeln!(dockerfile, "FROM ${{BASE}} AS {name}\nRUN sleep 3; echo {name} > /{name}");
                }
                dockerfile
                    .push_str("FROM ${BASE}\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n");
            }
            Self::Debs => {
                debs::put_into(sizes.package, &context.join("debs"))?;
                dockerfile
                    .push_str("COPY debs /debs\nRUN DEBIAN_FRONTEND=noninteractive dpkg -i /debs/*.deb\n");
            }
            Self::Ignored => {
                put_tree(&context.join("node_modules"), sizes.ignored, 100..101, &mut noise)?;
                put(&context.join("wanted"), b"wanted\n")?;
                put(&context.join(".dockerignore"), b"node_modules\n")?;
                dockerfile.push_str("COPY . /srv\n");
            }
            Self::Blob => {
                put_blob(&context.join("blob"), sizes.blob, &mut noise)?;
                dockerfile.push_str("COPY blob /srv/blob\nRUN cat /srv/blob > /srv/copy\n");
            }
            Self::Layers => {
                for n in 0..sizes.layers {
                    put_tree(&context.join(format!("part-{n}")), 10, 4096..12_288, &mut noise)?;
                    let _ = writeln!(dockerfile, "COPY part-{n} /srv/part-{n}");
                }
                dockerfile.push_str("RUN ls /srv > /srv/list\n");
            }
            Self::Tree | Self::Own => {
                match own.filter(|_| self == Self::Own) {
                    Some(own) => files::put_copy(own, &context.join("tree"))?,
                    None => put_tree(&context.join("tree"), sizes.tree, 200..4000, &mut noise)?,
                }
                dockerfile.push_str("COPY tree /srv/tree\nRUN ls /srv/tree > /srv/list\n");
            }
        }
        put(&context.join("Dockerfile"), dockerfile.as_bytes())?;
        files::touch(context, files::TIME)
    }

    /// The workload's image for pulls: what of the context is in each layer, and where.
    pub(crate) fn image(self, sizes: Sizes) -> Vec<(String, String)> {
        let one = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        match self {
            Self::Blob => vec![one("blob", "srv/blob"), one("blob", "srv/copy")],
            Self::Layers => {
                let parts = (0..sizes.layers).map(|n| (format!("part-{n}"), format!("srv/part-{n}")));
                parts.chain([one("Dockerfile", "srv/list")]).collect()
            }
            Self::Tree | Self::Own => vec![one("tree", "srv/tree"), one("Dockerfile", "srv/list")],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_fixtures::tree::{differences, read};

    const SMALL: Sizes = Sizes { ignored: 210, tree: 330, blob: 2, steps: 3, layers: 3, package: "" };

    #[test]
    fn workloads_have_names_of_their_own() {
        for workload in Workload::ALL {
            assert_eq!(Workload::named(workload.name()), Ok(workload));
        }
        assert!(Workload::named("none").is_err());
    }

    #[test]
    fn every_case_of_a_workload_has_a_goal() {
        for workload in Workload::ALL {
            for case in workload.cases() {
                assert_ne!(workload.goal(*case), Goal::default(), "{} {case}", workload.name());
            }
        }
    }

    #[test]
    fn a_context_is_the_same_each_time() {
        // What `debs` is made of comes from a mirror.
        for workload in Workload::ALL.into_iter().filter(|w| *w != Workload::Debs) {
            let work = orlop_fixtures::test_env::work_dir();
            let [one, two] = ["one", "two"].map(|name| {
                let dir = work.path().join(name);
                workload.prepare(SMALL, None, &dir).unwrap();
                read(&dir)
            });
            assert_eq!(differences(&one, &two), Vec::<String>::new(), "{}", workload.name());
            assert!(one.values().all(|e| e.mtime == "1700000000.000000000"), "{}", workload.name());
        }
    }

    #[test]
    fn a_tree_has_the_files_that_it_should() {
        let work = orlop_fixtures::test_env::work_dir();
        let dir = work.path().join("context");
        Workload::Tree.prepare(SMALL, None, &dir).unwrap();
        let tree = read(&dir);
        assert_eq!(tree.values().filter(|e| e.kind == "file").count(), SMALL.tree + 1);
        let name = files::middle(&dir).unwrap();
        files::change(&name).unwrap();
        let after = read(&dir);
        let changed: Vec<_> = tree.iter().filter(|(path, e)| after[*path].digest != e.digest).collect();
        assert_eq!(changed.len(), 1);
        assert!(dir.join(changed[0].0.trim_start_matches('/')) == name);
    }
    #[test]
    fn a_directory_of_ones_own_is_copied_as_it_is() {
        let work = orlop_fixtures::test_env::work_dir();
        let (own, context) = (work.path().join("own"), work.path().join("context"));
        files::put(&own.join("a/file"), b"a").unwrap();
        files::put(&own.join("empty"), b"").unwrap();
        std::os::unix::fs::symlink("nowhere", own.join("link")).unwrap();
        Workload::Own.prepare(SMALL, Some(&own), &context).unwrap();
        let tree = read(&context);
        assert_eq!(tree["/tree/link"].kind, "symlink");
        assert_eq!(tree["/tree/a/file"].mtime, "1700000000.000000000");
        assert_eq!(files::middle(&context).unwrap(), context.join("tree/a/file"));
        let none = Workload::Own.prepare(SMALL, Some(&work.path().join("none")), &context);
        assert!(none.unwrap_err().to_string().contains("cannot copy"));
    }
}
