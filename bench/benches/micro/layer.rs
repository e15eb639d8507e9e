//! tar, index and unpack, diff.

use std::io;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use orlop_store::layer::tar::{Chunk, Reader};
use orlop_store::{Committed, Digest, Store, StoreOptions};

use crate::input::{FILES, tar, tree};

#[divan::bench]
fn tar_write(bencher: Bencher<'_, '_>) {
    let size = tar().len();
    bencher.counter(BytesCount::new(size)).bench(tar);
}

#[divan::bench]
fn tar_read(bencher: Bencher<'_, '_>) {
    let tar = tar();
    bencher.counter(BytesCount::of_slice(&tar)).bench(|| {
        let mut reader = Reader::new(black_box(tar.as_slice()));
        let mut entries = 0;
        let mut buffer = vec![0; 1 << 16];
        while reader.next_entry().expect("the tar is right").is_some() {
            entries += 1;
            while !matches!(reader.chunk(&mut buffer).expect("the tar is right"), Chunk::End) {}
        }
        assert_eq!(entries, FILES + FILES / 100, "all of it is there");
    });
}

/// A layer that comes by pull: verified and stored in the form that this machine mounts.
#[divan::bench(sample_count = 10)]
fn unpack(bencher: Bencher<'_, '_>) {
    let tar = tar();
    let diff_id = Digest::of(&tar);
    bencher.counter(ItemsCount::new(FILES)).with_inputs(store).bench_values(|(dir, store)| {
        store.layers().import(&[], &diff_id, io::Cursor::new(&tar)).expect("the layer is right");
        (dir, store)
    });
}

/// What a RUN changed, where it made every file.
#[divan::bench(sample_count = 20)]
fn diff(bencher: Bencher<'_, '_>) {
    let (_dir, store) = store();
    let driver = store.snapshots().expect("this machine has a driver");
    let active = driver.prepare(&Committed::scratch()).expect("nothing is always there");
    tree(active.path());
    bencher.counter(ItemsCount::new(FILES)).bench(|| driver.diff(&active).expect("the files can be read"));
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let store = Store::open(&dir.path().join("store"), &StoreOptions::default()).expect("a new store opens");
    (dir, store)
}
