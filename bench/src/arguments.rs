//! The command line.

use std::path::PathBuf;

use crate::case::Case;
use crate::workload::Workload;

/// What `--help` shows.
pub(crate) const HELP: &str = "\
Measures orlop beside buildah and Docker's BuildKit, on the same workloads, in the same run

Usage: bench/run [OPTIONS] [WORKLOAD[:CASE]]...
       bench/run growth [OPTIONS] [AXIS]...

Needs root. Debian packages that are missing are installed (buildah, runc, skopeo, docker-registry, and what makes
the base images); dockerd, where the machine has none, is unpacked into a root directory of its own, so that no
service starts. Everything runs in namespaces that end with the bench.

Workloads: steps, stages, debs, ignored, blob, layers, tree; own (with --directory)
Cases:     cold, same (nothing changed), touched, changed, push (cold and push), pull, pull-run
Axes:      files, bytes, steps, layers, images, builds

Options:
  --quick               less than five minutes: one round and smaller sizes, which the table says
  --rounds N            how often everything is measured [default: 3]
  --orlop PROGRAM       what to measure [default: a release build]
  --directory DIR       measure `own`: COPY of this directory, and a RUN
  --layers N            how many COPY steps `layers` has [default: 40, quick: 20]
  --only NAME,...       builders: orlop, buildah, overlay2, containerd [default: all that can run here]
  --peers SUITE|DIR     take the peers from that Debian (`sid`), or from a root directory that has them
  --dockerd PROGRAM     this Docker daemon; its client `docker` is beside it
  --no-install          install nothing; what is missing is left out
  --no-cgroup           no control group: CPU is summed over processes, page cache is not counted
  --work DIR            where stores and contexts are made: a real disk [default: /var/tmp]
  --patience SECONDS    how long to wait for a slow disk before each case [default: 60, quick: 0.3]
  --disk GB             how much may lie around before old stores are deleted within the run [default: 12]
  --json FILE           all raw figures
  --svg FILE            the picture [default, where everything is measured: bench/results.svg or bench/growth.svg]
  --largest N           growth: skip sizes of an axis above this one (files, MiB, steps, ...)
  -h, --help
";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) growth: bool,
    pub(crate) quick: bool,
    pub(crate) rounds: Option<usize>,
    pub(crate) orlop: Option<PathBuf>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) layers: Option<usize>,
    pub(crate) only: Vec<String>,
    pub(crate) peers: Option<String>,
    pub(crate) dockerd: Option<PathBuf>,
    pub(crate) install: bool,
    pub(crate) cgroup: bool,
    pub(crate) work: PathBuf,
    pub(crate) patience: Option<f64>,
    pub(crate) disk: f64,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) largest: Option<u64>,
    pub(crate) names: Vec<String>,
    pub(crate) help: bool,
}

