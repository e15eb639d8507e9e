//! How much a commit may hold: as much as an archive. A few small trees that name each other many times are a commit of
//! more files than there is room for, so it is counted before anything of it is written.

use std::path::Path;

use super::{GitRepository, failure};
use crate::context::tar::{Limits, bytes};
use crate::error::BuildError;

/// The most bytes of a name that are kept to show it.
const SHOWN: usize = 200;

impl GitRepository<'_> {
    /// Fails where the commit holds more than it may. Those of submodules are counted by nobody.
    pub(super) fn bounded(&self, tree: &Path, commit: &str, limits: Limits) -> Result<(), BuildError> {
        let mut count = Count { limits, entries: 0, bytes: 0, head: Vec::new(), name: None };
        let list = ["ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit];
        let failed = self.git.stream(tree, list, &mut |answer| {
            count.take(answer).map_err(|why| {
                let hint =
                    "a repository is fetched whole: `RUN git clone --filter=blob:none` gets parts of one";
                BuildError::user(format!("`{}` {why}", self.reference)).with_hint(hint.to_owned())
            })
        })?;
        match failed {
            None => Ok(()),
            Some(said) => {
                let error = BuildError::user(format!("cannot list what is in `{}`", self.reference));
                Err(error.because(failure::cause(&said)))
            }
        }
    }
}

/// Counts the lines of `git ls-tree -l -z` as they come: `MODE TYPE ID SIZE<tab>NAME<nul>`.
struct Count {
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// What came of a line before its tab.
    head: Vec<u8>,
    /// What came behind it.
    name: Option<Vec<u8>>,
}

impl Count {
    fn take(&mut self, answer: &[u8]) -> Result<(), String> {
        for &byte in answer {
            match (&mut self.name, byte) {
                (None, b'\t') => self.name = Some(Vec::new()),
                (None, byte) if self.head.len() < SHOWN => self.head.push(byte),
                (Some(_), 0) => self.end()?,
                (Some(name), byte) if name.len() < SHOWN => name.push(byte),
                _ => {}
            }
        }
        Ok(())
    }

    /// A line is whole.
    fn end(&mut self) -> Result<(), String> {
        let name = self.name.take().unwrap_or_default();
        let head = std::mem::take(&mut self.head);
        // Of directories and submodules there is `-`.
        let size =
            std::str::from_utf8(&head).ok().and_then(|head| head.rsplit(' ').next()?.parse::<u64>().ok());
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size.unwrap_or(0));
        if self.entries > self.limits.entries {
            return Err(format!("has more than {} files and directories", self.limits.entries));
        }
        if self.bytes > self.limits.bytes {
            let name = String::from_utf8_lossy(&name);
            let limit = bytes(&self.limits.bytes);
            return Err(format!("has more than {limit}: `{}` goes beyond", name.escape_debug()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(limits: (u64, u64), answer: &[u8], at_once: usize) -> Result<(u64, u64), String> {
        let limits = Limits { entries: limits.0, bytes: limits.1 };
        let mut count = Count { limits, entries: 0, bytes: 0, head: Vec::new(), name: None };
        answer.chunks(at_once).try_for_each(|part| count.take(part))?;
        Ok((count.entries, count.bytes))
    }

    #[test]
    fn files_are_counted_as_they_come() {
        let lines = [
            "100644 blob aa      12\ta\tb\n 7",
            "040000 tree bb       -\td",
            "100755 blob cc 30\td/e",
            "160000 commit dd       -\tsub",
        ];
        let answer = (lines.join("\0") + "\0").into_bytes();
        for at_once in [1, 7, 1000] {
            assert_eq!(count((4, 42), &answer, at_once), Ok((4, 42)));
            let error = count((3, 42), &answer, at_once).unwrap_err();
            assert_eq!(error, "has more than 3 files and directories");
            let error = count((4, 41), &answer, at_once).unwrap_err();
            assert_eq!(error, "has more than 41 bytes: `d/e` goes beyond");
        }
    }

    #[test]
    fn nothing_of_a_line_makes_it_grow() {
        let limits = Limits { entries: 2, bytes: 10 };
        let mut count = Count { limits, entries: 0, bytes: 0, head: Vec::new(), name: None };
        count.take(&[b'x'; 10_000]).unwrap();
        count.take(b"\t").unwrap();
        count.take(&[b'y'; 10_000]).unwrap();
        assert!(count.head.len() <= SHOWN && count.name.as_ref().is_some_and(|name| name.len() <= SHOWN));
        count.take(b"\0").unwrap();
        assert_eq!((count.entries, count.bytes), (1, 0));
        assert!(count.take(b"a 18446744073709551615\tb\0").is_err());
    }
}
