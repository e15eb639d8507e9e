use super::quoted;
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::Dockerfile;

/// Names that FROM and `--from` have another meaning for.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// `ReservedStageName`: a stage is called `scratch` or `context`.
pub(in crate::check) fn reserved_stage_name(file: &Dockerfile, out: &mut Findings) {
    for stage in &file.stages {
        let Some(name) = stage.from.name.as_ref().filter(|name| RESERVED.contains(&name.value.as_str()))
        else {
            continue;
        };
        out.at(stage.from.span, &stage.from.comments);
        let message =
            format!("Stage name should not use the same name as reserved stage {}", quoted(&name.value));
        out.add(Rule::ReservedStageName, name.span, message, "give the stage another name".to_owned());
    }
}
