//! The language as a whole. What it means is in `tests/meaning.rs`, what is refused in `tests/refusals.rs`,
//! hostile input in `tests/hostile.rs`, the second opinion in `tests/second_opinion.rs`.

mod hostile;
mod meaning;
mod positions;
mod refusals;
mod second_opinion;

use std::sync::Arc;

use super::*;
use crate::source::SourceFile;

fn file(text: &str) -> Dockerfile {
    parse(source(text)).unwrap_or_else(|error| panic!("{}: {error}\n{text}", error.location()))
}

fn refusal(text: &str) -> ParseError {
    match parse(source(text)) {
        Ok(file) => panic!("accepted: {text}\n{:?}", file.stages),
        Err(error) => error,
    }
}

fn source(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile::new("Dockerfile", text))
}

/// The one instruction after `FROM scratch`.
fn one(text: &str) -> Instruction {
    let file = file(&format!("FROM scratch\n{text}"));
    let [instruction] = file.stages[0].instructions.as_slice() else { panic!("not one instruction: {text}") };
    instruction.clone()
}

fn run(text: &str) -> Run {
    match one(text).kind {
        Kind::Run(run) => run,
        other => panic!("no RUN: {other:?}"),
    }
}

fn copy(text: &str) -> Copy {
    match one(text).kind {
        Kind::Copy(copy) => copy,
        other => panic!("no COPY: {other:?}"),
    }
}

fn values(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.value.as_str()).collect()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    match one(text).kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.into_iter().map(|(name, value)| (name.value, value.value)).collect()
        }
        other => panic!("no pairs: {other:?}"),
    }
}

/// Pairs after expansion without any variable set.
fn expanded(text: &str) -> Vec<(String, String)> {
    let expand = |word: &str| variables::expand(word, '\\', &|_| None).unwrap();
    pairs(text).iter().map(|(name, value)| (expand(name), expand(value))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}