impl Arguments {
    /// What these words ask for.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let mut all = Self {
            growth: false,
            quick: false,
            rounds: None,
            orlop: None,
            directory: None,
            layers: None,
            only: Vec::new(),
            peers: None,
            dockerd: None,
            install: true,
            cgroup: true,
            work: "/var/tmp".into(),
            patience: None,
            disk: 12.0,
            json: None,
            svg: None,
            largest: None,
            names: Vec::new(),
            help: false,
        };
        while let Some(word) = words.next() {
            let (flag, joined) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (word, None),
            };
            let mut value = || joined.clone().or_else(|| words.next()).ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--rounds" => all.rounds = Some(number(&flag, &value()?)?),
                "--orlop" => all.orlop = Some(value()?.into()),
                "--directory" => all.directory = Some(value()?.into()),
                "--layers" => all.layers = Some(number(&flag, &value()?)?),
                "--only" => all.only = builders(&value()?)?,
                "--peers" => all.peers = Some(value()?),
                "--dockerd" => all.dockerd = Some(value()?.into()),
                "--work" => all.work = value()?.into(),
                "--patience" => all.patience = Some(number(&flag, &value()?)?),
                "--disk" => all.disk = number(&flag, &value()?)?,
                "--json" => all.json = Some(value()?.into()),
                "--svg" => all.svg = Some(value()?.into()),
                "--largest" => all.largest = Some(number(&flag, &value()?)?),
                _ if joined.is_some() => return Err(format!("{flag} takes no value, or is unknown")),
                "--quick" => all.quick = true,
                "--no-install" => all.install = false,
                "--no-cgroup" => all.cgroup = false,
                "-h" | "--help" => all.help = true,
                "growth" if all.names.is_empty() && !all.growth => all.growth = true,
                name if name.starts_with('-') => return Err(format!("unknown flag {name}")),
                name => all.names.push(name.to_owned()),
            }
        }
        if all.growth && (all.directory.is_some() || all.layers.is_some()) {
            return Err("--directory and --layers are for workloads, not for `growth`".to_owned());
        }
        if all.layers == Some(0) {
            return Err("--layers 0 leaves nothing to copy".to_owned());
        }
        if all.rounds == Some(0) {
            return Err("--rounds 0 measures nothing".to_owned());
        }
        if !all.growth {
            all.chosen()?;
        }
        Ok(all)
    }

    /// Whether everything is asked for: only then the picture in the README is made anew.
    pub(crate) fn whole(&self) -> bool {
        let all = self.names.is_empty() && self.only.is_empty() && self.directory.is_none();
        all && !self.quick && self.layers.is_none() && self.largest.is_none()
    }

    /// How often everything is measured.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick || self.growth { 1 } else { 3 })
    }

    /// How long to wait for a disk that is slow, in seconds.
    pub(crate) fn patience(&self) -> f64 {
        self.patience.unwrap_or(if self.quick { 0.3 } else { 60.0 })
    }

    /// The workloads and their cases that are asked for, in the table's order.
    pub(crate) fn chosen(&self) -> Result<Vec<(Workload, Vec<Case>)>, String> {
        let mut asked = Vec::new();
        for name in &self.names {
            let (workload, case) = match name.split_once(':') {
                Some((workload, case)) => (workload, Some(Case::named(case)?)),
                None => (name.as_str(), None),
            };
            let workload = Workload::named(workload)?;
            if let Some(case) = case.filter(|c| !workload.cases().contains(c)) {
                return Err(format!("`{}` is not measured of `{}`", case.name(), workload.name()));
            }
            if workload == Workload::Own && self.directory.is_none() {
                return Err("`own` needs --directory".to_owned());
            }
            asked.push((workload, case));
        }
        if asked.is_empty() && self.directory.is_some() {
            asked.push((Workload::Own, None));
        }
        let wanted = |workload: Workload, case: Case| {
            asked.is_empty() || asked.iter().any(|(w, c)| *w == workload && c.is_none_or(|c| c == case))
        };
        let of = |workload: Workload| {
            let cases = workload.cases().iter().copied().filter(|case| wanted(workload, *case));
            (workload, cases.collect::<Vec<_>>())
        };
        let all = Workload::ALL.into_iter().chain(self.directory.is_some().then_some(Workload::Own));
        Ok(all.map(of).filter(|(_, cases)| !cases.is_empty()).collect())
    }

    /// Whether this builder is asked for.
    pub(crate) fn wants(&self, builder: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == builder)
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} needs a number, not `{text}`"))
}

fn builders(text: &str) -> Result<Vec<String>, String> {
    let known = ["orlop", "buildah", "overlay2", "containerd"];
    let names: Vec<_> = text.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("no builder `{name}`, only {}", known.join(", "))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Sizes;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn workloads_and_cases_are_chosen_by_name() {
        let all = parse("").unwrap();
        assert_eq!(all.chosen().unwrap().len(), Workload::ALL.len());
        assert!(all.whole() && !parse("--quick").unwrap().whole() && !parse("steps").unwrap().whole());
        assert_eq!((all.rounds(), parse("--quick").unwrap().rounds()), (3, 1));
        let some = parse("tree:cold steps tree:push --rounds=2").unwrap();
        let chosen = some.chosen().unwrap();
        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen[0].0, Workload::Steps);
        assert_eq!(chosen[1], (Workload::Tree, vec![Case::Cold, Case::Push]));
        assert_eq!(some.rounds(), 2);
        let own = parse("--directory /usr/share layers --layers 120 own:cold").unwrap();
        assert_eq!(own.chosen().unwrap()[1], (Workload::Own, vec![Case::Cold]));
        assert_eq!((Sizes::of(&own).layers, own.whole()), (120, false));
        assert_eq!(parse("--directory=/usr/share").unwrap().chosen().unwrap()[0].0, Workload::Own);
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for line in [
            "--fast",
            "trees",
            "tree:hot",
            "steps:pull",
            "--rounds x",
            "--rounds 0",
            "--rounds",
            "--quick=1",
            "--only docker",
            "own",
            "--directory",
            "growth --directory /usr/share",
            "growth --layers 9",
            "--layers 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
