//! The plan: which stages a target needs, and what each stands on.
//!
//! A stage is needed when the target is built on it, copies from it or mounts it, directly or
//! through others. Stages that nobody needs do not exist for the rest of the program.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use orlop_store::{Platform, Reference};

use crate::context::{NamedContext, named};
use crate::dockerfile::suggest::did_you_mean;
use crate::dockerfile::variables::expand;
use crate::dockerfile::{Dockerfile, Kind, Stage, Word};
use crate::error::BuildError;
use crate::request::BuildRequest;
use crate::scope::GlobalScope;
use crate::source::SourceFile;

mod contexts;

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
    /// The same, each behind all that it needs.
    pub order: Vec<usize>,
    /// Variables before the first FROM, and the build's.
    pub globals: GlobalScope,
    /// `--build-context`, in order.
    pub contexts: Vec<NamedContext>,
    /// What is built for: the platform of stages whose FROM names none.
    pub platform: Platform,
    names: StageNames,
}

impl Plan {
    /// Plans the build of `target` (a stage's name or number; the last stage where `None`) for `platform`.
    /// `contexts` stand for stages and images of their names.
    ///
    /// # Errors
    /// A FROM that names nothing, a target that does not exist, a circle of stages.
    pub fn new(
        dockerfile: Arc<Dockerfile>,
        build_args: &[(String, String)],
        target: Option<&str>,
        platform: &Platform,
        contexts: &[NamedContext],
    ) -> Result<Self, BuildError> {
        let names = StageNames::of(&dockerfile);
        let asked = target.filter(|asked| !asked.is_empty());
        let target = find_target(&dockerfile, &names, target)?;
        let globals = global_scope(&dockerfile, build_args, asked, platform)?;
        let mut plan = Self {
            stages: Vec::with_capacity(dockerfile.stages.len()),
            target,
            needed: BTreeSet::new(),
            order: Vec::new(),
            names,
            globals,
            contexts: contexts.to_vec(),
            platform: platform.clone(),
            dockerfile: Arc::clone(&dockerfile),
        };
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let name = stage_label(stage, index);
            let mut needs = static_needs(&plan.names, &dockerfile, index)?;
            needs.retain(|&need| !plan.is_replaced(need));
            // What FROM says is only looked at for stages that count: an unused stage may name
            // anything, as with BuildKit.
            let (replaced, context) = (false, None);
            let (base, platform) = (Base::Scratch, platform.clone());
            plan.stages.push(PlannedStage { index, name, base, platform, needs, replaced, context });
        }
        plan.require(target)?;
        // An ONBUILD trigger of a base image may still name one of the others.
        for index in (0..plan.stages.len()).filter(|i| !plan.needed.contains(i)).collect::<Vec<_>>() {
            if let Err(error) = plan.understand(index) {
                plan.stages[index].base = Base::Unknown(error.message);
            }
        }
        for &index in &plan.needed {
            if plan.stages[index].replaced {
                continue;
            }
            let words = from_words(&plan.dockerfile.stages[index]).into_iter();
            for word in words.filter(|word| plan.context_named(index, &word.value).is_none()) {
                plan.source_stage(index, &word.value).map_err(|e| e.at(&dockerfile.source, word.span))?;
            }
        }
        Ok(plan)
    }

    /// Plans what `request` asks for, for one of its platforms.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn of(
        request: &BuildRequest,
        dockerfile: &Arc<Dockerfile>,
        platform: &Platform,
    ) -> Result<Self, BuildError> {
        let (args, target) = (&request.build_args, request.target.as_deref());
        Self::new(Arc::clone(dockerfile), args, target, platform, &request.named_contexts)
    }

    /// Adds `target` and all that it needs. No recursion: a Dockerfile may have a hundred thousand stages in a line.
    fn require(&mut self, target: usize) -> Result<(), BuildError> {
        // The stages on the way, each with what it needs and is not looked at yet.
        let mut path = vec![(target, self.understand(target)?)];
        let mut on_path = BTreeSet::from([target]);
        while let Some((index, needs)) = path.last_mut() {
            let index = *index;
            let Some(need) = needs.pop() else {
                path.pop();
                on_path.remove(&index);
                // The parent's own is known only now.
                if let Base::Stage(parent) = self.stages[index].base
                    && self.dockerfile.stages[index].from.platform.is_none()
                {
                    self.stages[index].platform = self.stages[parent].platform.clone();
                }
                self.needed.insert(index);
                self.order.push(index);
                continue;
            };
            if on_path.contains(&need) {
                let circle = path.iter().map(|&(index, _)| index).skip_while(|&index| index != need);
                let names: Vec<_> = circle.chain([need]).map(|i| self.stages[i].name.as_str()).collect();
                let span = self.dockerfile.stages[need].from.span;
                return Err(BuildError::user(format!(
                    "stages need each other in a circle: {}",
                    shortened(&names, " → ")
                ))
                .at(&self.dockerfile.source, span));
            }
            if !self.needed.contains(&need) {
                path.push((need, self.understand(need)?));
                on_path.insert(need);
            }
        }
        Ok(())
    }

    /// Understands the FROM of a stage and gives what the stage needs, the first last.
    fn understand(&mut self, index: usize) -> Result<Vec<usize>, BuildError> {
        let platform = self.platform_of(index)?;
        let own = self.replacement(index, &platform);
        let (base, platform, context) = match own {
            Some(context) => (self.context_base(context), platform, own),
            None => self.base_of(index, platform)?,
        };
        let stage = &mut self.stages[index];
        (stage.replaced, stage.context) = (own.is_some(), context);
        if stage.replaced {
            // What its instructions would take from others is not taken.
            stage.needs.clear();
        }
        if let Base::Stage(parent) = base {
            stage.needs.insert(parent);
        }
        (stage.base, stage.platform) = (base, platform);
        Ok(stage.needs.iter().rev().copied().collect())
    }

    /// The platform that FROM says, else the build's.
    fn platform_of(&self, index: usize) -> Result<Platform, BuildError> {
        let file = &self.dockerfile.source;
        let Some(word) = &self.dockerfile.stages[index].from.platform else {
            return Ok(self.platform.clone());
        };
        let text = expand_global(file, &self.dockerfile, &self.globals, word)?;
        if text.is_empty() {
            let written = &word.value;
            return Err(BuildError::user(format!("platform `{written}` is empty after expansion"))
                .at(file, word.span)
                .with_hint("write `$BUILDPLATFORM` for this machine's, or leave the flag out".to_owned()));
        }
        text.parse().map_err(|e: orlop_store::platform::PlatformParseError| {
            BuildError::user(e.to_string()).at(file, word.span)
        })
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
        if let Some(stage) = self.names.before(&image, index) {
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

    /// The stage that `--from=name` in stage `index` means, if it means one.
    ///
    /// # Errors
    /// When it is this stage or comes after it.
    pub(crate) fn source_stage(&self, index: usize, name: &str) -> Result<Option<usize>, BuildError> {
        let file = &self.dockerfile.source;
        let stages = &self.dockerfile.stages;
        let line = |stage: usize| file.line(stages[stage].from.span.start);
        let Some(stage) = self.names.find_from(name, index) else { return Ok(None) };
        if stage == index {
            return Err(BuildError::user(format!("stage `{name}` cannot take files from itself")));
        }
        if stage > index {
            let this = &self.stages[index].name;
            return Err(BuildError::user(format!(
                "stage `{name}` is not there yet: it begins on line {}, after stage `{this}` that needs it",
                line(stage)
            ))
            .with_hint(format!("move it before line {}, where stage `{this}` begins", line(index))));
        }
        Ok(Some(stage))
    }

    /// The stage of that name, if it is one after `index`: what a FROM there cannot mean.
    pub fn later_stage(&self, name: &str, index: usize) -> Option<usize> {
        self.names.find_name(name).filter(|&stage| stage > index)
    }
}

/// The stages by name, as they are looked up: without case, the last of a name first.
#[derive(Clone, Debug, Default)]
struct StageNames {
    places: HashMap<String, Vec<usize>>,
    count: usize,
}

impl StageNames {
    fn of(dockerfile: &Dockerfile) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            if let Some(name) = &stage.from.name {
                places.entry(name.value.to_ascii_lowercase()).or_default().push(index);
            }
        }
        Self { places, count: dockerfile.stages.len() }
    }

    fn find_name(&self, name: &str) -> Option<usize> {
        self.places.get(&name.to_ascii_lowercase())?.last().copied()
    }

    /// By name, else by number.
    fn find(&self, name: &str) -> Option<usize> {
        self.find_name(name).or_else(|| name.parse::<usize>().ok().filter(|&number| number < self.count))
    }

    /// What stage `index` means by that name: the last before it, else whichever there is.
    fn find_from(&self, name: &str, index: usize) -> Option<usize> {
        self.before(name, index).or_else(|| self.find(name))
    }

    /// The last stage of that name before `index`.
    fn before(&self, name: &str, index: usize) -> Option<usize> {
        let places = self.places.get(&name.to_ascii_lowercase())?;
        places[..places.partition_point(|&place| place < index)].last().copied()
    }
}

