//! What can be asked of a Dockerfile without building it: which targets it has ([`targets`]), and what one of them takes
//! from outside ([`outline`]). Nothing is fetched: what a base image's triggers ask for is not in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::{Reader, Scope, Scopes};
use crate::dockerfile::variables::{ExpandError, Expander, expand};
use crate::dockerfile::{self, ArgDecl, Dockerfile, From, Kind, MountKind, Stage, Word};
use crate::error::BuildError;
use crate::plan::{Base, Plan};
use crate::request::BuildRequest;
use crate::source::Span;

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name; none for one that only its number names.
    pub name: Option<String>,
    /// What the comment before it says of it.
    pub description: Option<String>,
    /// It is built when no target is named.
    pub default: bool,
    /// What it stands on, as it is written.
    pub base: String,
    /// Its platform, as it is written.
    pub platform: Option<String>,
    /// Its FROM.
    pub place: Span,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// The value that it has in this build.
    pub value: Option<String>,
    /// What the comment before it says of it.
    pub description: Option<String>,
    /// Its declaration.
    pub place: Span,
}

/// A secret or an agent's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its ID.
    pub id: String,
    /// The build fails without it.
    pub required: bool,
    /// The first instruction that asks for it.
    pub place: Span,
}

/// What a target takes from outside, from the top of the file to its end.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// The target's name.
    pub name: Option<String>,
    /// What the comment before it says of it.
    pub description: Option<String>,
    /// Build arguments that it uses.
    pub arguments: Vec<Argument>,
    /// Secrets.
    pub secrets: Vec<Demand>,
    /// Agents.
    pub agents: Vec<Demand>,
    /// Directories that are kept between builds.
    pub caches: Vec<Demand>,
}

/// The targets of a Dockerfile.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let last = dockerfile.stages.len().saturating_sub(1);
    let stages = dockerfile.stages.iter().enumerate();
    stages
        .map(|(index, stage)| Target {
            name: stage.from.name.as_ref().map(|name| name.value.clone()),
            description: description(&stage.from),
            default: index == last,
            base: stage.from.image.value.clone(),
            platform: stage.from.platform.as_ref().map(|word| word.value.clone()),
            place: stage.from.span,
        })
        .collect()
}

/// `# name what it is for`, just before the FROM.
fn description(from: &From) -> Option<String> {
    let (name, written) = (from.name.as_ref()?, from.alias.as_ref().map(|(_, name)| name.value.as_str()));
    let of = |name: &str| from.comments.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    of(&name.value).or_else(|| of(written?)).map(|text| text.trim().to_owned())
}

/// What the target of `request` takes from outside.
///
/// # Errors
/// For a Dockerfile that is none, a target that it does not have, and words of the target that cannot be expanded.
pub fn outline(request: &BuildRequest) -> Result<(Arc<Dockerfile>, Outline), BuildError> {
    let dockerfile = Arc::new(dockerfile::parse(Arc::clone(&request.dockerfile))?);
    let plan = Plan::of(request, &dockerfile, &request.first_platform())?;
    let outline = of_plan(&plan)?;
    Ok((dockerfile, outline))
}

fn of_plan(plan: &Plan) -> Result<Outline, BuildError> {
    let dockerfile = &*plan.dockerfile;
    let mut all = Gathered::of(dockerfile);
    let needed = || plan.needed.iter().map(|&index| &plan.stages[index]);
    let mut scopes = Scopes::of(needed());
    for planned in needed() {
        let stage = &dockerfile.stages[planned.index];
        let below = match planned.base {
            Base::Stage(parent) => scopes.take(parent),
            _ => None,
        };
        let mut scope = below
            .map_or_else(|| scopes.on(None, &planned.platform), Ok)
            .map_err(|error| BuildError::from(error).at(&dockerfile.source, stage.from.span))?;
        // Where a named context stands in its place, nothing of it is built.
        if !planned.replaced {
            all.from(dockerfile, plan, &stage.from);
            all.stage(plan, stage, &mut scope)?;
        }
        scopes.keep(planned.index, scope);
    }
    let target = &dockerfile.stages[plan.target].from;
    Ok(Outline {
        name: target.name.as_ref().map(|name| name.value.clone()),
        description: description(target),
        arguments: in_order(all.arguments, |argument| argument.place),
        secrets: in_order(all.secrets, |secret| secret.place),
        agents: in_order(all.agents, |agent| agent.place),
        caches: in_order(all.caches, |cache| cache.place),
    })
}

/// By their place in the file.
fn in_order<T>(found: BTreeMap<String, T>, place: impl Fn(&T) -> Span) -> Vec<T> {
    let mut found: Vec<T> = found.into_values().collect();
    found.sort_by_key(|one| place(one).start);
    found
}

