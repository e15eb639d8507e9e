//! What ENV, ARG and the mounts of RUN do with the variables of a stage, for whoever reads it without building.

use super::scope::Scope;
use crate::dockerfile::variables::{ExpandError, Expander};
use crate::dockerfile::{ArgDecl, Mount, MountFlag, Word};
use crate::error::BuildError;
use crate::scope::GlobalScope;
use crate::source::Span;

/// Reads the instructions of a stage.
pub(crate) trait Reader {
    /// The stage so far.
    fn scope(&mut self) -> &mut Scope;

    /// The escape character.
    fn escape(&self) -> char;

    /// `text` with its variables put in.
    fn expand(&mut self, text: &str, span: Span, expander: Expander) -> Result<String, ExpandError>;

    /// An error with its place.
    fn at(&self, error: BuildError, span: Span) -> BuildError;

    /// An instruction, `ENV` or `ARG`, names a variable.
    fn named(&mut self, _instruction: &str, _name: &str, _span: Span) {}

    /// The same as [`Self::expand`], of which an error has a place.
    fn text(&mut self, text: &str, span: Span, expander: Expander) -> Result<String, BuildError> {
        self.expand(text, span, expander).map_err(|error| self.at(error.into(), span))
    }

    /// A word with its variables put in.
    fn word(&mut self, word: &Word) -> Result<String, BuildError> {
        self.text(&word.value, word.span, Expander::new(self.escape()))
    }

    /// `ENV`: none of its words sees what another one sets.
    fn env(&mut self, pairs: &[(Word, Word)]) -> Result<(), BuildError> {
        let mut set = Vec::new();
        for (name, value) in pairs {
            let (name, span) = (self.word(name)?, name.span);
            set.push((name, self.word(value)?, span));
        }
        for (name, value, span) in set {
            self.named("ENV", &name, span);
            self.scope().set(&name, &value).map_err(|error| self.at(error.into(), span))?;
        }
        Ok(())
    }

    /// A name of `ARG`: what it is, and the value that this gives it. A default that is not needed is not looked at.
    fn arg(&mut self, globals: &GlobalScope, arg: &ArgDecl) -> Result<(String, Option<String>), BuildError> {
        let (name, span) = (self.word(&arg.name)?, arg.name.span);
        self.named("ARG", &name, span);
        let default = arg.default.as_ref().filter(|_| globals.build_arg(&name).is_none());
        let default = default.map(|word| self.word(word)).transpose()?;
        let value = self.scope().declare(globals, &name, default);
        let value = value.map_err(|error| self.at(error.into(), span))?;
        Ok((name, value))
    }

    /// `RUN --mount`: its fields, the only part of a RUN that expands.
    fn mount(&mut self, flag: &MountFlag) -> Result<Mount, BuildError> {
        let expander = Expander::new(self.escape());
        let mount = flag.resolve(|value| self.expand(value, flag.span, expander));
        mount.map_err(|error| self.at(error.into(), flag.span))
    }
}
