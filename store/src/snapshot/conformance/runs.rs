//! Every driver, wherever it works.

use std::path::Path;

use super::{Deviations, Subject, run};
use crate::layer::{Durability, Layers, XattrForm};
use crate::snapshot::SnapshotDriver;
use crate::snapshot::copy::CopyDriver;
use crate::snapshot::overlay::{OverlayDriver, probe};
use crate::work::Work;

fn layers(dir: &Path, form: XattrForm) -> (Work, Layers) {
    let work = Work::open(&dir.join("work")).unwrap();
    let layers = Layers::open(&dir.join("layers"), &work, form).unwrap();
    (work, layers.with_durability(Durability::Process))
}

fn overlay(dir: &Path, form: XattrForm) -> (Layers, Box<dyn SnapshotDriver>) {
    let (work, layers) = layers(dir, form);
    probe(&work, form).unwrap();
    let driver = OverlayDriver::new(&layers);
    (layers, Box::new(driver))
}

fn copy(dir: &Path, form: XattrForm) -> (Layers, Box<dyn SnapshotDriver>) {
    let (_, layers) = layers(dir, form);
    let driver = CopyDriver::new(&layers);
    (layers, Box::new(driver))
}

fn need_root() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
}

/// Not /tmp, which may be a tmpfs that knows no `user.*` attributes.
fn place() -> &'static Path {
    Path::new("/var/tmp")
}

#[test]
fn privileged_overlay() {
    need_root();
    let deviations = Deviations { breaks_links: true, opaque: true, ..Deviations::default() };
    run("overlay", || Subject::new(place(), deviations, |dir| overlay(dir, XattrForm::Trusted)));
}

#[test]
fn privileged_copy() {
    need_root();
    run("copy", || Subject::new(place(), Deviations::default(), |dir| copy(dir, XattrForm::Trusted)));
}