/// What the stages ask for; of several that ask for the same the last counts, which is the nearest to the target.
#[derive(Default)]
struct Gathered<'f> {
    /// The arguments before the first FROM, each with the place of its instruction; of one name the last.
    globals: BTreeMap<&'f str, (&'f ArgDecl, Span)>,
    /// Those whose defaults have been looked through.
    walked: BTreeSet<&'f str>,
    arguments: BTreeMap<String, Argument>,
    secrets: BTreeMap<String, Demand>,
    agents: BTreeMap<String, Demand>,
    caches: BTreeMap<String, Demand>,
}

impl<'f> Gathered<'f> {
    fn of(dockerfile: &'f Dockerfile) -> Self {
        let globals = dockerfile.preamble.iter().flat_map(|instruction| {
            let args = instruction.arguments().iter();
            args.map(|arg| (arg.name.value.as_str(), (arg, instruction.span)))
        });
        Self { globals: globals.collect(), ..Self::default() }
    }

    /// The global arguments that a FROM uses.
    fn from(&mut self, dockerfile: &Dockerfile, plan: &Plan, from: &From) {
        for word in [Some(&from.image), from.platform.as_ref()].into_iter().flatten() {
            self.global_in(dockerfile, plan, word);
        }
    }

    fn global_in(&mut self, dockerfile: &Dockerfile, plan: &Plan, word: &Word) {
        for name in variables(dockerfile, plan, word) {
            self.global(dockerfile, plan, &name);
        }
    }

    /// A global argument, and those that its default uses. Whether there is one. A default is looked through once.
    fn global(&mut self, dockerfile: &Dockerfile, plan: &Plan, name: &str) -> bool {
        let mut todo = vec![name.to_owned()];
        while let Some(name) = todo.pop() {
            let Some(&(arg, place)) = self.globals.get(name.as_str()) else { continue };
            let default = arg.default.as_ref().filter(|_| plan.globals.build_arg(&name).is_none());
            if let Some(default) = default.filter(|_| self.walked.insert(&arg.name.value)) {
                todo.extend(variables(dockerfile, plan, default));
            }
            let value = plan.globals.lookup(&name);
            self.arguments
                .insert(name.clone(), Argument { name, value, description: arg.doc.clone(), place });
        }
        self.globals.contains_key(name)
    }

    fn stage(&mut self, plan: &Plan, stage: &Stage, scope: &mut Scope) -> Result<(), BuildError> {
        let dockerfile = &*plan.dockerfile;
        let mut reader = Words { dockerfile, scope };
        for instruction in &stage.instructions {
            let place = instruction.span;
            match &instruction.kind {
                Kind::Env(pairs) => reader.env(pairs)?,
                Kind::Arg(args) => {
                    for arg in args {
                        let (name, value) = reader.arg(&plan.globals, arg)?;
                        // One that only takes the global one's value is that.
                        if arg.default.is_none() && self.global(dockerfile, plan, &name) {
                            continue;
                        }
                        // Nobody gives the build its platform in this way.
                        if arg.default.is_none() && plan.globals.is_platform(&name) {
                            continue;
                        }
                        let description = arg.doc.clone();
                        self.arguments.insert(name.clone(), Argument { name, value, description, place });
                    }
                }
                Kind::Run(run) => {
                    for mount in &run.mounts {
                        let mount = reader.mount(mount)?;
                        let into = match mount.kind {
                            MountKind::Secret => &mut self.secrets,
                            MountKind::Ssh => &mut self.agents,
                            MountKind::Cache => &mut self.caches,
                            MountKind::Bind | MountKind::Tmpfs => continue,
                        };
                        let Some(id) = mount.id else { continue };
                        let demand = Demand { id: id.clone(), required: mount.required, place };
                        let known = into.entry(id).or_insert(demand);
                        known.required |= mount.required;
                        if known.place.start < stage.span.start {
                            known.place = place;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The words of a stage.
struct Words<'w> {
    dockerfile: &'w Dockerfile,
    scope: &'w mut Scope,
}

impl Reader for Words<'_> {
    fn scope(&mut self) -> &mut Scope {
        self.scope
    }

    fn escape(&self) -> char {
        self.dockerfile.directives.escape
    }

    fn expand(&mut self, text: &str, _: Span, expander: Expander) -> Result<String, ExpandError> {
        self.scope.expand(text, expander).map(|expanded| expanded.text)
    }

    fn at(&self, error: BuildError, span: Span) -> BuildError {
        error.at(&self.dockerfile.source, span)
    }
}

/// The names of the variables in a word outside of stages.
fn variables(dockerfile: &Dockerfile, plan: &Plan, word: &Word) -> BTreeSet<String> {
    let names = RefCell::new(BTreeSet::new());
    // What cannot be expanded is told by whoever needs its value.
    let _ = expand(&word.value, dockerfile.directives.escape, &|name| {
        names.borrow_mut().insert(name.to_owned());
        plan.globals.lookup(name)
    });
    names.into_inner()
}

#[cfg(test)]
mod tests;
