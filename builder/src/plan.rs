//! The plan: which stages a target needs, and what each stands on.
//!
//! A stage is needed when the target is built on it, copies from it or mounts it, directly or
//! through others. Stages that nobody needs do not exist for the rest of the program.

use std::collections::BTreeSet;
use std::sync::Arc;

use orlop_store::{Platform, Reference};

use crate::context::{NamedContext, NamedSource, named};
use crate::dockerfile::variables::expand;
use crate::dockerfile::{Dockerfile, Kind, Stage, Word};
use crate::error::BuildError;
use crate::scope::GlobalScope;
use crate::source::SourceFile;

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The empty file system.
    Scratch,
    /// An earlier stage, by its place in the Dockerfile.
    Stage(usize),
    /// An image of the store or of a registry.
    Image(Reference),
    /// Nothing that can be built; why. Only stages that nobody needs have it.
    Unknown(String),
    /// An image in an OCI layout on this machine, `oci-layout://DIR[:TAG][@DIGEST]`.
    Layout(String),
    /// The files of a named context that is no image, by its place among the contexts.
    Context(usize),
}

/// A stage with its FROM understood.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// Its place in the Dockerfile, from 0.
    pub index: usize,
    /// How messages call it: its name, else its number, with `stage-` before it.
    pub name: String,
    /// What it starts from.
    pub base: Base,
    /// The platform of its image.
    pub platform: Platform,
    /// Stages it cannot finish without, by place.
    pub needs: BTreeSet<usize>,
    /// A named context has its name and stands in its place: none of its instructions is run.
    pub replaced: bool,
    /// The named context that it starts from.
    pub context: Option<usize>,
}

/// What is to be done for a target.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The Dockerfile.
    pub dockerfile: Arc<Dockerfile>,
    /// All stages, in order, the needed ones first understood.
    pub stages: Vec<PlannedStage>,
    /// The stage whose result is the build's.
    pub target: usize,
    /// The stages that the target needs, itself included.
    pub needed: BTreeSet<usize>,
    /// Variables before the first FROM, and the build's.
    pub globals: GlobalScope,
    /// `--build-context`, in order.
    pub contexts: Vec<NamedContext>,
    /// Sentences for the user, with the place they are about.
    pub warnings: Vec<(String, crate::source::Span)>,
}

impl Plan {
    /// Plans the build of `target` (a stage's name or number; the last stage where `None`) for
    /// `platform`.
    ///
    /// # Errors
    /// A FROM that names nothing, a target that does not exist, a circle of stages.
    pub fn new(
        dockerfile: Arc<Dockerfile>,
        build_args: &[(String, String)],
        target: Option<&str>,
        platform: &Platform,
    ) -> Result<Self, BuildError> {
        Self::with_contexts(dockerfile, build_args, target, platform, &[])
    }

