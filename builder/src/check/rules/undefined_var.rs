use super::{MANY, suggestion, variable_in};
use crate::check::Rule;
use crate::check::walk::Walk;
use crate::source::Span;

/// Variables that are no variables of the build.
const OTHERS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// `UndefinedVar`: an instruction that expands variables uses one that neither an ARG or ENV before it, nor a stage or
/// image below sets. A command is not looked through: its variables are the shell's.
///
/// Where the image below is not known, it may set what is not declared here. Then a name is reported when it is most
/// likely a slip: it is not all upper case as variables of images are, is close to one that is known, or is declared
/// elsewhere in the file. The place of any other is given back.
pub(in crate::check) fn undefined_var(name: &str, span: Span, walk: &mut Walk<'_>) -> Option<Span> {
    if walk.scope.knows(name) || OTHERS.contains(&name) {
        return None;
    }
    let many = walk.findings.count() + walk.unsure.len() > MANY;
    let (span, near) = match many {
        true => (span, None),
        false => (variable_in(walk.dockerfile, span, name), suggestion(name, walk.scope.names())),
    };
    let elsewhere = walk.plan.globals.declares(name) || walk.declared.contains(name);
    let upper = name.chars().all(|ch| ch.is_ascii_uppercase() || ch.is_ascii_digit() || ch == '_');
    let own = elsewhere || near.is_some() || !upper;
    if !walk.scope.base_known && !own {
        return Some(walk.findings.home(span));
    }
    let meant = near.map(|near| format!(" (did you mean ${near}?)")).unwrap_or_default();
    let message = format!("Usage of undefined variable '${name}'{meant}");
    let hint = match near {
        Some(near) => format!("write `${near}`"),
        None if walk.plan.globals.declares(name) => {
            format!("a global ARG counts in FROM alone: declare it in the stage as well, `ARG {name}`")
        }
        None if elsewhere => {
            format!("`{name}` is set elsewhere in the file: it counts from there on, and in that stage")
        }
        None => format!("declare it before this line: `ARG {name}`; for a `$` of the text write `\\$`"),
    };
    walk.findings.add(Rule::UndefinedVar, span, message, hint);
    None
}