/// Names in a line of a message, the middle left out where there are many.
fn shortened(names: &[&str], between: &str) -> String {
    const MOST: usize = 8;
    match names {
        [first @ .., last] if names.len() > MOST => {
            let first: Vec<_> = first.iter().take(MOST - 2).copied().collect();
            format!("{}{between}…{between}{last}", first.join(between))
        }
        names => names.join(between),
    }
}

/// What FROM's variables stand for, in a build of the stage that is asked for, or the last, for `platform`.
///
/// # Errors
/// When the default of a global ARG does not expand.
pub fn global_scope(
    dockerfile: &Dockerfile,
    build_args: &[(String, String)],
    asked: Option<&str>,
    platform: &Platform,
) -> Result<GlobalScope, BuildError> {
    let file = &dockerfile.source;
    let last = dockerfile.stages.last().and_then(|stage| stage.from.name.as_ref());
    let stage = asked.unwrap_or_else(|| last.map_or("default", |name| name.value.as_str()));
    let host = Platform { os: platform_os().to_owned(), ..Platform::host() };
    let mut globals = GlobalScope::new(build_args, &host, platform, stage);
    for arg in dockerfile.global_args() {
        let name = expand_global(file, dockerfile, &globals, &arg.name)?;
        // A default that nobody needs may ask for what is not there: `ARG V=${X:?needed}`.
        let given = globals.build_arg(&name).is_some();
        let default = arg.default.as_ref().filter(|_| !given);
        let default = default.map(|word| expand_global(file, dockerfile, &globals, word)).transpose()?;
        globals.declare(&name, default);
    }
    Ok(globals)
}