    /// The same with named contexts, which stand for stages and images of their names.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_contexts(
        dockerfile: Arc<Dockerfile>,
        build_args: &[(String, String)],
        target: Option<&str>,
        platform: &Platform,
        contexts: &[NamedContext],
    ) -> Result<Self, BuildError> {
        let file = Arc::clone(&dockerfile.source);
        let target = find_target(&dockerfile, target)?;
        let stage_name = dockerfile.stages[target].from.name.as_ref().map_or("default", |n| n.value.as_str());
        let host = Platform { os: platform_os().to_owned(), ..Platform::host() };
        let mut globals = GlobalScope::new(build_args, &host, platform, stage_name);
        for arg in &dockerfile.global_args {
            let name = expand_global(&file, &dockerfile, &globals, &arg.name)?;
            let default = arg
                .default
                .as_ref()
                .map(|word| expand_global(&file, &dockerfile, &globals, word))
                .transpose()?;
            globals.declare(&name, default);
        }
        let mut plan = Self {
            stages: Vec::with_capacity(dockerfile.stages.len()),
            target,
            needed: BTreeSet::new(),
            globals,
            contexts: contexts.to_vec(),
            warnings: Vec::new(),
            dockerfile: Arc::clone(&dockerfile),
        };
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let name = stage_label(stage, index);
            let needs = plan.static_needs(stage, platform);
            // What FROM says is only looked at for stages that count: an unused stage may name
            // anything, as with BuildKit.
            let planned =
                PlannedStage { index, name, base: Base::Scratch, platform: platform.clone(), needs, replaced: false, context: None };
            plan.stages.push(planned);
        }
        plan.require(target, &mut Vec::new())?;
        // An ONBUILD trigger of a base image may still name one of the others.
        for index in (0..plan.stages.len()).filter(|i| !plan.needed.contains(i)).collect::<Vec<_>>() {
            if let Err(error) = plan.place(index) {
                plan.stages[index].base = Base::Unknown(error.message);
            }
        }
        Ok(plan)
    }

    /// Adds `index` and all that it needs; `path` are the stages on the way here.
    fn require(&mut self, index: usize, path: &mut Vec<usize>) -> Result<(), BuildError> {
        if path.contains(&index) {
            let names: Vec<_> = path.iter().chain([&index]).map(|&i| self.stages[i].name.as_str()).collect();
            let span = self.dockerfile.stages[index].from.span;
            return Err(BuildError::user(format!(
                "stages need each other in a circle: {}",
                names.join(" → ")
            ))
            .at(&self.dockerfile.source, span));
        }
        if self.needed.contains(&index) {
            return Ok(());
        }
        self.place(index)?;
        path.push(index);
        for need in self.stages[index].needs.clone() {
            self.require(need, path)?;
        }
        path.pop();
        // The parent's own is known only now.
        if let Base::Stage(parent) = self.stages[index].base
            && self.dockerfile.stages[index].from.platform.is_none()
        {
            self.stages[index].platform = self.stages[parent].platform.clone();
        }
        self.needed.insert(index);
        Ok(())
    }

    /// Finds out what stage `index` stands on.
    fn place(&mut self, index: usize) -> Result<(), BuildError> {
        let platform = self.platform_of(index, self.default_platform())?;
        let own = self.replacement(index, &platform);
        let (base, platform, context) = match own {
            Some(context) => (self.context_base(context), platform, own),
            None => self.base_of(index, platform)?,
        };
        let stage = &mut self.stages[index];
        (stage.replaced, stage.context) = (own.is_some(), context);
        if let Base::Stage(parent) = base {
            stage.needs.insert(parent);
        }
        (stage.base, stage.platform) = (base, platform);
        if stage.replaced {
            // What its instructions would take from others is not taken.
            stage.needs.clear();
        }
        Ok(())
    }

    /// The platform that FROM says, else `default`.
    fn platform_of(&self, index: usize, default: &Platform) -> Result<Platform, BuildError> {
        let file = &self.dockerfile.source;
        let Some(word) = &self.dockerfile.stages[index].from.platform else {
            return Ok(default.clone());
        };
        let text = expand_global(file, &self.dockerfile, &self.globals, word)?;
        text.parse().map_err(|e: orlop_store::descriptor::PlatformParseError| {
            BuildError::user(e.to_string()).at(file, word.span)
        })
    }

    /// The named context that has the name of stage `index`, and so stands in its place.
    fn replacement(&self, index: usize, platform: &Platform) -> Option<usize> {
        let name = self.dockerfile.stages[index].from.name.as_ref()?;
        named::find(&self.contexts, &name.value.to_ascii_lowercase(), platform)
    }

    /// The named context that `--from=name` means where something for `platform` is wanted. None as well where it
    /// stands in the place of a stage and is an image: then it is what that stage starts from.
    pub fn context_named(&self, name: &str, platform: &Platform) -> Option<usize> {
        let Some(stage) = self.stage_named(name) else {
            return named::find(&self.contexts, name, platform);
        };
        match &self.stages[stage] {
            PlannedStage { replaced: true, base: Base::Context(context), .. } => Some(*context),
            _ => None,
        }
    }

    /// What a stage starts from that starts from a named context.
    fn context_base(&self, context: usize) -> Base {
        match self.contexts.get(context).map(|context| &context.source) {
            Some(NamedSource::Image(reference)) => Base::Image(reference.clone()),
            Some(NamedSource::Layout(layout)) => Base::Layout(layout.clone()),
            Some(NamedSource::Scratch) => Base::Scratch,
            _ => Base::Context(context),
        }
    }

    /// What FROM names, its platform, and the named context that it is.
    fn base_of(
        &self,
        index: usize,
        platform: Platform,
    ) -> Result<(Base, Platform, Option<usize>), BuildError> {
        let file = &self.dockerfile.source;
        let from = &self.dockerfile.stages[index].from;
        let image = expand_global(file, &self.dockerfile, &self.globals, &from.image)?;
        if image.is_empty() {
            return Err(BuildError::user(format!(
                "base name `{}` is empty after expansion",
                from.image.value
            ))
            .at(file, from.image.span)
            .with_hint(format!(
                "give the variable a default before FROM, or a value with `--build-arg`: {}",
                from.image.value
            )));
        }
        if image == "scratch" {
            return Ok((Base::Scratch, platform, None));
        }
        if let Some(stage) = self.dockerfile.stages[..index].iter().rposition(|s| is_named(s, &image)) {
            let platform =
                if from.platform.is_some() { platform } else { self.stages[stage].platform.clone() };
            return Ok((Base::Stage(stage), platform, None));
        }
        if let Some(context) = named::find(&self.contexts, &image, &platform) {
            return Ok((self.context_base(context), platform, Some(context)));
        }
        if let Some(layout) = image.strip_prefix("oci-layout://") {
            return Ok((Base::Layout(layout.to_owned()), platform, None));
        }
        let image = image.strip_prefix("docker-image://").unwrap_or(&image);
        let reference = image.parse::<Reference>().map_err(|e| {
            let hint = e.hint();
            BuildError::user(e.to_string()).with_hint(hint).at(file, from.image.span)
        })?;
        Ok((Base::Image(reference), platform, None))
    }

    /// The stages that a stage names in `--from` and in mounts, without those that are a directory of files.
    fn static_needs(&self, stage: &Stage, platform: &Platform) -> BTreeSet<usize> {
        let mut needs = BTreeSet::new();
        let is_files = |stage| {
            let platform = self.platform_of(stage, platform);
            let context = platform.ok().and_then(|platform| self.replacement(stage, &platform));
            context.is_some_and(|context| matches!(self.context_base(context), Base::Context(_)))
        };
        let mut add = |word: &Word| {
            let found = self.stage_named(&word.value).filter(|&stage| !is_files(stage));
            needs.extend(found);
        };
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Copy(copy) => copy.from.iter().for_each(&mut add),
                Kind::Run(run) => run.mounts.iter().filter_map(|m| m.from.as_ref()).for_each(&mut add),
                _ => {}
            }
        }
        needs
    }

    fn default_platform(&self) -> &Platform {
        &self.stages[self.target].platform
    }

    /// The stage that `--from=name` means, if it means one: by name, else by number.
    pub fn stage_named(&self, name: &str) -> Option<usize> {
        stage_named(&self.dockerfile, name)
    }
}

