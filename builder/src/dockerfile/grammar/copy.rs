//! COPY and ADD.

use super::Reader;
use crate::dockerfile::error::{ParseError, clip};
use crate::dockerfile::flags::{Known, Takes};
use crate::dockerfile::heredoc::Heredoc;
use crate::dockerfile::instruction::{Add, Copy, Kind, Word};
use crate::dockerfile::mount;

const COPY: Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Values),
];
const ADD: Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("checksum", Takes::Value),
    ("keep-git-dir", Takes::Bool),
    ("unpack", Takes::Bool),
    ("exclude", Takes::Values),
];

impl Reader<'_, '_> {
    pub(super) fn copy(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(COPY)?;
        let (sources, dest) = self.sources_and_dest(&heredocs)?;
        let from = flags.value("from");
        if let Some(from) = from.as_ref().filter(|from| mount::holds_variable(&from.value)) {
            return Err(self
                .error(from.span, format!("`--from={}` does not take variables", clip(&from.value)))
                .with_hint("name it in a stage of its own: `FROM … AS name`, then `--from=name`"));
        }
        Ok(Kind::Copy(Copy {
            from,
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.is_on("link"),
            parents: flags.is_on("parents"),
            exclude: flags.values("exclude").collect(),
            sources,
            dest,
            heredocs,
        }))
    }

    pub(super) fn add(&mut self, heredocs: Vec<Heredoc>) -> Result<Kind, ParseError> {
        let flags = self.flags(ADD)?;
        let (sources, dest) = self.sources_and_dest(&heredocs)?;
        Ok(Kind::Add(Add {
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.is_on("link"),
            exclude: flags.values("exclude").collect(),
            checksum: flags.value("checksum"),
            keep_git_dir: flags.on_or_off("keep-git-dir"),
            unpack: flags.on_or_off("unpack"),
            sources,
            dest,
            heredocs,
        }))
    }

    fn sources_and_dest(&mut self, heredocs: &[Heredoc]) -> Result<(Vec<Word>, Word), ParseError> {
        let keyword = &self.statement.name;
        let mut words = self.list()?;
        if words.len() < 2 {
            return Err(self
                .missing(format!("{keyword} needs at least one source and a destination"))
                .with_hint(format!("write `{keyword} source destination`")));
        }
        let dest = words.pop().unwrap_or_default();
        // A heredoc whose delimiter holds white space is more than one word. Both lists are in order.
        let holder = |word: &Word| {
            let index =
                heredocs.partition_point(|heredoc| heredoc.span.start <= word.span.start).checked_sub(1)?;
            heredocs.get(index).filter(|heredoc| word.span.end <= heredoc.span.end).map(|_| index)
        };
        if let Some(heredoc) = holder(&dest).and_then(|index| heredocs.get(index)) {
            let message = format!("{keyword} cannot take a heredoc as its destination");
            return Err(self
                .error(heredoc.span, message)
                .with_hint("write the destination after the heredoc"));
        }
        let mut held = vec![false; heredocs.len()];
        words.retain(|word| match holder(word) {
            Some(index) => {
                if let Some(seen) = held.get_mut(index) {
                    *seen = true;
                }
                false
            }
            None => true,
        });
        if let Some((heredoc, _)) = heredocs.iter().zip(held).find(|(_, held)| !held) {
            let message = format!("{keyword} takes a heredoc only as a word of its own");
            return Err(self.error(heredoc.span, message).with_hint("put white space around it"));
        }
        Ok((words, dest))
    }
}