/// The operating system that RUN steps run on here.
fn platform_os() -> &'static str {
    if cfg!(windows) { "windows" } else { "linux" }
}

fn stage_label(stage: &Stage, index: usize) -> String {
    match &stage.from.name {
        Some(name) => name.value.clone(),
        None => format!("stage-{index}"),
    }
}

fn find_target(
    dockerfile: &Dockerfile,
    names: &StageNames,
    target: Option<&str>,
) -> Result<usize, BuildError> {
    let Some(target) = target.filter(|t| !t.is_empty()) else {
        return dockerfile.stages.len().checked_sub(1).ok_or_else(|| {
            BuildError::user("the Dockerfile has no FROM")
                .with_hint("begin with `FROM debian:12` or `FROM scratch`".to_owned())
        });
    };
    names.find(target).ok_or_else(|| {
        let known: Vec<_> =
            dockerfile.stages.iter().filter_map(|s| s.from.name.as_ref()).map(|n| n.value.as_str()).collect();
        let hint = match (known.len(), did_you_mean(target, known.iter().copied())) {
            (_, Some(near)) => near,
            (0, None) => {
                format!("no stage has a name; use a number from 0 to {}", dockerfile.stages.len() - 1)
            }
            (_, None) => format!("the stages are `{}`", shortened(&known, "`, `")),
        };
        BuildError::user(format!("target stage `{target}` is not in `{}`", dockerfile.source.name()))
            .with_hint(hint)
    })
}

/// The stages that a stage names in `--from` and in mounts.
fn static_needs(
    names: &StageNames,
    dockerfile: &Dockerfile,
    index: usize,
) -> Result<BTreeSet<usize>, BuildError> {
    let mut needs = BTreeSet::new();
    for word in from_words(&dockerfile.stages[index]) {
        let found = names.find_from(&word.value, index);
        needs.extend(found);
        // A number is always a stage's, and never an image.
        if found.is_none() && word.value.bytes().all(|byte| byte.is_ascii_digit()) {
            let hint = match names.count {
                1 => "the only stage is this one; name an image or a stage".to_owned(),
                count => format!("the stages have the numbers 0 to {}", count - 1),
            };
            return Err(BuildError::user(format!("there is no stage number {}", word.value))
                .at(&dockerfile.source, word.span)
                .with_hint(hint));
        }
    }
    Ok(needs)
}

