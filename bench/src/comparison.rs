//! The rounds: every builder in turn, every case from a store of its own.

mod session;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use orlop_fixtures::tool::tool;
use orlop_fixtures::{cache_dir, workspace};

use crate::arguments::Arguments;
use crate::builder::{Buildah, Builder, Docker, Orlop, Snapshots};
use crate::chart;
use crate::machine;
use crate::peers::{self, Toolbox};
use crate::place::Place;
use crate::results::{Column, Results};
use crate::table;
use crate::workload::{Sizes, Workload, fetch_debs};
use session::Session;

/// Measures what is asked for and shows it. False when orlop failed somewhere.
pub(crate) fn run(arguments: &Arguments, place: &Place) -> io::Result<bool> {
    let mut notes = Vec::new();
    let builders = builders(arguments, place, &mut notes)?;
    let mut columns = Vec::new();
    for builder in &builders {
        columns.push(Column { name: builder.name(), title: builder.title(), version: builder.version()? });
    }
    for column in &columns {
        say(&format!("{}: {}", column.title, column.version));
    }
    let mut chosen = arguments.chosen().map_err(io::Error::other)?;
    let debs = chosen.iter().any(|(w, _)| *w == Workload::Debs);
    if let Some(error) = debs.then(|| available(arguments)).and_then(Result::err) {
        note(&mut notes, format!("`debs` is SKIPPED: {error}"));
        chosen.retain(|(w, _)| *w != Workload::Debs);
    }
    let results = Results {
        machine: machine::describe(&place.work),
        date: machine::date(),
        quick: arguments.quick,
        rounds: arguments.rounds(),
        sizes: Sizes::of(arguments),
        group: place.group.is_some(),
        columns,
        records: Vec::new(),
        floors: Vec::new(),
        notes,
    };
    let mut session = Session::new(arguments, place, results)?;
    for (workload, cases) in &chosen {
        session.workload(*workload, cases, &builders)?;
    }
    let results = session.results;
    let mut out = io::stdout();
    write!(out, "{}", table::markdown(&results))?;
    if let Some(path) = &arguments.json {
        results.save(path)?;
    }
    let chart =
        arguments.svg.clone().or_else(|| arguments.whole().then(|| workspace().join("bench/results.svg")));
    if let Some(path) = chart {
        std::fs::write(&path, chart::bars(&results))
            .map_err(|e| io::Error::new(e.kind(), format!("cannot write `{}`: {e}", path.display())))?;
        say(&format!("the picture is `{}`", path.display()));
    }
    Ok(!session.ours_failed)
}

/// Everybody who can build here.
fn builders(
    arguments: &Arguments,
    place: &Place,
    notes: &mut Vec<String>,
) -> io::Result<Vec<Box<dyn Builder>>> {
    let mut all: Vec<Box<dyn Builder>> = Vec::new();
    if arguments.wants("orlop") {
        all.push(Box::new(Orlop(place.orlop.clone())));
    }
    let mount = |lower: &Path| Toolbox::mount(lower, &place.work, &[&place.work, &cache_dir()]);
    let host = Toolbox::host();
    let peers = match &arguments.peers {
        Some(name) => mount(&peers_root(name, arguments.install)?)?,
        None => host.clone(),
    };
    if arguments.wants("buildah") {
        match peers.need("buildah") {
            Ok(_) => all.push(Box::new(Buildah(peers.clone()))),
            Err(error) => note(notes, format!("buildah is left out: {error}")),
        }
    }
    let stores: Vec<_> = [("overlay2", Snapshots::Overlay2), ("containerd", Snapshots::Containerd)]
        .into_iter()
        .filter(|(name, _)| arguments.wants(name))
        .collect();
    if stores.is_empty() {
        return Ok(all);
    }
    let toolbox = match &arguments.dockerd {
        None if peers.path("dockerd").is_none() => match peers::root_there(&peers::codename()?) {
            Some(root) => mount(&root)?,
            None => peers,
        },
        Some(_) => host,
        None => peers,
    };
    match Docker::find(&toolbox, arguments.dockerd.as_deref()) {
        Err(error) => note(notes, format!("BuildKit is left out: {error}")),
        Ok(docker) => {
            for (name, store) in stores {
                match docker.with(store)? {
                    None => note(
                        notes,
                        format!("BuildKit, {name} is left out: {} has no such store", docker.version()?),
                    ),
                    Some(docker) => match session::try_once(&docker, arguments, place) {
                        Ok(()) => all.push(Box::new(docker)),
                        Err(error) => note(notes, format!("BuildKit, {name} is left out: {error}")),
                    },
                }
            }
        }
    }
    Ok(all)
}

/// The root directory that `--peers` names.
fn peers_root(name: &str, install: bool) -> io::Result<PathBuf> {
    if name.contains('/') {
        return std::path::absolute(name);
    }
    match peers::root_there(name) {
        Some(root) => Ok(root),
        None if install => Ok(peers::root_of(name)),
        None => Err(io::Error::other(format!("--peers {name} has to be made, and --no-install forbids it"))),
    }
}

/// Whether the packages of `debs` are here, or can be had.
fn available(arguments: &Arguments) -> io::Result<()> {
    if !arguments.install && !cache_dir().join("debian-1").exists() {
        return Err(io::Error::other("its Debian base has to be made, and --no-install forbids it"));
    }
    fetch_debs(Sizes::new(arguments.quick).package)
}

/// Installs what is missing, and says what.
pub(crate) fn install(arguments: &Arguments) -> io::Result<()> {
    let status = tool("sh").arg(workspace().join("fixtures/packages")).arg("bench").status()?;
    if !status.success() {
        return Err(io::Error::other("the Debian packages that `fixtures/packages bench` names are missing"));
    }
    let docker = arguments.wants("overlay2") || arguments.wants("containerd");
    let here = Toolbox::host().path("dockerd").is_some() || arguments.dockerd.is_some();
    if let Some(suite) = arguments.peers.as_ref().filter(|name| !name.contains('/')) {
        make_root(suite);
    } else if docker && !here && arguments.peers.is_none() {
        make_root(&peers::codename()?);
    }
    Ok(())
}

fn make_root(suite: &str) {
    if peers::root_there(suite).is_none() {
        say(&format!(
            "unpacking docker.io, buildah, skopeo and runc of Debian {suite} into a root directory below \
             `target/fixtures`, by mmdebstrap; nothing of it is installed on this machine"
        ));
        peers::root_of(suite);
    }
}

/// A line for whoever waits, with the seconds since the first.
pub(crate) fn say(line: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    // With standard error gone nobody waits.
    let _ = writeln!(io::stderr(), "bench [{seconds:>3} s]: {line}");
}

pub(crate) fn note(notes: &mut Vec<String>, line: String) {
    say(&line);
    notes.push(line);
}
