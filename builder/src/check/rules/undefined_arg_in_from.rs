use super::{MANY, suggestion, variable_in};
use crate::check::Rule;
use crate::check::findings::Findings;
use crate::dockerfile::variables::Expander;
use crate::dockerfile::{Dockerfile, From};
use crate::scope::GlobalScope;

/// `UndefinedArgInFrom`: FROM or its `--platform` uses a variable that no ARG before the first FROM declares.
pub(in crate::check) fn undefined_arg_in_from(
    file: &Dockerfile,
    from: &From,
    globals: &GlobalScope,
    out: &mut Findings,
) {
    let expander = Expander::new(file.directives.escape);
    for word in std::iter::once(&from.image).chain(&from.platform) {
        let Ok(expanded) = expander.expand(&word.value, &|name| globals.lookup(name)) else { return };
        for name in expanded.unset.iter().filter(|name| !globals.declares(name)) {
            let (span, near) = match out.count() > MANY {
                true => (word.span, None),
                false => (variable_in(file, word.span, name), suggestion(name, globals.names())),
            };
            let meant = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let message = format!("FROM argument '{name}' is not declared{meant}");
            let hint = match near {
                Some(near) => {
                    format!("write `${{{near}}}`, or declare it before the first FROM: `ARG {name}=…`")
                }
                None => format!("declare it before the first FROM: `ARG {name}=…`"),
            };
            out.add(Rule::UndefinedArgInFrom, span, message, hint);
        }
    }
}