/// What stands in a stage's `--from` and in its mounts' `from`.
fn from_words(stage: &Stage) -> Vec<&Word> {
    let mut words = Vec::new();
    for instruction in &stage.instructions {
        match &instruction.kind {
            Kind::Copy(copy) => words.extend(&copy.from),
            Kind::Run(run) => words.extend(run.mounts.iter().filter_map(|mount| mount.from.as_ref())),
            _ => {}
        }
    }
    words
}

/// Expands a word of a FROM or a global ARG.
fn expand_global(
    file: &Arc<SourceFile>,
    dockerfile: &Dockerfile,
    globals: &GlobalScope,
    word: &Word,
) -> Result<String, BuildError> {
    expand(&word.value, dockerfile.directives.escape, &|name| globals.lookup(name))
        .map_err(|e| BuildError::user(e.to_string()).with_hint(e.hint()).at(file, word.span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> Result<Plan, BuildError> {
        let file = Arc::new(SourceFile::new("Dockerfile", text));
        let dockerfile = crate::dockerfile::parse(file).map_err(|e| BuildError::user(e.to_string()))?;
        let args: Vec<_> = args.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Plan::new(Arc::new(dockerfile), &args, target, &"linux/amd64".parse().unwrap(), &[])
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
    fn a_line_of_stages_however_long_is_planned_without_recursion() {
        let mut text = String::from("FROM a AS s0\n");
        for n in 1..100_000 {
            text.push_str(&format!("FROM s{} AS s{n}\n", n - 1));
        }
        let long = plan(&text, None, &[]).unwrap();
        assert_eq!(long.order.len(), 100_000);
        assert!(long.order.is_sorted(), "each stands behind what it needs");
        text.push_str("COPY --from=s99999 / /\n");
        text.insert_str("FROM a AS s0\n".len(), "COPY --from=s99999 / /\n");
        let circle = plan(&text, None, &[]).unwrap_err().to_string();
        assert!(circle.contains("circle") && circle.len() < 200, "{circle}");
    }

    #[test]
    fn a_number_is_a_stage_and_never_an_image() {
        let error = plan("FROM a\nFROM b\nCOPY --from=2 /x /\n", None, &[]).unwrap_err();
        assert_eq!(error.to_string(), "there is no stage number 2");
        assert_eq!(error.hint.as_deref(), Some("the stages have the numbers 0 to 1"));
        // A stage further down is not there yet, as in BuildKit.
        let error = plan("FROM a\nCOPY --from=1 /x /\nFROM b\n", Some("0"), &[]).unwrap_err();
        assert!(error.to_string().starts_with("stage `1` is not there yet"), "{error}");
        // Of several of a name the last before counts.
        let text = "FROM a AS x\nFROM b AS x\nFROM c\nCOPY --from=x / /\nFROM d AS x\n";
        assert_eq!(needed(text, Some("2")), [1, 2]);
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

    #[test]
    fn circles_and_missing_targets_are_errors() {
        let circle = "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nCOPY --from=x / /\n";
        let error = plan(circle, None, &[]).unwrap_err();
        assert!(error.to_string().contains("y → x → y"), "{error}");
        let later = "FROM a AS x\nCOPY --from=y / /\nFROM b AS y\n";
        let error = plan(later, Some("x"), &[]).unwrap_err();
        assert!(error.to_string().contains("begins on line 3, after stage `x`"), "{error}");
        assert!(error.place.is_some() && error.hint.unwrap().contains("before line 1"));
        // Nobody needs the stage that is wrong.
        plan(later, Some("y"), &[]).unwrap();
        let number = plan("FROM a\nFROM b\nCOPY --from=7 / /\n", None, &[]).unwrap_err();
        assert_eq!(number.to_string(), "there is no stage number 7");
        assert_eq!(number.hint.as_deref(), Some("the stages have the numbers 0 to 1"));
        let error = plan(THREE, Some("four"), &[]).unwrap_err();
        assert!(error.to_string().contains("`four`") && error.hint.unwrap().contains("`one`, `two`"));
        let error = plan(THREE, Some("tow"), &[]).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean `two`?"));
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

    #[test]
    fn a_stage_without_a_platform_is_of_the_builds_whatever_the_target_says_of_itself() {
        let text = "FROM a AS one\nFROM --platform=linux/s390x b\nCOPY --from=one /x /\n";
        let plan = plan(text, None, &[]).unwrap();
        assert_eq!(plan.stages[0].platform.to_string(), "linux/amd64");
        let empty = super::tests::plan("FROM --platform=$NOTHING a\n", None, &[]).unwrap_err();
        assert_eq!(empty.to_string(), "platform `$NOTHING` is empty after expansion");
    }
}