/// The operating system that RUN steps run on here.
fn platform_os() -> &'static str {
    if cfg!(windows) { "windows" } else { "linux" }
}

fn is_named(stage: &Stage, name: &str) -> bool {
    stage.from.name.as_ref().is_some_and(|n| n.value.eq_ignore_ascii_case(name))
}

fn stage_named(dockerfile: &Dockerfile, name: &str) -> Option<usize> {
    dockerfile.stages.iter().rposition(|s| is_named(s, name)).or_else(|| {
        let number = name.parse::<usize>().ok()?;
        (number < dockerfile.stages.len()).then_some(number)
    })
}

fn stage_label(stage: &Stage, index: usize) -> String {
    match &stage.from.name {
        Some(name) => name.value.clone(),
        None => format!("stage-{index}"),
    }
}

fn find_target(dockerfile: &Dockerfile, target: Option<&str>) -> Result<usize, BuildError> {
    let Some(target) = target.filter(|t| !t.is_empty()) else {
        return dockerfile.stages.len().checked_sub(1).ok_or_else(|| {
            BuildError::user("the Dockerfile has no FROM")
                .with_hint("begin with `FROM debian:12` or `FROM scratch`".to_owned())
        });
    };
    stage_named(dockerfile, target).ok_or_else(|| {
        let names: Vec<_> = dockerfile
            .stages
            .iter()
            .filter_map(|s| s.from.name.as_ref())
            .map(|n| format!("`{}`", n.value))
            .collect();
        let hint = match names.len() {
            0 => format!("no stage has a name; use a number from 0 to {}", dockerfile.stages.len() - 1),
            _ => format!("the stages are {}", names.join(", ")),
        };
        BuildError::user(format!("target stage `{target}` is not in `{}`", dockerfile.source.name()))
            .with_hint(hint)
    })
}

