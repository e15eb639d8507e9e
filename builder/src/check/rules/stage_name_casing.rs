use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::From;

/// `StageNameCasing`: the name of a stage has an upper-case letter. Case makes no difference where it is used.
pub(in crate::check) fn stage_name_casing(from: &From, out: &mut Findings) {
    if let Some((_, name)) = &from.alias
        && name.value != name.value.to_lowercase()
    {
        let message = format!("Stage name '{}' should be lowercase", name.value);
        out.add(
            Rule::StageNameCasing,
            name.span,
            message,
            format!("write `AS {}`", name.value.to_lowercase()),
        );
    }
}
