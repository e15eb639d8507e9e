use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::variables::Expander;
use crate::dockerfile::{Dockerfile, From};
use crate::scope::GlobalScope;

/// `RedundantTargetPlatform`: `FROM --platform=$TARGETPLATFORM`, which is so without it.
pub(in crate::check) fn redundant_target_platform(
    file: &Dockerfile,
    from: &From,
    globals: &GlobalScope,
    out: &mut Findings,
) {
    const TARGET: &str = "TARGETPLATFORM";
    let Some(word) = &from.platform else { return };
    let expander = Expander::new(file.directives.escape);
    let Ok(expanded) = expander.expand(&word.value, &|name| globals.lookup(name)) else { return };
    let only = expanded.used.len() == 1 && expanded.used.contains(TARGET) && expanded.unset.is_empty();
    if only && globals.lookup(TARGET).as_deref() == Some(&expanded.text) {
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            word.value
        );
        let hint = format!("delete `--platform={}`", word.value);
        out.add(Rule::RedundantTargetPlatform, word.span, message, hint);
    }
}
