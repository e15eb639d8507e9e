//! What is known of a stage without building it: its variables, and what of the image's config rules ask for.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::walk::Unseen;
use crate::dialect::Dialect;
use crate::dockerfile::variables::{ExpandError, Expanded, Expander};
use crate::plan::{Base, PlannedStage};
use crate::scope::GlobalScope;
use orlop_store::{Image, Platform};

/// How many bytes all stages of a Dockerfile may make of their variables. Checks come before the build, whose own
/// limits come later: ten kilobytes of `ENV dN=$c` and `FROM s` would ask for gigabytes.
const MOST: usize = 128 << 20;

/// What a variable takes besides its text.
const BESIDES: usize = 128;

/// What is left for the variables of all stages.
#[derive(Clone, Debug)]
struct Budget(Rc<Cell<usize>>);

impl Budget {
    fn spend(&self, bytes: usize) -> Result<(), ExpandError> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(ExpandError::TooMuchWork)
    }
}

/// The scopes of stages that a later one stands on, each as long as one does.
#[derive(Debug)]
pub(crate) struct Scopes {
    done: BTreeMap<usize, Scope>,
    /// How many stages are still to come that stand on one.
    children: BTreeMap<usize, usize>,
    budget: Budget,
}

impl Scopes {
    /// For `stages`, which are begun in this order.
    pub(crate) fn of<'p>(stages: impl Iterator<Item = &'p PlannedStage>) -> Self {
        let mut children = BTreeMap::new();
        for stage in stages {
            if let Base::Stage(parent) = stage.base {
                *children.entry(parent).or_default() += 1;
            }
        }
        Self { done: BTreeMap::new(), children, budget: Budget(Rc::new(Cell::new(MOST))) }
    }

    /// The beginning of a stage on `image`, or on an image that is not known.
    ///
    /// # Errors
    /// When there are more variables than can be held.
    pub(crate) fn on(&self, image: Option<&Image>, platform: &Platform) -> Result<Scope, ExpandError> {
        Scope::on(image, platform, self.budget.clone())
    }

    /// What the stage `parent` ended with, for one that stands on it. None where it was not looked at.
    pub(crate) fn take(&mut self, parent: usize) -> Option<Scope> {
        let left = self.children.get_mut(&parent)?;
        *left = left.saturating_sub(1);
        match *left {
            0 => self.done.remove(&parent),
            _ => self.done.get(&parent).cloned(),
        }
    }

    /// The end of a stage.
    pub(crate) fn keep(&mut self, index: usize, scope: Scope) {
        if self.children.contains_key(&index) {
            self.done.insert(index, scope);
        }
    }
}

/// A name as it is written, and its value.
type Variable = (Arc<str>, Arc<str>);

/// The state of a stage between two of its instructions.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) dialect: Dialect,
    /// Variables with their values, ENV and ARG together, the later one counts; by the name as the system compares it.
    /// Stages on the same one share them until one of them sets another.
    env: Arc<BTreeMap<Arc<str>, Variable>>,
    /// ARGs that have been declared, with a value or without. Shared as well.
    declared: Arc<BTreeSet<Arc<str>>>,
    /// The config of the image below is known.
    pub(crate) base_known: bool,
    /// The image below, where that is not so.
    pub(crate) unseen: Option<Arc<Unseen>>,
    /// The image has a SHELL of its own.
    pub(crate) shell_set: bool,
    /// A WORKDIR stands in this Dockerfile.
    pub(crate) workdir_set: bool,
    /// Triggers for who builds on this.
    pub(crate) on_build: Vec<String>,
    budget: Budget,
}

