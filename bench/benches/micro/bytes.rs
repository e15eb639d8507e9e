//! hash, compress, decompress.

use std::io::{self, Read};

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use orlop_store::layer::compress::{compress, decompress};
use orlop_store::{Compression, Digest};

use crate::input::{noise, text};

const SIZE: usize = 8 << 20;
const WAYS: [Compression; 3] = [Compression::Gzip(1), Compression::Gzip(6), Compression::Zstd(3)];

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let bytes = noise(SIZE);
    bencher.counter(BytesCount::new(SIZE)).bench(|| Digest::of(black_box(&bytes)));
}

#[divan::bench(args = WAYS)]
fn compress_text(bencher: Bencher<'_, '_>, way: Compression) {
    one_way(bencher, &text(SIZE), way);
}

#[divan::bench(args = WAYS)]
fn compress_noise(bencher: Bencher<'_, '_>, way: Compression) {
    one_way(bencher, &noise(SIZE), way);
}

fn one_way(bencher: Bencher<'_, '_>, bytes: &[u8], way: Compression) {
    bencher
        .counter(BytesCount::of_slice(bytes))
        .bench(|| compress(black_box(bytes), way, io::sink()).expect("memory can be read"));
}

#[divan::bench(args = WAYS)]
fn decompress_text(bencher: Bencher<'_, '_>, way: Compression) {
    let mut packed = Vec::new();
    compress(text(SIZE).as_slice(), way, &mut packed).expect("memory takes everything");
    bencher.counter(BytesCount::new(SIZE)).bench(|| {
        let mut reader = decompress(black_box(packed.as_slice())).expect("it was just compressed");
        let mut sink = vec![0; 1 << 16];
        let mut all = 0;
        while let Ok(n @ 1..) = reader.read(&mut sink) {
            all += n;
        }
        assert_eq!(all, SIZE, "all of it came back");
    });
}
