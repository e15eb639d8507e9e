//! How cost grows with size: linear in what changed, constant in what did not, memory flat.

mod axis;
mod images;
mod report;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop_fixtures::workspace;
use serde_json::json;

use crate::arguments::Arguments;
use crate::base::Base;
use crate::builder::{Build, Builder, From, Orlop, OrlopStore, Store};
use crate::chart;
use crate::comparison::say;
use crate::disk::{self, Disk};
use crate::interrupt;
use crate::machine;
use crate::measure::{Figures, Meter};
use crate::place::Place;
use crate::results::median;
use crate::workload::{BaseKind, files};
pub(crate) use axis::Axis;
#[cfg(test)]
pub(crate) use report::tests;
pub(crate) use report::{Curve, Report, Values};

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Point {
    pub(crate) axis: Axis,
    pub(crate) size: u64,
    /// `cold`, `nothing changed`, and what an axis has besides.
    pub(crate) case: &'static str,
    pub(crate) figures: Figures,
    /// Bytes of the store.
    pub(crate) disk: u64,
}

/// What was measured and what was not.
struct Growth<'a> {
    arguments: &'a Arguments,
    place: &'a Place,
    disk: Disk,
    base: Base,
    empty: PathBuf,
    opened: usize,
    points: Vec<Point>,
    notes: Vec<String>,
}

/// Measures the axes that are asked for and shows them. False when a size could not be built.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> io::Result<bool> {
    let axes = match arguments.names.is_empty() {
        true => Axis::ALL.to_vec(),
        false => arguments
            .names
            .iter()
            .map(|name| Axis::named(name))
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?,
    };
    let empty = place.work.join("context-empty");
    files::put(&empty.join("Dockerfile"), b"ARG BASE\nFROM ${BASE}\nRUN true\n")?;
    let mut growth = Growth {
        arguments,
        place,
        disk: Disk::new(&place.work, (arguments.disk * 1e9) as u64, arguments.patience())?,
        base: Base::make(BaseKind::Busybox, &place.work)?,
        empty,
        opened: 0,
        points: Vec::new(),
        notes: Vec::new(),
    };
    let mut good = true;
    for axis in axes {
        let largest = arguments.largest.unwrap_or(u64::MAX);
        for size in axis.sizes(arguments.quick).iter().copied().filter(|size| *size <= largest) {
            if let Err(error) = growth.size(axis, size) {
                interrupt::check()?;
                growth.note(format!("{} {size} FAILED: {error}", axis.name()));
                good = false;
            }
        }
    }
    let report = Report {
        machine: machine::describe(&place.work),
        date: machine::date(),
        version: Orlop(place.orlop.clone()).version()?,
        quick: arguments.quick,
        rounds: arguments.rounds(),
        curves: curves(&growth.points),
        notes: growth.notes,
    };
    write!(io::stdout(), "{}", report.markdown())?;
    if let Some(path) = &arguments.json {
        save(path, &format!("{:#}\n", json(&report, &growth.points)))?;
    }
    let plot =
        arguments.svg.clone().or_else(|| arguments.whole().then(|| workspace().join("bench/growth.svg")));
    if let Some(path) = plot {
        save(&path, &chart::plots(&report))?;
        say(&format!("the picture is `{}`", path.display()));
    }
    Ok(good)
}

fn save(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write `{}`: {e}", path.display())))
}

