use std::collections::BTreeSet;

use super::quoted;
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::Dockerfile;

/// `DuplicateStageName`: two stages have the same name, and the later one hides the earlier.
pub(in crate::check) fn duplicate_stage_name(file: &Dockerfile, out: &mut Findings) {
    let mut seen = BTreeSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.from.name else { continue };
        if !seen.insert(&name.value) {
            out.at(stage.from.span, &stage.from.comments);
            let message =
                format!("Duplicate stage name {}, stage names should be unique", quoted(&name.value));
            out.add(
                Rule::DuplicateStageName,
                name.span,
                message,
                "give one of the stages another name".to_owned(),
            );
        }
    }
}
