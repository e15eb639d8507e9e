//! parse, key.

use std::fmt::Write;
use std::sync::Arc;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use orlop_builder::dockerfile::parse;
use orlop_builder::source::SourceFile;
use orlop_store::{KeyPart, StepKey};

#[divan::bench(args = [10, 1000])]
fn parse_steps(bencher: Bencher<'_, '_>, steps: usize) {
    let mut text = "ARG BASE=debian:12\nFROM ${BASE} AS build\n".to_owned();
    for n in 0..steps {
        let _ = writeln!(
            text,
            "# the {n}th\nENV N{n}=\"${{N:-{n}}}\"\nRUN apt-get update && \\\n    apt-get install -y p{n}"
        );
        let _ = writeln!(text, "COPY --chown=1000:1000 [\"a {n}\", \"/srv/{n}/\"]");
    }
    let source = Arc::new(SourceFile::new("Dockerfile", text.clone()));
    bencher
        .counter(BytesCount::of_str(&text))
        .bench(|| parse(Arc::clone(black_box(&source))).expect("the Dockerfile is right"));
}

#[divan::bench(args = [10, 10_000])]
fn key(bencher: Bencher<'_, '_>, parts: usize) {
    let part =
        |n| KeyPart::new("file", format!("srv/tree/{n:05}/index.js"), "sha256:".to_owned() + &"0".repeat(64));
    let parts: Vec<_> = (0..parts).map(part).collect();
    bencher.counter(ItemsCount::new(parts.len())).bench(|| StepKey::of(black_box(&parts)));
}
