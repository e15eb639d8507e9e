use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::Dockerfile;

/// `ConsistentInstructionCasing`: a keyword is not in the case that most of the file's keywords have. Where there are
/// as many of both, upper case counts; ARGs before the first FROM do not.
pub(in crate::check) fn consistent_instruction_casing(file: &Dockerfile, out: &mut Findings) {
    let keywords = || {
        file.stages.iter().flat_map(|stage| {
            let from = (&stage.from.keyword, stage.from.span, &stage.from.comments);
            let rest = stage.instructions.iter().map(|i| (&i.keyword, i.span, &i.comments));
            std::iter::once(from).chain(rest)
        })
    };
    let lower = keywords().filter(|(word, ..)| word.value == word.value.to_lowercase()).count();
    let upper = keywords().filter(|(word, ..)| word.value == word.value.to_uppercase()).count();
    for (word, place, comments) in keywords() {
        let (meant, case) = match lower > upper {
            true => (word.value.to_lowercase(), "lowercase"),
            false => (word.value.to_uppercase(), "uppercase"),
        };
        if word.value != meant {
            out.at(place, comments);
            let message =
                format!("Command '{}' should match the case of the command majority ({case})", word.value);
            out.add(Rule::ConsistentInstructionCasing, word.span, message, format!("write `{meant}`"));
        }
    }
}