impl Scope {
    fn on(image: Option<&Image>, platform: &Platform, budget: Budget) -> Result<Self, ExpandError> {
        let dialect = Dialect::of(platform);
        let config = image.map(Image::config);
        let mut scope = Self {
            dialect,
            env: Arc::default(),
            declared: Arc::default(),
            base_known: image.is_some(),
            unseen: None,
            shell_set: config.is_some_and(|config| config.shell().is_some_and(|words| !words.is_empty())),
            workdir_set: false,
            on_build: config.map(|config| config.on_build()).unwrap_or_default(),
            budget,
        };
        // As BuildKit does: on Windows that is left to whoever runs the image.
        if !dialect.is_windows() {
            scope.set("PATH", dialect.default_path())?;
        }
        for (name, value) in config.map(|config| config.env()).unwrap_or_default() {
            scope.set(&name, &value)?;
        }
        Ok(scope)
    }

    /// Whether a variable means anything here.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let name = self.dialect.canonical_variable(name);
        self.env.contains_key(&*name) || self.declared.contains(&*name)
    }

    /// The variables that have a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.env.values().map(|(name, _)| &**name)
    }

    /// Expands the text of a word.
    pub(crate) fn expand(&self, text: &str, expander: Expander) -> Result<Expanded, ExpandError> {
        let expanded = expander.expand(text, &|name| {
            self.env.get(&*self.dialect.canonical_variable(name)).map(|(_, value)| value.to_string())
        })?;
        self.budget.spend(expanded.text.len())?;
        Ok(expanded)
    }

    /// `ENV`.
    ///
    /// # Errors
    /// When there are more variables than can be held.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), ExpandError> {
        let key = self.dialect.canonical_variable(name);
        let copied = if Arc::strong_count(&self.env) > 1 { self.env.len() } else { 0 };
        self.budget.spend((copied + 1) * BESIDES + 2 * name.len() + value.len())?;
        Arc::make_mut(&mut self.env).insert(key.into(), (name.into(), value.into()));
        Ok(())
    }

    /// `ARG`, its default expanded. Gives the value that it has.
    ///
    /// # Errors
    /// When there are more variables than can be held.
    pub(crate) fn declare(
        &mut self,
        global: &GlobalScope,
        name: &str,
        default: Option<String>,
    ) -> Result<Option<String>, ExpandError> {
        let key = self.dialect.canonical_variable(name);
        if !self.declared.contains(&*key) {
            let copied = if Arc::strong_count(&self.declared) > 1 { self.declared.len() } else { 0 };
            self.budget.spend((copied + 1) * BESIDES + key.len())?;
            Arc::make_mut(&mut self.declared).insert(key.into());
        }
        let value = global.build_arg(name).map(str::to_owned).or(default).or_else(|| global.lookup(name));
        if let Some(value) = &value {
            self.set(name, value)?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(index: usize, base: Base) -> PlannedStage {
        PlannedStage {
            index,
            name: index.to_string(),
            base,
            platform: "linux/amd64".parse().unwrap(),
            needs: BTreeSet::new(),
            replaced: false,
            context: None,
        }
    }

    #[test]
    fn stages_on_one_share_what_it_has_set() {
        let stages = [Base::Scratch, Base::Stage(0), Base::Stage(0)];
        let stages: Vec<_> = stages.into_iter().enumerate().map(|(at, base)| planned(at, base)).collect();
        let mut scopes = Scopes::of(stages.iter());
        let mut below = scopes.on(None, &stages[0].platform).unwrap();
        below.set("A", "a").unwrap();
        scopes.keep(0, below);
        let first = scopes.take(0).unwrap();
        let mut last = scopes.take(0).unwrap();
        assert!(Arc::ptr_eq(&first.env, &last.env));
        assert!(scopes.take(0).is_none(), "nobody stands on it any more");
        last.set("B", "b").unwrap();
        assert!(last.knows("A") && last.knows("B") && !first.knows("B"));
    }

    #[test]
    fn all_stages_together_have_a_limit() {
        let scopes = Scopes::of([].into_iter());
        let long = "x".repeat(1 << 20);
        let set = |at: usize| {
            let mut scope = scopes.on(None, &"linux/amd64".parse().unwrap()).unwrap();
            scope.set(&format!("A{at}"), &long)
        };
        assert_eq!(set(0), Ok(()));
        assert!((1..MOST >> 20).map(set).any(|set| set == Err(ExpandError::TooMuchWork)));
    }
}
