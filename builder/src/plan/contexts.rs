//! Named contexts in a plan: what they stand for.

use orlop_store::Platform;

use super::{Base, Plan};
use crate::context::{NamedSource, named};

impl Plan {
    /// The named context that has the name of stage `index`, and so stands in its place.
    pub(super) fn replacement(&self, index: usize, platform: &Platform) -> Option<usize> {
        let name = self.dockerfile.stages[index].from.name.as_ref()?;
        named::find(&self.contexts, &name.value.to_ascii_lowercase(), platform)
    }

    /// The named context that `--from=name` in stage `index` means, if it means one.
    pub fn context_named(&self, index: usize, name: &str) -> Option<usize> {
        match self.names.find_from(name, index) {
            Some(stage) => self.stages[stage].context.filter(|_| self.stages[stage].replaced),
            None => named::find(&self.contexts, name, &self.stages[index].platform),
        }
    }

    /// What a stage starts from that starts from a named context.
    pub(super) fn context_base(&self, context: usize) -> Base {
        match self.contexts.get(context).map(|context| &context.source) {
            Some(NamedSource::Image(reference)) => Base::Image(reference.clone()),
            Some(NamedSource::Layout(layout)) => Base::Layout(layout.clone()),
            Some(NamedSource::Scratch) => Base::Scratch,
            _ => Base::Context(context),
        }
    }

    /// Whether a named context stands in the place of a stage: to copy from it takes no stage.
    pub(super) fn is_replaced(&self, stage: usize) -> bool {
        let platform = self.platform_of(stage);
        platform.is_ok_and(|platform| self.replacement(stage, &platform).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::context::{ContextName, NamedContext};
    use crate::source::SourceFile;

    fn plan(text: &str, contexts: &[(&str, NamedSource)]) -> Plan {
        let file = Arc::new(SourceFile::new("Dockerfile", text));
        let dockerfile = Arc::new(crate::dockerfile::parse(file).unwrap());
        let contexts: Vec<_> = contexts
            .iter()
            .map(|(name, source)| NamedContext {
                name: ContextName::parse(name).unwrap(),
                source: source.clone(),
            })
            .collect();
        Plan::new(dockerfile, &[], None, &"linux/amd64".parse().unwrap(), &contexts).unwrap()
    }

    fn image(name: &str) -> NamedSource {
        NamedSource::Image(name.parse().unwrap())
    }

    fn files() -> NamedSource {
        NamedSource::Url("https://example.com/x".to_owned())
    }

    fn needed(plan: &Plan) -> Vec<usize> {
        plan.needed.iter().copied().collect()
    }

    #[test]
    fn an_image_is_replaced_however_it_is_spelled() {
        let text = "FROM debian AS tools\nFROM debian:12\nFROM tools\n";
        let plan = plan(text, &[("docker.io/library/debian:latest", image("mine"))]);
        assert_eq!(plan.stages[0].base, Base::Image("mine".parse().unwrap()));
        assert_eq!(plan.stages[1].base, Base::Image("debian:12".parse().unwrap()));
        assert_eq!(plan.stages[2].base, Base::Stage(0));
        assert!(!plan.stages[0].replaced && plan.stages[0].context == Some(0));
    }

    #[test]
    fn a_stage_is_replaced_with_all_that_it_would_need() {
        let text = "FROM debian AS dep\nFROM debian AS Tools\nCOPY --from=dep /a /b\nFROM tools\nCOPY --from=1 /x /\n";
        let plan = plan(text, &[("tools", image("mine"))]);
        assert_eq!(plan.stages[1].base, Base::Image("mine".parse().unwrap()));
        assert!(plan.stages[1].replaced);
        assert_eq!(needed(&plan), [1, 2]);
    }

    #[test]
    fn to_copy_files_takes_no_stage() {
        let text = "FROM debian AS Tools\nFROM scratch\nCOPY --from=0 /x /\nCOPY --from=tools /x /\n";
        let named = plan(text, &[("tools", files())]);
        assert_eq!(needed(&named), [1]);
        for name in ["0", "tools", "TOOLS"] {
            assert_eq!(named.context_named(1, name), Some(0), "{name}");
        }
        // Also of one that comes later: nothing has to be built before it.
        let later = "FROM scratch AS target\nCOPY --from=tools /x /\nFROM debian AS tools\nFROM target\n";
        assert_eq!(needed(&plan(later, &[("tools", files())])), [0, 2]);
        let from = plan("FROM tools\n", &[("tools", files())]);
        assert_eq!(from.stages[0].base, Base::Context(0));
    }

    #[test]
    fn nothing_stays_nothing() {
        let plan = plan("FROM none\nFROM scratch\n", &[("none", NamedSource::Scratch)]);
        assert_eq!((&plan.stages[0].base, &plan.stages[1].base), (&Base::Scratch, &Base::Scratch));
    }
}