impl Growth<'_> {
    fn note(&mut self, line: String) {
        say(&line);
        self.notes.push(line);
    }

    /// All rounds of one size.
    fn size(&mut self, axis: Axis, size: u64) -> io::Result<()> {
        let needed = axis.bytes(size);
        let there = rustix::fs::statvfs(&self.place.work).map(|s| s.f_bavail * s.f_frsize)?;
        if needed > there {
            let [needed, there] = [needed, there].map(|bytes| bytes >> 30);
            self.note(format!(
                "{} {size} is SKIPPED: it needs {needed} GiB of disk, and {there} are free",
                axis.name()
            ));
            return Ok(());
        }
        let context = self.place.work.join(format!("context-{}-{size}", axis.name()));
        axis.prepare(size, &context)?;
        let mut outcome = Ok(());
        for _ in 0..self.arguments.rounds() {
            let open = self.open(axis)?;
            outcome = self.cases(axis, size, &context, &open);
            let Open { dir, store, .. } = open;
            drop(store);
            disk::unmount(&dir);
            self.disk.discard(&dir)?;
            if outcome.is_err() {
                break;
            }
        }
        self.disk.discard(&context)?;
        outcome
    }

    fn open(&mut self, axis: Axis) -> io::Result<Open> {
        self.opened += 1;
        let label = format!("{}-{}", axis.name(), self.opened);
        let (dir, meter) = (self.place.work.join(&label), self.place.meter(&label)?);
        fs::create_dir(&dir)?;
        let store = Orlop(self.place.orlop.clone()).store(&dir)?;
        Ok(Open { store, dir, meter })
    }

    fn cases(&mut self, axis: Axis, size: u64, context: &Path, open: &Open) -> io::Result<()> {
        let log = self.place.work.join("log");
        open.meter.run(self.commands(&self.empty, open), &log)?;
        if axis == Axis::Images {
            let archive = images::archive(size, &self.place.work)?;
            let loaded = open.meter.run(vec![open.store.load(&archive)], &log);
            fs::remove_file(&archive)?;
            loaded?;
        }
        if axis == Axis::Builds {
            let contexts =
                (0..size).flat_map(|n| self.commands(&context.join(n.to_string()), open)).collect();
            self.disk.rest()?;
            let figures = open.meter.run_together(contexts, &log)?;
            self.record(axis, size, "cold", figures, open);
            return Ok(());
        }
        self.measure(axis, size, "cold", context, open)?;
        self.measure(axis, size, "nothing changed", context, open)?;
        let Some(change) = axis.change() else { return Ok(()) };
        change.make(context)?;
        let measured = self.measure(axis, size, change.name(), context, open);
        // The next round finds it as it was.
        change.undo(context)?;
        measured
    }

    fn commands(&self, context: &Path, open: &Open) -> Vec<Command> {
        open.store.build(&Build {
            context,
            from: From::Base(&self.base),
            name: "bench:1",
            push: false,
            jobs: 1,
        })
    }

    fn measure(
        &mut self,
        axis: Axis,
        size: u64,
        case: &'static str,
        context: &Path,
        open: &Open,
    ) -> io::Result<()> {
        self.disk.rest()?;
        let figures = open.meter.run(self.commands(context, open), &self.place.work.join("log"))?;
        self.record(axis, size, case, figures, open);
        Ok(())
    }

    fn record(&mut self, axis: Axis, size: u64, case: &'static str, figures: Figures, open: &Open) {
        say(&format!("{} {size}: {case}: {:.3} s", axis.name(), figures.wall));
        let disk = disk::usage(&open.dir).bytes;
        self.points.push(Point { axis, size, case, figures, disk });
    }
}

/// An open store, its directory, and where its figures are read.
struct Open {
    store: OrlopStore,
    dir: PathBuf,
    meter: Meter,
}

/// Medians by axis and case.
fn curves(points: &[Point]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for point in points {
        let same = |p: &&Point| (p.axis, p.case, p.size) == (point.axis, point.case, point.size);
        let of =
            |value: fn(&Point) -> f64| median(points.iter().filter(same).map(value).collect()).unwrap_or(0.0);
        let values = Values {
            size: point.size as f64,
            wall: of(|p| p.figures.wall),
            cpu: of(|p| p.figures.cpu),
            // A look from outside can only miss some.
            memory: points.iter().filter(same).map(|p| p.figures.memory as f64).fold(0.0, f64::max),
            disk: of(|p| p.disk as f64),
        };
        match curves.iter_mut().find(|c| (c.axis, c.case) == (point.axis, point.case)) {
            Some(curve) if curve.values.last().is_some_and(|v| v.size == values.size) => {}
            Some(curve) => curve.values.push(values),
            None => curves.push(Curve { axis: point.axis, case: point.case, values: vec![values] }),
        }
    }
    curves
}

fn json(report: &Report, points: &[Point]) -> serde_json::Value {
    json!({
        "machine": report.machine, "date": report.date, "version": report.version, "quick": report.quick,
        "notes": report.notes,
        "points": points.iter().map(|p| json!({
            "axis": p.axis.name(), "size": p.size, "case": p.case, "wall_s": p.figures.wall, "cpu_s": p.figures.cpu,
            "memory_bytes": p.figures.memory, "memory_with_page_cache_bytes": p.figures.with_cache,
            "store_bytes": p.disk,
        })).collect::<Vec<_>>(),
    })
}
