//! scan: what a COPY of a context takes, read and hashed, or believed by its stat.

use std::collections::HashMap;
use std::sync::Mutex;

use divan::Bencher;
use divan::counter::ItemsCount;
use orlop_builder::context::{DigestCache, FileStat, Ignore, NoCache, SourceTree};
use orlop_builder::execute::copy::{CopyRequest, Source, select};
use orlop_store::FileDigest;

use crate::input::{FILES, tree};

#[divan::bench]
fn scan_and_read(bencher: Bencher<'_, '_>) {
    scan(bencher, &NoCache);
}

#[divan::bench]
fn scan_known(bencher: Bencher<'_, '_>) {
    scan(bencher, &Known::default());
}

fn scan(bencher: Bencher<'_, '_>, cache: &(dyn DigestCache + Sync)) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    tree(dir.path());
    let tree = SourceTree::context(dir.path(), Ignore::nothing()).expect("the directory is there");
    let request = CopyRequest {
        sources: vec![Source::Path(".".into())],
        dest: "/srv/".into(),
        ..CopyRequest::default()
    };
    bencher
        .counter(ItemsCount::new(FILES))
        .bench(|| select(&request, &tree, cache, None).expect("the files can be read"));
}

/// As the store's own, but in memory.
#[derive(Default)]
struct Known(Mutex<HashMap<FileStat, FileDigest>>);

impl DigestCache for Known {
    fn get(&self, file: &FileStat) -> Option<FileDigest> {
        self.0.lock().ok()?.get(file).cloned()
    }

    fn put(&self, file: &FileStat, digest: FileDigest) {
        if let Ok(mut known) = self.0.lock() {
            known.insert(*file, digest);
        }
    }
}