/// Expands a word of a FROM or a global ARG.
fn expand_global(
    file: &Arc<SourceFile>,
    dockerfile: &Dockerfile,
    globals: &GlobalScope,
    word: &Word,
) -> Result<String, BuildError> {
    expand(&word.value, dockerfile.directives.escape, &|name| globals.lookup(name))
        .map_err(|e| BuildError::user(e.to_string()).at(file, word.span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> Result<Plan, BuildError> {
        let file = Arc::new(SourceFile::new("Dockerfile", text));
        let dockerfile = crate::dockerfile::parse(file).map_err(|e| BuildError::user(e.to_string()))?;
        let args: Vec<_> = args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Plan::new(Arc::new(dockerfile), &args, target, &"linux/amd64".parse().unwrap())
    }

    fn needed(text: &str, target: Option<&str>) -> Vec<usize> {
        plan(text, target, &[]).unwrap().needed.into_iter().collect()
    }

    const THREE: &str = "FROM a AS one\nFROM b AS two\nFROM one\nCOPY --from=0 /x /\n";

    #[test]
    fn only_what_the_target_needs_is_planned() {
        assert_eq!(needed(THREE, None), [0, 2]);
        assert_eq!(needed(THREE, Some("TWO")), [1]);
        assert_eq!(needed(THREE, Some("1")), [1]);
        let mounts = "FROM a AS unused\nFROM b AS tools\nFROM c\nRUN --mount=from=tools,target=/t true\n";
        assert_eq!(needed(mounts, None), [1, 2]);
    }

    #[test]
    fn a_stage_that_nobody_needs_may_name_anything() {
        assert_eq!(needed("FROM ${NOTHING}\nFROM scratch\n", None), [1]);
    }

    #[test]
    fn from_is_expanded_with_global_arguments_alone() {
        let text = "ARG V=12\nARG IMAGE=debian:$V\nFROM ${IMAGE}\n";
        let base = |args: &[(&str, &str)]| plan(text, None, args).unwrap().stages[0].base.clone();
        assert_eq!(base(&[]), Base::Image("debian:12".parse().unwrap()));
        assert_eq!(base(&[("V", "13")]), Base::Image("debian:13".parse().unwrap()));
        assert_eq!(base(&[("IMAGE", "scratch")]), Base::Scratch);
        assert_eq!(base(&[("IMAGE", "oci-layout:///x:1")]), Base::Layout("/x:1".to_owned()));
        let empty = plan("FROM $NOTHING\n", None, &[]).unwrap_err();
        assert!(empty.to_string().contains("empty after expansion") && empty.place.is_some(), "{empty}");
    }

    #[test]
    fn a_name_means_an_earlier_stage_before_an_image() {
        let plan = plan("FROM x AS debian\nFROM debian\n", None, &[]).unwrap();
        assert_eq!(plan.stages[1].base, Base::Stage(0));
        assert_eq!(plan.stages[0].base, Base::Image("x".parse().unwrap()));
    }

    fn with_contexts(text: &str, contexts: &[(&str, NamedSource)]) -> Plan {
        let file = Arc::new(SourceFile::new("Dockerfile", text));
        let dockerfile = Arc::new(crate::dockerfile::parse(file).unwrap());
        let contexts: Vec<_> = contexts
            .iter()
            .map(|(name, source)| NamedContext {
                name: crate::context::ContextName::parse(name).unwrap(),
                source: source.clone(),
            })
            .collect();
        Plan::with_contexts(dockerfile, &[], None, &"linux/amd64".parse().unwrap(), &contexts).unwrap()
    }

    #[test]
    fn a_context_stands_for_stages_and_images_of_its_name() {
        let image = |name: &str| NamedSource::Image(name.parse().unwrap());
        let files = NamedSource::Url("https://example.com/x".to_owned());
        let text = "FROM debian AS tools\nCOPY --from=other /a /b\nFROM debian AS other\nFROM tools\nFROM other\n";
        // The image, however it is spelled, and in no stage that is called so.
        let plan = with_contexts(text, &[("docker.io/library/debian:latest", image("mine"))]);
        assert_eq!(plan.stages[1].base, Base::Image("mine".parse().unwrap()));
        assert_eq!(plan.stages[3].base, Base::Stage(1));
        // The stage, with all that it would need.
        let text = "FROM debian AS dep\nFROM debian AS Tools\nCOPY --from=dep /a /b\nFROM tools\nCOPY --from=1 /x /\n";
        let plan = with_contexts(text, &[("tools", image("mine"))]);
        assert_eq!(plan.stages[1].base, Base::Image("mine".parse().unwrap()));
        assert!(plan.stages[1].replaced && plan.needed.iter().eq(&[1, 2]));
        // Files that are only copied from are nobody's stage.
        let text = "FROM debian AS Tools\nFROM scratch\nCOPY --from=0 /x /\nCOPY --from=tools /x /\n";
        let plan = with_contexts(text, &[("tools", files.clone())]);
        assert!(plan.needed.iter().eq(&[1]));
        for name in ["0", "tools", "TOOLS"] {
            assert_eq!(plan.context_named(name, &plan.stages[1].platform), Some(0), "{name}");
        }
        let plan = with_contexts("FROM tools\nFROM scratch AS scratch\nFROM scratch\n", &[("tools", files)]);
        assert_eq!(plan.stages[0].base, Base::Context(0));
        assert_eq!(plan.stages[2].base, Base::Scratch);
    }

    #[test]
    fn circles_and_missing_targets_are_errors() {
        let circle = "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nCOPY --from=x / /\n";
        let error = plan(circle, None, &[]).unwrap_err();
        assert!(error.to_string().contains("y → x → y"), "{error}");
        let error = plan(THREE, Some("four"), &[]).unwrap_err();
        assert!(error.to_string().contains("`four`") && error.hint.unwrap().contains("`one`, `two`"));
    }

    #[test]
    fn the_platform_of_a_stage_is_that_of_its_from() {
        let text = "FROM --platform=$BUILDPLATFORM a AS tools\nFROM --platform=linux/arm64 b\nFROM tools\n";
        let plan = plan(text, None, &[]).unwrap();
        assert_eq!(plan.stages[0].platform, Platform::host());
        assert_eq!(plan.stages[2].platform, Platform::host());
        let other = "FROM --platform=plan9/mips a AS tools\nFROM tools\n";
        let plan = super::tests::plan(other, None, &[]).unwrap();
        assert_eq!(plan.stages[1].platform.os, "plan9");
        assert!(super::tests::plan("FROM --platform=no/such/thing/here a\n", None, &[]).is_err());
    }
}
