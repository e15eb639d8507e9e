//! The driver in the conformance suite, and what is its own.

use std::fs;
use std::path::Path;

use super::*;
use crate::layer::XattrForm;
use crate::snapshot::conformance::{Deviations, Subject, run};
use crate::work::Work;

mod hostile;
mod stages;

fn layers(dir: &Path) -> Layers {
    let work = Work::open(&dir.join("work")).unwrap();
    let layers = Layers::open(&dir.join("layers"), &work, XattrForm::User).unwrap();
    layers.with_durability(Durability::Process)
}

fn driver(dir: &Path) -> (Layers, CloneDriver) {
    let layers = layers(dir);
    let driver = CloneDriver::new(&layers, true).unwrap();
    (layers, driver)
}

#[test]
fn conformance() {
    let dir = tempfile::tempdir().unwrap();
    run("clone", || {
        Subject::new(dir.path(), Deviations::default(), |dir| {
            let (layers, driver) = driver(dir);
            (layers, Box::new(driver))
        })
    });
}

fn scratch() -> Committed {
    Committed::scratch_of(LayerOs::Windows)
}

/// One step that does `work`.
fn step(driver: &CloneDriver, parent: &Committed, work: impl FnOnce(&Path)) -> (Committed, Diff) {
    let active = driver.prepare(parent).unwrap();
    work(active.path());
    let diff = driver.diff(&active).unwrap();
    (driver.commit(active, &diff).unwrap(), diff)
}

#[test]
fn layers_for_linux_are_kept_and_not_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let (layers, driver) = driver(dir.path());
    let facts = layers.adopt(&[], crate::store::tests::layer_tar("f", b"x").as_slice()).unwrap();
    let linux = Committed::new([facts.diff_id]);
    for error in [
        driver.prepare(&linux).unwrap_err(),
        driver.view(&linux).unwrap_err(),
        driver.missing(&linux).unwrap_err(),
    ] {
        assert!(error.to_string().contains("an image for Linux"), "{error}");
        assert!(error.hint().unwrap().contains("pulled"));
    }
    let mut tar = layers.tar(&[], &facts.diff_id).unwrap();
    assert_eq!(std::io::copy(&mut tar, &mut std::io::sink()).unwrap(), facts.size);
}
