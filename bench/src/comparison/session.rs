//! One run as it goes on: what was measured so far, and the state of the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orlop_fixtures::registry::{self, Registry};

use super::{note, say};
use crate::arguments::Arguments;
use crate::base::Base;
use crate::builder::{Build, Builder, Docker, From, Store};
use crate::case::Case;
use crate::disk::{self, Disk};
use crate::floor::{self, Floor};
use crate::image;
use crate::interrupt;
use crate::measure::{Figures, Meter};
use crate::place::Place;
use crate::results::{Bare, Record, Results};
use crate::workload::{BaseKind, Sizes, Workload, files};

/// A time after that of the context's files.
const LATER: u64 = files::TIME + 1000;

pub(super) struct Session<'a> {
    place: &'a Place,
    sizes: Sizes,
    own: Option<PathBuf>,
    disk: Disk,
    opened: usize,
    pub(super) results: Results,
    pub(super) ours_failed: bool,
}

/// What all builders of a round have in common.
struct Common<'a> {
    workload: Workload,
    cases: &'a [Case],
    context: &'a Path,
    empty: &'a Path,
    base: &'a Base,
    served: Option<&'a Registry>,
    round: usize,
}

impl Common<'_> {
    fn any(&self, cases: &[Case]) -> bool {
        cases.iter().any(|case| self.cases.contains(case))
    }
}

/// An open store, its directory, and where its figures are read.
struct Open {
    store: Box<dyn Store>,
    dir: PathBuf,
    meter: Meter,
}

impl<'a> Session<'a> {
    pub(super) fn new(arguments: &Arguments, place: &'a Place, results: Results) -> io::Result<Self> {
        let disk = Disk::new(&place.work, (arguments.disk * 1e9) as u64, arguments.patience())?;
        let (sizes, own) = (Sizes::of(arguments), arguments.directory.clone());
        Ok(Self { place, sizes, own, disk, opened: 0, results, ours_failed: false })
    }

    /// All rounds of one workload.
    pub(super) fn workload(
        &mut self,
        workload: Workload,
        cases: &[Case],
        builders: &[Box<dyn Builder>],
    ) -> io::Result<()> {
        let work = &self.place.work;
        let (context, empty) =
            (work.join(format!("context-{}", workload.name())), work.join("context-empty"));
        workload.prepare(self.sizes, self.own.as_deref(), &context)?;
        files::put(&empty.join("Dockerfile"), b"ARG BASE\nFROM ${BASE}\nRUN true\n")?;
        let base = Base::make(workload.base(), work)?;
        let pulled = cases.contains(&Case::Pull) || cases.contains(&Case::PullRun);
        let served = if pulled {
            let layout = work.join("image");
            image::make(&base.layout, &context, &workload.image(self.sizes), &layout)?;
            let registry = image::serve(&layout);
            disk::delete(&layout)?;
            Some(registry)
        } else {
            None
        };
        for round in 1..=self.results.rounds {
            let common = Common {
                workload,
                cases,
                context: &context,
                empty: &empty,
                base: &base,
                served: served.as_ref(),
                round,
            };
            // Nobody is always the first.
            for n in 0..builders.len() {
                let builder = builders[(n + round - 1) % builders.len()].as_ref();
                if let Err(error) = self.builder(builder, &common) {
                    interrupt::check()?;
                    self.ours_failed |= builder.name() == "orlop";
                    let what = format!("{} FAILED at `{}`: {error}", builder.title(), workload.name());
                    note(&mut self.results.notes, what);
                }
            }
            if let Err(error) = self.floors(&common) {
                interrupt::check()?;
                note(
                    &mut self.results.notes,
                    format!("the bare work of `{}` FAILED: {error}", workload.name()),
                );
            }
        }
        self.disk.discard(&context)
    }

    fn open(&mut self, builder: &dyn Builder) -> io::Result<Open> {
        self.opened += 1;
        let label = format!("{}-{}", builder.name(), self.opened);
        let meter = self.place.meter(&label)?;
        let dir = self.place.work.join(label);
        fs::create_dir(&dir)?;
        let store = builder.open(&dir, &meter)?;
        Ok(Open { store, dir, meter })
    }

    fn close(&mut self, open: Open) -> io::Result<()> {
        let Open { store, dir, .. } = open;
        drop(store);
        disk::unmount(&dir);
        self.disk.discard(&dir)
    }

    /// All cases of one builder in one round.
    fn builder(&mut self, builder: &dyn Builder, common: &Common<'_>) -> io::Result<()> {
        if common.any(&[Case::Cold, Case::Same, Case::Touched, Case::Changed]) {
            let open = self.open(builder)?;
            let outcome = self.builds(builder, common, &open);
            // Whatever came of it, the next builder finds the context as it was.
            let put_back = files::touch(common.context, files::TIME);
            let closed = self.close(open);
            outcome.and(put_back).and(closed)?;
        }
        if common.any(&[Case::Push]) {
            let open = self.open(builder)?;
            let outcome = self.push(builder, common, &open);
            let closed = self.close(open);
            outcome.and(closed)?;
        }
        if let Some(served) = common.served {
            let open = self.open(builder)?;
            let outcome = self.pull(builder, common, &open, &served.name("image:1"));
            let closed = self.close(open);
            outcome.and(closed)?;
        }
        Ok(())
    }

