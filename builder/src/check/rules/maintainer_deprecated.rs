use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::{Instruction, Kind};

/// `MaintainerDeprecated`: MAINTAINER instead of a label.
pub(in crate::check) fn maintainer_deprecated(instruction: &Instruction, out: &mut Findings) {
    if let Kind::Maintainer(author) = &instruction.kind {
        let author = author.value.trim_matches(['"', '\'']);
        out.add(
            Rule::MaintainerDeprecated,
            instruction.keyword.span,
            "Maintainer instruction is deprecated in favor of using label".to_owned(),
            format!("write `LABEL org.opencontainers.image.authors={author:?}`"),
        );
    }
}
