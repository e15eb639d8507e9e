use orlop_store::Platform;

use super::quoted;
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::variables::Expander;
use crate::dockerfile::{Dockerfile, From};
use crate::scope::GlobalScope;

/// `FromPlatformFlagConstDisallowed`: `FROM --platform=linux/amd64`, in a stage whose name has neither the system nor
/// the architecture in it.
pub(in crate::check) fn from_platform_flag_const_disallowed(
    file: &Dockerfile,
    from: &From,
    globals: &GlobalScope,
    out: &mut Findings,
) {
    let Some(word) = &from.platform else { return };
    let expander = Expander::new(file.directives.escape);
    let Ok(expanded) = expander.expand(&word.value, &|name| globals.lookup(name)) else { return };
    if !expanded.used.is_empty() || !expanded.unset.is_empty() {
        return;
    }
    let Ok(platform) = expanded.text.parse::<Platform>() else { return };
    let name = from.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
    if name.contains(&platform.os) || name.contains(&platform.architecture) {
        return;
    }
    let message = format!("FROM --platform flag should not use constant value {}", quoted(&expanded.text));
    let hint = "write `$BUILDPLATFORM`, or put the platform into the name of the stage".to_owned();
    out.add(Rule::FromPlatformFlagConstDisallowed, word.span, message, hint);
}