    fn builds(&mut self, builder: &dyn Builder, common: &Common<'_>, open: &Open) -> io::Result<()> {
        warm(open, common)?;
        let build = build(common, "bench:1");
        for case in [Case::Cold, Case::Same, Case::Touched, Case::Changed] {
            let wanted = common.cases.contains(&case);
            match case {
                Case::Touched if wanted => files::touch(common.context, LATER)?,
                Case::Changed if wanted => {
                    files::change(&files::middle(common.context)?)?;
                }
                // The others need a store in which this was built.
                Case::Cold => {}
                _ if !wanted => continue,
                _ => {}
            }
            let measured =
                self.measure(builder, common, open, wanted.then_some(case), || open.store.build(&build));
            if case == Case::Changed {
                files::change(&files::middle(common.context)?)?;
            }
            measured?;
        }
        Ok(())
    }

    fn push(&mut self, builder: &dyn Builder, common: &Common<'_>, open: &Open) -> io::Result<()> {
        warm(open, common)?;
        let registry = registry::start();
        let name = registry.name("bench:1");
        let build = Build { push: true, ..build(common, &name) };
        self.measure(builder, common, open, Some(Case::Push), || open.store.build(&build))?;
        Ok(())
    }

    fn pull(
        &mut self,
        builder: &dyn Builder,
        common: &Common<'_>,
        open: &Open,
        name: &str,
    ) -> io::Result<()> {
        let wanted = |case| common.cases.contains(&case).then_some(case);
        let pull = self.measure(builder, common, open, wanted(Case::Pull), || open.store.pull(name))?;
        let Some(case) = wanted(Case::PullRun) else { return Ok(()) };
        let build =
            Build { context: common.empty, from: From::Image(name), name: "bench:1", push: false, jobs: 1 };
        let run = self.measure(builder, common, open, None, || open.store.build(&build))?;
        self.record(builder, common, case, open, pull.0.then(run.0), pull.1);
        Ok(())
    }

    /// Measures when the disk is at rest, and keeps it where it is asked for.
    fn measure(
        &mut self,
        builder: &dyn Builder,
        common: &Common<'_>,
        open: &Open,
        case: Option<Case>,
        commands: impl FnOnce() -> Vec<std::process::Command>,
    ) -> io::Result<(Figures, Option<f64>)> {
        let slow = self.disk.rest()?;
        let figures = open.meter.run(commands(), &self.place.work.join("log"))?;
        if let Some(case) = case {
            self.record(builder, common, case, open, figures, slow);
        }
        Ok((figures, slow))
    }

    fn record(
        &mut self,
        builder: &dyn Builder,
        common: &Common<'_>,
        case: Case,
        open: &Open,
        figures: Figures,
        slow: Option<f64>,
    ) {
        let disk = disk::usage(&open.dir);
        let Common { workload, round, .. } = *common;
        say(&format!(
            "{}, round {round}: {}: {case}: {:.3} s{}",
            workload.name(),
            builder.title(),
            figures.wall,
            slow.map_or_else(String::new, |by| format!(
                " (new files cost {by:.1} times as much as they should)"
            ))
        ));
        let builder = builder.name();
        self.results.records.push(Record { workload, case, builder, round, figures, disk, slow });
    }

    fn floors(&mut self, common: &Common<'_>) -> io::Result<()> {
        let image = common.served.map(|registry| registry.name("image:1"));
        for floor in floor::of(common.workload).into_iter().filter(|f| common.cases.contains(&f.case)) {
            self.opened += 1;
            let dir = self.place.work.join(format!("floor-{}", self.opened));
            fs::create_dir(&dir)?;
            let command = |script| {
                Floor::command(script, &dir, common.context, common.base, self.sizes, image.as_deref())
            };
            let (log, meter) =
                (self.place.work.join("log"), self.place.meter(&format!("floor-{}", self.opened))?);
            let prepared = meter.run(vec![command(floor.prepare)], &log);
            let timed = command(floor.script);
            self.disk.rest()?;
            let figures = prepared.and_then(|_| meter.run(vec![timed], &log));
            self.disk.discard(&dir)?;
            let figures = figures?;
            let Common { workload, round, .. } = *common;
            say(&format!("{}, round {round}: floor: {}: {:.3} s", workload.name(), floor.name, figures.wall));
            self.results.floors.push(Bare { workload, case: floor.case, name: floor.name, round, figures });
        }
        Ok(())
    }
}

fn build<'a>(common: &Common<'a>, name: &'a str) -> Build<'a> {
    let jobs = if common.workload == Workload::Stages { 3 } else { 1 };
    Build { context: common.context, from: From::Base(common.base), name, push: false, jobs }
}

/// Brings the base image in and runs a step on it, so that neither is measured.
fn warm(open: &Open, common: &Common<'_>) -> io::Result<()> {
    let mut commands = open.store.load(common.base);
    let build =
        Build { context: common.empty, from: From::Base(common.base), name: "warm:1", push: false, jobs: 1 };
    commands.extend(open.store.build(&build));
    open.meter.run(commands, &open.dir.join("log")).map(|_| ())
}

/// Whether this daemon starts here and builds something.
pub(super) fn try_once(docker: &Docker, arguments: &Arguments, place: &Place) -> io::Result<()> {
    let mut disk = Disk::new(&place.work, (arguments.disk * 1e9) as u64, 0.0)?;
    let label = format!("try-{}", docker.name());
    let dir = place.work.join(&label);
    fs::create_dir(&dir)?;
    let meter = place.meter(&label)?;
    let empty = place.work.join("context-empty");
    files::put(&empty.join("Dockerfile"), b"ARG BASE\nFROM ${BASE}\nRUN true\n")?;
    let base = Base::make(BaseKind::Busybox, &place.work)?;
    let outcome = docker.open(&dir, &meter).and_then(|store| {
        let mut commands = store.load(&base);
        let from = From::Base(&base);
        commands.extend(store.build(&Build { context: &empty, from, name: "try:1", push: false, jobs: 1 }));
        meter.run(commands, &dir.join("log")).map(|_| ())
    });
    disk.discard(&dir)?;
    outcome
}
