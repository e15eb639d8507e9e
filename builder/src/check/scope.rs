//! What is known of a stage without building it: its variables, and what of the image's config rules ask for.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::Dialect;
use crate::dockerfile::variables::{ExpandError, Expanded, Expander};
use crate::scope::GlobalScope;
use orlop_store::{Image, Platform};

/// The state of a stage between two of its instructions.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) dialect: Dialect,
    /// Variables with their values, ENV and ARG together, the later one counts; by the name as the system compares it.
    env: BTreeMap<String, (String, String)>,
    /// ARGs that have been declared, with a value or without.
    declared: BTreeSet<String>,
    /// The config of the image below is known.
    pub(crate) base_known: bool,
    /// The image has a SHELL of its own.
    pub(crate) shell_set: bool,
    /// A WORKDIR stands in this Dockerfile.
    pub(crate) workdir_set: bool,
    /// Triggers for who builds on this.
    pub(crate) on_build: Vec<String>,
    /// The bytes that all expansions so far have made.
    expanded: Cell<usize>,
}

/// How many bytes all expansions of a stage may make: checks come before the build, whose own limits come later.
const MOST_EXPANDED: usize = 32 << 20;

impl Scope {
    /// The beginning of a stage on `image`, or on an image that is not known.
    pub(crate) fn on(image: Option<&Image>, platform: &Platform) -> Self {
        let dialect = Dialect::of(platform);
        let config = image.map(Image::config);
        let mut scope = Self {
            dialect,
            env: BTreeMap::new(),
            declared: BTreeSet::new(),
            base_known: image.is_some(),
            shell_set: config.is_some_and(|config| config.shell().is_some_and(|words| !words.is_empty())),
            workdir_set: false,
            on_build: config.map(|config| config.on_build()).unwrap_or_default(),
            expanded: Cell::default(),
        };
        // As BuildKit does: on Windows that is left to whoever runs the image.
        if !dialect.is_windows() {
            scope.set("PATH", dialect.default_path());
        }
        for (name, value) in config.map(|config| config.env()).unwrap_or_default() {
            scope.set(&name, &value);
        }
        scope
    }

    /// Whether a variable means anything here.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let name = self.dialect.canonical_variable(name);
        self.env.contains_key(&name) || self.declared.contains(&name)
    }

    /// The variables that have a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.env.values().map(|(name, _)| name.as_str())
    }

    /// Expands the text of a word.
    pub(crate) fn expand(&self, text: &str, expander: Expander) -> Result<Expanded, ExpandError> {
        if self.expanded.get() > MOST_EXPANDED {
            return Err(ExpandError::TooMuchWork);
        }
        let expanded = expander.expand(text, &|name| {
            self.env.get(&self.dialect.canonical_variable(name)).map(|(_, value)| value.clone())
        })?;
        self.expanded.set(self.expanded.get() + expanded.text.len());
        Ok(expanded)
    }

    /// `ENV`.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        let key = self.dialect.canonical_variable(name);
        self.env.insert(key, (name.to_owned(), value.to_owned()));
    }

    /// `ARG`, its default expanded. Gives the value that it has.
    pub(crate) fn declare(
        &mut self,
        global: &GlobalScope,
        name: &str,
        default: Option<String>,
    ) -> Option<String> {
        self.declared.insert(self.dialect.canonical_variable(name));
        let value = global.build_arg(name).map(str::to_owned).or(default).or_else(|| global.lookup(name))?;
        self.set(name, &value);
        Some(value)
    }
}
